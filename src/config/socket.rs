//! `socket` of a listener and of a pool: what the kernel is told of their connections.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use super::error::{Problem, quoted};
use super::reader::{Map, Reading};
use super::value::{boolean, duration, number, or_off, or_word, size};
use super::yaml::Node;
use super::{defaults, print};
use crate::policy::socket::{ConnectOptions, KeepAlive, ListenOptions, SocketOptions, Source};

/// Reads the options of a listener.
pub(super) fn read_listen(node: Option<&Node>, reading: &mut Reading) -> ListenOptions {
    let usual = ListenOptions::USUAL;
    let Some(mut map) = node.map(|node| Map::new(node, "socket", reading)) else {
        return usual;
    };
    let backlog = |text: &str| or_word(text, "auto", |text| number(text, &defaults::BACKLOG_RANGE));
    let options = ListenOptions {
        common: read_common(&mut map, reading),
        backlog: map.read(reading, "backlog", usual.backlog, backlog),
        defer_accept: map.read(reading, "defer_accept", usual.defer_accept, |text| {
            or_off(text, seconds)
        }),
    };
    map.finish(reading);
    options
}

/// Reads the options of a pool.
pub(super) fn read_connect(node: Option<&Node>, reading: &mut Reading) -> ConnectOptions {
    let Some(mut map) = node.map(|node| Map::new(node, "socket", reading)) else {
        return ConnectOptions::USUAL;
    };
    let common = read_common(&mut map, reading);
    let source = map.read(reading, "source", None, |text| or_off(text, source));
    if common.transparent && source.is_some() {
        let what = "socket has both `source` and `transparent`";
        let help = "with `transparent` the source is the client's address; leave out one of them";
        let problem = Problem::new(what, help).at(map.spot("source"));
        reading.problems.push(problem);
    }
    map.finish(reading);
    ConnectOptions { common, source }
}

fn read_common(map: &mut Map<'_>, reading: &mut Reading) -> SocketOptions {
    let usual = SocketOptions::USUAL;
    let timeout = |text: &str| duration(text, defaults::TIMEOUT_MIN);
    let buffer = |text: &str| or_word(text, "auto", |text| size(text, &defaults::BUFFER_RANGE));
    SocketOptions {
        keepalive: read_keepalive(map.take("keepalive"), reading),
        user_timeout: map.read(reading, "user_timeout", usual.user_timeout, |text| {
            or_off(text, timeout)
        }),
        receive_buffer: map.read(reading, "receive_buffer", usual.receive_buffer, buffer),
        send_buffer: map.read(reading, "send_buffer", usual.send_buffer, buffer),
        nodelay: map.read(reading, "nodelay", usual.nodelay, boolean),
        interface: map.read(reading, "interface", None, |text| or_off(text, interface)),
        transparent: map.read(reading, "transparent", usual.transparent, boolean),
    }
}

/// `off`, or a mapping. Left out, every default applies.
fn read_keepalive(node: Option<&Node>, reading: &mut Reading) -> Option<KeepAlive> {
    let usual = KeepAlive::USUAL;
    let Some(node) = node else {
        return Some(usual);
    };
    let help = "write `keepalive: off`, or a mapping: `keepalive: { idle: 60s }`";
    let mut map = Map::or_off(node, "keepalive", help, reading)?;
    let keepalive = KeepAlive {
        idle: map.read(reading, "idle", usual.idle, seconds),
        interval: map.read(reading, "interval", usual.interval, seconds),
        count: map.read(reading, "count", usual.count, |text| {
            number(text, &defaults::KEEPALIVE_COUNT_RANGE)
        }),
    };
    map.finish(reading);
    Some(keepalive)
}

/// Whole seconds, as many as the kernel takes.
fn seconds(text: &str) -> Result<Duration, Problem> {
    let time = duration(text, Duration::from_secs(1))?;
    let max = defaults::KERNEL_SECONDS_MAX;
    if time.subsec_nanos() == 0 && time <= max {
        return Ok(time);
    }
    let help = format!(
        "the kernel counts in whole seconds, up to {}s",
        max.as_secs()
    );
    Err(Problem::new(
        format!("{} is none that the kernel takes", quoted(text)),
        help,
    ))
}

