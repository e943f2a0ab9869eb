//! The opening exchange, on the session thread alone: the client asks, the backend answers.
//!
//! Most sessions of most protocols are no more than that: one request, one answer, the end. Waking
//! the second thread for them costs more than all the copying. So the session thread waits for both
//! sides at once at first, and the return thread, set aside all along, joins as soon as the session
//! turns out to live on: when the client speaks again after an answer, when more comes than a few
//! reads, when a side does not take what it is sent, or when nothing comes for a moment. A session
//! of which one side ends in the opening has one way left and needs no second thread at all.
//!
//! Measured at 64 clients with one request per connection: 65 to 49 µs of CPU each, 5.2 to 3.3
//! voluntary context switches (`scripts/bench.d/NOTES.md`).

use std::time::Duration;

use super::way::Way;
use crate::net::end::{Ended, Peer};
use crate::net::relay::Step;
use crate::net::wait;
use crate::policy::bulk::Method;
use crate::registry::Live;

/// How long both sides may be silent before the session counts as one that lives on.
const PATIENCE: Duration = Duration::from_millis(50);

/// Reads after which it does.
const STEPS_MAX: u32 = 8;

/// How the opening went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Both ways go on.
    LivesOn,
    /// The way to the backend has ended; the other goes on.
    ClientEnded(Ended),
    /// The way to the client has ended; the other goes on.
    BackendEnded(Ended),
}

/// Serves the opening exchange of a session that has just got its backend.
pub(super) fn serve(
    live: &Live,
    backend: &Peer,
    method: Method,
    there: &mut Way<'_>,
    back: &mut Way<'_>,
) -> Opening {
    if method == Method::Splice {
        // Asked for from the first byte, and an opening copies.
        return Opening::LivesOn;
    }
    // Most clients have spoken by now, so the first thing is to look, without waiting.
    let mut ready = (true, false);
    let mut answered = false;
    let mut steps = 0;
    while steps < STEPS_MAX {
        if ready.0 {
            steps += 1;
            match there.step() {
                Step::Ended(ended) => return Opening::ClientEnded(ended),
                Step::Stuck => return Opening::LivesOn,
                Step::Moved if answered => return Opening::LivesOn,
                Step::Moved | Step::Nothing => {}
            }
        }
        if ready.1 {
            steps += 1;
            match back.step() {
                Step::Ended(ended) => return Opening::BackendEnded(ended),
                Step::Stuck => return Opening::LivesOn,
                Step::Moved => answered = true,
                Step::Nothing => {}
            }
        }
        ready = wait::either_readable(&live.client.stream, &backend.stream, PATIENCE);
        if ready == (false, false) {
            break;
        }
    }
    Opening::LivesOn
}
