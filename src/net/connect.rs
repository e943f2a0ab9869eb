//! One attempt to connect to one backend, given up when its time is over or the one it is for,
//! mostly a client, has left.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{self, SocketFlags, SocketType, sockopt};

use super::outgoing::{Outgoing, prepare};
use super::stream::Stream;
use super::wait::{GRACE_AFTER_FIN, fin_comes_first, has_asked_and_closed, poll_within};
use super::{abort, family, unix};
use crate::policy::address::Address;
use crate::policy::hedge::Runner;

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The backend's host answered that nobody listens, or reset the connection at once.
    Refused,
    /// No answer in time.
    TimedOut,
    /// Another failure on the way to this backend: no route, for example.
    Failed(io::Error),
    /// evener's own side has no address or port left to come from, or its socket does not take an option. It
    /// says nothing of the backend; another one may still be reached.
    Local(io::Error),
    /// Whoever asked for it, a client mostly, left meanwhile. Nobody's fault.
    AskerLeft,
    /// evener itself lacks something: descriptors or memory. It says nothing of the backend.
    Resources(io::Error),
}

impl ConnectError {
    /// Is the fault on this side, so that it says nothing of the backend? No local port is left, a rule of
    /// this machine forbids it, or something is used up.
    pub fn is_local(&self) -> bool {
        match self {
            ConnectError::Refused | ConnectError::TimedOut => false,
            ConnectError::AskerLeft | ConnectError::Local(_) | ConnectError::Resources(_) => true,
            ConnectError::Failed(error) => matches!(
                Errno::from_io_error(error),
                Some(Errno::PERM | Errno::ACCESS | Errno::AFNOSUPPORT)
            ),
        }
    }
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectError::Refused => f.write_str("connection refused"),
            ConnectError::TimedOut => f.write_str("timed out"),
            ConnectError::AskerLeft => f.write_str("nobody waits for it any more"),
            ConnectError::Failed(error)
            | ConnectError::Local(error)
            | ConnectError::Resources(error) => error.fmt(f),
        }
    }
}

impl From<Errno> for ConnectError {
    fn from(errno: Errno) -> ConnectError {
        match errno {
            Errno::CONNREFUSED | Errno::CONNRESET | Errno::CONNABORTED => ConnectError::Refused,
            Errno::TIMEDOUT => ConnectError::TimedOut,
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => {
                ConnectError::Resources(errno.into())
            }
            Errno::ADDRNOTAVAIL => ConnectError::Local(errno.into()),
            other => ConnectError::Failed(other.into()),
        }
    }
}

/// Connects to `address` within `timeout`, on behalf of `asker`: gives up as soon as that has left,
/// at once on a reset or hang-up, after a short grace on a FIN with no byte before it. A FIN after
/// bytes is a client that has asked its question and waits for the answer.
///
/// The socket comes back in blocking mode, with what it has to have from its first byte. That the kernel
/// asks whether its peer still lives is for connections that live on ([`super::keep_alive`]).
///
/// # Errors
///
/// [`ConnectError`].
pub fn connect(
    address: &Address,
    timeout: Duration,
    outgoing: Outgoing<'_>,
    asker: BorrowedFd<'_>,
) -> Result<Stream, ConnectError> {
    let deadline = Instant::now() + timeout;
    match address {
        Address::Ip(address) => tcp(*address, deadline, outgoing, asker),
        Address::Unix(path) => unix::connect(path, deadline, asker),
    }
}

fn tcp(
    address: SocketAddr,
    deadline: Instant,
    outgoing: Outgoing<'_>,
    asker: BorrowedFd<'_>,
) -> Result<Stream, ConnectError> {
    match Attempt::begin(address, outgoing)? {
        Begun::Connected(stream) => Ok(stream),
        Begun::Waits(attempt) => {
            let mut asker = Asker::new(asker);
            match wait_any(&attempt, None, deadline, &mut asker)? {
                Some(_) => attempt.finish(),
                None => Err(ConnectError::TimedOut),
            }
        }
    }
}

/// A connect in progress. Dropping it gives it up: no byte has been sent.
#[derive(Debug)]
pub(super) struct Attempt {
    socket: OwnedFd,
    address: SocketAddr,
}

/// What a connect has come to at once.
#[derive(Debug)]
pub(super) enum Begun {
    /// It is there: a server on this machine.
    Connected(Stream),
    /// Its answer is to come.
    Waits(Attempt),
}

