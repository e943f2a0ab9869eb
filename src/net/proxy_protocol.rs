//! The PROXY header on a socket: taken off the front of a client's stream, written at the front of a
//! backend's. Called on session threads and by probes, before any other byte moves.
//!
//! Not one byte behind the header is taken: what has come is looked at where it lies (`MSG_PEEK`), and
//! then exactly the header is read. So whatever relays the session begins with the client's first byte,
//! be it copied or spliced, and there is no surplus to carry about. That costs two system calls when the
//! header comes in one piece, as it does from every proxy.

// Each byte is somebody else's: no sum of them may overflow.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, recv};

use super::stream::Stream;
use super::wait::poll_within;
use crate::policy::proxy_protocol::{Endpoints, Fault, HEADER_BYTES_MAX, Parsed, parse};

/// Why there is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// What came instead is none.
    Invalid(Fault),
    /// It was not complete in time.
    Late,
    /// The client ended or reset the connection before it was complete.
    Left,
}

/// Waits until `deadline` for the header that a connection begins with, and takes it off. The deadline
/// is for all of it, however it dribbles in.
///
/// # Errors
///
/// [`HeaderError`]; the connection is of no use then, since a part of the header may have been taken.
pub fn receive(stream: &Stream, deadline: Instant) -> Result<Endpoints, HeaderError> {
    let mut buffer = [0; HEADER_BYTES_MAX];
    let mut taken = 0;
    loop {
        let room = buffer.get_mut(taken..).unwrap_or_default();
        let seen = taken.saturating_add(look(stream, room, deadline)?);
        let (endpoints, end) = match parse(buffer.get(..seen).unwrap_or_default()) {
            Parsed::Header { endpoints, length } => (Some(endpoints), length),
            // Up to here all of it belongs to the header. Taken off, it wakes nobody again.
            Parsed::NeedMore(_) => (None, seen),
            Parsed::Invalid(fault) => return Err(HeaderError::Invalid(fault)),
        };
        // These bytes are there, so this does not block.
        let mut reader = stream;
        reader
            .read_exact(buffer.get_mut(taken..end).unwrap_or_default())
            .map_err(|_| HeaderError::Left)?;
        taken = end;
        if let Some(endpoints) = endpoints {
            return Ok(endpoints);
        }
    }
}

/// Waits until something has come, and looks at it without taking it; says how many bytes there are.
fn look(stream: &Stream, buffer: &mut [u8], deadline: Instant) -> Result<usize, HeaderError> {
    loop {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match retry_on_intr(|| recv(stream, &mut *buffer, flags)) {
            Ok((0, _)) => return Err(HeaderError::Left),
            Ok((bytes, _)) => return Ok(bytes),
            Err(Errno::AGAIN) => {}
            Err(_) => return Err(HeaderError::Left),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(HeaderError::Late);
        }
        // A signal or an error only means to look again.
        let _ = poll_within(&mut [PollFd::new(stream, PollFlags::IN)], left);
    }
}

/// Writes a header to a connection that has just been made. It fits into the socket's empty buffer, so
/// it neither blocks nor goes out in part.
///
/// # Errors
///
/// Those of the connection: the backend may have reset it already.
pub fn send(mut stream: &Stream, header: &[u8]) -> io::Result<()> {
    stream.write_all(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::connect;
    use std::net::Shutdown;

    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n";

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    fn pair() -> (Stream, std::net::TcpStream) {
        let (ours, theirs) = connect::tests::pair();
        (ours.into(), theirs)
    }

    #[test]
    fn exactly_the_header_is_taken() {
        let (ours, mut theirs) = pair();
        theirs
            .write_all(&[HEADER, b"the client's own"].concat())
            .unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        let endpoints = receive(&ours, soon()).unwrap();
        assert!(matches!(endpoints, Endpoints::Tcp { source, .. } if source.port() == 5000));
        let mut rest = String::new();
        (&ours).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "the client's own");
    }

    #[test]
    fn a_header_in_single_bytes_is_taken_as_it_comes() {
        let (ours, mut theirs) = pair();
        std::thread::scope(|scope| {
            let reader = std::thread::Builder::new()
                .spawn_scoped(scope, || receive(&ours, soon()))
                .unwrap();
            for byte in HEADER {
                theirs.write_all(&[*byte]).unwrap();
                // Until it is taken off: then the next one comes by itself.
                while rustix::io::ioctl_fionread(&ours).unwrap() > 0 {
                    std::thread::yield_now();
                }
            }
            assert!(matches!(reader.join().unwrap(), Ok(Endpoints::Tcp { .. })));
        });
    }

    #[test]
    fn what_is_no_header_is_told_at_once_and_what_is_missing_in_time() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"G").unwrap();
        let fault = receive(&ours, soon()).unwrap_err();
        assert_eq!(fault, HeaderError::Invalid(Fault::Signature));

        let (ours, mut theirs) = pair();
        theirs.write_all(b"PROXY ").unwrap();
        let late = receive(&ours, Instant::now() + Duration::from_millis(20));
        assert_eq!(late.unwrap_err(), HeaderError::Late);
    }

    #[test]
    fn a_client_that_leaves_ends_the_wait() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"PROXY ").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive(&ours, soon()).unwrap_err(), HeaderError::Left);

        let (ours, theirs) = pair();
        crate::net::abort::reset(&theirs);
        assert_eq!(receive(&ours, soon()).unwrap_err(), HeaderError::Left);
    }
}
