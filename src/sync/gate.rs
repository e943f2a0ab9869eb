//! The gate: how many sessions may be inside at once, and when the last one has left.
//!
//! A listener thread waits here *before* it accepts, so that clients beyond the limit wait in the
//! kernel's backlog instead of being accepted and dropped.
//!
//! ```text
//!             inside = limit                           close                      the last permit is dropped
//!   room ──────────────────────▶ full        any ──────────────────▶ closed ──────────────────────────────▶ drained
//!    ▲ ◀────────────────────────  │ waits    who waits is told       no permit any more     the channel is
//!        a permit is dropped,     └──▶ (condition variable)                                disconnected
//!        or the limit is raised
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::{Condvar, Mutex};

/// Counts who is inside and keeps it at the limit or below.
///
/// A mutex and a condition variable and not an atomic: whoever finds the gate full has to sleep,
/// and "look, then sleep" must not miss the leaver in between. The condition variable releases the
/// mutex and sleeps in one step, and a leaver changes the count under that mutex.
#[derive(Debug)]
pub struct Gate {
    /// Written by permits coming and going; read by waiting listeners and the shutdown.
    state: Mutex<State>,
    /// Notified when there is room again or the gate closes.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    inside: u32,
    limit: u32,
    waiting: u32,
    /// Each permit holds a clone; `None` once the gate is closed. The channel carries nothing: when
    /// the last clone is gone, its receiver is disconnected, and that is the message.
    alive: Option<Sender<Infallible>>,
}

/// The gate is closed: nobody comes in any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Gate {
    /// An open gate for `limit` at once, and the channel that is disconnected when the gate has
    /// been closed and the last permit is gone.
    pub fn new(limit: u32) -> (Arc<Gate>, Receiver<Infallible>) {
        let (alive, drained) = crossbeam_channel::bounded(0);
        let state = State {
            inside: 0,
            limit,
            waiting: 0,
            alive: Some(alive),
        };
        (
            Arc::new(Gate {
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
            drained,
        )
    }

    /// Blocks until somebody could enter, or `timeout` is over; says whether there is room. Who
    /// waits here takes nothing yet, so several may wait for the same place; [`Gate::enter`]
    /// decides between them.
    ///
    /// # Errors
    ///
    /// [`Closed`].
    pub fn wait_for_room(&self, timeout: Duration) -> Result<bool, Closed> {
        let deadline = Instant::now() + timeout;
        let mut state = self.state.lock();
        let mut in_time = true;
        while state.alive.is_some() && state.inside >= state.limit && in_time {
            state.waiting += 1;
            in_time = !self.changed.wait_until(&mut state, deadline).timed_out();
            state.waiting -= 1;
        }
        if state.alive.is_some() {
            Ok(state.inside < state.limit)
        } else {
            Err(Closed)
        }
    }

    /// Blocks until there is room, and takes it.
    ///
    /// # Errors
    ///
    /// [`Closed`].
    pub fn enter(self: &Arc<Self>) -> Result<Permit, Closed> {
        let mut state = self.state.lock();
        while state.alive.is_some() && state.inside >= state.limit {
            state.waiting += 1;
            self.changed.wait(&mut state);
            state.waiting -= 1;
        }
        let alive = state.alive.clone().ok_or(Closed)?;
        state.inside += 1;
        drop(state);
        Ok(Permit {
            gate: Arc::clone(self),
            _alive: alive,
        })
    }

    /// Lets nobody in any more and wakes all who wait. Those inside stay until they leave.
    pub fn close(&self) {
        let alive = self.state.lock().alive.take();
        self.changed.notify_all();
        drop(alive);
    }

    /// Changes the limit; who is inside stays, even above it.
    pub fn set_limit(&self, limit: u32) {
        self.state.lock().limit = limit;
        self.changed.notify_all();
    }

    /// How many are inside now, and how many may be.
    pub fn occupancy(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.inside, state.limit)
    }
}

/// One place inside the gate; dropping it gives the place back, so no path can forget to.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    _alive: Sender<Infallible>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.inside -= 1;
        let somebody_waits = state.waiting > 0;
        // Waking comes after unlocking: the woken thread would only run into the lock.
        drop(state);
        if somebody_waits {
            // All, because who waits may wait for room only (and leave it to another) or to enter.
            self.gate.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::RecvTimeoutError;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(10);

    #[test]
    fn a_full_gate_blocks_until_somebody_leaves() {
        let (gate, _drained) = Gate::new(1);
        let first = gate.enter().unwrap();
        let (entered, has_entered) = crossbeam_channel::bounded(1);
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .spawn_scoped(scope, || entered.send(gate.enter().map(drop)).unwrap())
                .unwrap();
            assert_eq!(
                has_entered.recv_timeout(SOON),
                Err(RecvTimeoutError::Timeout)
            );
            drop(first);
            assert_eq!(has_entered.recv_timeout(LATE), Ok(Ok(())));
        });
        assert_eq!(gate.occupancy(), (0, 1));
    }

    #[test]
    fn closing_wakes_who_waits_and_reports_the_last_to_leave() {
        let (gate, drained) = Gate::new(1);
        let inside = gate.enter().unwrap();
        std::thread::scope(|scope| {
            let waiting = std::thread::Builder::new()
                .spawn_scoped(scope, || gate.wait_for_room(LATE))
                .unwrap();
            gate.close();
            assert_eq!(waiting.join().unwrap(), Err(Closed));
        });
        assert_eq!(drained.recv_timeout(SOON), Err(RecvTimeoutError::Timeout));
        drop(inside);
        assert_eq!(
            drained.recv_timeout(LATE),
            Err(RecvTimeoutError::Disconnected)
        );
        assert!(gate.enter().is_err());
    }

    #[test]
    fn a_raised_limit_lets_the_next_one_in() {
        let (gate, _drained) = Gate::new(0);
        std::thread::scope(|scope| {
            let waiting = std::thread::Builder::new()
                .spawn_scoped(scope, || gate.enter().map(drop))
                .unwrap();
            gate.set_limit(1);
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
    }
}