impl Attempt {
    /// Sends the SYN.
    pub(super) fn begin(
        address: SocketAddr,
        outgoing: Outgoing<'_>,
    ) -> Result<Begun, ConnectError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family(address), SocketType::STREAM, flags, None)?;
        prepare(&socket, outgoing, address)?;
        match start(&socket, address) {
            Ok(()) => Attempt { socket, address }
                .connected()
                .map(Begun::Connected),
            Err(Errno::ALREADY) => Ok(Begun::Waits(Attempt { socket, address })),
            Err(errno) => Err(errno.into()),
        }
    }

    /// How it went, when [`wait_any`] has said that it has an answer.
    pub(super) fn finish(self) -> Result<Stream, ConnectError> {
        sockopt::socket_error(&self.socket)??;
        self.connected()
    }

    fn connected(self) -> Result<Stream, ConnectError> {
        rustix::io::ioctl_fionbio(&self.socket, false)?;
        let stream = Stream::from(self.socket);
        // A port of this machine that nobody listens on may be chosen as the local port of the very
        // attempt to reach it, and TCP then connects the socket to itself (RFC 9293, 3.5, figure 7).
        if may_be_local(self.address.port()) && stream.local_addr() == Some(self.address) {
            // Not closed in order: TIME_WAIT would keep the backend from its own port for a minute.
            abort::reset(&stream);
            return Err(ConnectError::Refused);
        }
        Ok(stream)
    }
}

/// May the kernel choose this port as a local one? Most servers listen below those, so most connections
/// need not be asked for their own address.
fn may_be_local(port: u16) -> bool {
    /// As it was when the first connection was made. Nobody lowers it under a running server.
    static RANGE: OnceLock<RangeInclusive<u16>> = OnceLock::new();
    RANGE.get_or_init(local_ports).contains(&port)
}

/// The ports that the system gives out; all of them if it does not say.
pub(super) fn local_ports() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    text.ok()
        .and_then(|text| range(&text))
        .unwrap_or(0..=u16::MAX)
}

/// Two numbers with space between them.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

/// Begins to connect, and asks once how it went: on loopback the answer is there by then, which saves
/// a poll and the look for its error (5 % of a short session). `ALREADY` says that it goes on.
fn start(socket: &OwnedFd, address: SocketAddr) -> rustix::io::Result<()> {
    match net::connect(socket, &address) {
        Err(Errno::INPROGRESS) => net::connect(socket, &address),
        done => done,
    }
}

/// The one for whom attempts are made, and what is known of its leaving.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    socket: BorrowedFd<'a>,
    /// Its hanging-up has not been seen yet.
    is_watched: bool,
    /// Its FIN has not been seen yet.
    fin_is_watched: bool,
    /// When it counts as gone, if it has sent a FIN and nothing before it.
    gone_at: Option<Instant>,
}

impl<'a> Asker<'a> {
    /// Of whom nothing is known yet.
    pub(super) fn new(socket: BorrowedFd<'a>) -> Asker<'a> {
        Asker {
            socket,
            is_watched: true,
            fin_is_watched: true,
            gone_at: None,
        }
    }

    /// What to ask the kernel for. Errors and hang-ups are reported whether asked for or not.
    fn interest(&self) -> PollFlags {
        match self.fin_is_watched {
            true => PollFlags::RDHUP,
            false => PollFlags::empty(),
        }
    }

    /// Takes note of what the kernel has reported of it.
    fn note(&mut self, seen: PollFlags) -> Result<(), ConnectError> {
        if has_asked_and_closed(seen, self.socket) {
            self.is_watched = false;
        } else if seen.intersects(PollFlags::ERR | PollFlags::HUP) {
            return Err(ConnectError::AskerLeft);
        } else if seen.contains(PollFlags::RDHUP) {
            self.fin_is_watched = false;
            if fin_comes_first(self.socket) {
                self.gone_at = Some(Instant::now() + GRACE_AFTER_FIN);
            }
        }
        Ok(())
    }
}

/// Waits until one of these attempts has its answer, and says which; `None` when it is `until`. The asker's
/// leaving is an error.
pub(super) fn wait_any(
    first: &Attempt,
    second: Option<&Attempt>,
    until: Instant,
    asker: &mut Asker<'_>,
) -> Result<Option<Runner>, ConnectError> {
    loop {
        let now = Instant::now();
        if asker.gone_at.is_some_and(|at| now >= at) {
            return Err(ConnectError::AskerLeft);
        }
        let next = asker.gone_at.map_or(until, |at| at.min(until));
        let left = next.saturating_duration_since(now);
        if left.is_zero() {
            return Ok(None);
        }
        let mut descriptors = [
            PollFd::new(&second.unwrap_or(first).socket, PollFlags::OUT),
            PollFd::new(&first.socket, PollFlags::OUT),
            PollFd::from_borrowed_fd(asker.socket, asker.interest()),
        ];
        let begin = usize::from(second.is_none());
        let end = if asker.is_watched { 3 } else { 2 };
        let polled = descriptors.get_mut(begin..end).unwrap_or_default();
        match poll_within(polled, left) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [of_second, of_first, of_asker] = descriptors.map(|one| one.revents());
        if !of_first.is_empty() {
            return Ok(Some(Runner::First));
        }
        if !of_second.is_empty() {
            return Ok(Some(Runner::Second));
        }
        asker.note(of_asker)?;
    }
}

#[cfg(test)]
pub(crate) mod tests;
