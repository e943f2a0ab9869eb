//! Who is ejected because real connections fail, and until when. Owned by the health thread, which acts
//! on what sessions report.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::events::Ejection;
use crate::policy::health::Health;
use crate::policy::outlier::History;
use crate::pool::{Backend, Condition, Pool};

/// A backend to which connections failed in a row.
#[derive(Debug)]
pub struct Suspect {
    /// Its pool.
    pub pool: Arc<Pool>,
    /// The backend.
    pub backend: Arc<Backend>,
    /// How many failed.
    pub failures: u32,
    /// How the last one did.
    pub error: String,
}

/// The backends that are or were ejected.
#[derive(Debug, Default)]
pub(super) struct Ejections {
    /// By [`key`].
    all: HashMap<usize, Entry>,
}

/// What tells a backend from every other: where it is. It stays there while an entry owns it.
fn key(backend: &Arc<Backend>) -> usize {
    Arc::as_ptr(backend).addr()
}

#[derive(Debug)]
struct Entry {
    pool: Arc<Pool>,
    backend: Arc<Backend>,
    history: History,
    is_out: bool,
}

impl Ejections {
    /// Ejects the backend if it is up and its pool can spare it.
    pub(super) fn eject(
        &mut self,
        suspect: Suspect,
        now: Duration,
    ) -> Option<(Arc<Pool>, Ejection)> {
        let pool = suspect.pool.latest();
        let rules = pool.config.outlier_detection.as_ref()?;
        let is_there = |one: &Arc<Backend>| Arc::ptr_eq(one, &suspect.backend);
        if suspect.backend.health() != Health::Up || !pool.backends.iter().any(is_there) {
            return None;
        }
        // Not those that are published as ejected: of one that is down as well, that is said first, and it is
        // ejected again as soon as it is up.
        let is_out =
            |one: &&Arc<Backend>| self.all.get(&key(one)).is_some_and(|entry| entry.is_out);
        let out = pool.backends.iter().filter(is_out).count();
        // Drained, down or of weight 0, the others are of no use to a client: whom they would leave without a
        // backend is better served by one that fails now and then.
        let serves_too =
            |one: &Arc<Backend>| !Arc::ptr_eq(one, &suspect.backend) && one.takes_sessions();
        if !rules.has_room(out, pool.backends.len()) || !pool.backends.iter().any(serves_too) {
            return None;
        }
        let entry = self
            .all
            .entry(key(&suspect.backend))
            .or_insert_with(|| Entry {
                pool: Arc::clone(&pool),
                backend: Arc::clone(&suspect.backend),
                history: History::default(),
                is_out: false,
            });
        entry.pool = Arc::clone(&pool);
        entry.is_out = true;
        let lasts = entry.history.eject(now, rules).saturating_sub(now);
        let reason = format!(
            "{} connections in a row failed: {}",
            suspect.failures, suspect.error
        );
        let condition = Condition::new(Health::Ejected, &reason);
        entry.backend.counts.ejections.increment();
        entry.backend.set_ejection(Some(condition));
        Some((pool, entry.event(Some(lasts), reason)))
    }

    /// Lets a backend in again that a probe has found well.
    pub(super) fn found_well(
        &mut self,
        backend: &Arc<Backend>,
        now: Duration,
    ) -> Option<(Arc<Pool>, Ejection)> {
        let entry = self.all.get_mut(&key(backend))?;
        entry.let_in(now, "a probe has found it well")
    }

    /// Lets those in again whose time is over.
    pub(super) fn let_in_due(&mut self, now: Duration) -> Vec<(Arc<Pool>, Ejection)> {
        let due = |entry: &&mut Entry| entry.is_out && entry.history.until() <= now;
        let entries = self.all.values_mut().filter(due);
        entries
            .filter_map(|entry| entry.let_in(now, "its time is over"))
            .collect()
    }

    /// Lets those in again that probes find well, if nobody else of the pool takes clients by now: the others
    /// may have been drained, or gone down.
    pub(super) fn spare(&mut self, pool: &Pool, now: Duration) -> Vec<Ejection> {
        if pool.backends.iter().any(|one| one.takes_sessions()) {
            return Vec::new();
        }
        let is_of = |entry: &&mut Entry| {
            entry.pool.name == pool.name && entry.backend.found().health == Health::Up
        };
        let entries = self.all.values_mut().filter(is_of);
        entries
            .filter_map(|entry| entry.let_in(now, "nobody else can serve"))
            .map(|(_, ejection)| ejection)
            .collect()
    }

    /// When the next one is let in again.
    pub(super) fn next(&self) -> Option<Duration> {
        let out = self.all.values().filter(|entry| entry.is_out);
        out.map(|entry| entry.history.until()).min()
    }

