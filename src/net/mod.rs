//! Sockets, and no policy: listening, connecting, copying, resetting. Nothing here knows of pools,
//! sessions or the log; leaves return what happened.

pub mod abort;
mod bound;
mod busy_poll;
pub mod client_hello;
pub mod connect;
pub mod end;
pub mod hedge;
pub mod listener;
pub mod options;
pub mod outgoing;
pub mod proxy_protocol;
pub mod relay;
pub mod resolve;
pub mod splice;
pub mod stream;
pub mod unix;
pub mod wait;

use std::net::SocketAddr;
use std::os::fd::AsFd;

use rustix::io;
use rustix::net::{AddressFamily, sockopt};

use crate::policy::socket::KeepAlive;

/// The address family of an address.
fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    }
}

/// Has the kernel ask now and then whether the peer of a silent connection still lives.
///
/// # Errors
///
/// Those of setsockopt(2); none is possible on a TCP socket.
pub fn keep_alive(socket: impl AsFd, how: KeepAlive) -> std::io::Result<()> {
    options::set_keepalive(socket, Some(how)).map_err(|error| error.error)
}

/// Has an urgent byte stay in its place in the stream instead of being taken out of it, where a plain copy
/// would lose it (RFC 6093, section 3.1, calls this the only reliable way).
fn set_oobinline(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_oobinline(socket, true)
}
