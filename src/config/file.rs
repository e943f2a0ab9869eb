//! The config file as a whole: from the file to the tree to a checked [`Config`]. Pools, the largest
//! section, have their own file beside this one.

use super::check::{Part, check};
use super::error::{ConfigError, Problem, Spot, located, quoted};
use super::pools::read_pool;
use super::reader::{Map, Reading, text};
use super::value::{boolean, duration, name, number, or_off, or_word, word};
use super::yaml::{Node, Value, parse};
use super::{Bind, Config, Limits, Listener, Log, LogFormat, LogLevel, Pool, Shutdown, Timeouts};
use super::{address, defaults};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

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
            parse(text, &mut reading.problems).map(|root| read_config(&root, &mut reading));
        match config {
            Some(config) if reading.problems.is_empty() => Ok(config),
            _ => Err(located(file_name, text, reading.problems)),
        }
    }
}

/// The bytes of a file, one more than allowed at most, so that `/dev/zero` ends too.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(defaults::FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads everything and adds what the checks of the whole find. The result means something only if
/// there are no problems.
fn read_config(root: &Node, reading: &mut Reading) -> Config {
    if root.value == Value::Nothing {
        reading
            .problems
            .push(Problem::new("the config is empty", EXAMPLE).at(root.spot));
    }
    let empty = Node {
        value: Value::Map(Vec::new()),
        ..*root
    };
    let node = if root.value == Value::Nothing {
        &empty
    } else {
        root
    };
    let mut map = Map::new(node, "the config", reading);
    let before = reading.problems.len();
    let listener_nodes = map.list(reading, "listeners");
    let pool_nodes = map.list(reading, "pools");
    let whole = matches!(root.value, Value::Map(_));
    for (nodes, key) in [(listener_nodes, "listeners"), (pool_nodes, "pools")] {
        if nodes.is_none() && whole {
            let what = format!("the config has no {key}");
            reading
                .problems
                .push(Problem::new(what, EXAMPLE).at(root.spot));
        }
    }
    let sections_there = reading.problems.len() == before;
    let pools = read_pools(pool_nodes.unwrap_or_default(), reading);
    let listeners = read_listeners(listener_nodes.unwrap_or_default(), &pools, reading);
    let config = Config {
        listeners,
        pools,
        timeouts: read_timeouts(section(map.take("timeouts"), "timeouts", reading), reading),
        shutdown: read_shutdown(section(map.take("shutdown"), "shutdown", reading), reading),
        log: read_log(section(map.take("log"), "log", reading), reading),
        limits: read_limits(section(map.take("limits"), "limits", reading), reading),
    };
    map.finish(reading);
    if sections_there {
        for (part, problem) in check(&config) {
            let spot = reading.spots.get(&part).copied().unwrap_or(root.spot);
            reading.problems.push(problem.at(spot));
        }
    }
    config
}

/// A section that may be left out.
fn section<'n>(node: Option<&'n Node>, name: &'static str, reading: &mut Reading) -> Map<'n> {
    static NOTHING: Node = Node {
        spot: Spot { start: 0, end: 0 },
        value: Value::Map(Vec::new()),
    };
    Map::new(node.unwrap_or(&NOTHING), name, reading)
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
    let name_spot = map.take("name").map_or(node.spot, |name| name.spot);
    let bind_node = map.take("bind");
    if bind_node.is_none() && matches!(node.value, Value::Map(_)) {
        let problem = Problem::new(
            "this listener has no `bind`",
            "for example `bind: \":8080\"`",
        );
        reading.problems.push(problem.at(node.spot));
    }
    let bind = bind_node.map_or(Vec::new(), |node| read_binds(node, index, reading));
    let pool_node = map.take("pool");
    let pool = match (pool_node.map(|node| text(node, "pool")), pools) {
        (Some(Ok(name)), _) => name.to_string(),
        (Some(Err(problem)), _) => {
            reading.problems.push(problem);
            String::new()
        }
        (None, [only]) => only.name.clone(),
        (None, _) => {
            let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
            let help = format!(
                "it may be left out when there is one pool; pools: {}",
                names.join(", ")
            );
            let problem = Problem::new("this listener has no `pool`", help);
            reading.problems.push(problem.at(node.spot));
            String::new()
        }
    };
    let limit = |text: &str| or_off(text, |text| number(text, &defaults::CONNECTIONS_RANGE));
    let max_connections = map.read(reading, "max_connections", None, limit);
    map.finish(reading);
    reading.spots.insert(Part::ListenerName(index), name_spot);
    reading.spots.insert(
        Part::ListenerPool(index),
        pool_node.map_or(node.spot, |pool| pool.spot),
    );
    let first = bind.first().map(|bind| bind.text.clone());
    Listener {
        name: own_name.or(first).unwrap_or_default(),
        bind,
        pool,
        max_connections,
    }
}

/// One address or a list of them. One that can't be read is left out.
fn read_binds(node: &Node, listener: usize, reading: &mut Reading) -> Vec<Bind> {
    let nodes = match &node.value {
        Value::List(items) if !items.is_empty() => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut binds = Vec::new();
    for node in nodes {
        let bind = text(node, "bind").and_then(|text| {
            address::bind(text).map_err(|problem| problem.of_key("bind").at(node.spot))
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

fn read_timeouts(mut map: Map<'_>, reading: &mut Reading) -> Timeouts {
    let timeout = |text: &str| duration(text, defaults::TIMEOUT_MIN);
    let or_off = |text: &str| or_off(text, timeout);
    let default = Timeouts::default();
    let timeouts = Timeouts {
        connect: map.read(reading, "connect", default.connect, timeout),
        idle: map.read(reading, "idle", default.idle, or_off),
        half_close: map.read(reading, "half_close", default.half_close, or_off),
    };
    map.finish(reading);
    timeouts
}

fn read_shutdown(mut map: Map<'_>, reading: &mut Reading) -> Shutdown {
    // Zero means something here: not to wait at all.
    let delay = |text: &str| duration(text, Duration::ZERO);
    let or_off = |text: &str| or_off(text, delay);
    let default = Shutdown::default();
    let shutdown = Shutdown {
        pre_stop_delay: map.read(reading, "pre_stop_delay", default.pre_stop_delay, delay),
        drain_timeout: map.read(reading, "drain_timeout", default.drain_timeout, or_off),
    };
    map.finish(reading);
    shutdown
}

fn read_log(mut map: Map<'_>, reading: &mut Reading) -> Log {
    let default = Log::default();
    let log = Log {
        format: map.read(reading, "format", default.format, |text| {
            word(
                "format",
                text,
                &LogFormat::ALL.map(|format| (format.word(), format)),
            )
        }),
        level: map.read(reading, "level", default.level, |text| {
            word(
                "level",
                text,
                &LogLevel::ALL.map(|level| (level.word(), level)),
            )
        }),
        connections: map.read(reading, "connections", default.connections, boolean),
    };
    map.finish(reading);
    log
}

fn read_limits(mut map: Map<'_>, reading: &mut Reading) -> Limits {
    let limit = |text: &str| {
        or_word(text, "auto", |text| {
            number(text, &defaults::CONNECTIONS_RANGE)
        })
    };
    let max_connections = map.read(reading, "max_connections", None, limit);
    map.finish(reading);
    Limits { max_connections }
}
