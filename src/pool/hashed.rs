//! What the hashing policies need of a pool: keys, and the table of a policy that has one. It is worked
//! out where a pool is built or changed, so that a pick only looks it up.

use std::net::IpAddr;
use std::sync::Arc;

use super::Backend;
use crate::config;
use crate::policy::balance::{Hashing, Table, backend_keys, client_key};

/// The keys of a pool's backends, by index. They never change, as the backends do not.
#[derive(Debug)]
pub(super) struct Keys(Vec<u64>);

impl Keys {
    /// None where the policy does not hash.
    pub(super) fn of(config: &config::Pool, backends: &[Arc<Backend>]) -> Keys {
        Keys(match config.balance.by_client {
            true => backend_keys(backends.iter().map(|backend| &backend.address)),
            false => Vec::new(),
        })
    }

    /// The table for the backends as they are configured now: `old`, unless a weight has changed.
    pub(super) fn table(
        &self,
        config: &config::Pool,
        backends: &[Arc<Backend>],
        old: Option<Arc<Table>>,
    ) -> Option<Arc<Table>> {
        let build = config.balance.table?;
        let weight = |backend: &Arc<Backend>| backend.intent().current().weight;
        let weights: Vec<u32> = backends.iter().map(weight).collect();
        let kept = old.filter(|table| table.is_for(&weights));
        Some(kept.unwrap_or_else(|| Arc::new(build(&self.0, &weights))))
    }

    /// What a pick for this client looks at; nothing where the policy does not hash.
    pub(super) fn hashing<'a>(
        &'a self,
        config: &config::Pool,
        client: IpAddr,
        table: Option<&'a Table>,
    ) -> Hashing<'a> {
        if !config.balance.by_client {
            return Hashing::default();
        }
        Hashing {
            client: client_key(client, config.hashing.ipv6_prefix),
            backends: &self.0,
            table,
            balance_factor: config.hashing.balance_factor,
        }
    }
}
