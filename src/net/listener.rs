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
use rustix::net::{self, Shutdown, sockopt};

use super::bound::backlog;
pub use super::bound::{Bound, try_options};
use super::options::{OptionError, of, set_listen};
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
    socket: TcpListener,
    /// Rung once, by [`Listening::shut_down`]; wakes [`accept`]. An eventfd: it stays rung.
    bell: OwnedFd,
    /// Raised before the bell is rung; read by [`accept`] where it need not wait.
    closing: Flag,
    /// Another process has the socket, too. Raised and read by the server.
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
    /// As [`Bound::listen`]; no descriptor left.
    pub fn new(bound: Bound) -> io::Result<Listening> {
        let shared = Flag::default();
        if bound.is_inherited {
            shared.raise();
        }
        let door = Mutex::new(State {
            door: Door::Open,
            backlog: backlog(&bound.options),
        });
        let socket = bound.listen()?;
        socket.set_nonblocking(true)?;
        Ok(Listening {
            socket,
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            closing: Flag::default(),
            shared,
            door,
            changed: Condvar::new(),
        })
    }

    /// Lets the kernel refuse whoever comes, until [`Listening::reopen`]; says whether it did not before.
    /// Clients still in the backlog are reset.
    ///
    /// On Linux, shutdown(2) takes a listening socket back to where it was before listen(2): bound, so
    /// that nobody else gets the address, and not open.
    pub fn refuse(&self) -> bool {
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

    /// Waits while clients are refused; says whether the socket listens after that.
    fn wait_while_refusing(&self) -> bool {
        let mut state = self.door.lock();
        while state.door == Door::Refusing {
            self.changed.wait(&mut state);
        }
        state.door == Door::Open && sockopt::socket_acceptconn(&self.socket).unwrap_or(false)
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
            // It does not listen, on purpose for a while perhaps.
            Err(error)
                if Errno::from_io_error(&error) == Some(Errno::INVAL)
                    && listener.wait_while_refusing() => {}
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
mod tests;
