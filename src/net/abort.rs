//! Ending a connection so that the other side can tell how it ended.
//!
//! A FIN says "that was all", a reset says "this broke off". Linux offers several ways to reset
//! and most of them do something else when another thread is at work on the socket: closing one of
//! two duplicated descriptors shows the peer nothing, and SHUT_RDWR before a linger-0 close shows
//! it a FIN. `connect` to AF_UNSPEC does what is wanted: it sends a reset at once and wakes every
//! thread that is blocked on the socket.

use std::io::Read;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, Shutdown};

use super::stream::{Stream, Timed};

/// Resets the connection, now: what the kernel has not delivered yet is lost, and threads that
/// are blocked on the socket wake.
///
/// Some kernels (6.4 to 6.5.7, and stable ones of that time, 6.1.33 to 6.1.57 among them) refuse
/// with EBUSY while a thread is blocked on the socket. There it is woken by a shutdown first; the
/// peer may then see a FIN before the reset.
///
/// A unix socket knows no reset and refuses too, so it is shut down. Its peer sees the end of the stream,
/// or ECONNRESET if it had sent what nobody has read by then.
pub fn reset(stream: impl AsFd) {
    let stream = stream.as_fd();
    const TRIES: u32 = 20;
    for _ in 0..TRIES {
        match net::connect_unspec(stream) {
            Ok(()) => return,
            Err(errno) => {
                finish(stream);
                // Any other error says that there is no connection any more, which is what was wanted.
                if errno != Errno::BUSY {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Blocks until the peer's kernel has acknowledged all that was written to `stream`, or the
/// connection is gone. A reset throws away what is on its way, so this comes before one.
///
/// The kernel has no event for "all acknowledged", so this asks it again and again, with growing
/// pauses. It has no deadline of its own: the reaper watches the session and resets what does not move
/// for `timeouts.half_close`, unless that is off.
pub fn wait_until_delivered(stream: impl AsFd) {
    let mut pause = Duration::from_micros(200);
    // An error means that there is nothing left to wait for.
    while evener_sys::tcp_info(&stream).is_ok_and(|info| !info.is_delivered()) {
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(50));
    }
}

/// Is the connection still there, in either direction? After a reset it is not; after a FIN it is.
///
/// A unix socket remembers its peer to the end, so here it always is: what the peer left unread it says
/// by an error, which no read takes for an end.
pub fn is_connected(stream: impl AsFd) -> bool {
    net::getpeername(stream).is_ok()
}

/// Ends both directions in order: the peer sees a FIN after what was written, and threads that are
/// blocked on the socket wake.
pub fn finish(stream: impl AsFd) {
    // It fails when there is no connection any more.
    let _ = net::shutdown(stream, Shutdown::Both);
}

/// How long [`finish_unread`] reads.
const PATIENCE: Duration = Duration::from_millis(500);

/// Ends the connection in order towards a peer that may still be sending: a close with unread
/// bytes would turn into a reset, so they are read and thrown away, for a moment.
pub fn finish_unread(stream: &Stream) {
    stream.end_writing();
    let mut peer = Timed::new(stream, Instant::now() + PATIENCE);
    let mut scrap = [0; 1024];
    while peer.read(&mut scrap).is_ok_and(|bytes| bytes > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::connect;
    use std::io::{ErrorKind, Write};

    fn pair() -> (Stream, std::net::TcpStream) {
        let (ours, theirs) = connect::tests::pair();
        (ours.into(), theirs)
    }

    #[test]
    fn a_reset_shows_as_a_reset_and_wakes_a_blocked_reader() {
        let (ours, mut theirs) = pair();
        std::thread::scope(|scope| {
            let blocked = std::thread::Builder::new()
                .spawn_scoped(scope, || (&ours).read(&mut [0; 1]))
                .unwrap();
            reset(&ours);
            assert!(!matches!(blocked.join().unwrap(), Ok(1)));
        });
        assert_eq!(
            theirs.read(&mut [0; 1]).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        assert!(!is_connected(&ours) && !is_connected(&theirs));
    }

    #[test]
    fn what_was_written_arrives_before_a_reset_that_waits() {
        let (ours, mut theirs) = pair();
        (&ours).write_all(&[7; 300_000]).unwrap();
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .spawn_scoped(scope, || {
                    wait_until_delivered(&ours);
                    reset(&ours);
                })
                .unwrap();
            let mut received = Vec::new();
            let end = theirs.read_to_end(&mut received);
            assert_eq!(
                (received.len(), end.unwrap_err().kind()),
                (300_000, ErrorKind::ConnectionReset)
            );
        });
    }

    #[test]
    fn finishing_with_unread_bytes_is_not_a_reset() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"never read by us").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        finish_unread(&ours);
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn finishing_does_not_last_as_long_as_the_peer_likes() {
        let (ours, mut theirs) = pair();
        let begin = Instant::now();
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .spawn_scoped(scope, || {
                    finish_unread(&ours);
                    reset(&ours);
                })
                .unwrap();
            while theirs.write(b".").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
        });
        assert!(begin.elapsed() < 4 * PATIENCE, "{:?}", begin.elapsed());
    }

    #[test]
    fn a_connection_with_a_fin_is_still_connected() {
        let (ours, mut theirs) = pair();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!((&ours).read(&mut [0; 1]).unwrap(), 0);
        assert!(is_connected(&ours));
        let _ = theirs.write(b"");
    }
}
