//! Backends that a reload, or another answer for their name, has taken out: their sessions may go on until
//! a deadline, and those that are idle are closed before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::build::Draft;
use super::{Server, plan};
use crate::closer;
use crate::config::Config;
use crate::control::{Leaving, Running};
use crate::events::{Changed, EndReason};
use crate::pool::Backend;

/// How often backends that have left are looked at once their time is over, for sessions that were
/// connecting at that moment.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Server {
    /// Aborts the sessions of backends that are in the config no more and whose time is over; says
    /// when to look again.
    pub(super) fn see_off(&mut self) -> Option<Instant> {
        let running = self.control.running.load();
        self.close_idle_of(&running.leaving);
        if running.leaving.is_empty() {
            return None;
        }
        let now = Instant::now();
        let mut next = None;
        let mut leaving = running.leaving.clone();
        leaving.retain(|one| one.backend.active.get() > 0 || one.remembered);
        for one in leaving.iter().filter(|one| one.backend.active.get() > 0) {
            let Some(until) = one.until else { continue };
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                self.abort_leaving(one);
            }
            let wait = if left.is_zero() { LOOK_AGAIN } else { left };
            next = next.into_iter().chain([wait]).min();
        }
        if leaving.len() != running.leaving.len() {
            self.control.running.store(Running {
                leaving,
                ..Running::clone(&running)
            });
        }
        next.map(|wait| Instant::now() + wait)
    }

    /// Resets the sessions of a backend that has gone down, in a pool with `on_down: close`.
    pub(super) fn abort_sessions_of(&self, backend: &Arc<Backend>) {
        closer::reset_all_of(&self.control.registry, backend, EndReason::BackendDown);
    }

    fn abort_leaving(&self, leaving: &Leaving) {
        let registry = &self.control.registry;
        let sessions = closer::reset_all_of(registry, &leaving.backend, EndReason::Removed);
        if sessions > 0 {
            self.log.send(Changed::LeavingAborted {
                pool: Arc::clone(&leaving.pool),
                backend: Arc::clone(&leaving.backend.name),
                sessions,
            });
        }
    }
}

/// Backends that are in no pool any more and still have sessions, with those that left earlier.
pub(super) fn leaving(running: &Running, draft: &Draft, config: &Config) -> Vec<Leaving> {
    let until = config
        .shutdown
        .drain_timeout
        .map(|timeout| Instant::now() + timeout);
    let left = plan::removed(running, draft).map(|(pool, backend)| Leaving {
        pool: Arc::clone(pool),
        backend: Arc::clone(backend),
        until,
        remembered: false,
    });
    let is_back = |one: &&Leaving| {
        let mut backends = draft.pools.iter().flat_map(|pool| &pool.backends);
        backends.any(|backend| Arc::ptr_eq(backend, &one.backend))
    };
    let earlier = running.leaving.iter().filter(|one| !is_back(one)).cloned();
    let mut leaving: Vec<Leaving> = earlier.chain(left).collect();
    for one in &mut leaving {
        one.remembered = one.backend.intent().is_overridden() && may_be_back(one, config);
    }
    leaving
}

/// Is it an address of a name that is watched for its pool?
pub(super) fn may_be_back(leaving: &Leaving, config: &Config) -> bool {
    let pools = config.pools.iter();
    let of_pool = pools.filter(|pool| *pool.name == *leaving.pool);
    of_pool.flat_map(|pool| &pool.backends).any(|entry| {
        let of_entry = leaving.backend.name.strip_prefix(&*entry.name);
        entry.resolve_interval.is_some() && of_entry.is_some_and(|rest| rest.starts_with('@'))
    })
}
