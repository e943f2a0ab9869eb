//! What every integration test is written with.
//!
//! - [`eventually`] and [`eventually_ok`]: the only way to wait. No test sleeps a fixed time.
//! - [`Evener`] (`process.rs`): the real binary with a config, its log, its signals and its end;
//!   [`Process`] is the same for any other program.
//! - [`Baseline`] (`invariants.rs`): what must be true after every scenario.
//! - [`Dummy`] and [`config`] (`dummies.rs`): backends that greet, stop and come back, and a config of
//!   one listener and one pool for them.
//! - [`Load`] (`load.rs`): clients that come without pause and keep an account.
//! - `admin.rs`: a client of the admin interface.
//! - `sockets.rs`: clients, raw servers, resets, refused and silent addresses.
//!
//! A test file says `mod support;`, opens with what it shows, and lets the OS choose every port.
//! When a test fails, everything its processes have written is printed.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test crate compiles all of this and uses its own part"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests use plain std sockets and threads, and a panic is how they fail; each test file \
              says the same for itself"
)]

mod admin;
mod dummies;
mod invariants;
mod load;
mod process;
mod sockets;

use std::time::{Duration, Instant};

pub use admin::{Admin, Answer};
pub use dummies::{Dummy, addresses, config, dummies, who_serves, who_serves_from};
pub use invariants::Baseline;
pub use load::{Account, Load};
pub use process::{Evener, Finished, Process, TempDir, run};
pub use sockets::{
    BlackHole, End, RefusingPort, Server, connect, connect_from, fate, http_get, is_live, is_reset,
    is_silent_for, read_some, read_to_end_with_deadline, read_until_end, reset, try_connect,
};

/// Longest wait for anything that should simply happen.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Pause between the first two looks, and between later ones. Short enough not to be felt, and soon
/// long enough to leave the CPU to the tested: many tests wait at once.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(1);
const POLL_INTERVAL_MAX: Duration = Duration::from_millis(20);

/// The moment at which a wait that begins now has failed.
pub fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

/// Looks until `look` finds something; panics after [`DEADLINE`], saying `what` was awaited.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    eventually_ok(what, DEADLINE, || look().ok_or("it didn't happen"))
}

/// Tries until `attempt` succeeds; panics after `limit`, saying `what` was awaited and what the last
/// attempt said.
#[track_caller]
pub fn eventually_ok<T, E: std::fmt::Display>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let begin = Instant::now();
    let mut pause = POLL_INTERVAL_MIN;
    for look in 1.. {
        match attempt() {
            Ok(value) => return value,
            Err(why) => assert!(
                begin.elapsed() < limit,
                "waited {limit:?} for: {what}\nlast, at look {look} after {:?}: {why}",
                begin.elapsed()
            ),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(POLL_INTERVAL_MAX);
    }
    unreachable!("the loop ends in a return or a panic")
}
