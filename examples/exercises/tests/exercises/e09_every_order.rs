use exercises::e09_every_order::{Turn, orders};

/// Step 4's wrong ticket: each thread loads, then stores one more. Returns what both got.
fn load_then_store(order: &[Turn]) -> [u32; 2] {
    let (mut ticket, mut loaded) = (0, [None; 2]);
    for &turn in order {
        match loaded[turn as usize] {
            None => loaded[turn as usize] = Some(ticket),
            Some(number) => ticket = number + 1,
        }
    }
    loaded.map(|number| number.unwrap())
}

#[test]
fn the_order_that_breaks_the_ticket_is_found() {
    let breaks = |order: &Vec<Turn>| load_then_store(order) == [0, 0];
    let found: Vec<_> = orders(2, 2).into_iter().filter(breaks).collect();
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn every_order_is_tried_once() {
    for (first, second, count) in [(1, 1, 2), (2, 2, 6), (1, 3, 4), (4, 4, 70)] {
        let mut all = orders(first, second);
        assert_eq!(all.len(), count);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        for order in all {
            assert_eq!(order.len(), first + second);
            assert_eq!(order.iter().filter(|&&t| t == Turn::First).count(), first);
        }
    }
}
