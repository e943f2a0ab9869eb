//! Pools: which backends there are, which of them can take a session, and who gets the next one.
//!
//! A pool's backends never move once it is built. What changes is what is *published* about them:
//! the health thread writes a backend's [`Condition`] and then publishes a new rotation of those
//! that can serve; sessions load the rotation, pick, and hold a [`Lease`] until they end.

mod backend;
mod lease;

pub use backend::{Backend, Condition};
pub use lease::Lease;

use std::sync::Arc;

use crate::config::{self, WhenDown};
use crate::policy::balance::{Choice, Policy, Rotation};
use crate::policy::health::Health;
use crate::policy::splitmix;
use crate::sync::{Published, Ticket};

/// A named set of backends with one balancing policy.
#[derive(Debug)]
pub struct Pool {
    /// Unique among the pools.
    pub name: Arc<str>,
    /// Further attempts to connect after the first.
    pub retries: u32,
    /// What a client gets when no backend can take it.
    pub when_down: WhenDown,
    /// In the order of the config; a backend's index here is its name in rotations and picks.
    pub backends: Vec<Arc<Backend>>,
    balance: &'static Policy,
    /// Who can take a session. Written by [`Pool::publish`]; read by every pick. A lock around a
    /// snapshot, because readers need the members and their order to be of one moment.
    rotation: Published<Rotation>,
    /// One for each first pick of a session, so that the rotation goes on from session to session.
    first_tickets: Ticket,
    /// Steps of the random sequence, and where it starts.
    random_steps: Ticket,
    random_seed: u64,
}

impl Pool {
    /// A pool in which nobody can take a session until the first [`Pool::publish`].
    pub fn new(config: &config::Pool, backends: Vec<Arc<Backend>>, random_seed: u64) -> Pool {
        Pool {
            name: config.name.as_str().into(),
            retries: config.retries,
            when_down: config.when_down,
            backends,
            balance: config.balance,
            rotation: Published::new(Rotation::new(&[])),
            first_tickets: Ticket::default(),
            random_steps: Ticket::default(),
            random_seed,
        }
    }

    /// Builds the rotation anew from what is known of the backends. Called once before
    /// the pool is shared, and then by the health thread only, so that a newer state is never overwritten by an older one.
    pub fn publish(&self) {
        let members: Vec<(usize, u32)> = self
            .backends
            .iter()
            .enumerate()
            .filter(|(_, backend)| backend.takes_sessions())
            .map(|(index, backend)| (index, backend.weight))
            .collect();
        self.rotation.store(Rotation::new(&members));
    }

    /// Picks a backend that is not in `tried` and counts the session on it, in one step: of a burst
    /// of clients, each sees the sessions of those before it. `None`: there is none to pick.
    pub fn lease(&self, tried: &[usize]) -> Option<Lease> {
        let rotation = self.rotation.load();
        // A pick after a failure takes its ticket from the backend that failed, so that the sessions
        // of a dead backend are dealt out to the others in turn; from the common sequence they would
        // all go to its neighbour.
        let failed = tried.last().and_then(|index| self.backends.get(*index));
        let ticket = failed
            .map_or(&self.first_tickets, |backend| &backend.retry_tickets)
            .take();
        loop {
            let pick = (self.balance.pick)(&Choice {
                rotation: &rotation,
                active: &|index| {
                    self.backends
                        .get(index)
                        .map_or(0, |backend| backend.active.get())
                },
                tried,
                ticket,
                random: splitmix::nth(self.random_seed, self.random_steps.take()),
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

    /// How many backends are up.
    pub fn up_count(&self) -> usize {
        self.backends
            .iter()
            .filter(|backend| backend.condition().health == Health::Up)
            .count()
    }
}
