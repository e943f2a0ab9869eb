//! Taking an address to listen on, before it is open for clients, and what its socket is told.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::options::{OptionError, UNTOLD, of, set_listen};
use super::unix::{self, SocketFile};
use super::{family, set_oobinline};
use crate::policy::socket::ListenOptions;

/// The backlog of `auto`: the kernel lowers it to net.core.somaxconn; std's own 128 overflows in a burst.
const BACKLOG_MAX: i32 = i32::MAX;

/// An address that is taken but not open yet: clients are refused until it listens.
#[derive(Debug)]
pub struct Bound {
    pub(super) socket: OwnedFd,
    pub(super) options: ListenOptions,
    pub(super) is_inherited: bool,
    /// Of a unix socket.
    pub(super) path: Option<Arc<Path>>,
    /// Of a unix socket whose file is ours to remove.
    pub(super) file: Option<SocketFile>,
}

impl Bound {
    /// Takes `address`. With `dual_stack`, an IPv6 socket takes IPv4 clients too; on a machine
    /// without IPv6 it becomes an IPv4 socket.
    ///
    /// # Errors
    ///
    /// What socket(2) and bind(2) give: in use, no permission, no such address.
    pub fn new(address: SocketAddr, dual_stack: bool) -> io::Result<Bound> {
        Bound::with(address, dual_stack, &ListenOptions::USUAL)
    }

    /// As [`Bound::new`], with what the socket is told.
    ///
    /// # Errors
    ///
    /// Those of [`Bound::new`], and an option that can't be had.
    pub fn with(
        address: SocketAddr,
        dual_stack: bool,
        options: &ListenOptions,
    ) -> io::Result<Bound> {
        match Bound::open(address, dual_stack, options) {
            Err(error) if dual_stack && has_no_ipv6(&error) => {
                let ipv4 = (Ipv4Addr::UNSPECIFIED, address.port()).into();
                Bound::open(ipv4, false, options)
            }
            result => result,
        }
    }

    fn open(address: SocketAddr, dual_stack: bool, options: &ListenOptions) -> io::Result<Bound> {
        let socket = net::socket_with(
            family(address),
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        // A restart must not wait for the old connections' TIME_WAIT; two listeners still can't
        // share the address.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, !dual_stack)?;
        }
        set_oobinline(&socket)?;
        let untold = ListenOptions {
            common: UNTOLD,
            ..ListenOptions::USUAL
        };
        set_listen(&socket, Some(&untold), options, address.is_ipv6()).map_err(refused)?;
        net::bind(&socket, &address)?;
        let bound = Bound {
            socket,
            options: options.clone(),
            is_inherited: false,
            path: None,
            file: None,
        };
        if address.port() == 0 {
            // A port that the kernel has chosen is its own again when a socket stops listening, and a
            // listener that refuses clients for a while (see [`super::listener::Listening::refuse`]) would
            // lose it. So it is asked for by number, while the first socket still keeps others from it.
            let chosen = net::getsockname(&bound.socket)?.try_into()?;
            return Bound::open(chosen, dual_stack, options);
        }
        Ok(bound)
    }

    /// Takes over a socket that was bound, and listens, before evener started, and gives it the
    /// options that evener's own have.
    ///
    /// # Errors
    ///
    /// What setsockopt(2) gives: not a TCP socket, or an option that can't be had.
    pub fn inherited(socket: OwnedFd) -> io::Result<Bound> {
        Bound::inherited_with(socket, &ListenOptions::USUAL)
    }

    /// As [`Bound::inherited`], with what the socket is told.
    ///
    /// # Errors
    ///
    /// Those of [`Bound::inherited`].
    pub fn inherited_with(socket: OwnedFd, options: &ListenOptions) -> io::Result<Bound> {
        let address: SocketAddr = net::getsockname(&socket)?.try_into()?;
        set_oobinline(&socket)?;
        set_listen(&socket, None, options, address.is_ipv6()).map_err(refused)?;
        Ok(Bound {
            socket,
            options: options.clone(),
            is_inherited: true,
            path: None,
            file: None,
        })
    }

    /// Takes the path of a unix socket, for everybody whom this mode of its file lets in. The file of a
    /// process that has died is replaced.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when somebody listens there; `AlreadyExists` when a file is there that is no
    /// socket; and what bind(2) and chmod(2) give: no such directory, no permission.
    pub fn unix(path: &Path, mode: u32) -> io::Result<Bound> {
        let (socket, file) = unix::bind(path, mode, false)?;
        file.set_mode(mode)?;
        Ok(Bound {
            socket,
            options: ListenOptions::USUAL,
            is_inherited: false,
            path: Some(Arc::clone(file.path())),
            file: Some(file),
        })
    }

    /// Takes over a unix socket at this path that was bound before evener started. Its file stays when it is
    /// closed: it belongs to whoever has bound it.
    pub fn inherited_unix(socket: OwnedFd, path: &Path) -> Bound {
        Bound {
            socket,
            options: ListenOptions::USUAL,
            is_inherited: true,
            path: Some(path.into()),
            file: None,
        }
    }

    /// Opens the address for clients.
    #[cfg(test)]
    pub(crate) fn listen(self) -> io::Result<std::net::TcpListener> {
        net::listen(&self.socket, backlog(&self.options))?;
        Ok(self.socket.into())
    }
}

/// Does this machine do without IPv6?
fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
    )
}

fn refused(error: OptionError) -> io::Error {
    io::Error::other(error)
}

/// The backlog, as listen(2) takes it.
pub(super) fn backlog(options: &ListenOptions) -> i32 {
    let backlog = options.backlog.map(i32::try_from);
    backlog.map_or(BACKLOG_MAX, |backlog| backlog.unwrap_or(BACKLOG_MAX))
}

/// Tries all options on a socket that listens nowhere, so that what can't be is told before anything has
/// changed.
///
/// # Errors
///
/// The first option that can't be had.
pub fn try_options(options: &ListenOptions) -> Result<(), OptionError> {
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
    let socket = socket.map_err(of("socket"))?;
    set_listen(&socket, None, options, false)
}
