//! The listening side: bind, listen, accept, and what each error of accept means.
//!
//! A listening socket may belong to other processes as well: to the service manager that opened it,
//! or to the evener that takes over from this one. So nobody may shut one down without knowing that, or
//! count on being the only one who accepts: see [`Listening`].

use std::io;
#[cfg(test)]
use std::net::TcpListener;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{self, Shutdown, SocketAddrAny, SocketFlags, sockopt};

use super::bound::backlog;
pub use super::bound::{Bound, try_options};
use super::options::{OptionError, of, set_listen};
use super::stream::Stream;
use super::unix::SocketFile;
use crate::policy::address::Address;
use crate::policy::socket::ListenOptions;
use crate::sync::{Condvar, Flag, Mutex};

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
    socket: OwnedFd,
    /// Of a unix socket: where it is, which is all that is known of its clients.
    path: Option<Arc<Path>>,
    /// Of a unix socket whose file is ours to remove; gone with it.
    file: Option<SocketFile>,
    /// Rung once, by [`Listening::shut_down`]; wakes [`accept`]. An eventfd: it stays rung.
    bell: OwnedFd,
    /// Raised before the bell is rung; read by [`accept`] where it need not wait.
    closing: Flag,
    /// Another process has the socket, too. Raised and read by the server; read by [`accept`] where that
    /// process has shut it down.
    shared: Flag,
    /// Are clients let come at all? Written by the server; read by [`accept`] when the socket does not
    /// listen. A lock, because the socket and what is said of it change together.
    door: Mutex<State>,
    /// Notified when the door changes.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    door: Door,
    /// As listen(2) takes it.
    backlog: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// The address is kept, and whoever comes is refused by the kernel.
    Refusing,
    Closed,
}

impl Listening {
    /// Opens an address for clients.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when another process began to listen in the meantime; no descriptor left.
    pub fn new(bound: Bound) -> io::Result<Listening> {
        let Bound {
            socket,
            is_inherited,
            options,
            path,
            file,
        } = bound;
        let shared = Flag::default();
        if is_inherited {
            shared.raise();
        }
        let state = State {
            door: Door::Open,
            backlog: backlog(&options),
        };
        // One that listens already gets the new backlog.
        net::listen(&socket, state.backlog)?;
        let door = Mutex::new(state);
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Listening {
            socket,
            path,
            file,
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            closing: Flag::default(),
            shared,
            door,
            changed: Condvar::new(),
        })
    }

    /// Does it refuse clients now?
    pub fn refuses(&self) -> bool {
        self.door.lock().door == Door::Refusing
    }

    /// Lets the kernel refuse whoever comes, until [`Listening::reopen`]; says whether it did not before.
    /// Clients still in the backlog are reset.
    ///
    /// On Linux, shutdown(2) takes a listening socket back to where it was before listen(2): bound, so
    /// that nobody else gets the address, and not open. Not so a unix socket, which would never listen
    /// again: its clients come, and are turned away.
    pub fn refuse(&self) -> bool {
        if self.path.is_some() {
            return false;
        }
        let mut state = self.door.lock();
        let was_open = state.door == Door::Open;
        if was_open {
            state.door = Door::Refusing;
            shut_down(&self.socket);
        }
        was_open
    }

    /// Lets clients come again; says whether they could not before.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when another process has begun to listen there, as it may where it asked for
    /// SO_REUSEADDR.
    pub fn reopen(&self) -> io::Result<bool> {
        let mut state = self.door.lock();
        let was_refusing = state.door == Door::Refusing;
        if was_refusing {
            net::listen(&self.socket, state.backlog)?;
            state.door = Door::Open;
            drop(state);
            self.changed.notify_all();
        }
        Ok(was_refusing)
    }

    /// Waits while clients are refused; says whether the socket listens after that, which another process
    /// that shares it may have ended.
    fn wait_while_refusing(&self) -> bool {
        let mut state = self.door.lock();
        while state.door == Door::Refusing {
            self.changed.wait(&mut state);
        }
        let listens = || sockopt::socket_acceptconn(&self.socket).unwrap_or(false);
        // During an upgrade, one of two processes may find a pool dead that lives for the other.
        let listens_again =
            || self.shared.is_raised() && net::listen(&self.socket, state.backlog).is_ok();
        state.door == Door::Open && (listens() || listens_again())
    }

    /// The address that it really has.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(net::getsockname(&self.socket)?.try_into()?)
    }

    /// Gives the file of a unix socket another mode, if it is ours.
    ///
    /// # Errors
    ///
    /// Those of chmod(2).
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file
            .as_ref()
            .map_or(Ok(()), |file| file.set_mode(mode))
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
        if before.backlog == now.backlog {
            return Ok(());
        }
        let mut state = self.door.lock();
        state.backlog = backlog(now);
        if state.door == Door::Open {
            // One that listens already gets the new backlog, and no more than that.
            net::listen(&self.socket, state.backlog).map_err(of("backlog"))?;
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
        if let Some(file) = &self.file {
            file.leave();
        }
        // Without FD_CLOEXEC, which every other descriptor of evener has.
        Ok(rustix::io::dup(&self.socket)?)
    }

    /// Ends it for this process: a thread that waits in [`accept`] wakes, and nobody is accepted any
    /// more. Clients still in the backlog are reset, and the address is free at once; if another process
    /// has the socket, they are that one's.
    pub fn shut_down(&self) {
        self.closing.raise();
        self.door.lock().door = Door::Closed;
        self.changed.notify_all();
        // It fails only if the count would overflow, and then the bell has been rung.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        if !self.shared.is_raised() {
            if let Some(file) = &self.file {
                file.remove();
            }
            shut_down(&self.socket);
        }
    }

    /// Whom a client comes from. The kernel gives a client of the internet its address.
    fn address_of(&self, from: Option<SocketAddrAny>) -> Address {
        if let Some(path) = &self.path {
            return Address::Unix(Arc::clone(path));
        }
        let address = from.and_then(|from| SocketAddr::try_from(from).ok());
        let address = address.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        Address::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
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
pub fn accept(listener: &Listening) -> io::Result<(Stream, Address)> {
    while !listener.is_shut_down() {
        match net::acceptfrom_with(&listener.socket, SocketFlags::CLOEXEC) {
            Ok((client, from)) => return Ok((client.into(), listener.address_of(from))),
            Err(Errno::AGAIN) => {
                let mut either = [
                    PollFd::new(&listener.socket, PollFlags::IN),
                    PollFd::new(&listener.bell, PollFlags::IN),
                ];
                poll(&mut either, None)?;
            }
            Err(Errno::INTR) => {}
            // It does not listen, on purpose for a while perhaps.
            Err(Errno::INVAL) if listener.wait_while_refusing() => {}
            Err(error) => return Err(error.into()),
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
mod tests;
