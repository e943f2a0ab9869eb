//! Exercise 2, solved: `write_all` goes on with the rest after a short write, and tries again after an
//! interruption; a read that was interrupted is simply done again.

use std::io::{self, ErrorKind, Read, Write};

/// Copies everything, until `from` ends. Returns the number of bytes.
pub fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut buffer = [0; 4096];
    let mut copied = 0;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&buffer[..length])?;
        copied += length as u64;
    }
}
