//! The queue: whoever finds no free place waits here, first come first served.
//!
//! ```text
//!   leave a place ──▶ wake ──▶ the first in the queue looks for a place
//!                                │ found: leaves the queue ────────────┐
//!                                │ none: sleeps again                  ▼
//!   give up (too late, client gone) ──▶ leaves the queue ──▶ wake the next first
//! ```
//!
//! Only the first ever looks, so nobody overtakes: who comes while somebody waits goes to the end even
//! if a place is free at that moment. Whoever stops being the first, served or not, wakes the next, so
//! a wake-up that reached somebody about to leave is handed on and never lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{Condvar, Mutex};

/// A queue of waiting threads.
///
/// One mutex for the order, and a condition variable for each who waits: with one for all, each place
/// that is left would wake everybody, to send all but one back to sleep. Who looks for a place does so
/// under the mutex, and who has left one takes the mutex before it wakes: so the look comes either
/// after the place was left and finds it, or before, and then the waiter sleeps by the time it is woken.
#[derive(Debug, Default)]
pub struct Queue {
    /// Written by who joins and who leaves; read by who wakes.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiter>,
    /// Number of the next who joins; numbers grow from the first to the last.
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    /// Notified when it is worth a look.
    turn: Arc<Condvar>,
}

/// What came of joining.
#[derive(Debug)]
pub enum Joined<'a, T> {
    /// Nobody waited, and the look found this.
    Served(T),
    /// A place in the queue.
    Waits(Place<'a>),
    /// As many wait as may.
    TooMany,
}

impl Queue {
    /// Looks for a place, if nobody waits for one; otherwise, or if there is none, joins the end of the
    /// queue, unless `room` others are in it.
    ///
    /// `look` runs under the mutex of the queue: it may take other locks, but not block in anything else.
    pub fn join<T>(&self, room: usize, look: impl FnOnce() -> Option<T>) -> Joined<'_, T> {
        let mut state = self.state.lock();
        if state.waiting.is_empty()
            && let Some(found) = look()
        {
            return Joined::Served(found);
        }
        if state.waiting.len() >= room {
            return Joined::TooMany;
        }
        let number = state.next;
        state.next += 1;
        let turn = Arc::new(Condvar::new());
        state.waiting.push_back(Waiter {
            number,
            turn: Arc::clone(&turn),
        });
        drop(state);
        Joined::Waits(Place {
            queue: self,
            number,
            turn,
        })
    }

    /// Has the first in the queue look again: called after a place was left, or when there may be one
    /// for another reason.
    pub fn wake(&self) {
        let state = self.state.lock();
        let turn = state.waiting.front().map(|first| Arc::clone(&first.turn));
        // Waking comes after unlocking: the woken thread would only run into the lock.
        drop(state);
        if let Some(turn) = turn {
            turn.notify_one();
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Does nobody wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A place in the queue; dropping it leaves the queue, so no path can forget to.
#[derive(Debug)]
pub struct Place<'a> {
    queue: &'a Queue,
    number: u64,
    turn: Arc<Condvar>,
}

impl Place<'_> {
    /// Waits until this is the first in the queue and `look` finds something, or until `until`. The
    /// place is kept either way, until it is dropped.
    pub fn wait<T>(&self, until: Instant, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let mut state = self.queue.state.lock();
        loop {
            let first = state.waiting.front();
            if first.is_some_and(|first| first.number == self.number)
                && let Some(found) = look()
            {
                return Some(found);
            }
            if self.turn.wait_until(&mut state, until).timed_out() {
                return None;
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        let at = state
            .waiting
            .binary_search_by_key(&self.number, |waiter| waiter.number);
        if let Ok(at) = at {
            state.waiting.remove(at);
            drop(state);
            if at == 0 {
                self.queue.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Active;
    use std::time::Duration;

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn joins(queue: &Queue) -> Place<'_> {
        match queue.join(usize::MAX, || None::<()>) {
            Joined::Waits(place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_finds_a_place_does_not_wait() {
        let queue = Queue::default();
        assert!(matches!(queue.join(0, || Some(1)), Joined::Served(1)));
        assert!(matches!(queue.join(0, || None::<()>), Joined::TooMany));
        assert!(queue.is_empty());
    }

    #[test]
    fn nobody_overtakes_who_waits() {
        let queue = Queue::default();
        let first = joins(&queue);
        let second = match queue.join(5, || Some("a free place")) {
            Joined::Waits(place) => place,
            other => panic!("{other:?}"),
        };
        assert_eq!(queue.len(), 2);
        assert_eq!(second.wait(soon(), || Some(2)), None, "it is not the first");
        assert_eq!(first.wait(late(), || Some(1)), Some(1));
        drop(first);
        assert_eq!(second.wait(late(), || Some(2)), Some(2));
    }

    #[test]
    fn a_place_that_is_left_goes_to_the_first() {
        let queue = Queue::default();
        let places = Active::default();
        places.claim();
        let take = || places.claim_below(1).then_some(());
        std::thread::scope(|scope| {
            let place = joins(&queue);
            let waiting = std::thread::Builder::new()
                .spawn_scoped(scope, move || place.wait(late(), take))
                .unwrap();
            places.release();
            queue.wake();
            assert_eq!(waiting.join().unwrap(), Some(()));
        });
        assert!(queue.is_empty());
    }

    #[test]
    fn who_leaves_from_the_middle_leaves_the_others_in_order() {
        let queue = Queue::default();
        let [a, b, c] = [joins(&queue), joins(&queue), joins(&queue)];
        drop(b);
        assert_eq!(queue.len(), 2);
        drop(a);
        assert_eq!(c.wait(late(), || Some(3)), Some(3));
    }
}
