//! What no single value can get wrong: names that collide, pools that aren't there, addresses that
//! are taken twice. The same checks serve the file and the command line, so they know nothing of
//! places: they name a [`Part`], and the reader knows where it stands.

use super::admin::check_admin;
use super::error::{Problem, quoted};
use super::value::did_you_mean;
use super::{AcceptProxy, Backend, BackendAddress, Config, ListenOn, Listener, Pool};
use humantime::format_duration;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A part of a config, by its index: listener, pool, and bind or backend within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    ListenerName(usize),
    ListenerPool(usize),
    Bind(usize, usize),
    Pool(usize),
    HedgeAfter(usize),
    PoolName(usize),
    RoutePool(usize, usize),
    BackendName(usize, usize),
    BackendAddress(usize, usize),
    Admin,
}

/// Everything that is wrong with the config as a whole.
pub(super) fn check(config: &Config) -> Vec<(Part, Problem)> {
    let mut found = Vec::new();
    let names = config
        .listeners
        .iter()
        .map(|listener| listener.name.as_str());
    unique(names, "a listener", Part::ListenerName, &mut found);
    unique(
        config.pools.iter().map(|pool| pool.name.as_str()),
        "a pool",
        Part::PoolName,
        &mut found,
    );
    for (index, listener) in config.listeners.iter().enumerate() {
        let of_listener = (listener.pool.iter()).map(|pool| (Part::ListenerPool(index), pool));
        let routes = listener.routes.list.iter().enumerate();
        let of_routes = routes.map(|(place, route)| (Part::RoutePool(index, place), &route.pool));
        for (part, name) in of_listener.chain(of_routes) {
            if !config.pools.iter().any(|pool| pool.name == *name) {
                found.push((part, unknown_pool(name, &config.pools)));
            }
        }
    }
    binds(config, &mut found);
    found.extend(check_admin(config).map(|problem| (Part::Admin, problem)));
    for (index, pool) in config.pools.iter().enumerate() {
        backends(config, index, pool, &mut found);
        let too_long =
            hedges_too_late(config, pool).map(|problem| (Part::HedgeAfter(index), problem));
        found.extend(too_long);
    }
    found
}

fn unknown_pool(name: &str, pools: &[Pool]) -> Problem {
    let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
    let help = format!(
        "{}pools: {}",
        did_you_mean(name, names.iter().copied()),
        names.join(", ")
    );
    Problem::new(format!("there is no pool {}", quoted(name)), help)
}

fn unique<'c>(
    names: impl Iterator<Item = &'c str>,
    whose: &str,
    part: impl Fn(usize) -> Part,
    found: &mut Vec<(Part, Problem)>,
) {
    let mut seen = HashSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) && !name.is_empty() {
            let what = format!("the name {} is taken by {whose} before", quoted(name));
            let help = "give each a `name` of its own: logs, metrics and commands go by it";
            found.push((part(index), Problem::new(what, help)));
        }
    }
}

/// Two addresses that can't be bound at the same time.
fn binds(config: &Config, found: &mut Vec<(Part, Problem)>) {
    let mut seen: Vec<(&ListenOn, &str)> = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        for (place, bind) in listener.bind.iter().enumerate() {
            if let Some((other, owner)) = seen.iter().find(|(other, _)| other.overlaps(bind)) {
                let what = format!(
                    "bind {} is taken: listener {} has {}",
                    quoted(&bind.to_string()),
                    quoted(owner),
                    quoted(&other.to_string())
                );
                let help = "give each listener a port, an IP address or a path of its own";
                found.push((Part::Bind(index, place), Problem::new(what, help)));
            }
            seen.push((bind, &listener.name));
        }
    }
}

fn backends(config: &Config, index: usize, pool: &Pool, found: &mut Vec<(Part, Problem)>) {
    let names = pool.backends.iter().map(|backend| backend.name.as_str());
    let mut doubles = Vec::new();
    unique(
        names,
        "a backend",
        |place| Part::BackendName(index, place),
        &mut doubles,
    );
    for (place, backend) in pool.backends.iter().enumerate() {
        let part = Part::BackendAddress(index, place);
        let mut before = pool.backends.iter().take(place);
        let first = before.find(|other| same_address(other, backend));
        if let Some(first) = first {
            let address = quoted(&backend.address.to_string());
            let what = format!("backend {address} is in pool {} twice", quoted(&pool.name));
            let help = "to give it a larger share, raise its `weight`";
            found.push((part, Problem::new(what, help)));
            if first.name == backend.name {
                // One mistake, one message: without names of their own the two collide in both.
                doubles.retain(|(double, _)| *double != Part::BackendName(index, place));
            }
        }
        if let Some(listener) = own_listener(config, &backend.address) {
            let address = quoted(&backend.address.to_string());
            let what = format!(
                "backend {address} is evener's own listener {}",
                quoted(listener)
            );
            let help = "every session would come back to evener; give the address of the server";
            found.push((part, Problem::new(what, help)));
        }
    }
    found.append(&mut doubles);
    if !pool.backends.is_empty() && pool.backends.iter().all(|backend| backend.weight == 0) {
        let what = format!("every backend of pool {} has weight 0", quoted(&pool.name));
        let help = "a weight of 0 takes no new session; give one of them 1 or more";
        found.push((Part::Pool(index), Problem::new(what, help)));
    }
}

