//! The table against a naive model, and at its bound.

use super::*;
use crate::policy::rate::Per;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

fn sessions(most: u32) -> Limits {
    Limits {
        sessions: Some(most),
        rate: None,
    }
}

fn rate(count: u32, per: Per) -> Limits {
    Limits {
        sessions: None,
        rate: Some(Rate { count, per }),
    }
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

/// The order has each entry once, and nothing else.
fn check(clients: &Clients) {
    let table = clients.table.lock();
    assert!(table.entries.len() <= ENTRIES_MAX);
    assert_eq!(table.entries.len(), table.order.len());
    assert!(
        table
            .order
            .iter()
            .all(|source| table.entries.contains_key(source))
    );
}

#[test]
fn ipv6_is_counted_by_its_64_and_wrapped_ipv4_is_ipv4() {
    let clients = Arc::new(Clients::default());
    let enter = |ip: &str| clients.enter(ip.parse().unwrap(), sessions(1), Duration::ZERO);
    let _first = enter("2001:db8:1:2::1").unwrap();
    assert_eq!(enter("2001:db8:1:2:ffff::9").unwrap_err(), Refusal::IpLimit);
    let _other = enter("2001:db8:1:3::1").unwrap();
    let _v4 = enter("10.0.0.1").unwrap();
    assert_eq!(enter("::ffff:10.0.0.1").unwrap_err(), Refusal::IpLimit);
    let _loopback = enter("::1").unwrap();
    let _zero = enter("0.0.0.0").unwrap();
    check(&clients);
}

#[test]
fn a_burst_is_let_in_and_the_next_one_is_not() {
    let clients = Arc::new(Clients::default());
    let limits = rate(20, Per::Second);
    for _ in 0..20 {
        assert!(
            clients
                .enter(v4(1), limits, Duration::ZERO)
                .unwrap()
                .is_some()
        );
    }
    assert_eq!(
        clients.enter(v4(1), limits, Duration::ZERO).unwrap_err(),
        Refusal::Rate
    );
    assert!(clients.enter(v4(2), limits, Duration::ZERO).is_ok());
    assert!(
        clients
            .enter(v4(1), limits, Duration::from_millis(50))
            .is_ok()
    );
}

#[test]
fn many_addresses_that_come_once_leave_little_behind() {
    let clients = Arc::new(Clients::default());
    let limits = rate(20, Per::Second);
    for number in 0..200_000 {
        let now = Duration::from_millis(number.into());
        drop(clients.enter(v4(number), limits, now).unwrap());
    }
    check(&clients);
    // In a second a thousand come, and each newcomer looks at two that came before.
    assert!(clients.len() < 3_000, "{}", clients.len());
    assert_eq!(clients.uncounted.get(), 0);
}

#[test]
fn the_table_is_bounded_when_nothing_says_nothing() {
    let clients = Arc::new(Clients::default());
    // All in one moment, with buckets that stay empty for a minute.
    let limits = rate(1, Per::Minute);
    let own = v4(0xff_ffff);
    let own_session = clients.enter(own, sessions(1), Duration::ZERO).unwrap();
    for number in 0..200_000 {
        let entered = clients.enter(v4(number), limits, Duration::ZERO).unwrap();
        assert!(
            entered.is_some(),
            "it takes the place of one without a session"
        );
    }
    check(&clients);
    assert_eq!(clients.len(), ENTRIES_MAX);
    // Who has a session was not forgotten.
    let again = clients.enter(own, sessions(1), Duration::ZERO);
    assert_eq!(again.unwrap_err(), Refusal::IpLimit);
    drop(own_session);
}

#[test]
fn when_every_address_has_a_session_newcomers_are_let_in_uncounted() {
    let clients = Arc::new(Clients::default());
    let mut held = Vec::new();
    for number in 0..200_000 {
        held.extend(
            clients
                .enter(v4(number), sessions(1), Duration::ZERO)
                .unwrap(),
        );
    }
    check(&clients);
    assert_eq!((clients.len(), held.len()), (ENTRIES_MAX, ENTRIES_MAX));
    assert_eq!(clients.uncounted.get(), (200_000 - ENTRIES_MAX) as u64);
    assert!(clients.enter(v4(1), sessions(1), Duration::ZERO).is_err());
    held.clear();
    assert!(clients.enter(v4(1), sessions(1), Duration::ZERO).is_ok());
    assert!(
        clients
            .enter(v4(199_999), sessions(1), Duration::ZERO)
            .unwrap()
            .is_some()
    );
}

/// What a naive table would do, which never forgets: the same clients are let in.
#[derive(Debug, Clone, Copy)]
enum Step {
    Enter(u8),
    Leave(usize),
    Pause(u64),
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_table_agrees_with_one_that_never_forgets(
        most in prop::option::of(1..4_u32),
        per_second in prop::option::of(1..5_u32),
        steps in prop::collection::vec(
            prop_oneof![
                4 => (0..12_u8).prop_map(Step::Enter),
                3 => (0..40_usize).prop_map(Step::Leave),
                1 => (0..700_u64).prop_map(Step::Pause),
            ],
            1..400,
        ),
    ) {
        let limits = Limits {
            sessions: most,
            rate: per_second.map(|count| Rate { count, per: Per::Second }),
        };
        let clients = Arc::new(Clients::default());
        let mut model: HashMap<u8, Entry> = HashMap::new();
        let mut held = Vec::new();
        let mut now = Duration::ZERO;
        for step in steps {
            match step {
                Step::Enter(number) => {
                    // Half of them IPv6: the last bits make no difference.
                    let ip = match number % 2 {
                        0 => v4(number.into()),
                        _ => Ipv6Addr::new(0x2001, 0xdb8, 0, number.into(), 0, 0, 0, held.len() as u16).into(),
                    };
                    let expected = model.entry(number).or_default().enter(limits, now);
                    let got = clients.enter(ip, limits, now);
                    prop_assert_eq!(got.as_ref().map(Option::is_some).ok(), expected.ok().map(|()| true));
                    if let Ok(Some(counted)) = got {
                        held.push((number, counted));
                    }
                }
                Step::Leave(place) if !held.is_empty() => {
                    let (number, counted) = held.swap_remove(place % held.len());
                    model.get_mut(&number).unwrap().sessions -= 1;
                    drop(counted);
                }
                Step::Leave(_) => {}
                Step::Pause(milliseconds) => now += Duration::from_millis(milliseconds),
            }
            check(&clients);
        }
        let live: u32 = clients.table.lock().entries.values().map(|entry| entry.sessions).sum();
        prop_assert_eq!(live as usize, held.len());
    }
}
