//! `health_check` of a pool: what a probe asks, when, and what is good; read, looked over and printed.
//! `super::http_probe` has what is asked by HTTP,
//! `super::bytes` the byte strings, `super::agent` the agent.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use super::bytes;
use super::defaults;
use super::error::{Problem, quoted};
use super::http_probe::HttpProbe;
use super::print::{text as printed, time, time_or_off};
use super::reader::{Map, Reading};
use super::value::{duration, number, or_off, share, share_text, word};
use super::yaml::Node;
use crate::policy::proxy_protocol::Version;
use crate::policy::schedule::Intervals;

/// How the backends of a pool are probed.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// What one probe does.
    pub probe: Probe,
    /// Where a probe goes, if not to the backend's IP address.
    pub address: Option<IpAddr>,
    /// Where a probe goes, if not to the backend's port.
    pub port: Option<u16>,
    /// The PROXY header that a probe begins with.
    pub header: ProbeHeader,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// The same while it is in doubt how a backend is; `None` (`off`) is `interval`.
    pub fast_interval: Option<Duration>,
    /// The same while a backend is down; `None` (`off`) is `interval`.
    pub down_interval: Option<Duration>,
    /// A probe that takes longer has failed, its connection included.
    pub timeout: Duration,
    /// Good probes in a row that bring a backend up.
    pub rise: u32,
    /// Bad probes in a row that take it down.
    pub fall: u32,
    /// Share of the interval, 0.0 to 0.5, by which each probe is moved at random, either way.
    pub jitter: f64,
}

/// What one probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A TCP connection is made and quietly closed.
    Tcp,
    /// An HTTP request is made, and the status of the answer decides.
    Http(HttpProbe),
    /// Bytes are sent, and others have to come back.
    SendExpect {
        /// What is sent; nothing, where the server speaks first.
        send: Vec<u8>,
        /// What the answer has in it; not empty.
        expect: Vec<u8>,
    },
}

/// The PROXY header that a probe begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProbeHeader {
    /// The one that the pool sends for clients, if it does.
    #[default]
    OfPool,
    /// This one, or none.
    Own(Option<Version>),
}

impl Probe {
    const fn word(&self) -> &'static str {
        match self {
            Probe::Tcp => "tcp",
            Probe::Http(_) => "http",
            Probe::SendExpect { .. } => "send_expect",
        }
    }
}

impl HealthCheck {
    /// How long it is from one probe to the next.
    pub fn intervals(&self) -> Intervals {
        Intervals {
            normal: self.interval,
            fast: self.fast_interval.unwrap_or(self.interval),
            down: self.down_interval.unwrap_or(self.interval),
        }
    }

    /// Reads it: `off`, or a mapping whose `type` may be `off` too. Left out, every default applies.
    pub(super) fn read(node: Option<&Node>, reading: &mut Reading) -> Option<HealthCheck> {
        let default = HealthCheck::default();
        let Some(node) = node else {
            return Some(default);
        };
        let help = "write `health_check: off`, or a mapping: `health_check: { interval: 2s }`";
        let mut map = Map::or_off(node, "health_check", help, reading)?;
        let unwritten = if map.has("type") { UNREADABLE } else { "tcp" };
        let kind = map.read(reading, "type", unwritten, |text| {
            word("type", text, &TYPES.map(|word| (word, word)))
        });
        let streak = |text: &str| number(text, &defaults::STREAK_RANGE);
        let interval = |text: &str| duration(text, defaults::HEALTH_INTERVAL_MIN);
        let or_interval = |text: &str| or_off(text, interval);
        let timeout = |text: &str| duration(text, defaults::TIMEOUT_MIN);
        let check = HealthCheck {
            interval: map.read(reading, "interval", default.interval, interval),
            timeout: map.read(reading, "timeout", default.timeout, timeout),
            rise: map.read(reading, "rise", default.rise, streak),
            fall: map.read(reading, "fall", default.fall, streak),
            jitter: map.read(reading, "jitter", default.jitter, |text| {
                share(text, &defaults::JITTER_RANGE)
            }),
            fast_interval: map.read(reading, "fast_interval", None, or_interval),
            down_interval: map.read(reading, "down_interval", None, or_interval),
            address: map.read(reading, "address", None, |text| or_off(text, ip)),
            port: map.read(reading, "port", None, |text| or_off(text, port)),
            header: map.read(reading, "send_proxy_protocol", default.header, header),
            probe: read_probe(kind, &mut map, reading),
        };
        map.finish(reading);
        (kind != "off").then_some(check)
    }

