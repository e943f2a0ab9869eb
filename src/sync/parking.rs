//! Where a parked thread finds its next job.
//!
//! ```text
//!   the thread                                        whoever has a job
//!
//!   looks ── there is one ──▶ takes it, runs it       puts it, takes the sleeper's name (one step)
//!     │ nothing: leaves its name (one step)              │
//!     ▼                                                  ▼ a name: unpark
//!   parked ◀────────── the token of unpark ───────────  (none: the thread looks before it sleeps)
//!     │ token, or no reason at all ──▶ looks again
//!     └ timeout ──▶ looks, and if nobody has chosen it: ends
//! ```

use std::time::{Duration, Instant};

use super::Mutex;
use super::primitives::{Thread, current, park_timeout};

/// A place for one thing at a time, and for the one thread that waits for things there.
///
/// The thread sleeps parked, and three rules keep it from sleeping through a job:
///
/// 1. Looking and leaving one's name are one step under the lock. Whoever gives earlier is seen by
///    the look; whoever gives later finds the name.
/// 2. Giving puts first and unparks then. An unpark that comes before the park is not lost: it
///    leaves a token, and the park returns at once.
/// 3. Coming back from park means nothing by itself. The token may be an old one, so the thread
///    looks again.
#[derive(Debug)]
pub struct Slot<T> {
    /// Written by whoever gives or dismisses, and by the waiting thread; the lock makes what was
    /// given and the name of who waits for it one state.
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    given: Option<T>,
    dismissed: bool,
    sleeper: Option<Thread>,
}

/// What ended a wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Woken<T> {
    /// Something was given.
    Given(T),
    /// There will be no more.
    Dismissed,
    /// Nothing happened for the whole timeout.
    InVain,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Slot {
            state: Mutex::new(State {
                given: None,
                dismissed: false,
                sleeper: None,
            }),
        }
    }
}

impl<T> Slot<T> {
    /// Puts `thing` there and wakes the thread. The caller sees to it that the last one was taken:
    /// here, by giving only to a thread that it has set aside for itself.
    pub fn give(&self, thing: T) {
        self.change(|state| state.given = Some(thing));
    }

    /// Tells the thread that there will be no more; what was given before still counts.
    pub fn dismiss(&self) {
        self.change(|state| state.dismissed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        let mut state = self.state.lock();
        change(&mut state);
        let sleeper = state.sleeper.take();
        // Waking comes after unlocking: the woken thread would only run into the lock.
        drop(state);
        // None: the thread is not asleep, and looks before it sleeps.
        if let Some(sleeper) = sleeper {
            sleeper.unpark();
        }
    }

    /// Blocks until something is given, no more will be, or `timeout` is over. For one thread only.
    pub fn wait(&self, timeout: Duration) -> Woken<T> {
        let deadline = Instant::now() + timeout;
        loop {
            let mut state = self.state.lock();
            if let Some(thing) = state.given.take() {
                return Woken::Given(thing);
            }
            if state.dismissed {
                return Woken::Dismissed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Woken::InVain;
            }
            state.sleeper = Some(current());
            drop(state);
            park_timeout(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(10);

    #[test]
    fn what_is_given_arrives_whoever_comes_first_and_before_the_dismissal() {
        let slot = Slot::default();
        slot.give(1);
        assert_eq!(slot.wait(Duration::ZERO), Woken::Given(1));
        assert_eq!(slot.wait(Duration::from_millis(1)), Woken::InVain);
        std::thread::scope(|scope| {
            let waiting = std::thread::Builder::new()
                .spawn_scoped(scope, || (slot.wait(LATE), slot.wait(LATE)))
                .unwrap();
            slot.give(2);
            slot.dismiss();
            assert_eq!(waiting.join().unwrap(), (Woken::Given(2), Woken::Dismissed));
        });
    }
}
