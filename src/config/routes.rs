//! `routes` of a listener: which pool serves a TLS client, by the name of the server it asks for.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::time::Duration;

use super::check::Part;
use super::defaults;
use super::error::{Problem, quoted};
use super::print;
use super::reader::{Map, Reading, kind, text};
use super::value::duration;
use super::yaml::{Node, Value};
use crate::policy::routes::{BadName, Pattern};

/// The routes of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// None is `off`: nobody looks at what clients send. What a client asks for is in one of them at most.
    pub list: Vec<Route>,
    /// How long it may take until it is known what a client asks for.
    pub timeout: Duration,
}

/// Names, and the pool that serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What clients ask for; at least one.
    pub sni: Vec<Pattern>,
    /// Name of the pool.
    pub pool: String,
}

impl Routes {
    /// Is there one?
    pub fn is_on(&self) -> bool {
        !self.list.is_empty()
    }

    /// Reads both keys of a listener.
    pub(super) fn read(map: &mut Map<'_>, listener: usize, reading: &mut Reading) -> Routes {
        let list = map
            .take("routes")
            .map_or(Vec::new(), |node| read_list(node, listener, reading));
        let timeout = |text: &str| duration(text, defaults::TIMEOUT_MIN);
        let default = defaults::ROUTES_TIMEOUT;
        let timeout = map.read(reading, "routes_timeout", default, timeout);
        Routes { list, timeout }
    }

    /// Writes them as they load again.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        if self.is_on() {
            writeln!(out, "    routes:")?;
        } else {
            writeln!(out, "    routes: off")?;
        }
        for route in &self.list {
            let sni = route.sni.iter().map(|name| print::text(&name.to_string()));
            let (sni, pool) = (sni.collect::<Vec<_>>().join(", "), print::text(&route.pool));
            writeln!(out, "      - {{ sni: [{sni}], pool: {pool} }}")?;
        }
        writeln!(out, "    routes_timeout: {}", print::time(self.timeout))
    }
}

/// `off`, or a list of routes. One that can't be read is left out.
fn read_list(node: &Node, listener: usize, reading: &mut Reading) -> Vec<Route> {
    let help = "write `off`, or a list: `[{ sni: [\"db.example.org\"], pool: db }]`";
    let what = match &node.value {
        Value::Text(text) if text == "off" => return Vec::new(),
        Value::List(nodes) if !nodes.is_empty() => return read_routes(nodes, listener, reading),
        Value::List(_) => "routes is an empty list".to_string(),
        other => format!("routes is {}, not a list", kind(other)),
    };
    let problem = Problem::new(what, help).at(node.spot);
    reading.problems.push(problem);
    Vec::new()
}

fn read_routes(nodes: &[Node], listener: usize, reading: &mut Reading) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut taken = HashSet::new();
    for node in nodes {
        let mut map = Map::new(node, "route", reading);
        let names = map.take("sni");
        if names.is_none() {
            let help =
                "what clients ask for, for example `sni: [\"db.example.org\", \"*.example.org\"]`";
            map.missing(reading, "sni", help);
        }
        let sni = names.map_or(Vec::new(), |node| read_names(node, &mut taken, reading));
        let pool = map.read(reading, "pool", None, |text| Ok(Some(text.to_string())));
        if !map.has("pool") {
            map.missing(
                reading,
                "pool",
                "the pool that serves these names: `pool: NAME`",
            );
        }
        let spot = map.spot("pool");
        map.finish(reading);
        if let Some(pool) = pool {
            reading
                .spots
                .insert(Part::RoutePool(listener, routes.len()), spot);
            routes.push(Route { sni, pool });
        }
    }
    routes
}

/// One name or a list of them. `taken` are those that have a route.
fn read_names(node: &Node, taken: &mut HashSet<Pattern>, reading: &mut Reading) -> Vec<Pattern> {
    let nodes = match &node.value {
        Value::List(items) if !items.is_empty() => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut names = Vec::new();
    for node in nodes {
        let name = text(node, "sni").and_then(|text| {
            let name = pattern(text).map_err(|problem| problem.of_key("sni").at(node.spot))?;
            if taken.insert(name.clone()) {
                return Ok(name);
            }
            let what = format!("sni {} has a route before", quoted(&name.to_string()));
            let help = "a name leads to one pool; case and a dot at the end make no difference";
            Err(Problem::new(what, help).at(node.spot))
        });
        match name {
            Ok(name) => names.push(name),
            Err(problem) => reading.problems.push(problem),
        }
    }
    names
}

/// A name that clients ask for, or a wildcard.
pub(super) fn pattern(text: &str) -> Result<Pattern, Problem> {
    let bad = match Pattern::parse(text) {
        Ok(pattern) => return Ok(pattern),
        Err(bad) => bad,
    };
    let (is, help) = match bad {
        BadName::Empty => (
            "is empty",
            "for example \"db.example.org\" or \"*.example.org\"",
        ),
        BadName::Address => (
            "is an IP address, which no client sends as a name (RFC 6066)",
            "clients that connect by address get the listener's own `pool`",
        ),
        BadName::NotAscii => (
            "is not ASCII",
            "write the name as clients send it: `xn--...`",
        ),
        BadName::Star if text == "*" => (
            "is no name",
            "whatever has no route gets the listener's own `pool`",
        ),
        BadName::Star => (
            "has a `*` in a wrong place",
            "it stands at the front, for one label or more: \"*.example.org\"",
        ),
        BadName::Label => (
            "is not a host name",
            "letters, digits, `-` and `_` between dots, 63 at most; without a port",
        ),
        BadName::TooLong => ("is too long", "names have 253 characters at most"),
    };
    Err(Problem::new(format!("{} {is}", quoted(text)), help))
}
