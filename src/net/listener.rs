//! The listening side: bind, listen, accept, and what each error of accept means.
//!
//! A listening socket may belong to other processes as well: to the service manager that opened it,
//! or to the evener that takes over from this one. So nobody may shut one down without knowing that, or
//! count on being the only one who accepts: see [`Listening`].

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{self, Shutdown};

use super::bound::backlog;
pub use super::bound::{Bound, try_options};
use super::options::{OptionError, of, set_listen};
use crate::policy::socket::ListenOptions;
use crate::sync::Flag;

/// An address that is open for clients. Shared by the thread that accepts here and by the server,
/// which ends that thread by [`Listening::shut_down`].
///
/// shutdown(2) alone would do it where nobody else has the socket, and there it is used as well: the
/// address is free at once. But it ends the socket for every process that has it; and a thread blocked
/// in accept would take one more client of those that another process is to have. So the socket never
/// blocks: [`accept`] tries, and when there is nobody, waits for the socket and the bell at once. Under
/// load the first try succeeds, and the bell costs nothing.
#[derive(Debug)]
pub struct Listening {
    socket: TcpListener,
    /// Rung once, by [`Listening::shut_down`]; wakes [`accept`]. An eventfd: it stays rung.
    bell: OwnedFd,
    /// Raised before the bell is rung; read by [`accept`] where it need not wait.
    closing: Flag,
    /// Another process has the socket, too. Raised and read by the server.
    shared: Flag,
}

impl Listening {
    /// Opens an address for clients.
    ///
    /// # Errors
    ///
    /// As [`Bound::listen`]; no descriptor left.
    pub fn new(bound: Bound) -> io::Result<Listening> {
        let shared = Flag::default();
        if bound.is_inherited {
            shared.raise();
        }
        let socket = bound.listen()?;
        socket.set_nonblocking(true)?;
        Ok(Listening {
            socket,
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            closing: Flag::default(),
            shared,
        })
    }

    /// The address that it really has.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Tells the socket other options than `before`: the connections that are accepted from now on have
    /// them. It goes on listening all the while.
    ///
    /// # Errors
    ///
    /// The option that it does not take.
    pub fn tell(&self, before: &ListenOptions, now: &ListenOptions) -> Result<(), OptionError> {
        let is_ipv6 = self.local_addr().is_ok_and(|address| address.is_ipv6());
        set_listen(&self.socket, Some(before), now, is_ipv6)?;
        if before.backlog != now.backlog {
            let listening = net::listen(&self.socket, backlog(now));
            listening.map_err(of("backlog"))?;
        }
        Ok(())
    }

    /// The socket once more, for a program that this process starts: it stays open there.
    ///
    /// # Errors
    ///
    /// No descriptor left.
    pub fn for_another_program(&self) -> io::Result<OwnedFd> {
        self.shared.raise();
        // Without FD_CLOEXEC, which every other descriptor of evener has.
        Ok(rustix::io::dup(&self.socket)?)
    }

    /// Ends it for this process: a thread that waits in [`accept`] wakes, and nobody is accepted any
    /// more. Clients still in the backlog are reset, and the address is free at once; if another process
    /// has the socket, they are that one's.
    pub fn shut_down(&self) {
        self.closing.raise();
        // It fails only if the count would overflow, and then the bell has been rung.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        if !self.shared.is_raised() {
            shut_down(&self.socket);
        }
    }

    /// Was [`Listening::shut_down`] called?
    pub fn is_shut_down(&self) -> bool {
        self.closing.is_raised()
    }
}

/// What an error of accept asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptError {
    /// This client is gone, or a signal came: accept the next one at once.
    Again,
    /// Something is used up. Trying again at once would spin: pause, and say what would help.
    Pause(&'static str),
    /// The listener was shut down, by [`Listening::shut_down`] or from outside.
    Closed,
}

