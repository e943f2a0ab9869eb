//! From the config to pools, backends and what is probed.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::StartError;
use crate::config::{self, BackendAddress, Config};
use crate::health::Target;
use crate::net::resolve;
use crate::policy::health::{Health, is_probed};
use crate::pool::{Backend, Pool};

/// A different start of the random sequences in each process, from std's own source of randomness.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// Builds the pools, with every address that a backend's name stands for.
pub(super) fn pools(config: &Config) -> Result<Vec<(Arc<Pool>, &config::Pool)>, StartError> {
    let mut pools = Vec::new();
    for pool in &config.pools {
        let health = if pool.health_check.is_some() {
            Health::Starting
        } else {
            Health::Up
        };
        let mut backends = Vec::new();
        for backend in &pool.backends {
            let addresses = match &backend.address {
                BackendAddress::Ip(address) => vec![*address],
                BackendAddress::Name { host, port } => {
                    resolve::resolve(host, *port).map_err(|error| StartError::Resolve {
                        backend: backend.name.clone(),
                        error,
                    })?
                }
            };
            for address in &addresses {
                let name = match addresses.len() {
                    1 => backend.name.clone(),
                    _ => format!("{}/{}", backend.name, address.ip()),
                };
                backends.push(Arc::new(Backend::new(
                    &name,
                    *address,
                    backend.weight,
                    backend.state,
                    health,
                )));
            }
        }
        let built = Pool::new(pool, backends, seed());
        built.publish();
        pools.push((Arc::new(built), pool));
    }
    Ok(pools)
}

/// Every backend that is probed.
pub(super) fn targets(pools: &[(Arc<Pool>, &config::Pool)]) -> Vec<Target> {
    let mut targets = Vec::new();
    for (pool, config) in pools {
        let Some(check) = &config.health_check else {
            continue;
        };
        let probed = pool
            .backends
            .iter()
            .filter(|backend| is_probed(backend.admin));
        targets.extend(
            probed.map(|backend| Target::new(Arc::clone(pool), Arc::clone(backend), check.clone())),
        );
    }
    targets
}
