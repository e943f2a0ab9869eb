//! Exercise 2: lose no byte.
//!
//! This is step 3's copy, written by hand, and it works, nearly always. `write` takes as much as there
//! is room for, which can be less than it was given; and a signal can end a `read` or a `write` with
//! `ErrorKind::Interrupted` before anything has happened, which is no error of the connection.
//!
//! Hint: the return value of `write`. `Write::write_all` knows of both.

use std::io::{self, Read, Write};

/// Copies everything, until `from` ends. Returns the number of bytes.
pub fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut buffer = [0; 4096];
    let mut copied = 0;
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(copied);
        }
        let _ = to.write(&buffer[..length])?;
        copied += length as u64;
    }
}
