//! From the config to pools and backends, with those that are there already, and to what is probed.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::config::{self, Config};
use crate::control::{Addresses, Running};
use crate::health::{All, Target};
use crate::policy::address::Address;
use crate::policy::health::{Health, is_probed};
use crate::policy::intent::{Intent, Wish};
use crate::pool::{Backend, Condition, Pool};

/// The pools of a config, before they are in force.
#[derive(Debug)]
pub(super) struct Draft {
    /// In the order of the config. A pool in which nothing has changed is the old one.
    pub(super) pools: Vec<Arc<Pool>>,
    /// What the config wants of each backend.
    pub(super) wishes: Vec<Wanted>,
}

/// What the config wants of a backend.
#[derive(Debug)]
pub(super) struct Wanted {
    backend: Arc<Backend>,
    wish: Wish,
    limit: Option<u32>,
}

impl Wanted {
    /// Makes it so.
    pub(super) fn put_in_force(&self) {
        let Wanted {
            backend,
            wish,
            limit,
        } = self;
        backend.change_intent(|intent| intent.reloaded(*wish));
        backend.set_limit(*limit);
    }
}

impl Draft {
    /// What the config wants of this backend, if it has it.
    pub(super) fn wish_of(&self, backend: &Arc<Backend>) -> Option<Wish> {
        let mut wishes = self.wishes.iter();
        let found = wishes.find(|wanted| Arc::ptr_eq(&wanted.backend, backend));
        found.map(|wanted| wanted.wish)
    }

    /// Is nothing in it but what is running?
    pub(super) fn is_of(&self, running: &Running) -> bool {
        let mut pairs = self.pools.iter().zip(&running.pools);
        self.pools.len() == running.pools.len() && pairs.all(|(new, old)| Arc::ptr_eq(new, old))
    }
}

/// A different start of the random sequences in each process, from std's own source of randomness.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// Builds the pools, with every address that a backend's name stands for. A backend that is running
/// under the same names at the same address is taken over.
pub(super) fn draft(config: &Config, addresses: &Addresses, running: &Running) -> Draft {
    let mut draft = Draft {
        pools: Vec::new(),
        wishes: Vec::new(),
    };
    for config in &config.pools {
        let pool = build_pool(config, addresses, running, &mut draft.wishes);
        draft.pools.push(pool);
    }
    draft
}

fn build_pool(
    config: &config::Pool,
    addresses: &Addresses,
    running: &Running,
    wishes: &mut Vec<Wanted>,
) -> Arc<Pool> {
    let health = match config.health_check {
        Some(_) => Health::Starting,
        None => Health::Up,
    };
    let mut backends = Vec::new();
    for of_config in &config.backends {
        let wish = Wish {
            weight: of_config.weight,
            state: of_config.state,
            backup: of_config.backup,
        };
        for (name, address) in addresses.of(of_config) {
            let backend = find(running, &config.name, &name, &address).unwrap_or_else(|| {
                let Wish { weight, state, .. } = wish;
                let backend = Backend::new(&name, address, weight, state, health);
                backend.change_intent(|_| Intent::new(wish));
                Arc::new(backend)
            });
            wishes.push(Wanted {
                backend: Arc::clone(&backend),
                wish,
                limit: of_config.max_connections,
            });
            backends.push(backend);
        }
    }
    match running.pool(&config.name) {
        Some(old) if old.config == *config && same(&old.backends, &backends) => Arc::clone(old),
        Some(old) => Arc::new(old.replaced_by(config, backends)),
        None => Arc::new(Pool::new(config, backends, seed())),
    }
}

/// A backend that is running, or that was taken out and still has sessions.
fn find(running: &Running, pool: &str, name: &str, address: &Address) -> Option<Arc<Backend>> {
    let in_pool = running
        .pool(pool)
        .into_iter()
        .flat_map(|pool| &pool.backends);
    let leaving = running
        .leaving
        .iter()
        .filter(|leaving| *leaving.pool == *pool)
        .map(|leaving| &leaving.backend);
    in_pool
        .chain(leaving)
        .find(|backend| *backend.name == *name && backend.address == *address)
        .cloned()
}

fn same(old: &[Arc<Backend>], new: &[Arc<Backend>]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(old, new))
}

/// Every backend that is to be probed in `pools` and is not yet in `running`: it is in no pool there, or
/// in one without a health check. Such a one may have clients, and is not to lose them until a probe
/// has failed.
pub(super) fn new_targets(pools: &[Arc<Pool>], running: &Running) -> Vec<Target> {
    let probed = running
        .pools
        .iter()
        .filter(|pool| pool.config.health_check.is_some());
    let old: HashSet<_> = probed
        .flat_map(|pool| &pool.backends)
        .map(Arc::as_ptr)
        .collect();
    let all = pools.iter().flat_map(|pool| {
        let backends = pool.backends.iter();
        backends.map(move |backend| (pool, backend))
    });
    all.filter(|(_, backend)| !old.contains(&Arc::as_ptr(backend)))
        .flat_map(|(pool, backend)| [target(pool, backend), agent(pool, backend)])
        .flatten()
        .collect()
}

/// Every backend of these pools, for the health thread.
pub(super) fn all(pools: &[Arc<Pool>]) -> All {
    let mut all = All {
        pools: pools.to_vec(),
        targets: Vec::new(),
        unprobed: Vec::new(),
        unadvised: Vec::new(),
    };
    for pool in pools {
        for backend in &pool.backends {
            match agent(pool, backend) {
                Some(target) => all.targets.push(target),
                None if pool.config.agent.is_none() => all.unadvised.push(Arc::clone(backend)),
                None => {}
            }
            let known = match (target(pool, backend), &pool.config.health_check) {
                (Some(target), _) => {
                    all.targets.push(target);
                    continue;
                }
                (None, None) => Condition::unprobed(Health::Up),
                (None, Some(_)) => Condition::new(Health::Starting, "not probed: in maintenance"),
            };
            all.unprobed.push((Arc::clone(backend), known));
        }
    }
    all
}

/// The backend as something to be probed, if it is.
fn target(pool: &Arc<Pool>, backend: &Arc<Backend>) -> Option<Target> {
    let check = pool.config.health_check.clone()?;
    let is_probed = is_probed(backend.intent().current().state);
    is_probed.then(|| Target::new(Arc::clone(pool), Arc::clone(backend), check))
}

/// The agent of the backend as something to be asked, if it is.
fn agent(pool: &Arc<Pool>, backend: &Arc<Backend>) -> Option<Target> {
    let agent = pool.config.agent.clone()?;
    let is_probed = is_probed(backend.intent().current().state);
    is_probed.then(|| Target::of_agent(Arc::clone(pool), Arc::clone(backend), agent))
}
