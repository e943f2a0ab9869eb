//! Step 11: a queue with a condition variable.
//!
//! What it teaches: waiting until something is *true*. A backend takes so many sessions at once; the
//! next ones wait their turn, and give up at a deadline. The state is plain data under a mutex. The
//! condition variable releases the mutex and sleeps in one step, so that a change can't slip in
//! between; whoever changes the state does it under the same mutex and notifies.
//!
//! What goes wrong: `if` instead of `while`. A wake-up says "look again", not "it is yours": it may
//! be for another, somebody may have been quicker, it may come from nowhere. Two who were woken by one
//! free place both walk in, and the limit is broken. And `notify_one` where those who wait do not all
//! wait for the same: it wakes one, perhaps the wrong one, who goes back to sleep, and nobody moves.
//!
//! In earnest: `src/sync/queue.rs` (clients of a full backend), `src/sync/gate.rs` (the limit of a listener).
//!
//! ```text
//! cargo run --example 11_queue_condvar
//! ```
//! You will see four clients at a backend with one place: in the order in which they came, and one gives up.

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Places at a backend, and the queue for them.
struct Queue {
    /// Written by all who come, wait and leave.
    state: Mutex<State>,
    /// Notified when a place is free, and when the head of the queue has changed.
    changed: Condvar,
}

struct State {
    free: u32,
    /// Those who wait, by number, in the order in which they came.
    waiting: VecDeque<u32>,
    next_number: u32,
}

impl Queue {
    fn new(places: u32) -> Queue {
        Queue {
            state: Mutex::new(State {
                free: places,
                waiting: VecDeque::new(),
                next_number: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Right: takes a place when it is this one's turn; says whether that came in time.
    fn enter(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        let number = state.next_number;
        state.next_number += 1;
        state.waiting.push_back(number);
        while state.free == 0 || state.waiting.front() != Some(&number) {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                // Leaves the queue, or all behind would wait for one who is not there any more.
                state.waiting.retain(|&other| other != number);
                self.changed.notify_all();
                return false;
            }
        }
        state.waiting.pop_front();
        state.free -= 1;
        // There may be a place left for the one behind.
        self.changed.notify_all();
        true
    }

    fn leave(&self) {
        self.state.lock().free += 1;
        // All, not one: only the head of the queue may go in, and that may not be the one woken.
        self.changed.notify_all();
    }

    /// Returns once so many wait. They count themselves under the lock that they give up only by
    /// sleeping, so when the count is seen they are asleep.
    fn until_waiting(&self, count: usize) {
        while self.state.lock().waiting.len() < count {
            thread::yield_now();
        }
    }
}

fn main() {
    let (queue, order) = (Queue::new(1), Mutex::new(Vec::new()));
    queue.enter(Duration::ZERO);
    thread::scope(|scope| {
        for client in 1..=3 {
            let (queue, order) = (&queue, &order);
            scope.spawn(move || {
                if queue.enter(Duration::from_secs(60)) {
                    order.lock().push(client);
                    queue.leave();
                }
            });
            queue.until_waiting(client);
        }
        println!(
            "the place is taken, three wait; a fourth gets in: {}",
            queue.enter(Duration::from_millis(50))
        );
        queue.leave();
    });
    println!(
        "the place is free again; they came in this order: {:?}",
        order.lock()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Wrong: one look, one sleep, and in. With `while` in place of `if` it would be right.
    fn enter_after_one_look(queue: &Queue) {
        let mut state = queue.state.lock();
        if state.free == 0 {
            state.waiting.push_back(0);
            queue.changed.wait(&mut state);
        }
        state.free = state.free.saturating_sub(1);
    }

    /// Wrong: one place, two inside. Both sleep before the place is given back, and both are woken.
    #[test]
    fn one_look_breaks_the_limit() {
        let queue = Queue::new(0);
        let inside = thread::scope(|scope| {
            let clients = [(); 2].map(|()| scope.spawn(|| enter_after_one_look(&queue)));
            queue.until_waiting(2);
            queue.leave();
            clients.map(|client| client.join().is_ok())
        });
        assert_eq!(inside, [true, true]);
    }

    /// Right: one place, one inside, and the other waits on for the next.
    #[test]
    fn looking_again_keeps_it() {
        let queue = Queue::new(0);
        let (entered, has_entered) = crossbeam_channel::unbounded();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| entered.send(queue.enter(HOUR)).unwrap());
            }
            queue.until_waiting(2);
            queue.leave();
            assert!(has_entered.recv().unwrap());
            // It is woken and can't get in, however long one waits; it is in the queue still.
            let other = has_entered.recv_timeout(Duration::from_millis(50));
            assert!(other.is_err());
            assert_eq!(queue.state.lock().waiting.len(), 1);
            queue.leave();
            assert!(has_entered.recv().unwrap());
        });
    }

    /// Who gives up in the middle of the queue is not waited for by those behind.
    #[test]
    fn who_gives_up_holds_up_nobody() {
        let queue = Queue::new(1);
        assert!(queue.enter(HOUR));
        assert!(!queue.enter(Duration::from_millis(1)));
        thread::scope(|scope| {
            let behind = scope.spawn(|| queue.enter(HOUR));
            queue.until_waiting(1);
            queue.leave();
            assert!(behind.join().unwrap());
        });
    }
}
