//! Version 1: one line of text, `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and CR LF.
//!
//! The grammar is taken at its word: one space, no leading zero, no lone CR. What an address is, std
//! knows: it refuses octal-looking IPv4 numbers, too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Endpoints, Fault, HEADER_BYTES_MIN, Parsed, begins_like};

/// What every line begins with.
pub(super) const PREFIX: [u8; 6] = *b"PROXY ";

/// Longest line with its CR LF (the specification's worst case, section 2.1).
const LINE_BYTES_MAX: usize = 107;

/// What may stand behind the prefix.
const PROTOCOLS: [&[u8]; 4] = [b"TCP4 ", b"TCP6 ", b"UNKNOWN ", b"UNKNOWN\r"];

/// Reads a line of which at least one byte is there, and as far as it goes the prefix.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let behind_prefix = bytes.get(PREFIX.len()..).unwrap_or_default();
    if !PROTOCOLS
        .iter()
        .any(|protocol| begins_like(behind_prefix, protocol))
    {
        return Parsed::Invalid(Fault::Protocol);
    }
    let line_bytes = bytes.iter().take(LINE_BYTES_MAX).position(|b| *b == b'\r');
    let length = line_bytes.unwrap_or(bytes.len()).saturating_add(2);
    if length > LINE_BYTES_MAX {
        return Parsed::Invalid(Fault::LineTooLong);
    }
    let Some(line_bytes) = line_bytes else {
        let shortest = HEADER_BYTES_MIN.saturating_sub(bytes.len());
        return Parsed::NeedMore(shortest.max(2));
    };
    match bytes.get(line_bytes.saturating_add(1)) {
        None => return Parsed::NeedMore(1),
        Some(b'\n') => {}
        Some(_) => return Parsed::Invalid(Fault::LineEnd),
    }
    match read(bytes.get(PREFIX.len()..line_bytes).unwrap_or_default()) {
        Ok(endpoints) => Parsed::Header { endpoints, length },
        Err(fault) => Parsed::Invalid(fault),
    }
}

/// Reads what stands between the prefix and the CR.
fn read(line: &[u8]) -> Result<Endpoints, Fault> {
    if line.starts_with(b"UNKNOWN") {
        // Whatever follows is to be ignored.
        return Ok(Endpoints::Unknown);
    }
    let line = std::str::from_utf8(line).map_err(|_| Fault::Fields)?;
    let mut fields = line.split(' ');
    let (Some(protocol), Some(source), Some(destination), Some(from), Some(to), None) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
    ) else {
        return Err(Fault::Fields);
    };
    let (source, destination) = if protocol == "TCP4" {
        (
            address::<Ipv4Addr>(source)?,
            address::<Ipv4Addr>(destination)?,
        )
    } else {
        (
            address::<Ipv6Addr>(source)?,
            address::<Ipv6Addr>(destination)?,
        )
    };
    Ok(Endpoints::tcp(
        SocketAddr::new(source, port(from)?),
        SocketAddr::new(destination, port(to)?),
    ))
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Fault> {
    text.parse::<A>()
        .map(Into::into)
        .map_err(|_| Fault::Address)
}

fn port(text: &str) -> Result<u16, Fault> {
    // `parse` alone would let `+80` and `080` pass.
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(Fault::Port)
}

/// The line for a connection with these endpoints.
pub(super) fn encode(endpoints: Endpoints) -> Vec<u8> {
    let Endpoints::Tcp {
        source,
        destination,
    } = endpoints
    else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let ports = (source.port(), destination.port());
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => line("TCP4", source, destination, ports),
        (source, destination) => line("TCP6", mapped(source), mapped(destination), ports),
    }
}

fn line(
    protocol: &str,
    source: impl std::fmt::Display,
    destination: impl std::fmt::Display,
    (from, to): (u16, u16),
) -> Vec<u8> {
    format!("PROXY {protocol} {source} {destination} {from} {to}\r\n").into_bytes()
}

/// The address as IPv6.
pub(super) fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}
