//! The `pools` section of a config file.

use super::check::Part;
use super::reader::{Map, Reading, text};
use super::socket::read_connect;
use super::value::{boolean, duration, name, number, or_off, policy, share, word};
use super::yaml::{Node, Value};
use super::{
    Agent, Backend, BackendAddress, Hashing, HealthCheck, OnDown, Pool, WhenDown, defaults, names,
    outlier, unix,
};
use crate::policy::health::AdminState;
use crate::policy::proxy_protocol::Version;

/// Reads one pool; `only` says that there is no other, so that it may go without a name.
pub(super) fn read_pool(node: &Node, index: usize, only: bool, reading: &mut Reading) -> Pool {
    let mut map = Map::new(node, "pool", reading);
    let own_name = map.read(reading, "name", None, |text| name(text).map(Some));
    if own_name.is_none() && !only && !map.has("name") {
        let help = "only a single pool may do without; a listener names its pool: `pool: NAME`";
        map.missing(reading, "name", help);
    }
    let fallback = if only { defaults::POOL_NAME } else { "" };
    let balance = map.read(reading, "balance", defaults::balance(), policy);
    let retries = map.read(reading, "retries", defaults::RETRIES, |text| {
        number(text, &defaults::RETRIES_RANGE)
    });
    let when_down = map.read(reading, "when_down", WhenDown::default(), |text| {
        word(
            "when_down",
            text,
            &WhenDown::ALL.map(|when| (when.word(), when)),
        )
    });
    let on_down = map.read(reading, "on_down", OnDown::default(), |text| {
        word(
            "on_down",
            text,
            &OnDown::ALL.map(|what| (what.word(), what)),
        )
    });
    let threshold = |text: &str| share(text, &defaults::PANIC_THRESHOLD_RANGE);
    let panic_threshold = map.read(
        reading,
        "panic_threshold",
        defaults::PANIC_THRESHOLD,
        threshold,
    );
    let send_proxy_protocol = map.read(reading, "send_proxy_protocol", None, |text| {
        let [v1, v2] = Version::ALL.map(|version| (version.word(), Some(version)));
        word("send_proxy_protocol", text, &[("off", None), v1, v2])
    });
    let socket = read_connect(map.take("socket"), reading);
    let hashing = Hashing::read(&mut map, reading);
    let health_check = HealthCheck::read(map.take("health_check"), reading);
    let agent = Agent::read(map.take("agent"), reading);
    let time_or_off = |text: &str| or_off(text, |text| duration(text, defaults::TIMEOUT_MIN));
    let slow_start = map.read(reading, "slow_start", None, time_or_off);
    let hedge_after = map.read(reading, "hedge_after", None, time_or_off);
    reading
        .spots
        .insert(Part::HedgeAfter(index), map.spot("hedge_after"));
    let outlier_detection = outlier::read(map.take("outlier_detection"), reading);
    let backend_nodes = map.list(reading, "backends");
    if backend_nodes.is_none() {
        let help = "for example `backends: [\"127.0.0.1:8000\", \"127.0.0.1:8001\"]`";
        map.missing(reading, "backends", help);
    }
    let backends = read_backends(backend_nodes.unwrap_or_default(), index, reading);
    reading.spots.insert(Part::Pool(index), node.spot);
    reading
        .spots
        .insert(Part::PoolName(index), map.spot("name"));
    map.finish(reading);
    Pool {
        name: own_name.unwrap_or_else(|| fallback.to_string()),
        balance,
        retries,
        when_down,
        on_down,
        panic_threshold,
        send_proxy_protocol,
        socket,
        hashing,
        health_check,
        agent,
        outlier_detection,
        slow_start,
        hedge_after,
        backends,
    }
}

/// The backends of a pool. One whose address can't be read is left out.
fn read_backends(nodes: &[Node], pool: usize, reading: &mut Reading) -> Vec<Backend> {
    let mut backends = Vec::new();
    for node in nodes {
        if let Some(backend) = read_backend(node, (pool, backends.len()), reading) {
            backends.push(backend);
        }
    }
    backends
}

fn read_backend(node: &Node, at: (usize, usize), reading: &mut Reading) -> Option<Backend> {
    if !matches!(node.value, Value::Map(_)) {
        // The short form: only an address.
        let backend = read_address(node, "backend", reading).map(Backend::new);
        reading
            .spots
            .insert(Part::BackendName(at.0, at.1), node.spot);
        reading
            .spots
            .insert(Part::BackendAddress(at.0, at.1), node.spot);
        return backend;
    }
    let mut map = Map::new(node, "backend", reading);
    let own_name = map.read(reading, "name", None, |text| name(text).map(Some));
    let address_node = map.take("address");
    if address_node.is_none() {
        map.missing(
            reading,
            "address",
            "for example `address: \"127.0.0.1:8000\"`",
        );
    }
    let address = address_node.and_then(|node| read_address(node, "address", reading));
    let weight = map.read(reading, "weight", defaults::WEIGHT, |text| {
        number(text, &defaults::WEIGHT_RANGE)
    });
    let states = AdminState::ALL.map(|state| (state.word(), state));
    let state = map.read(reading, "state", AdminState::Ready, |text| {
        word("state", text, &states)
    });
    let backup = map.read(reading, "backup", false, boolean);
    let default = address.as_ref().and_then(BackendAddress::default_interval);
    let resolve_interval = map.read(reading, "resolve_interval", default, |text| {
        names::resolve_interval(text, address.as_ref())
    });
    let connections = |text: &str| number(text, &defaults::CONNECTIONS_RANGE);
    let connections = |text: &str| or_off(text, connections);
    let max_connections = map.read(reading, "max_connections", None, connections);
    let waiting = |text: &str| number(text, &defaults::QUEUE_RANGE);
    let waiting = |text: &str| or_off(text, waiting);
    let max_queue = map.read(reading, "max_queue", None, waiting);
    let address_spot = map.spot("address");
    let name_spot = if map.has("name") {
        map.spot("name")
    } else {
        address_spot
    };
    map.finish(reading);
    reading
        .spots
        .insert(Part::BackendAddress(at.0, at.1), address_spot);
    reading
        .spots
        .insert(Part::BackendName(at.0, at.1), name_spot);
    let unnamed = Backend::new(address?);
    Some(Backend {
        name: own_name.unwrap_or(unnamed.name),
        weight,
        state,
        backup,
        resolve_interval,
        max_connections,
        max_queue,
        ..unnamed
    })
}

fn read_address(node: &Node, key: &str, reading: &mut Reading) -> Option<BackendAddress> {
    let address = text(node, key)
        .and_then(|text| unix::backend(text).map_err(|problem| problem.of_key(key).at(node.spot)));
    address
        .map_err(|problem| reading.problems.push(problem))
        .ok()
}
