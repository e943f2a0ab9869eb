//! The first bytes of a client, looked at where they lie. Called on session threads, before any byte
//! moves.
//!
//! Nothing is taken (`MSG_PEEK`), so whatever relays the session begins with the client's first byte, be
//! it copied or spliced, and there is no surplus to carry about. A poll would wake at once, again and
//! again, for bytes that have been looked at: so the kernel is told how many there have to be before it
//! wakes anybody (`SO_RCVLOWAT`). That is for hellos in several segments; one that has come whole
//! costs a single `recvfrom`.

// Each byte is somebody else's: no sum of them may overflow.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, recv};

use super::wait::{pause, poll_within};
use crate::policy::client_hello::{HELLO_BYTES_MAX, Hello, Parsed, parse};

/// Pause where the kernel wakes us with no more bytes than before, which it does when it has no memory
/// for them.
const PRESSURE_PAUSE: Duration = Duration::from_millis(20);

/// Why nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloError {
    /// A hello has begun and was not complete in time.
    Late,
    /// The client ended or reset the connection before that.
    Left,
}

/// Waits until `deadline` for the hello that a connection begins with, if it does. Who has sent nothing
/// by then waits for the server to speak first, and so does not speak TLS.
///
/// # Errors
///
/// [`HelloError`].
pub fn look(stream: BorrowedFd<'_>, deadline: Instant) -> Result<Hello, HelloError> {
    let mut buffer = vec![0; HELLO_BYTES_MAX];
    let mut seen = 0;
    let mut wanted = 1;
    let mut has_ended = false;
    let hello = loop {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let come = match retry_on_intr(|| recv(stream, &mut *buffer, flags)) {
            Ok((0, _)) => return Err(HelloError::Left),
            Ok((bytes, _)) => bytes,
            Err(Errno::AGAIN) => 0,
            Err(_) => return Err(HelloError::Left),
        };
        let missing = match parse(buffer.get(..come).unwrap_or_default()) {
            Parsed::Hello(hello) => break hello,
            Parsed::NeedMore(missing) => missing,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match (come, left) {
            _ if has_ended => return Err(HelloError::Left),
            (0, Duration::ZERO) => break Hello::NotTls,
            (_, Duration::ZERO) => return Err(HelloError::Late),
            _ => {}
        }
        if come > 0 && come == seen && !pause(stream, PRESSURE_PAUSE.min(left)) {
            return Err(HelloError::Left);
        }
        seen = come;
        let enough = come.saturating_add(missing);
        if wanted != enough {
            wanted = enough;
            wake_at(stream, wanted);
        }
        has_ended = wait(stream, left);
    };
    if wanted != 1 {
        wake_at(stream, 1);
    }
    Ok(hello)
}

/// Has the kernel wake whoever waits for this connection when so many bytes are there.
fn wake_at(stream: BorrowedFd<'_>, bytes: usize) {
    // It fails on no TCP socket; and if it did, the loop above would still be right.
    let _ = evener_sys::set_receive_low_water(stream, bytes);
}

/// Waits for bytes, and says whether the client will send no more of them.
fn wait(stream: BorrowedFd<'_>, time: Duration) -> bool {
    let mut descriptor = [PollFd::from_borrowed_fd(
        stream,
        PollFlags::IN | PollFlags::RDHUP,
    )];
    // A signal or an error only means to look again.
    let _ = poll_within(&mut descriptor, time);
    let [descriptor] = &descriptor;
    descriptor.revents().contains(PollFlags::RDHUP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::connect::tests::pair;
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::fd::AsFd;

    /// The hello of a client that asks for `a.example`, of the least that there has to be.
    const HELLO: &[u8] =
        b"\x16\x03\x01\x00\x43\x01\x00\x00\x3f\x03\x0301234567890123456789012345678901\
        \x00\x00\x02\x13\x01\x01\x00\x00\x14\x00\x00\x00\x10\x00\x0e\x00\x00\x0ba.b.example";

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    fn asks_for_it() -> Result<Hello, HelloError> {
        Ok(Hello::Name(b"a.b.example".to_vec()))
    }

    #[test]
    fn nothing_is_taken() {
        let (ours, mut theirs) = pair();
        theirs.write_all(&[HELLO, b"early data"].concat()).unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(look(ours.as_fd(), soon()), asks_for_it());
        let mut all = Vec::new();
        (&ours).read_to_end(&mut all).unwrap();
        assert_eq!(all, [HELLO, b"early data"].concat());
    }

    #[test]
    fn a_hello_in_single_bytes_is_waited_for_and_then_single_bytes_are_read_again() {
        let (ours, mut theirs) = pair();
        std::thread::scope(|scope| {
            let looking = std::thread::Builder::new()
                .spawn_scoped(scope, || look(ours.as_fd(), soon()))
                .unwrap();
            for byte in HELLO {
                theirs.write_all(&[*byte]).unwrap();
            }
            assert_eq!(looking.join().unwrap(), asks_for_it());
        });
        (&ours).read_exact(&mut [0; HELLO.len()]).unwrap();
        // Whoever waits for the next byte is woken by one.
        theirs.write_all(b"x").unwrap();
        assert_eq!((&ours).read(&mut [0; 9]).unwrap(), 1);
        theirs.write_all(b"y").unwrap();
        let (_asker, keep) = std::os::unix::net::UnixStream::pair().unwrap();
        let time = Duration::from_secs(10);
        let ours = crate::net::stream::Stream::from(ours);
        assert!(crate::net::wait::wait_readable(&ours, keep.as_fd(), time));
    }

    #[test]
    fn who_does_not_speak_tls_is_known_at_once_or_when_the_time_is_over() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"G").unwrap();
        assert_eq!(look(ours.as_fd(), soon()), Ok(Hello::NotTls));

        let (ours, _theirs) = pair();
        let silent = look(ours.as_fd(), Instant::now() + Duration::from_millis(20));
        assert_eq!(silent, Ok(Hello::NotTls));

        let (ours, mut theirs) = pair();
        theirs.write_all(&HELLO[..20]).unwrap();
        let late = look(ours.as_fd(), Instant::now() + Duration::from_millis(20));
        assert_eq!(late, Err(HelloError::Late));
    }

    #[test]
    fn a_client_that_leaves_ends_the_wait() {
        for sent in [0, 20] {
            let (ours, mut theirs) = pair();
            theirs.write_all(&HELLO[..sent]).unwrap();
            theirs.shutdown(Shutdown::Write).unwrap();
            assert_eq!(look(ours.as_fd(), soon()), Err(HelloError::Left));

            let (ours, mut theirs) = pair();
            theirs.write_all(&HELLO[..sent]).unwrap();
            crate::net::abort::reset(&theirs);
            assert_eq!(look(ours.as_fd(), soon()), Err(HelloError::Left));
        }
        // One that has asked and says that this was all has not left.
        let (ours, mut theirs) = pair();
        theirs.write_all(HELLO).unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(look(ours.as_fd(), soon()), asks_for_it());
    }
}
