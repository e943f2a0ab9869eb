//! Waiting for something to happen on one of several sockets: `poll`, and what comes of it.

use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Result;
use rustix::net::{self, RecvFlags};

/// Waits for `pause`, or until `asker` is reset or hangs up; says whether it is still there.
pub fn pause(asker: BorrowedFd<'_>, pause: Duration) -> bool {
    let mut descriptors = [PollFd::from_borrowed_fd(asker, PollFlags::empty())];
    let _ = poll_within(&mut descriptors, pause);
    descriptors[0].revents().is_empty()
}

/// How long one who has sent a FIN, and nothing before it, is waited for. It has most likely left, but it
/// may be a client that only listens (`nc -N host 13 </dev/null`).
pub const GRACE_AFTER_FIN: Duration = Duration::from_millis(100);

/// Whether somebody for whom something is being done is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// As far as one can tell.
    Here,
    /// It has sent a FIN, and nothing before it: see [`GRACE_AFTER_FIN`].
    FinOnly,
    /// It was reset, or has hung up both ways.
    Gone,
}

/// Looks, without waiting.
pub fn presence(asker: BorrowedFd<'_>) -> Presence {
    let mut descriptors = [PollFd::from_borrowed_fd(asker, PollFlags::RDHUP)];
    let _ = poll_within(&mut descriptors, Duration::ZERO);
    let seen = descriptors[0].revents();
    if seen.intersects(PollFlags::ERR | PollFlags::HUP) {
        Presence::Gone
    } else if seen.contains(PollFlags::RDHUP) && fin_comes_first(asker) {
        Presence::FinOnly
    } else {
        Presence::Here
    }
}

/// Did it send its FIN without any byte before it?
pub(super) fn fin_comes_first(asker: BorrowedFd<'_>) -> bool {
    let mut byte = [0];
    matches!(
        net::recv(asker, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT),
        Ok((0, _))
    )
}

/// Waits until `stream` has something to read, its end included; false when `timeout` is over or
/// `asker` hangs up before.
pub fn wait_readable(stream: &TcpStream, asker: BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut descriptors = [
        PollFd::new(stream, PollFlags::IN),
        PollFd::from_borrowed_fd(asker, PollFlags::empty()),
    ];
    let _ = poll_within(&mut descriptors, timeout);
    descriptors[1].revents().is_empty() && !descriptors[0].revents().is_empty()
}

/// Waits until one of two streams has something to read, its end or an error included, and says
/// which; neither when `timeout` is over.
pub fn either_readable(one: &TcpStream, other: &TcpStream, timeout: Duration) -> (bool, bool) {
    let mut descriptors = [
        PollFd::new(one, PollFlags::IN),
        PollFd::new(other, PollFlags::IN),
    ];
    let _ = poll_within(&mut descriptors, timeout);
    let [one, other] = &descriptors;
    (!one.revents().is_empty(), !other.revents().is_empty())
}

/// Waits until something happens on one of the descriptors, or `timeout` is over. One that is longer
/// than the kernel's type holds is as good as none.
pub(super) fn poll_within(descriptors: &mut [PollFd<'_>], timeout: Duration) -> Result<usize> {
    poll(descriptors, Timespec::try_from(timeout).ok().as_ref())
}
