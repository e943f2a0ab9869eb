//! What the host names of backends stand for: replaced as a whole by each change, as all that is running.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::config::{self, BackendAddress, Config};
use crate::policy::address::Address;
use crate::policy::names::Known;

/// The addresses of every host name in a config. A name may be of both kinds, for two backends.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// Names that are asked for again and again.
    pub watched: BTreeMap<String, Name>,
    /// Names that were asked for when the config was loaded, with port 0.
    pub fixed: BTreeMap<String, Vec<SocketAddr>>,
}

/// A name that is asked for again and again.
#[derive(Debug, Clone)]
pub struct Name {
    /// What is known of it.
    pub known: Known,
    /// Since when it is so.
    pub since: SystemTime,
}

impl Name {
    /// From now on.
    pub fn new(known: Known) -> Name {
        Name {
            known,
            since: SystemTime::now(),
        }
    }
}

impl Addresses {
    /// Every address of a backend, each with the name of its own that it has there. An address of a
    /// watched name is `NAME@IP`, even as the only one: what comes and goes beside it leaves its name alone.
    pub fn of(&self, backend: &config::Backend) -> Vec<(String, Address)> {
        let (addresses, port) = match &backend.address {
            BackendAddress::Ip(address) => return vec![(backend.name.clone(), (*address).into())],
            BackendAddress::Unix(path) => {
                let path = Address::Unix(path.as_path().into());
                return vec![(backend.name.clone(), path)];
            }
            BackendAddress::Name { host, port } => match backend.resolve_interval {
                Some(_) => {
                    let name = self.watched.get(host);
                    (name.map(|name| &name.known.addresses), *port)
                }
                None => (self.fixed.get(host), *port),
            },
        };
        let addresses = addresses.map(Vec::as_slice).unwrap_or_default();
        let is_one = backend.resolve_interval.is_none() && addresses.len() == 1;
        let named = addresses.iter().map(|address| {
            let mut address = *address;
            address.set_port(port);
            let name = match is_one {
                true => backend.name.clone(),
                false => format!("{}@{}", backend.name, address.ip()),
            };
            (name, Address::Ip(address))
        });
        named.collect()
    }
}

/// The names of a config that are watched, each with its shortest interval.
pub fn watched(config: &Config) -> BTreeMap<&str, Duration> {
    let mut names = BTreeMap::new();
    for (host, interval) in names_of(config) {
        if let Some(interval) = interval {
            let shortest = names.entry(host).or_insert(interval);
            *shortest = interval.min(*shortest);
        }
    }
    names
}

/// The names of a config that are asked for when it is loaded, and not again.
pub fn fixed(config: &Config) -> BTreeSet<&str> {
    let fixed = names_of(config).filter(|(_, interval)| interval.is_none());
    fixed.map(|(host, _)| host).collect()
}

fn names_of(config: &Config) -> impl Iterator<Item = (&str, Option<Duration>)> {
    let backends = config.pools.iter().flat_map(|pool| &pool.backends);
    backends.filter_map(|backend| match &backend.address {
        BackendAddress::Name { host, .. } => Some((&**host, backend.resolve_interval)),
        BackendAddress::Ip(_) | BackendAddress::Unix(_) => None,
    })
}
