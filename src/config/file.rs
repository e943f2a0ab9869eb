//! The config file as a whole: from the file to the tree to a checked [`Config`]. Pools, the largest
//! section, have their own file beside this one.

use super::admin::read_admin;
use super::check::{Part, check};
use super::confinement::read_confinement;
use super::defaults;
use super::error::{ConfigError, Problem, Spot, located, quoted};
use super::pools::read_pool;
use super::proxy_protocol::read_accept;
use super::reader::{Map, Reading, text};
use super::settings::{read_limits, read_log, read_performance, read_shutdown, read_timeouts};
use super::socket::read_listen;
use super::value::{name, number, or_off};
use super::yaml::{Node, Value, parse};
use super::{Admission, Config, ListenOn, Listener, Pool, Routes, unix};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const EXAMPLE: &str = "the smallest config: `listeners: [{ bind: \":8080\" }]` and `pools: [{ backends: [\"127.0.0.1:8000\"] }]`";

impl Config {
    /// Reads and checks a config file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of the file, at most some twenty; or the one
    /// reason why it could not be read.
    pub fn load(path: &Path) -> Result<Config, Vec<ConfigError>> {
        let file_name = path.display().to_string();
        let bytes = read_file(path).map_err(|error| {
            let what = format!("can't read the config {}: {error}", quoted(&file_name));
            vec![ConfigError::without_place(what, "")]
        })?;
        if bytes.len() as u64 > defaults::FILE_BYTES_MAX {
            let what = format!("{} is larger than 1 MiB", quoted(&file_name));
            return Err(vec![ConfigError::without_place(what, "is it a config?")]);
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => Config::from_yaml(&file_name, text),
            Err(error) => {
                let shown = String::from_utf8_lossy(&bytes);
                // The valid part is the same in both texts, so the offset is too.
                let start = error.valid_up_to();
                let what = "this is not UTF-8 text";
                let help = "save the file as UTF-8; comments count too";
                let problem = Problem::new(what, help).at(Spot {
                    start,
                    end: start + 1,
                });
                Err(located(&file_name, &shown, vec![problem]))
            }
        }
    }

    /// Checks the text of a config; `file_name` is only for the messages.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of the file, at most some twenty.
    pub fn from_yaml(file_name: &str, text: &str) -> Result<Config, Vec<ConfigError>> {
        let mut reading = Reading::default();
        let config =
            parse(text, &mut reading.problems).and_then(|root| read_config(&root, &mut reading));
        match config {
            Some(config) if reading.problems.is_empty() => Ok(config),
            _ => Err(located(file_name, text, reading.problems)),
        }
    }
}

