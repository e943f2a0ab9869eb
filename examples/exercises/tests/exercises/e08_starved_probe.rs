use exercises::e08_starved_probe::Agenda;

/// Lets `minutes` pass with an order every `order_every_ms`; returns when the probes were made.
fn probes(interval_ms: u64, order_every_ms: u64, minutes: u64) -> Vec<u64> {
    let (mut agenda, mut probes, mut now) = (Agenda::new(interval_ms), Vec::new(), 0);
    let mut next_order = order_every_ms;
    while now < minutes * 60_000 {
        let due = now + agenda.wait_ms(now);
        // The receive ends with whichever comes first.
        now = due.min(next_order);
        if now == next_order {
            agenda.ordered(now);
            next_order += order_every_ms;
        }
        if now == due {
            agenda.probed(now);
            probes.push(now);
        }
    }
    probes
}

#[test]
fn orders_do_not_put_off_the_probe() {
    let probes = probes(2000, 900, 1);
    assert_eq!(probes.get(..3), Some(&[2000, 4000, 6000][..]), "{probes:?}");
    assert_eq!(probes.len(), 30);
}

#[test]
fn without_orders_it_comes_in_time() {
    assert_eq!(probes(20_000, u64::MAX, 1), [20_000, 40_000, 60_000]);
}
