//! Health checks: the checker thread decides when to probe and publishes what came of it; each
//! probe runs on a thread of its own, so that one black-holed backend delays no other.

mod agenda;
mod checker;
mod ejections;
mod probe;
mod target;

pub use checker::{Channels, Checker};
pub use ejections::Suspect;
pub use target::{All, Order, Target};

use std::sync::Arc;

use crate::events::Event;
use crate::log::Log;
use crate::pool::Pool;

/// Publishes who serves a pool, and tells the log and the caller if it is served otherwise now.
pub fn publish(pool: &Pool, log: &Log) -> bool {
    let Some((old, new)) = pool.publish() else {
        return false;
    };
    let pool = Arc::clone(&pool.name);
    log.send(Event::PoolMode { pool, old, new });
    true
}
