//! Health checks: the checker thread decides when to probe and publishes what came of it; each
//! probe runs on a thread of its own, so that one black-holed backend delays no other.
//!
//! At most [`PROBES_AT_ONCE`] of them run at once. So n backends are probed on time as long as n times
//! the mean length of a probe is less than that many intervals: with 96 at once and an interval of 2 s,
//! 10,000 backends that answer within 19 ms; or 192 that do not answer, with a timeout of 1 s. What is
//! beyond that is probed less often, everybody in turn, and the log says so.

mod agenda;
mod agent;
mod checker;
mod ejections;
mod findings;
mod lateness;
mod news;
mod probe;
mod question;
mod target;

pub use checker::{Channels, Checker};
pub use ejections::Suspect;
pub use target::{All, Order, Target};

use std::sync::Arc;

use crate::events::Serving;
#[cfg(doc)]
use crate::limits::PROBES_AT_ONCE;
use crate::log::Log;
use crate::pool::Pool;

/// Publishes who serves a pool, and tells the log and the caller if it is served otherwise now.
pub fn publish(pool: &Pool, log: &Log) -> bool {
    let Some((old, new)) = pool.publish() else {
        return false;
    };
    let pool = Arc::clone(&pool.name);
    log.send(Serving::Pool { pool, old, new });
    true
}