/// Waits for the next client. The address of an IPv4 client of an IPv6 socket is given as IPv4.
///
/// # Errors
///
/// What accept(2) gives, and EINVAL after [`Listening::shut_down`]; [`accept_error`] sorts it.
pub fn accept(listener: &Listening) -> io::Result<(TcpStream, SocketAddr)> {
    while !listener.is_shut_down() {
        match listener.socket.accept() {
            Ok((client, address)) => {
                let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                return Ok((client, address));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut either = [
                    PollFd::new(&listener.socket, PollFlags::IN),
                    PollFd::new(&listener.bell, PollFlags::IN),
                ];
                poll(&mut either, None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::INVAL.into())
}

/// Sorts the errors of accept(2). Those of the new connection's own network come out of accept on
/// Linux (its manual lists them) and concern that client only.
pub fn accept_error(error: &io::Error) -> AcceptError {
    match Errno::from_io_error(error) {
        Some(Errno::INVAL) => AcceptError::Closed,
        Some(Errno::MFILE) => {
            AcceptError::Pause("raise ulimit -n (LimitNOFILE=) or lower limits.max_connections")
        }
        Some(Errno::NFILE) => AcceptError::Pause("raise sysctl fs.file-max"),
        Some(Errno::NOBUFS | Errno::NOMEM) => {
            AcceptError::Pause("free memory, or raise sysctl net.ipv4.tcp_mem")
        }
        Some(
            Errno::INTR
            | Errno::CONNABORTED
            | Errno::NETDOWN
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH,
        ) => AcceptError::Again,
        _ => {
            AcceptError::Pause("this error is not expected here; the listener goes on all the same")
        }
    }
}

/// Ends a socket that is this process's alone: a thread blocked in accept(2) wakes, which closing the
/// descriptor would not do, and clients still in the backlog are reset.
pub fn shut_down(listener: impl AsFd) {
    // It fails only if the listener is not listening any more.
    let _ = net::shutdown(listener, Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::connect::tests::plain;
    use crate::policy::socket::KeepAlive;
    use rustix::net::{SocketType, sockopt};
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn listen(address: SocketAddr, dual_stack: bool) -> Listening {
        Listening::new(Bound::new(address, dual_stack).unwrap()).unwrap()
    }

    #[test]
    fn an_address_is_refused_until_it_listens() {
        let bound = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), false).unwrap();
        let address: SocketAddr = rustix::net::getsockname(&bound.socket)
            .unwrap()
            .try_into()
            .unwrap();
        let early = plain(address);
        assert_eq!(early.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let listener = bound.listen().unwrap();
        assert!(plain(listener.local_addr().unwrap()).is_ok());
    }

    #[test]
    fn a_dual_stack_listener_shows_ipv4_clients_as_ipv4() {
        let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into(), true);
        let port = listener.local_addr().unwrap().port();
        let _client = plain((Ipv4Addr::LOCALHOST, port).into()).unwrap();
        assert_eq!(accept(&listener).unwrap().1.ip(), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn accepted_connections_inherit_the_options() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
        let _client = plain(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = accept(&listener).unwrap();
        assert!(sockopt::tcp_nodelay(&accepted).unwrap());
        assert!(sockopt::socket_keepalive(&accepted).unwrap());
        assert_eq!(
            sockopt::tcp_keepidle(&accepted).unwrap(),
            KeepAlive::USUAL.idle
        );
        assert!(sockopt::socket_oobinline(&accepted).unwrap());
    }

    #[test]
    fn shutting_down_wakes_a_blocked_accept() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
        std::thread::scope(|scope| {
            let blocked = std::thread::Builder::new()
                .spawn_scoped(scope, || accept(&listener))
                .unwrap();
            listener.shut_down();
            let error = blocked.join().unwrap().unwrap_err();
            assert_eq!(accept_error(&error), AcceptError::Closed);
        });
    }

    #[test]
    fn shutting_down_frees_an_address_that_nobody_shares_at_once() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
        let address = listener.local_addr().unwrap();
        listener.shut_down();
        // The acceptor may hold it still: it waits for room, for example.
        assert!(Bound::new(address, false).unwrap().listen().is_ok());
        drop(listener);
    }

    #[test]
    fn shutting_down_leaves_the_socket_to_who_shares_it() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
        let address = listener.local_addr().unwrap();
        let shared = TcpListener::from(listener.for_another_program().unwrap());
        let _client = plain(address).unwrap();
        listener.shut_down();
        // Somebody waits, but not for us.
        let error = accept(&listener).unwrap_err();
        assert_eq!(accept_error(&error), AcceptError::Closed);
        drop(listener);
        let other = Listening::new(Bound::inherited(shared).unwrap()).unwrap();
        assert!(accept(&other).is_ok());
        assert!(plain(address).is_ok());
    }

    #[test]
    fn an_inherited_socket_gets_the_options_of_our_own() {
        let socket = net::socket(rustix::net::AddressFamily::INET, SocketType::STREAM, None);
        let socket = socket.unwrap();
        net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        net::listen(&socket, 1).unwrap();
        let listener = Listening::new(Bound::inherited(socket.into()).unwrap()).unwrap();
        let _client = plain(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = accept(&listener).unwrap();
        assert!(sockopt::tcp_nodelay(&accepted).unwrap());
        let flags = rustix::fs::fcntl_getfl(&accepted).unwrap();
        assert!(
            !flags.contains(rustix::fs::OFlags::NONBLOCK),
            "a session blocks"
        );
    }

    #[test]
    fn no_error_of_accept_ends_the_listener_but_its_own_end() {
        for errno in 1..134 {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(
                accept_error(&error) == AcceptError::Closed,
                errno == Errno::INVAL.raw_os_error(),
                "{error}"
            );
        }
        let full = io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
        assert!(
            matches!(accept_error(&full), AcceptError::Pause(advice) if advice.contains("ulimit -n"))
        );
    }

    #[test]
    fn a_taken_address_is_an_error() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
        let again = Bound::new(listener.local_addr().unwrap(), false);
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