    /// Writes it as YAML that reads to the same.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "    health_check:")?;
        writeln!(out, "      type: {}", self.probe.word())?;
        match &self.probe {
            Probe::Tcp => {}
            Probe::Http(http) => http.write(out)?,
            Probe::SendExpect { send, expect } => {
                writeln!(out, "      send: {}", printed(&bytes::escaped(send)))?;
                writeln!(out, "      expect: {}", printed(&bytes::escaped(expect)))?;
            }
        }
        writeln!(out, "      interval: {}", time(self.interval))?;
        writeln!(
            out,
            "      fast_interval: {}",
            time_or_off(self.fast_interval)
        )?;
        writeln!(
            out,
            "      down_interval: {}",
            time_or_off(self.down_interval)
        )?;
        writeln!(out, "      timeout: {}", time(self.timeout))?;
        writeln!(out, "      rise: {}", self.rise)?;
        writeln!(out, "      fall: {}", self.fall)?;
        writeln!(out, "      jitter: {}", share_text(self.jitter))?;
        let address = self.address.map(|ip| format!("\"{ip}\""));
        let port = self.port.map(|port| port.to_string());
        let off = || "off".to_owned();
        writeln!(out, "      address: {}", address.unwrap_or_else(off))?;
        writeln!(out, "      port: {}", port.unwrap_or_else(off))?;
        let header = match self.header {
            ProbeHeader::OfPool => "pool",
            ProbeHeader::Own(None) => "off",
            ProbeHeader::Own(Some(version)) => version.word(),
        };
        writeln!(out, "      send_proxy_protocol: {header}")
    }

    /// What is allowed and still looks like a mistake, a sentence each.
    pub(super) fn warnings(&self, pool: &str) -> Vec<String> {
        let pool = quoted(pool);
        let shown = humantime::format_duration;
        let mut warnings = Vec::new();
        if self.timeout > self.interval {
            warnings.push(format!(
                "pool {pool}: a health check may take longer (timeout {}) than from one to the next (interval {})",
                shown(self.timeout),
                shown(self.interval),
            ));
        }
        if let Some(fast) = self.fast_interval.filter(|fast| *fast > self.interval) {
            warnings.push(format!(
                "pool {pool}: fast_interval {} is longer than interval {}, so a backend in doubt is probed less often",
                shown(fast),
                shown(self.interval),
            ));
        }
        warnings
    }
}

const TYPES: [&str; 4] = ["tcp", "http", "send_expect", "off"];

/// Stands for a type that is none, which has been told.
const UNREADABLE: &str = "";

/// The keys that go with one type only.
const KEYS_OF_TYPE: [(&str, &[&str]); 2] = [
    ("http", &["method", "path", "host", "expect_status"]),
    ("send_expect", &["send", "expect"]),
];

fn read_probe(kind: &str, map: &mut Map<'_>, reading: &mut Reading) -> Probe {
    for (of, keys) in KEYS_OF_TYPE {
        for key in keys.iter().filter(|_| of != kind) {
            // Who switches a check off for a while may leave its keys where they are.
            if map.take(key).is_some() && !["off", UNREADABLE].contains(&kind) {
                let what = format!("{key} is for `type: {of}`, and this is `type: {kind}`");
                let help = format!("remove it, or write `type: {of}`");
                reading
                    .problems
                    .push(Problem::new(what, help).at(map.spot(key)));
            }
        }
    }
    match kind {
        "http" => Probe::Http(HttpProbe::read(map, reading)),
        "send_expect" => {
            if !map.has("expect") {
                let help = "what a good answer has in it, for example `expect: \"+PONG\"`";
                map.missing(reading, "expect", help);
            }
            let send = |text: &str| bytes::read(text, &defaults::SEND_BYTES_RANGE);
            let expect = |text: &str| bytes::read(text, &defaults::EXPECT_BYTES_RANGE);
            Probe::SendExpect {
                send: map.read(reading, "send", Vec::new(), send),
                expect: map.read(reading, "expect", Vec::new(), expect),
            }
        }
        _ => Probe::Tcp,
    }
}

fn ip(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| {
        let what = format!("{} is no IP address", quoted(text));
        Problem::new(
            what,
            "an IP address; the port is a key of its own: `port: 8001`",
        )
    })
}

/// A TCP port.
pub(super) fn port(text: &str) -> Result<u16, Problem> {
    number(text, &(1..=u32::from(u16::MAX))).map(|port| port as u16)
}

fn header(text: &str) -> Result<ProbeHeader, Problem> {
    let [v1, v2] = Version::ALL.map(|version| (version.word(), ProbeHeader::Own(Some(version))));
    let (of_pool, off) = (
        ("pool", ProbeHeader::OfPool),
        ("off", ProbeHeader::Own(None)),
    );
    word("send_proxy_protocol", text, &[of_pool, off, v1, v2])
}
