//! One server address behind the balancer: what is wanted of it, what is known, what was counted.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::policy::address::Address;
use crate::policy::eligible::Standing;
use crate::policy::health::{self, AdminState, Health};
use crate::policy::intent::{Intent, Wish};
use crate::sync::{Active, Counter, Histogram, Queue, RwLock, Setting, Streak, Ticket};

/// A backend. Shared by its pool, the health thread and the leases on it; a reload that still has
/// it takes it over as it is, with its health and its counts.
#[derive(Debug)]
pub struct Backend {
    /// Unique within the pool.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: Address,
    /// What the administrator and its agent want of it. Written by the thread that makes all changes
    /// and by the health thread; read by whoever builds a rotation or reports. A lock and not atomics,
    /// because weight and state are asked for together; changed in place, so that neither writer undoes
    /// what the other has just written.
    intent: RwLock<Intent>,
    /// What is known of its health. Written by the health thread; read by whoever builds a rotation
    /// or reports. A lock and not an atomic, because state and reason belong together.
    known: RwLock<Known>,
    /// Connections to it that failed in a row. Written by the sessions that were to use it, ended by the
    /// health thread too.
    pub failures: Streak,
    /// Sessions that hold it now.
    pub active: Active,
    /// How many may; [`NO_LIMIT`] is any number. Written by the thread that makes all changes; read by
    /// every pick, and by the end of every lease.
    limit: Setting,
    /// Where those wait who find it full. Written by the thread that makes all changes, when it builds
    /// a pool with the backend in it; read when a lease on a backend with a limit ends. A lock, because
    /// the queue of a pool that is gone is replaced.
    queue: RwLock<Arc<Queue>>,
    /// One for each pick of another backend after this one failed.
    pub retry_tickets: Ticket,
    /// What was counted.
    pub counts: Counts,
}

/// The setting that stands for no limit.
const NO_LIMIT: u32 = u32::MAX;

/// What is counted of a backend, since it came into the config. Written by the sessions that have
/// to do with it, and the bytes by the reaper too; read by whoever reports.
#[derive(Debug, Default)]
pub struct Counts {
    /// Sessions that were connected to it.
    pub connected: Counter,
    /// Attempts to connect to it that it refused.
    pub refused: Counter,
    /// Attempts to connect to it that took too long.
    pub timed_out: Counter,
    /// Attempts to connect to it that failed otherwise.
    pub failed: Counter,
    /// How often it was ejected.
    pub ejections: Counter,
    /// How long a connection to it took, of those that were made.
    pub connect_time: Histogram,
    /// Bytes from clients to it.
    pub bytes_in: Counter,
    /// Bytes from it to clients.
    pub bytes_out: Counter,
}

impl Counts {
    /// Attempts to connect that failed, for whatever reason.
    pub fn connect_failures(&self) -> u64 {
        self.refused.get() + self.timed_out.get() + self.failed.get()
    }
}

/// What is known of a backend's health, and from whom.
#[derive(Debug)]
struct Known {
    /// What the probes found.
    probed: Condition,
    /// What its agent has said; `None`: nothing, or it has no agent.
    agent: Option<AgentReport>,
    /// What real connections that failed have shown, while it is ejected for that.
    ejection: Option<Condition>,
    /// When it was well again after it had failed; `None`: it never failed.
    recovered: Option<Instant>,
}

/// What the agent of a backend has said.
#[derive(Debug, Clone)]
pub struct AgentReport {
    /// Its last line that meant something.
    pub line: Arc<str>,
    /// How it says that the backend does, if it says that it does badly.
    pub down: Option<Condition>,
}

/// What is known of a backend's health.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Up, down, ejected, or not known yet.
    pub health: Health,
    /// What the probe, the agent or the connection that decided found.
    pub reason: Arc<str>,
    /// Since when it is so.
    pub since: SystemTime,
}

impl Known {
    fn condition(&self) -> &Condition {
        let found = self.found();
        match (found.health, &self.ejection) {
            (Health::Up, Some(ejection)) => ejection,
            _ => found,
        }
    }

    fn found(&self) -> &Condition {
        let agent = self.agent.as_ref();
        agent
            .and_then(|report| report.down.as_ref())
            .unwrap_or(&self.probed)
    }
}

impl Condition {
    /// From now on.
    pub fn new(health: Health, reason: &str) -> Condition {
        Condition {
            health,
            reason: reason.into(),
            since: SystemTime::now(),
        }
    }

    /// Of a backend that has not been probed, in the health that it has until it is. Who is never probed
    /// counts as up.
    pub fn unprobed(health: Health) -> Condition {
        let reason = match health {
            Health::Up => "not probed: health_check is off",
            _ => "not probed yet",
        };
        Condition::new(health, reason)
    }
}

