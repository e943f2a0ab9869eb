use std::sync::Barrier;
use std::thread;

use exercises::e03_limit::Limit;

use crate::in_time;

/// So many come at once: each has come to `between` before any goes on. Says how many got in.
fn burst(limit: u32, clients: usize) -> (usize, u32) {
    in_time(move || {
        let (limit, all_there) = (Limit::new(limit), Barrier::new(clients));
        let came_in = thread::scope(|scope| {
            let client = || {
                limit.enter(|| {
                    all_there.wait();
                })
            };
            let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
            let came_in = clients.into_iter().map(|client| client.join().unwrap());
            came_in.filter(|came_in| *came_in).count()
        });
        (came_in, limit.inside())
    })
}

#[test]
fn a_burst_does_not_break_the_limit() {
    assert_eq!(burst(1, 2), (1, 1));
    assert_eq!(burst(3, 8), (3, 3));
}

#[test]
fn nobody_is_refused_while_there_is_room() {
    assert_eq!(burst(8, 8), (8, 8));
}
