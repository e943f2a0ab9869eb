//! `agent` of a pool: a small server beside each backend that says how it is; see
//! [`crate::policy::agent`] for what it may say.

use std::fmt::{self, Write};
use std::time::Duration;

use super::defaults;
use super::health_check::port;
use super::print::time;
use super::reader::{Map, Reading};
use super::value::duration;
use super::yaml::{Node, Value};

/// How the agents of a pool's backends are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its port, on the backend's IP address.
    pub port: u16,
    /// From one question to the next.
    pub interval: Duration,
    /// An answer that takes longer counts as none.
    pub timeout: Duration,
}

impl Agent {
    /// Reads it: `off`, or a mapping.
    pub(super) fn read(node: Option<&Node>, reading: &mut Reading) -> Option<Agent> {
        let node = node.filter(|node| node.value != Value::Text("off".to_owned()))?;
        let mut map = Map::new(node, "agent", reading);
        if !map.has("port") {
            map.missing(reading, "port", "for example `agent: { port: 8099 }`");
        }
        let number = map.read(reading, "port", None, |text| port(text).map(Some));
        let interval = map.read(reading, "interval", defaults::HEALTH_INTERVAL, |text| {
            duration(text, defaults::HEALTH_INTERVAL_MIN)
        });
        let timeout = map.read(reading, "timeout", defaults::HEALTH_TIMEOUT, |text| {
            duration(text, defaults::TIMEOUT_MIN)
        });
        map.finish(reading);
        Some(Agent {
            port: number?,
            interval,
            timeout,
        })
    }

    /// Writes it as YAML that reads to the same.
    pub(super) fn write(agent: Option<&Agent>, out: &mut String) -> fmt::Result {
        let Some(agent) = agent else {
            return writeln!(out, "    agent: off");
        };
        let (interval, timeout) = (time(agent.interval), time(agent.timeout));
        let port = agent.port;
        writeln!(
            out,
            "    agent: {{ port: {port}, interval: {interval}, timeout: {timeout} }}"
        )
    }
}