/// The bytes of a file, one more than allowed at most, so that `/dev/zero` ends too.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // To open a named pipe that nobody writes to would wait for somebody who does, and a reload with it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    rustix::io::ioctl_fionbio(&file, false)?;
    let mut bytes = Vec::new();
    file.take(defaults::FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads everything and adds what the checks of the whole find. The result means something only if
/// there are no problems; there is none of an empty file.
fn read_config(root: &Node, reading: &mut Reading) -> Option<Config> {
    if root.value == Value::Nothing {
        reading
            .problems
            .push(Problem::new("the config is empty", EXAMPLE).at(root.spot));
        return None;
    }
    let mut map = Map::new(root, "config", reading);
    let before = reading.problems.len();
    let [listener_nodes, pool_nodes] = ["listeners", "pools"].map(|key| {
        let nodes = map.list(reading, key);
        if nodes.is_none() {
            map.missing(reading, key, EXAMPLE);
        }
        nodes.unwrap_or_default()
    });
    let sections_there = reading.problems.len() == before;
    let pools = read_pools(pool_nodes, reading);
    let listeners = read_listeners(listener_nodes, &pools, reading);
    let config = Config {
        listeners,
        pools,
        timeouts: read_timeouts(map.take("timeouts"), reading),
        shutdown: read_shutdown(map.take("shutdown"), reading),
        admin: read_admin(map.take("admin"), reading),
        log: read_log(map.take("log"), reading),
        limits: read_limits(map.take("limits"), reading),
        performance: read_performance(map.take("performance"), reading),
        confinement: read_confinement(&mut map, reading),
    };
    map.finish(reading);
    if sections_there {
        for (part, problem) in check(&config) {
            let spot = reading.spots.get(&part).copied().unwrap_or(root.spot);
            reading.problems.push(problem.at(spot));
        }
    }
    Some(config)
}

fn read_pools(nodes: &[Node], reading: &mut Reading) -> Vec<Pool> {
    let only = nodes.len() == 1;
    nodes
        .iter()
        .enumerate()
        .map(|(index, node)| read_pool(node, index, only, reading))
        .collect()
}

fn read_listeners(nodes: &[Node], pools: &[Pool], reading: &mut Reading) -> Vec<Listener> {
    nodes
        .iter()
        .enumerate()
        .map(|(index, node)| read_listener(node, index, pools, reading))
        .collect()
}

fn read_listener(node: &Node, index: usize, pools: &[Pool], reading: &mut Reading) -> Listener {
    let mut map = Map::new(node, "listener", reading);
    let own_name = map.read(reading, "name", None, |text| name(text).map(Some));
    let bind_node = map.take("bind");
    if bind_node.is_none() {
        map.missing(reading, "bind", "for example `bind: \":8080\"`");
    }
    let bind = bind_node.map_or(Vec::new(), |node| read_binds(node, index, reading));
    let mode = map.read(reading, "mode", defaults::SOCKET_MODE, unix::mode);
    let pool_node = map.take("pool");
    let has_routes = map.has("routes");
    let routes = Routes::read(&mut map, index, reading);
    let pool = match (pool_node.map(|node| text(node, "pool")), pools) {
        (Some(Ok(name)), _) => Some(name.to_string()),
        (Some(Err(problem)), _) => {
            reading.problems.push(problem);
            None
        }
        (None, _) if routes.is_on() => None,
        (None, [only]) => Some(only.name.clone()),
        // What is wrong with the routes has been told, and may be all.
        (None, _) if has_routes && !reading.problems.is_empty() => None,
        (None, _) => {
            let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
            let help = format!(
                "it may be left out when there is one pool; pools: {}",
                names.join(", ")
            );
            // That there are none at all is told elsewhere.
            if !names.is_empty() {
                map.missing(reading, "pool", &help);
            }
            None
        }
    };
    let limit = |text: &str| or_off(text, |text| number(text, &defaults::CONNECTIONS_RANGE));
    let max_connections = map.read(reading, "max_connections", None, limit);
    let accept_proxy_protocol = read_accept(map.take("accept_proxy_protocol"), reading);
    let admission = Admission::read(&mut map, reading);
    let socket = read_listen(map.take("socket"), reading);
    reading.spots.insert(
        Part::ListenerName(index),
        map.spot(if map.has("name") { "name" } else { "bind" }),
    );
    reading
        .spots
        .insert(Part::ListenerPool(index), map.spot("pool"));
    let (has_mode, mode_spot) = (map.has("mode"), map.spot("mode"));
    map.finish(reading);
    let first = bind.first().map(ListenOn::to_string);
    let listener = Listener {
        name: own_name.or(first).unwrap_or_default(),
        bind,
        mode,
        pool,
        routes,
        max_connections,
        accept_proxy_protocol,
        admission,
        socket,
    };
    if has_mode && !listener.bind.is_empty() && !listener.has_unix_socket() {
        let what = "mode is for unix sockets, and this listener has none";
        let help = "remove it, or listen on \"unix:/run/evener/web.sock\"";
        reading
            .problems
            .push(Problem::new(what, help).at(mode_spot));
    }
    listener
}

/// One address or a list of them. One that can't be read is left out.
fn read_binds(node: &Node, listener: usize, reading: &mut Reading) -> Vec<ListenOn> {
    let nodes = match &node.value {
        Value::List(items) if !items.is_empty() => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut binds = Vec::new();
    for node in nodes {
        let bind = text(node, "bind").and_then(|text| {
            unix::listen_on(text).map_err(|problem| problem.of_key("bind").at(node.spot))
        });
        match bind {
            Ok(bind) => {
                reading
                    .spots
                    .insert(Part::Bind(listener, binds.len()), node.spot);
                binds.push(bind);
            }
            Err(problem) => reading.problems.push(problem),
        }
    }
    binds
}
