//! The first message of a TLS client, and the name of the server it asks for (SNI). PURE.
//!
//! Written by RFC 8446, sections 4.1.2 and 5.1, and RFC 6066, section 3. [`parse`] looks at the bytes
//! that have come so far, from the first one on, and says what they are. It reads no further than to
//! the name and decrypts nothing: in a hello with Encrypted ClientHello the name is that of the outer
//! one, the only one that evener can know. Whether the rest of the hello is right is the backend's to
//! judge. What is done with the answer is decided in [`super::routes`].
//!
//! Each call begins anew. That is cheap, since hellos come in one or two segments, and a call remembers
//! nothing that could be wrong.

// Each byte is somebody else's: no sum of them may overflow.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod fields;
mod records;

#[cfg(test)]
mod tests;

use fields::{Fields, Stop};
use records::Next;

/// Longest beginning of a connection that is looked at, in bytes: one record of the largest size there
/// is, with its header (nginx `preread_buffer_size` and HAProxy `tune.bufsize` are 16 KiB, too). Real
/// hellos have 200 to 2000 bytes, with post-quantum keys.
pub const HELLO_BYTES_MAX: usize = 5 + records::FRAGMENT_BYTES_MAX;

/// The number of the handshake message that a client begins with.
const CLIENT_HELLO: usize = 1;

/// The number of the extension with the server's name.
const SERVER_NAME: usize = 0;

/// The only kind of name that there is.
const HOST_NAME: usize = 0;

/// What the bytes at the beginning of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a hello, of which at least so many bytes are still to come before there is
    /// anything to say.
    NeedMore(usize),
    /// They have been understood.
    Hello(Hello),
}

/// What a client begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// A hello that asks for this server. The bytes are the client's: they may be anything.
    Name(Vec<u8>),
    /// A hello that asks for no server by name.
    NoName,
    /// No hello, a broken one, or one in which no name came within [`HELLO_BYTES_MAX`].
    NotTls,
}

/// What these first bytes of a connection are. An answer other than [`Parsed::NeedMore`] stays the same
/// whatever comes behind them.
pub fn parse(bytes: &[u8]) -> Parsed {
    let bytes = bytes.get(..HELLO_BYTES_MAX).unwrap_or(bytes);
    let handshake = records::handshake(bytes);
    match (server_name(&handshake.bytes), handshake.next) {
        (Ok(Some(name)), _) => Parsed::Hello(Hello::Name(name.to_vec())),
        (Ok(None), _) => Parsed::Hello(Hello::NoName),
        (Err(Stop::NeedMore(missing)), next) => {
            let room = HELLO_BYTES_MAX.saturating_sub(bytes.len());
            match next {
                Next::Content(left) if missing <= room => Parsed::NeedMore(missing.min(left)),
                Next::Header(left) if missing <= room => Parsed::NeedMore(left),
                _ => Parsed::Hello(Hello::NotTls),
            }
        }
        (Err(Stop::Malformed), _) => Parsed::Hello(Hello::NotTls),
    }
}

/// The name in the handshake message that these bytes begin with.
fn server_name(handshake: &[u8]) -> Result<Option<&[u8]>, Stop> {
    let mut header = Fields::new(handshake, HEADER_BYTES);
    if header.number(1)? != CLIENT_HELLO {
        return Err(Stop::Malformed);
    }
    let length = header.number(3)?;
    let mut hello = Fields::new(handshake.get(HEADER_BYTES..).unwrap_or_default(), length);
    let _version = hello.take(2)?;
    let _random = hello.take(32)?;
    let _session = hello.vector(1)?;
    let _cipher_suites = hello.vector(2)?;
    let _compressions = hello.vector(1)?;
    // Before TLS 1.3 a hello may end here.
    if hello.is_at_end() {
        return Ok(None);
    }
    let mut extensions = hello.last_part(2)?;
    while !extensions.is_at_end() {
        let kind = extensions.number(2)?;
        let content = extensions.vector(2)?;
        if kind == SERVER_NAME {
            return host_name(content);
        }
    }
    Ok(None)
}

/// Type and length of a handshake message.
const HEADER_BYTES: usize = 4;

/// The host name in a list of names. All of the list has come.
fn host_name(list: &[u8]) -> Result<Option<&[u8]>, Stop> {
    let mut names = Fields::new(list, list.len()).last_part(2)?;
    while !names.is_at_end() {
        let kind = names.number(1)?;
        let name = names.vector(2)?;
        match (kind, name) {
            (HOST_NAME, []) => return Err(Stop::Malformed),
            (HOST_NAME, name) => return Ok(Some(name)),
            _ => {}
        }
    }
    Ok(None)
}