/// The name of a network interface, as the kernel allows it.
fn interface(text: &str) -> Result<String, Problem> {
    let is_right = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    if (1..=defaults::INTERFACE_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_right) {
        return Ok(text.to_string());
    }
    let what = format!("{} is no name of a network interface", quoted(text));
    Err(Problem::new(
        what,
        "for example `interface: eth1`; `ip link` lists them",
    ))
}

/// `10.0.0.5`, `10.0.0.5:20000-29999`, `2001:db8::5` or `[2001:db8::5]:20000-29999`.
fn source(text: &str) -> Result<Source, Problem> {
    let wrong = || {
        let what = format!("{} is no address of this machine", quoted(text));
        let help = "an IP address, or one with ports: \"10.0.0.5\", \"10.0.0.5:40000-49999\", \
                    \"[2001:db8::5]:40000-49999\"";
        Problem::new(what, help)
    };
    let (address, ports) = match text.parse::<IpAddr>() {
        Ok(address) => (address, None),
        Err(_) => {
            let (address, ports) = text.rsplit_once(':').ok_or_else(wrong)?;
            let inner = address
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            let address: IpAddr = inner.unwrap_or(address).parse().map_err(|_| wrong())?;
            if address.is_ipv6() != inner.is_some() {
                return Err(wrong());
            }
            let (first, last) = ports.split_once('-').ok_or_else(wrong)?;
            let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => (address, Some(first..=last)),
                _ => return Err(wrong()),
            }
        }
    };
    if address.is_unspecified() || address.is_multicast() {
        return Err(wrong());
    }
    Ok(Source { address, ports })
}

/// Writes the options of a listener as they load again.
pub(super) fn write_listen(out: &mut String, options: &ListenOptions) -> fmt::Result {
    write_common(out, &options.common)?;
    let backlog = print::number_or(options.backlog, "auto");
    let defer = print::time_or_off(options.defer_accept);
    writeln!(out, "      backlog: {backlog}\n      defer_accept: {defer}")
}

/// Writes the options of a pool as they load again.
pub(super) fn write_connect(out: &mut String, options: &ConnectOptions) -> fmt::Result {
    write_common(out, &options.common)?;
    let source = match &options.source {
        None => "off".to_string(),
        Some(Source {
            address,
            ports: None,
        }) => format!("\"{address}\""),
        Some(Source {
            address,
            ports: Some(ports),
        }) => {
            let (first, last) = (ports.start(), ports.end());
            match address {
                IpAddr::V4(address) => format!("\"{address}:{first}-{last}\""),
                IpAddr::V6(address) => format!("\"[{address}]:{first}-{last}\""),
            }
        }
    };
    writeln!(out, "      source: {source}")
}

fn write_common(out: &mut String, options: &SocketOptions) -> fmt::Result {
    writeln!(out, "    socket:")?;
    match options.keepalive {
        None => writeln!(out, "      keepalive: off")?,
        Some(KeepAlive {
            idle,
            interval,
            count,
        }) => {
            let (idle, interval) = (print::time(idle), print::time(interval));
            writeln!(
                out,
                "      keepalive: {{ idle: {idle}, interval: {interval}, count: {count} }}"
            )?;
        }
    }
    let interface = options.interface.as_deref().map(print::text);
    writeln!(
        out,
        "      user_timeout: {}",
        print::time_or_off(options.user_timeout)
    )?;
    writeln!(
        out,
        "      receive_buffer: {}",
        print::number_or(options.receive_buffer, "auto")
    )?;
    writeln!(
        out,
        "      send_buffer: {}",
        print::number_or(options.send_buffer, "auto")
    )?;
    writeln!(out, "      nodelay: {}", options.nodelay)?;
    writeln!(
        out,
        "      interface: {}",
        interface.as_deref().unwrap_or("off")
    )?;
    writeln!(out, "      transparent: {}", options.transparent)
}