    /// Forgets those that are in none of these pools, lets those in again of which a config says now that
    /// nobody is ejected, and goes by these pools from now on.
    pub(super) fn keep(&mut self, pools: &[Arc<Pool>]) {
        let homes: HashMap<usize, &Arc<Pool>> = pools
            .iter()
            .flat_map(|pool| pool.backends.iter().map(move |one| (key(one), pool)))
            .collect();
        self.all.retain(|key, entry| match homes.get(key) {
            Some(pool) if pool.config.outlier_detection.is_some() => {
                entry.pool = Arc::clone(pool);
                true
            }
            _ => {
                entry.backend.set_ejection(None);
                false
            }
        });
    }
}

impl Entry {
    fn let_in(&mut self, now: Duration, reason: &str) -> Option<(Arc<Pool>, Ejection)> {
        if !std::mem::replace(&mut self.is_out, false) {
            return None;
        }
        self.history.end(now);
        self.backend.failures.end();
        self.backend.set_ejection(None);
        // Of one that probes have found dead meanwhile, the end of its ejection is no news.
        let is_news = self.backend.health() == Health::Up;
        is_news.then(|| (Arc::clone(&self.pool), self.event(None, reason.to_owned())))
    }

    /// `lasts`: for so long it is out from now on; `None`: it is in again.
    fn event(&self, lasts: Option<Duration>, reason: String) -> Ejection {
        Ejection {
            pool: Arc::clone(&self.pool.name),
            backend: Arc::clone(&self.backend.name),
            address: self.backend.address.clone(),
            lasts,
            reason,
            health: self.backend.health(),
            up_count: self.pool.up_count(),
            total: self.pool.backends.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::policy::health::AdminState;
    use crate::pool::AgentReport;
    use std::net::SocketAddr;

    fn suspect(pool: &Arc<Pool>, at: usize) -> Suspect {
        Suspect {
            pool: Arc::clone(pool),
            backend: Arc::clone(&pool.backends[at]),
            failures: 3,
            error: "refused".to_owned(),
        }
    }

    /// Backends of weight 1 that are up.
    fn backends(count: u16) -> Vec<Arc<Backend>> {
        let backend = |port: u16| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let (name, state) = (port.to_string(), AdminState::Ready);
            Arc::new(Backend::new(&name, address, 1, state, Health::Up))
        };
        (1..=count).map(backend).collect()
    }

    #[test]
    fn the_last_one_that_can_serve_is_not_ejected_whatever_keeps_the_others_from_it() {
        let pool = config::Pool::new("p", Vec::new());
        let pool = Arc::new(Pool::new(&pool, backends(2), 1));
        let other = &pool.backends[1];
        let ask = |state| other.change_intent(|intent| intent.asked(None, Some(state)));
        let find = |health| other.set_condition(Condition::new(health, "as the test wants it"));
        let ejects = || {
            let now = Duration::from_secs(9);
            let ejected = Ejections::default().eject(suspect(&pool, 0), now);
            pool.backends[0].set_ejection(None);
            ejected.is_some()
        };
        for state in [AdminState::Drain, AdminState::Maintenance] {
            let _ = ask(state);
            assert!(!ejects(), "{state:?}");
        }
        let _ = ask(AdminState::Ready);
        for health in [Health::Starting, Health::Down] {
            find(health);
            assert!(!ejects(), "{health:?}");
        }
        find(Health::Up);
        assert!(ejects());
    }

    #[test]
    fn who_is_ejected_serves_rather_than_nobody() {
        let pool = config::Pool::new("p", Vec::new());
        let pool = Arc::new(Pool::new(&pool, backends(2), 1));
        let (mut ejections, now) = (Ejections::default(), Duration::from_secs(9));
        assert!(ejections.eject(suspect(&pool, 0), now).is_some());
        assert!(ejections.spare(&pool, now).is_empty());
        let other = &pool.backends[1];
        let _ = other.change_intent(|intent| intent.asked(None, Some(AdminState::Drain)));
        let back = ejections.spare(&pool, now);
        assert_eq!(back.len(), 1);
        assert_eq!((&*back[0].backend, back[0].lasts), ("1", None));
        assert!(pool.backends[0].takes_sessions());
        assert!(ejections.spare(&pool, now).is_empty(), "told once");
    }

    /// A backend's agent says that it is down while it is ejected, and takes that back while two others are
    /// out: three of four would be, where two may.
    #[test]
    fn who_is_down_as_well_counts_as_ejected() {
        let mut config = config::Pool::new("p", Vec::new());
        if let Some(rules) = &mut config.outlier_detection {
            rules.max_ejection_percent = 50;
        }
        let pool = Arc::new(Pool::new(&config, backends(4), 1));
        let (mut ejections, now) = (Ejections::default(), Duration::from_secs(9));
        assert!(ejections.eject(suspect(&pool, 0), now).is_some());
        pool.backends[0].set_agent_report(Some(AgentReport {
            line: "down".into(),
            down: Some(Condition::new(Health::Down, "down")),
        }));
        assert!(ejections.eject(suspect(&pool, 1), now).is_some());
        assert!(ejections.eject(suspect(&pool, 2), now).is_none());
        pool.backends[0].set_agent_report(None);
        let is_out = |one: &&Arc<Backend>| one.health() == Health::Ejected;
        assert_eq!(pool.backends.iter().filter(is_out).count(), 2);
    }
}
