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
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family(address), SocketType::STREAM, flags, None)?;
    prepare(&socket, outgoing, address)?;
    match start(&socket, address) {
        Ok(()) => {}
        Err(Errno::ALREADY) => wait(&socket, deadline, asker)?,
        Err(errno) => return Err(errno.into()),
    }
    rustix::io::ioctl_fionbio(&socket, false)?;
    let stream = Stream::from(socket);
    // A port of this machine that nobody listens on may be chosen as the local port of the very
    // attempt to reach it, and TCP then connects the socket to itself (RFC 9293, 3.5, figure 7).
    if may_be_local(address.port()) && stream.local_addr() == Some(address) {
        // Not closed in order: TIME_WAIT would keep the backend from its own port for a minute.
        abort::reset(&stream);
        return Err(ConnectError::Refused);
    }
    Ok(stream)
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

/// Waits for the outcome of a connect in progress, with an eye on the asker.
fn wait(
    socket: &OwnedFd,
    mut deadline: Instant,
    asker: BorrowedFd<'_>,
) -> Result<(), ConnectError> {
    let mut watch_asker = true;
    let mut watch_fin = true;
    let mut has_left = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(if has_left {
                ConnectError::AskerLeft
            } else {
                ConnectError::TimedOut
            });
        }
        // Errors and hang-ups are reported whether asked for or not.
        let watched = if watch_fin {
            PollFlags::RDHUP
        } else {
            PollFlags::empty()
        };
        let mut descriptors = [
            PollFd::new(socket, PollFlags::OUT),
            PollFd::from_borrowed_fd(asker, watched),
        ];
        let count = if watch_asker { 2 } else { 1 };
        let polled = descriptors.get_mut(..count).unwrap_or_default();
        match poll_within(polled, left) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !descriptors[0].revents().is_empty() {
            return Ok(sockopt::socket_error(socket)??);
        }
        let seen = descriptors[1].revents();
        if has_asked_and_closed(seen, asker) {
            watch_asker = false;
            continue;
        }
        if seen.intersects(PollFlags::ERR | PollFlags::HUP) {
            return Err(ConnectError::AskerLeft);
        }
        if seen.contains(PollFlags::RDHUP) {
            watch_fin = false;
            if fin_comes_first(asker) {
                has_left = true;
                deadline = deadline.min(Instant::now() + GRACE_AFTER_FIN);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::net::listener::Bound;
    use crate::policy::socket::KeepAlive;
    use rustix::net::AddressFamily;
    use std::io::Write;
    use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    /// A plain client's connection.
    pub(crate) fn plain(address: SocketAddr) -> io::Result<TcpStream> {
        match undisturbed(address, Duration::from_secs(5)) {
            Ok(stream) => Ok(stream),
            Err(ConnectError::Refused) => Err(io::ErrorKind::ConnectionRefused.into()),
            Err(other) => Err(io::Error::other(other.to_string())),
        }
    }

    /// An attempt that nobody gives up.
    fn undisturbed(address: SocketAddr, timeout: Duration) -> Result<TcpStream, ConnectError> {
        let (asker, _keep) = UnixStream::pair().unwrap();
        let stream = connect(&address.into(), timeout, Outgoing::USUAL, asker.as_fd())?;
        Ok(OwnedFd::from(stream).into())
    }

    /// The two ends of a connection over loopback.
    pub(crate) fn pair() -> (TcpStream, TcpStream) {
        let listener = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), false)
            .unwrap()
            .listen()
            .unwrap();
        let client = plain(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// A listener whose backlog is full: connecting to it stays unanswered.
    fn black_hole() -> (TcpListener, Vec<TcpStream>) {
        let bound = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        net::bind(&bound, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        net::listen(&bound, 0).unwrap();
        let listener = TcpListener::from(bound);
        let address = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        loop {
            match undisturbed(address, Duration::from_millis(100)) {
                Ok(stream) => filling.push(stream),
                Err(ConnectError::TimedOut) => return (listener, filling),
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn nobody_listening_is_refused() {
        let listener = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), false)
            .unwrap()
            .listen()
            .unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let result = undisturbed(address, Duration::from_secs(5));
        assert!(matches!(result, Err(ConnectError::Refused)), "{result:?}");
    }

    #[test]
    fn a_black_hole_times_out_on_time() {
        let (listener, _filling) = black_hole();
        let start = Instant::now();
        let result = undisturbed(listener.local_addr().unwrap(), Duration::from_millis(150));
        assert!(matches!(result, Err(ConnectError::TimedOut)), "{result:?}");
        assert!(start.elapsed() >= Duration::from_millis(150));
    }

    #[test]
    fn a_client_that_leaves_ends_the_attempt() {
        let (listener, _filling) = black_hole();
        let address = listener.local_addr().unwrap();
        let by_reset: fn(&TcpStream) = |client| abort::reset(client);
        let by_fin: fn(&TcpStream) = |client| client.shutdown(Shutdown::Write).unwrap();
        for leave in [by_reset, by_fin] {
            let (client, accepted) = pair();
            leave(&client);
            let result = connect(
                &address.into(),
                Duration::from_secs(3600),
                Outgoing::USUAL,
                accepted.as_fd(),
            );
            assert!(matches!(result, Err(ConnectError::AskerLeft)), "{result:?}");
        }
    }

    #[test]
    fn a_client_that_sent_its_question_and_a_fin_is_waited_for() {
        let (listener, _filling) = black_hole();
        let (mut client, accepted) = pair();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let patience = 2 * GRACE_AFTER_FIN;
        let address = listener.local_addr().unwrap().into();
        let result = connect(&address, patience, Outgoing::USUAL, accepted.as_fd());
        assert!(matches!(result, Err(ConnectError::TimedOut)), "{result:?}");
    }

    #[test]
    fn the_socket_blocks_and_has_its_options() {
        let (ours, _theirs) = pair();
        assert!(sockopt::tcp_nodelay(&ours).unwrap() && sockopt::socket_oobinline(&ours).unwrap());
        super::super::keep_alive(&ours, KeepAlive::USUAL).unwrap();
        assert!(sockopt::socket_keepalive(&ours).unwrap());
    }

    #[test]
    fn the_ports_that_the_kernel_chooses_from_are_two_numbers() {
        assert_eq!(range("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(range("32768"), None);
        assert_eq!(range("a b"), None);
    }

    #[test]
    fn errors_are_sorted_by_whose_they_are() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(matches!(
                ConnectError::from(errno),
                ConnectError::Resources(_)
            ));
        }
        for errno in [Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::ACCESS] {
            assert!(matches!(ConnectError::from(errno), ConnectError::Failed(_)));
        }
        let no_port = ConnectError::from(Errno::ADDRNOTAVAIL);
        assert!(matches!(no_port, ConnectError::Local(_)));
    }
}