/// A second attempt that would begin when the first is over never begins.
fn hedges_too_late(config: &Config, pool: &Pool) -> Option<Problem> {
    let (after, timeout) = (pool.hedge_after?, config.timeouts.connect);
    (after >= timeout).then(|| {
        let (after, timeout) = (format_duration(after), format_duration(timeout));
        Problem::new(
            format!("hedge_after `{after}` is not below timeouts.connect, `{timeout}`"),
            "a second backend is tried while the first still may answer; for example `hedge_after: 250ms`",
        )
    })
}

fn same_address(one: &Backend, other: &Backend) -> bool {
    match (&one.address, &other.address) {
        (BackendAddress::Name { host: a, port: p }, BackendAddress::Name { host: b, port: q }) => {
            a.eq_ignore_ascii_case(b) && p == q
        }
        (one, other) => one == other,
    }
}

/// The listener that a connection to this address would arrive at. Only what the text of the
/// config shows: which addresses the machine has is not looked up.
fn own_listener<'c>(config: &'c Config, address: &BackendAddress) -> Option<&'c str> {
    let localhost = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let (ips, port) = match address {
        BackendAddress::Ip(address) => (vec![address.ip()], address.port()),
        BackendAddress::Name { host, port } if host.eq_ignore_ascii_case("localhost") => {
            (localhost.to_vec(), *port)
        }
        BackendAddress::Unix(path) => {
            let is_it = |on: &ListenOn| matches!(on, ListenOn::Unix(own) if own == path);
            let mut listeners = config.listeners.iter();
            let listener = listeners.find(|listener| listener.bind.iter().any(is_it))?;
            return Some(&listener.name);
        }
        BackendAddress::Name { .. } => return None,
    };
    let takes = |on: &ListenOn| {
        let bind = on.tcp();
        bind.is_some_and(|bind| ips.iter().any(|ip| bind.takes(*ip, port)))
    };
    let listener = config
        .listeners
        .iter()
        .find(|listener| listener.bind.iter().any(takes))?;
    Some(&listener.name)
}

impl Listener {
    /// Does it lead to this pool?
    fn serves(&self, pool: &str) -> bool {
        let mut routes = self.routes.list.iter();
        self.pool.as_deref() == Some(pool) || routes.any(|route| route.pool == pool)
    }
}

impl Config {
    /// What is allowed and still looks like a mistake, a sentence each, for the log at start-up.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for listener in &self.listeners {
            let accept = listener.accept_proxy_protocol.iter();
            warnings.extend(accept.flat_map(AcceptProxy::everybody).map(|network| {
                format!(
                    "listener {}: accept_proxy_protocol from {network} lets every client claim any address",
                    quoted(&listener.name)
                )
            }));
            warnings.append(&mut listener.admission.warnings(&listener.name));
        }
        for pool in &self.pools {
            if !self
                .listeners
                .iter()
                .any(|listener| listener.serves(&pool.name))
            {
                let name = quoted(&pool.name);
                warnings.push(format!(
                    "no listener uses pool {name}; it is probed and gets no client"
                ));
            }
            if let Some(rules) = &pool.outlier_detection
                && rules.ejection_time > rules.max_ejection_time
            {
                warnings.push(format!(
                    "pool {}: outlier_detection has max_ejection_time {}, so no ejection lasts for ejection_time {}",
                    quoted(&pool.name),
                    humantime::format_duration(rules.max_ejection_time),
                    humantime::format_duration(rules.ejection_time),
                ));
            }
            let is_idle = |one: &&Backend| one.max_queue.is_some() && one.max_connections.is_none();
            if let Some(one) = pool.backends.iter().find(is_idle)
                && !pool.has_queue()
            {
                warnings.push(format!(
                    "pool {}: backend {} has max_queue, but nobody ever waits: no backend has max_connections",
                    quoted(&pool.name),
                    quoted(&one.name),
                ));
            }
            warnings.extend(pool.hashing.warning(&pool.name, pool.balance));
            let check = pool.health_check.iter();
            warnings.extend(check.flat_map(|check| check.warnings(&pool.name)));
        }
        warnings
    }
}
