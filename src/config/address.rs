//! Addresses as people write them: where to listen, and where a backend is. Nothing is resolved here.

use super::error::{Problem, quoted};
use super::{BackendAddress, Bind};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Longest host name, DNS (RFC 1035, 2.3.4).
const HOST_CHARS_MAX: usize = 253;
/// Longest part of a host name between two dots, DNS.
const LABEL_CHARS_MAX: usize = 63;

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080`, or `:8080` for every address of the
/// machine. Port 0 lets the system choose.
pub(super) fn bind(text: &str) -> Result<Bind, Problem> {
    let example = |good: String| format!("write \"{good}\"");
    if let Some(problem) = bare(text, |text| format!(":{text}")) {
        return Err(problem);
    }
    let (host, port) = split(text, "0.0.0.0")?;
    if host == "*" {
        let what = format!("{} has no IP address", quoted(text));
        return Err(Problem::new(
            what,
            example(format!(":{port}")) + " for every address of the machine",
        ));
    }
    let dual_stack = host.is_empty();
    let ip = if dual_stack {
        Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    } else {
        host.parse().ok()
    };
    let address = match ip {
        Some(ip) => SocketAddr::new(ip, port),
        None => scoped(text).ok_or_else(|| {
            let what = format!("{} has no IP address", quoted(text));
            let help = format!(
                "a listener takes no host name: \":{port}\" is every address of the machine, \"127.0.0.1:{port}\" \
                 this machine only"
            );
            Problem::new(what, help)
        })?,
    };
    Ok(Bind {
        text: text.to_string(),
        address,
        dual_stack,
    })
}

/// The address of a backend: an IP address or a host name, and a port.
pub(super) fn backend(text: &str) -> Result<BackendAddress, Problem> {
    if let Some(problem) = bare(text, |text| format!("127.0.0.1:{text}")) {
        return Err(problem);
    }
    let (host, port) = split(text, "127.0.0.1")?;
    if host.is_empty() {
        let what = format!("{} has no host", quoted(text));
        return Err(Problem::new(
            what,
            format!("for this machine, write \"127.0.0.1:{port}\""),
        ));
    }
    if port == 0 {
        let what = format!("{} has port 0", quoted(text));
        return Err(Problem::new(what, "the port of a backend is 1 to 65535"));
    }
    if let Ok(ip) = host.parse() {
        return Ok(BackendAddress::Ip(SocketAddr::new(ip, port)));
    }
    if let Some(address) = scoped(text) {
        return Ok(BackendAddress::Ip(address));
    }
    if !is_host_name(host) {
        let what = format!("{} is neither an IP address nor a host name", quoted(host));
        return Err(Problem::new(
            what,
            "for example \"10.0.0.1:5432\", \"[::1]:5432\" or \"db.internal:5432\"",
        ));
    }
    Ok(BackendAddress::Name {
        host: host.to_string(),
        port,
    })
}

/// The answer to a text with only one half of an address, or with too much of a URL.
fn bare(text: &str, with_port: impl Fn(&str) -> String) -> Option<Problem> {
    let what = |fault: &str| format!("{} {fault}", quoted(text));
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or(rest);
        let help = format!("evener balances TCP, whatever runs over it: write \"{rest}\"");
        return Some(Problem::new(what(&format!("is a URL ({scheme})")), help));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Problem::new(
            what("is only a port"),
            format!("write \"{}\"", with_port(text)),
        ));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        // The last group may be meant as the port.
        let with_port = text
            .rsplit_once(':')
            .filter(|(host, port)| host.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok());
        let whole = format!("\"[{text}]:8080\"");
        let help = match with_port {
            Some((host, port)) => format!(
                "an IPv6 address is written in brackets: \"[{host}]:{port}\", \
                 or {whole} if all of it is the address"
            ),
            None => format!("an IPv6 address is written in brackets: {whole}"),
        };
        return Some(Problem::new(what("has no port"), help));
    }
    None
}

/// Host, without brackets, and port.
fn split<'t>(text: &'t str, example_host: &str) -> Result<(&'t str, u16), Problem> {
    let what = |fault: &str| format!("{} {fault}", quoted(text));
    let Some((host, port)) = text.rsplit_once(':') else {
        let host = if text.is_empty() { example_host } else { text };
        return Err(Problem::new(
            what("has no port"),
            format!("write \"{host}:8000\", with the port that is meant"),
        ));
    };
    let canonical = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    // One port has one way to be written: 080 may be meant as octal.
    let port = match port.parse::<u16>() {
        Ok(number) if canonical && (port == "0" || !port.starts_with('0')) => number,
        _ => {
            let help = match port.split_once('=') {
                Some((port, weight)) => format!(
                    "the weight stands beside the address: \
                     {{ address: \"{host}:{port}\", weight: {weight} }}"
                ),
                None => "a port is a number from 1 to 65535".to_string(),
            };
            return Err(Problem::new(what("has no valid port"), help));
        }
    };
    if let Some(inside) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        // Named scopes (%eth0) are not known to the parser of std; numbers are.
        if inside.parse::<Ipv6Addr>().is_err() && scoped(text).is_none() {
            let help =
                "between the brackets stands an IPv6 address: \"[::1]:8000\", \"[fe80::1%2]:8000\"";
            return Err(Problem::new(what("has no valid IPv6 address"), help));
        }
        return Ok((inside, port));
    }
    if host.contains(':') {
        let help = format!("an IPv6 address is written in brackets: \"[{host}]:{port}\"");
        return Err(Problem::new(what("is ambiguous"), help));
    }
    Ok((host, port))
}

/// A link-local IPv6 address with the number of its interface, `[fe80::1%2]:8000`.
fn scoped(text: &str) -> Option<SocketAddr> {
    text.parse::<SocketAddrV6>().ok().map(SocketAddr::V6)
}

/// Letters, digits, `-` and `_` between dots. A last part of digits only is a mistyped IP address.
fn is_host_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty()
            && label.len() <= LABEL_CHARS_MAX
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= HOST_CHARS_MAX
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackendAddress::Ip(address) => write!(f, "{address}"),
            BackendAddress::Name { host, port } => write!(f, "{host}:{port}"),
            BackendAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Bind {
    /// Would a connection to this address and port arrive here? Port 0 is not known before it is
    /// bound, so it takes nothing.
    pub(super) fn takes(&self, ip: IpAddr, port: u16) -> bool {
        let ours = self.address.ip().to_canonical();
        let theirs = ip.to_canonical();
        // 0.0.0.0 as a destination is this machine, like loopback.
        let local = theirs.is_loopback() || theirs.is_unspecified();
        let same_family = ours.is_ipv4() == theirs.is_ipv4() || self.dual_stack;
        let same_ip = ours == theirs
            || same_family && ours.is_unspecified() && local
            || same_family && theirs.is_unspecified() && ours.is_loopback();
        port != 0 && self.address.port() == port && same_ip
    }

    /// Can't both be bound: the same port, and an address that the other includes.
    pub(super) fn overlaps(&self, other: &Bind) -> bool {
        let (a, b) = (self.address.ip(), other.address.ip());
        let includes = |bind: &Bind, ip: IpAddr| {
            bind.address.ip().is_unspecified()
                && (bind.address.is_ipv4() == ip.is_ipv4() || bind.dual_stack)
        };
        self.address.port() != 0
            && self.address.port() == other.address.port()
            && (a == b || includes(self, b) || includes(other, a))
    }
}