impl Backend {
    /// A backend in the given health; `Starting` takes no session until a probe decides.
    pub fn new(
        name: &str,
        address: impl Into<Address>,
        weight: u32,
        state: AdminState,
        health: Health,
    ) -> Backend {
        Backend {
            name: name.into(),
            address: address.into(),
            intent: RwLock::new(Intent::new(Wish {
                weight,
                state,
                backup: false,
            })),
            known: RwLock::new(Known {
                probed: Condition::unprobed(health),
                agent: None,
                ejection: None,
                recovered: None,
            }),
            failures: Streak::default(),
            active: Active::default(),
            limit: Setting::new(NO_LIMIT),
            queue: RwLock::new(Arc::default()),
            retry_tickets: Ticket::default(),
            counts: Counts::default(),
        }
    }

    /// What is wanted of it now.
    pub fn intent(&self) -> Intent {
        *self.intent.read()
    }

    /// Changes what is wanted of it; says what it was before, and what it is now.
    pub fn change_intent(&self, change: impl FnOnce(Intent) -> Intent) -> (Intent, Intent) {
        let mut intent = self.intent.write();
        let before = *intent;
        *intent = change(before);
        (before, *intent)
    }

    /// What is known of its health now. That connections fail is known of a backend only that probes find
    /// well: of another one, what they find counts more.
    pub fn condition(&self) -> Condition {
        self.known.read().condition().clone()
    }

    /// Its health now.
    pub fn health(&self) -> Health {
        self.known.read().condition().health
    }

    /// What its probes and its agent say, whatever happens to connections.
    pub fn found(&self) -> Condition {
        self.known.read().found().clone()
    }

    /// Ejects it, or lets it in again. Called by the health thread only.
    pub fn set_ejection(&self, ejection: Option<Condition>) {
        let _old = self.learn(|known| std::mem::replace(&mut known.ejection, ejection));
    }

    /// When it was well again after it had failed.
    pub fn recovered(&self) -> Option<Instant> {
        self.known.read().recovered
    }

    /// What its agent has said.
    pub fn agent_report(&self) -> Option<AgentReport> {
        self.known.read().agent.clone()
    }

    /// Writes what the probes found. Called by the health thread only.
    pub fn set_condition(&self, condition: Condition) {
        let _old = self.learn(|known| std::mem::replace(&mut known.probed, condition));
    }

    /// Writes what its agent has said. Called by the health thread only.
    pub fn set_agent_report(&self, report: Option<AgentReport>) {
        let _old = self.learn(|known| std::mem::replace(&mut known.agent, report));
    }

    /// Writes something that is known now, and what follows from it. What was known is given back, so that it
    /// is freed after the lock is released.
    fn learn<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.write();
        let before = known.condition().health;
        let old = change(&mut known);
        let has_failed = matches!(before, Health::Down | Health::Ejected);
        if has_failed && known.condition().health == Health::Up {
            known.recovered = Some(Instant::now());
        }
        old
    }

    /// How many sessions may hold it at once.
    pub fn limit(&self) -> Option<u32> {
        Some(self.limit.get()).filter(|limit| *limit != NO_LIMIT)
    }

    /// Writes how many may. Called by the thread that makes all changes only.
    pub fn set_limit(&self, limit: Option<u32>) {
        self.limit.set(limit.unwrap_or(NO_LIMIT));
    }

    /// Has it all the sessions that it may have?
    pub fn is_full(&self) -> bool {
        self.active.get() >= self.limit.get()
    }

    /// Where those wait who find it full.
    pub(super) fn set_queue(&self, queue: &Arc<Queue>) {
        *self.queue.write() = Arc::clone(queue);
    }

    /// Counts one more session on it, of a policy that has `seen` so many there, or did not look.
    /// Whether it did: not if the number has moved meanwhile, or if there are as many as may be.
    pub(super) fn claim(&self, seen: Option<u32>) -> bool {
        match (seen, self.limit()) {
            (None, None) => {
                self.active.claim();
                true
            }
            (None, Some(limit)) => self.active.claim_below(limit),
            (Some(seen), limit) => {
                limit.is_none_or(|limit| seen < limit) && self.active.claim_if(seen)
            }
        }
    }

    /// Counts one session less, and has the first of those who wait for that look.
    pub(super) fn release(&self) {
        self.active.release();
        // Nobody waits for a backend that takes any number. A limit that comes with a reload at this
        // very moment may be missed: who waits looks again by itself before long.
        if self.limit().is_some() {
            let queue = Arc::clone(&self.queue.read());
            queue.wake();
        }
    }

    /// How it stands in its pool.
    pub fn standing(&self) -> Standing {
        let Wish {
            weight,
            state,
            backup,
        } = self.intent().effective();
        Standing {
            // Were it up, could it take a session?
            wanted: health::takes_sessions(Health::Up, state, weight).then_some(weight),
            is_well: self.health() == Health::Up,
            backup,
        }
    }

    /// May it take a new session, as far as it is up to this backend alone? The truth table stands in
    /// [`crate::policy::health`].
    pub fn takes_sessions(&self) -> bool {
        let standing = self.standing();
        standing.is_well && standing.wanted.is_some()
    }
}
