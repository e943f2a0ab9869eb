//! The PROXY protocol: the header in which one proxy tells the next whom a connection is for. PURE.
//!
//! Written by the specification of 2020/03/05 (HAProxy's `doc/proxy-protocol.txt`), both versions.
//! [`parse`] looks at the bytes that have come so far and says what they are; [`Endpoints::encode`]
//! makes the header of the other way. Who may send a header, and what becomes of a connection without
//! one, is decided in `session::admit`.

// Each byte is somebody else's: no sum of them may overflow.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod checksum;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

/// Longest header that is read, in bytes. The specification leaves up to 65,551; nginx stops at 4,096
/// (`NGX_PROXY_PROTOCOL_MAX_HEADER`), and what cloud balancers and HAProxy add stays far below.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Shortest header there is: `PROXY UNKNOWN` and the end of its line. Version 2 has one byte more.
const HEADER_BYTES_MIN: usize = 15;

/// Which header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary, with a length; read with fewer doubts.
    V2,
}

impl Version {
    /// Both.
    pub const ALL: [Version; 2] = [Version::V1, Version::V2];

    /// The word for it in configs.
    pub fn word(self) -> &'static str {
        match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        }
    }
}

/// What a header says of a connection: its true endpoints, if there are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    /// It is relayed for a TCP client.
    Tcp {
        /// The client's address.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
    /// It is relayed for something that has no such address, a UNIX socket for example.
    Unknown,
    /// The proxy speaks for itself: a health check. Version 1 has no word for it.
    Local,
}

impl Endpoints {
    /// A TCP client. IPv4 addresses that are written as IPv6 (`::ffff:192.0.2.1`) become what they are.
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Endpoints {
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Endpoints::Tcp {
            source: canonical(source),
            destination: canonical(destination),
        }
    }

    /// The header that says so. Where only one of the two addresses is IPv4, it is written as IPv6, in
    /// both versions, as HAProxy does (`make_proxy_line_v1` and `_v2`).
    pub fn encode(self, version: Version) -> Vec<u8> {
        match version {
            Version::V1 => v1::encode(self),
            Version::V2 => v2::encode(self),
        }
    }
}

/// What the bytes at the beginning of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header, of which at least so many bytes are still to come. Who reads that
    /// many and no more takes no byte of what is behind the header.
    NeedMore(usize),
    /// A whole header.
    Header {
        /// What it says.
        endpoints: Endpoints,
        /// Its length in bytes; what is behind it is the client's.
        length: usize,
    },
    /// No header, and no further byte makes it one.
    Invalid(Fault),
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It begins like neither version.
    Signature,
    /// Version 1: no end of line within the 107 bytes that it may have.
    LineTooLong,
    /// Version 1: a CR without the LF that belongs to it.
    LineEnd,
    /// Version 1: neither TCP4 nor TCP6 nor UNKNOWN.
    Protocol,
    /// Version 1: not exactly two addresses and two ports, with one space between them.
    Fields,
    /// Version 1: an address that is none, or of the other family.
    Address,
    /// Version 1: not a number from 0 to 65535 in plain decimal.
    Port,
    /// Version 2: a version of the binary header that is not 2.
    Version,
    /// Version 2: neither LOCAL nor PROXY.
    Command,
    /// Version 2: an address family or a transport that the specification does not have.
    Family,
    /// Version 2: too short for the addresses that it announces.
    TooShort,
    /// Version 2: longer than [`HEADER_BYTES_MAX`].
    TooLong,
    /// Version 2: a further field (TLV) that does not fit, or a second checksum.
    Extension,
    /// Version 2: the checksum that it brings is wrong.
    Checksum,
}

impl Fault {
    /// It in words, for the log.
    pub fn words(self) -> &'static str {
        match self {
            Fault::Signature => "no PROXY header: the first bytes are something else",
            Fault::LineTooLong => "PROXY v1: no end of line within 107 bytes",
            Fault::LineEnd => "PROXY v1: CR without LF",
            Fault::Protocol => "PROXY v1: neither TCP4 nor TCP6 nor UNKNOWN",
            Fault::Fields => "PROXY v1: not two addresses and two ports",
            Fault::Address => "PROXY v1: a wrong address",
            Fault::Port => "PROXY v1: a wrong port",
            Fault::Version => "PROXY v2: not version 2",
            Fault::Command => "PROXY v2: an unknown command",
            Fault::Family => "PROXY v2: an unknown address family or transport",
            Fault::TooShort => "PROXY v2: shorter than its addresses",
            Fault::TooLong => "PROXY v2: longer than 4096 bytes",
            Fault::Extension => "PROXY v2: a further field (TLV) does not fit",
            Fault::Checksum => "PROXY v2: the checksum is wrong",
        }
    }
}

/// What these first bytes of a connection are. An answer other than [`Parsed::NeedMore`] stays the same
/// whatever comes behind them.
pub fn parse(bytes: &[u8]) -> Parsed {
    if bytes.is_empty() {
        Parsed::NeedMore(HEADER_BYTES_MIN)
    } else if begins_like(bytes, &v1::PREFIX) {
        v1::parse(bytes)
    } else if begins_like(bytes, &v2::SIGNATURE) {
        v2::parse(bytes)
    } else {
        Parsed::Invalid(Fault::Signature)
    }
}

/// Are these bytes like `pattern`, as far as both go?
fn begins_like(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.iter().zip(pattern).all(|(byte, other)| byte == other)
}
