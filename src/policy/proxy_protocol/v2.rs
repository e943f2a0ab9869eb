//! Version 2: binary, 16 bytes with the length of what follows: addresses, then further fields (TLVs).
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 to 11 | the signature |
//! | 12 | version 2 (high half), command (low half): 0 LOCAL, 1 PROXY |
//! | 13 | family: 0 none, 1 IPv4, 2 IPv6, 3 UNIX; transport: 0 none, 1 stream, 2 datagram |
//! | 14, 15 | bytes that follow |
//!
//! The further fields are skipped, but they have to fit; a checksum among them has to be right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use super::checksum::crc32c;
use super::v1::mapped;
use super::{Endpoints, Fault, HEADER_BYTES_MAX, Parsed};

/// What every header begins with.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
const FIXED_BYTES: usize = 16;

/// Type of the further field that holds a CRC32c of the whole header.
const TYPE_CRC32C: u8 = 3;

/// Reads a header of which at least one byte is there, and as far as it goes the signature.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    // Each byte is judged as soon as it is there, so that a wrong header ends early.
    let is_local = match bytes.get(12) {
        Some(0x20) => true,
        None | Some(0x21) => false,
        Some(0x22..=0x2f) => return Parsed::Invalid(Fault::Command),
        Some(_) => return Parsed::Invalid(Fault::Version),
    };
    let kind = match bytes.get(13).map(|byte| Kind::of(*byte)) {
        // The block of a LOCAL header is to be skipped, its family included.
        _ if is_local => Some(Kind::Unspecified),
        Some(None) => return Parsed::Invalid(Fault::Family),
        other => other.flatten(),
    };
    let (Some(kind), Some([high, low])) = (kind, bytes.get(14..FIXED_BYTES)) else {
        return Parsed::NeedMore(FIXED_BYTES.saturating_sub(bytes.len()));
    };
    let length = FIXED_BYTES.saturating_add(u16::from_be_bytes([*high, *low]).into());
    if length > HEADER_BYTES_MAX {
        return Parsed::Invalid(Fault::TooLong);
    }
    let fields = FIXED_BYTES.saturating_add(kind.address_bytes());
    if length < fields {
        return Parsed::Invalid(Fault::TooShort);
    }
    let Some(header) = bytes.get(..length) else {
        return Parsed::NeedMore(length.saturating_sub(bytes.len()));
    };
    let endpoints = match kind {
        _ if is_local => Endpoints::Local,
        Kind::Unspecified => Endpoints::Unknown,
        Kind::Other { .. } | Kind::Tcp4 | Kind::Tcp6 => {
            if let Err(fault) = check_fields(header, fields) {
                return Parsed::Invalid(fault);
            }
            addresses(kind, header.get(FIXED_BYTES..fields).unwrap_or_default())
        }
    };
    Parsed::Header { endpoints, length }
}

/// What the 14th byte announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp4,
    Tcp6,
    /// A datagram or a UNIX socket: addresses of this length, and none that a TCP session could have.
    Other {
        address_bytes: usize,
    },
    /// No family or no transport: everything behind it is to be ignored.
    Unspecified,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        match (byte >> 4, byte & 0xf) {
            (1, 1) => Some(Kind::Tcp4),
            (2, 1) => Some(Kind::Tcp6),
            (1, 2) => Some(Kind::Other { address_bytes: 12 }),
            (2, 2) => Some(Kind::Other { address_bytes: 36 }),
            (3, 1 | 2) => Some(Kind::Other { address_bytes: 216 }),
            (0, 0..=2) | (1..=3, 0) => Some(Kind::Unspecified),
            _ => None,
        }
    }

    fn address_bytes(self) -> usize {
        match self {
            Kind::Tcp4 => 12,
            Kind::Tcp6 => 36,
            Kind::Other { address_bytes } => address_bytes,
            Kind::Unspecified => 0,
        }
    }
}

/// Reads the addresses: both hosts, then both ports.
fn addresses(kind: Kind, block: &[u8]) -> Endpoints {
    match kind {
        Kind::Tcp4 => tcp(block, |host: [u8; 4]| Ipv4Addr::from(host).into()),
        Kind::Tcp6 => tcp(block, |host: [u8; 16]| Ipv6Addr::from(host).into()),
        Kind::Other { .. } | Kind::Unspecified => None,
    }
    .unwrap_or(Endpoints::Unknown)
}

/// Hosts of `N` bytes. There is always something to read: the length was checked.
fn tcp<const N: usize>(block: &[u8], host: impl Fn([u8; N]) -> IpAddr) -> Option<Endpoints> {
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (from, rest) = rest.split_first_chunk::<2>()?;
    let (to, _) = rest.split_first_chunk::<2>()?;
    Some(Endpoints::tcp(
        SocketAddr::new(host(*source), u16::from_be_bytes(*from)),
        SocketAddr::new(host(*destination), u16::from_be_bytes(*to)),
    ))
}

/// Walks over the further fields, which begin at `start` and have to fill the header exactly.
fn check_fields(header: &[u8], start: usize) -> Result<(), Fault> {
    let mut at = start;
    let mut checksum: Option<Range<usize>> = None;
    while let Some(field @ [_, ..]) = header.get(at..) {
        let [kind, high, low, ..] = field else {
            return Err(Fault::Extension);
        };
        let begin = at.saturating_add(3);
        let value = begin..begin.saturating_add(u16::from_be_bytes([*high, *low]).into());
        at = value.end;
        if *kind == TYPE_CRC32C && (value.len() != 4 || checksum.replace(value).is_some()) {
            return Err(Fault::Extension);
        }
    }
    if at != header.len() {
        return Err(Fault::Extension);
    }
    checksum.map_or(Ok(()), |place| check_checksum(header, place))
}

/// The checksum is that of the header with zeros in the checksum's own place.
fn check_checksum(header: &[u8], place: Range<usize>) -> Result<(), Fault> {
    let (Some(before), Some(found), Some(behind)) = (
        header.get(..place.start),
        header.get(place.clone()),
        header.get(place.end..),
    ) else {
        return Err(Fault::Extension);
    };
    let expected = crc32c([before, &[0; 4], behind]);
    if *found == expected.to_be_bytes() {
        Ok(())
    } else {
        Err(Fault::Checksum)
    }
}

/// The header for a connection with these endpoints.
pub(super) fn encode(endpoints: Endpoints) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    match endpoints {
        Endpoints::Local => header.extend([0x20, 0x00, 0, 0]),
        Endpoints::Unknown => header.extend([0x21, 0x00, 0, 0]),
        Endpoints::Tcp {
            source,
            destination,
        } => {
            match (source.ip(), destination.ip()) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    header.extend([0x21, 0x11, 0, 12]);
                    header.extend(source.octets());
                    header.extend(destination.octets());
                }
                (source, destination) => {
                    header.extend([0x21, 0x21, 0, 36]);
                    header.extend(mapped(source).octets());
                    header.extend(mapped(destination).octets());
                }
            }
            header.extend(source.port().to_be_bytes());
            header.extend(destination.port().to_be_bytes());
        }
    }
    header
}
