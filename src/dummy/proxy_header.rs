//! The PROXY header, as a server that trusts its balancer reads it: version 1 by the line, version 2 by
//! the length. It checks no more than it needs to find the end, and is nobody's example of how to treat
//! strangers; it is apart from evener's own reader on purpose, so that the two can disagree.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Longest line of version 1.
const LINE_BYTES_MAX: usize = 107;

/// Takes the header off, and gives the client that it names: an address, or a word where it names none.
/// Anything but a header is an error.
pub(super) fn read(mut stream: &TcpStream) -> io::Result<String> {
    let mut first = [0; 12];
    stream.read_exact(&mut first)?;
    if first == *SIGNATURE {
        return read_binary(stream);
    }
    let mut line = first.to_vec();
    while !line.ends_with(b"\r\n") && line.len() < LINE_BYTES_MAX {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    let line = String::from_utf8_lossy(&line);
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok("UNKNOWN".into()),
        ["PROXY", "TCP4" | "TCP6", source, _, port, _] => {
            let host = source.parse().map_err(|_| not_a_header())?;
            let port = port.parse().map_err(|_| not_a_header())?;
            Ok(SocketAddr::new(host, port).to_string())
        }
        _ => Err(not_a_header()),
    }
}

fn read_binary(mut stream: &TcpStream) -> io::Result<String> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let [command, family, high, low] = head;
    let mut body = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    stream.read_exact(&mut body)?;
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let client = match (command, family) {
        (0x20, _) => return Ok("LOCAL".into()),
        (0x21, 0x11) => body
            .first_chunk::<4>()
            .zip(port(8))
            .map(|(ip, port)| SocketAddr::new(Ipv4Addr::from(*ip).into(), port)),
        (0x21, 0x21) => body
            .first_chunk::<16>()
            .zip(port(32))
            .map(|(ip, port)| SocketAddr::new(Ipv6Addr::from(*ip).into(), port)),
        (0x21, _) => return Ok("UNKNOWN".into()),
        _ => None,
    };
    client
        .map(|client| client.to_string())
        .ok_or_else(not_a_header)
}

fn not_a_header() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "not a PROXY header")
}
