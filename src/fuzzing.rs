//! The door for `fuzz/`, to the readers of the world's bytes that are nobody else's business: no other
//! code calls it, and what it shows may change with any commit.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use crate::admin::received;
use crate::api::wanted;
use crate::control::Close;

/// Reads a request to the admin server at that address (`None`: a unix socket) from `bytes`, which come in
/// pieces of this size. `None`: there is nobody to answer; else the length of its body, or the status of the
/// refusal.
pub fn admin_request(
    address: Option<SocketAddr>,
    bytes: &[u8],
    piece: usize,
) -> Option<Result<usize, u16>> {
    received(&mut Peer { rest: bytes, piece }, address)
}

/// Reads the body of a change of a backend.
///
/// # Errors
///
/// What is wrong with it, for the client.
pub fn change_body(bytes: &[u8]) -> Result<Option<Close>, String> {
    wanted(bytes)
}

/// A peer that sends these bytes, and then the end.
struct Peer<'b> {
    rest: &'b [u8],
    piece: usize,
}

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(self.piece);
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        self.rest.read(buffer)
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
