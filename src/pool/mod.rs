//! Pools: which backends there are, which of them can take a session, and who gets the next one.
//!
//! A pool's backends never move once it is built; a reload builds a new pool, with the backends that
//! stay. What changes is what is *published* about them: whoever writes what is known or wanted of a
//! backend then publishes a new rotation of those that can serve; sessions look at the rotation,
//! pick, and hold a [`Lease`] until they end.

mod backend;
mod lease;

pub use backend::{AgentReport, Backend, Condition, Counts};
pub use lease::Lease;

use std::sync::Arc;

use crate::config::{self, WhenDown};
use crate::policy::balance::{Choice, Rotation};
use crate::policy::eligible::{self, Mode, Rules, Standing};
use crate::policy::health::{Health, is_probed};
use crate::policy::splitmix;
use crate::sync::{Mutex, Published, Ticket};

/// A named set of backends with one balancing policy.
#[derive(Debug)]
pub struct Pool {
    /// As it was configured.
    pub config: config::Pool,
    /// Its name, which is unique among the pools.
    pub name: Arc<str>,
    /// In the order of the config; a backend's index here is its name in rotations and picks.
    pub backends: Vec<Arc<Backend>>,
    /// Who can take a session. Written by [`Pool::publish`]; read by every pick. A lock around a
    /// snapshot, because readers need the members and their order to be of one moment.
    members: Published<Members>,
    /// How the pool stood when that was last reported. Held while members are chosen and published, so
    /// that of two at once the one that looked later is not overwritten by the other.
    reported: Mutex<Mode>,
    /// Goes on from one pool to the one that replaces it.
    sequence: Arc<Sequence>,
}

/// Who can take a session.
#[derive(Debug, Default)]
struct Members {
    rotation: Rotation,
    /// For a session that has tried all of the rotation in vain.
    in_reserve: Rotation,
    mode: Mode,
}

/// Where the picks of a pool have got to.
#[derive(Debug)]
struct Sequence {
    /// One for each first pick of a session, so that the rotation goes on from session to session.
    first_tickets: Ticket,
    /// Where the random sequences start.
    random_seed: u64,
}

impl Pool {
    /// A pool in which nobody can take a session until the first [`Pool::publish`].
    pub fn new(config: &config::Pool, backends: Vec<Arc<Backend>>, random_seed: u64) -> Pool {
        let sequence = Arc::new(Sequence {
            first_tickets: Ticket::default(),
            random_seed,
        });
        Pool::build(config, backends, sequence)
    }

    /// The pool that takes the place of this one: picks go on where they are. Nobody can take a session until
    /// its first [`Pool::publish`].
    pub fn replaced_by(&self, config: &config::Pool, backends: Vec<Arc<Backend>>) -> Pool {
        Pool::build(config, backends, Arc::clone(&self.sequence))
    }

    fn build(config: &config::Pool, backends: Vec<Arc<Backend>>, sequence: Arc<Sequence>) -> Pool {
        Pool {
            config: config.clone(),
            name: config.name.as_str().into(),
            backends,
            members: Published::new(Members::default()),
            reported: Mutex::default(),
            sequence,
        }
    }

    /// Builds the rotation anew from what is known and wanted of the backends. Called by the health
    /// thread and by the one that makes changes. Says how the pool stood and stands, if that has changed.
    pub fn publish(&self) -> Option<(Mode, Mode)> {
        let mut reported = self.reported.lock();
        let standings: Vec<Standing> = self.backends.iter().map(|one| one.standing()).collect();
        let rules = Rules {
            panic_threshold: self.config.panic_threshold,
            fail_open: self.config.when_down == WhenDown::FailOpen,
        };
        let chosen = eligible::choose(&standings, rules);
        self.members.store(Members {
            rotation: Rotation::new(&chosen.members),
            in_reserve: Rotation::new(&chosen.in_reserve),
            mode: chosen.mode,
        });
        // While first probes are on their way, who happened to answer first means nothing.
        let is_undecided = |one: &Arc<Backend>| {
            one.health() == Health::Starting && is_probed(one.intent().effective().state)
        };
        if chosen.mode == *reported || self.backends.iter().any(is_undecided) {
            return None;
        }
        Some((std::mem::replace(&mut *reported, chosen.mode), chosen.mode))
    }

    /// How it stands now.
    pub fn mode(&self) -> Mode {
        self.members.with(|members| members.mode)
    }

    /// Picks a backend that is not in `tried` and counts the session on it, in one step: of a burst
    /// of clients, each sees the sessions of those before it. `None`: there is none to pick.
    pub fn lease(&self, tried: &[usize]) -> Option<Lease> {
        // A pick after a failure takes its ticket from the backend that failed, so that the sessions
        // of a dead backend are dealt out to the others in turn; from the common sequence they would
        // all go to its neighbour.
        let failed = tried.last().copied();
        let ticket = failed
            .and_then(|index| self.backends.get(index))
            .map_or(&self.sequence.first_tickets, |backend| {
                &backend.retry_tickets
            })
            .take();
        self.members.with(|members| {
            let first = self.pick(&members.rotation, tried, ticket);
            match tried {
                [] => first,
                _ => first.or_else(|| self.pick(&members.in_reserve, tried, ticket)),
            }
        })
    }

    fn pick(&self, rotation: &Rotation, tried: &[usize], ticket: u64) -> Option<Lease> {
        // Each kind of ticket has a random sequence of its own.
        let kind = tried.last().map_or(0, |index| *index as u64 + 1);
        let seed = splitmix::nth(self.sequence.random_seed, kind);
        loop {
            let pick = (self.config.balance.pick)(&Choice {
                rotation,
                active: &|index| self.active(index),
                tried,
                ticket,
                random: splitmix::nth(seed, ticket),
            })?;
            let backend = self.backends.get(pick.backend)?;
            match pick.seen {
                None => backend.active.claim(),
                Some(seen) if backend.active.claim_if(seen) => {}
                // Another session was faster, so this choice rests on a count that is no more.
                // It got its backend, so somebody always gets on: nobody can be kept out for ever
                // except by others that are served.
                Some(_) => continue,
            }
            return Some(Lease::new(Arc::clone(backend), pick.backend));
        }
    }

    /// What a pick would look at if it came now, for whoever explains it; no ticket is taken.
    pub fn peek<R>(&self, look: impl FnOnce(&Choice<'_>) -> R) -> R {
        let ticket = self.sequence.first_tickets.next();
        let seed = splitmix::nth(self.sequence.random_seed, 0);
        self.members.with(|members| {
            look(&Choice {
                rotation: &members.rotation,
                active: &|index| self.active(index),
                tried: &[],
                ticket,
                random: splitmix::nth(seed, ticket),
            })
        })
    }

    fn active(&self, index: usize) -> u32 {
        let backend = self.backends.get(index);
        backend.map_or(0, |backend| backend.active.get())
    }

    /// How many backends are up.
    pub fn up_count(&self) -> usize {
        self.backends
            .iter()
            .filter(|backend| backend.health() == Health::Up)
            .count()
    }

    /// Has it a backend that can take a session now?
    pub fn can_serve(&self) -> bool {
        self.members.with(|members| !members.rotation.is_empty())
    }
}
