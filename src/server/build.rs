//! From the config to pools and backends, with those that are there already, and to what is probed.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use super::StartError;
use crate::config::{self, BackendAddress, Config};
use crate::control::Running;
use crate::health::{All, Target};
use crate::net::resolve;
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
        backend.set_intent(backend.intent().reloaded(*wish));
        backend.set_limit(*limit);
    }
}

/// A different start of the random sequences in each process, from std's own source of randomness.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// Builds the pools, with every address that a backend's name stands for. A backend that is running
/// under the same names at the same address is taken over.
pub(super) fn draft(config: &Config, running: &Running) -> Result<Draft, StartError> {
    let mut draft = Draft {
        pools: Vec::new(),
        wishes: Vec::new(),
    };
    for config in &config.pools {
        let pool = build_pool(config, running, &mut draft.wishes)?;
        draft.pools.push(pool);
    }
    Ok(draft)
}

fn build_pool(
    config: &config::Pool,
    running: &Running,
    wishes: &mut Vec<Wanted>,
) -> Result<Arc<Pool>, StartError> {
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
        for (name, address) in addresses(of_config)? {
            let backend = find(running, &config.name, &name, address).unwrap_or_else(|| {
                let Wish { weight, state, .. } = wish;
                let backend = Backend::new(&name, address, weight, state, health);
                backend.set_intent(Intent::new(wish));
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
    Ok(match running.pool(&config.name) {
        Some(old) if old.config == *config && same(&old.backends, &backends) => Arc::clone(old),
        Some(old) => Arc::new(old.replaced_by(config, backends)),
        None => Arc::new(Pool::new(config, backends, seed())),
    })
}

/// The addresses of a backend, each with the name of its own that it has.
fn addresses(backend: &config::Backend) -> Result<Vec<(String, SocketAddr)>, StartError> {
    let addresses = match &backend.address {
        BackendAddress::Ip(address) => vec![*address],
        BackendAddress::Name { host, port } => {
            resolve::resolve(host, *port).map_err(|error| StartError::Resolve {
                backend: backend.name.clone(),
                error,
            })?
        }
    };
    let is_one = addresses.len() == 1;
    let named = addresses.into_iter().map(|address| {
        let name = match is_one {
            true => backend.name.clone(),
            false => format!("{}/{}", backend.name, address.ip()),
        };
        (name, address)
    });
    Ok(named.collect())
}

/// A backend that is running, or that was taken out and still has sessions.
fn find(running: &Running, pool: &str, name: &str, address: SocketAddr) -> Option<Arc<Backend>> {
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
        .find(|backend| *backend.name == *name && backend.address == address)
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
        .filter_map(|(pool, backend)| target(pool, backend))
        .collect()
}

/// Every backend of these pools, for the health thread.
pub(super) fn all(pools: &[Arc<Pool>]) -> All {
    let mut all = All {
        pools: pools.to_vec(),
        targets: Vec::new(),
        unprobed: Vec::new(),
    };
    for pool in pools {
        for backend in &pool.backends {
            let known = match (target(pool, backend), &pool.config.health_check) {
                (Some(target), _) => {
                    all.targets.push(target);
                    continue;
                }
                (None, None) => Condition::new(Health::Up, "not probed: health_check is off"),
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
