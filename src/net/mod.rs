//! Sockets, and no policy: listening, connecting, copying, resetting. Nothing here knows of pools,
//! sessions or the log; leaves return what happened.

pub mod abort;
pub mod client_hello;
pub mod connect;
pub mod end;
pub mod listener;
pub mod proxy_protocol;
pub mod relay;
pub mod resolve;
pub mod splice;
pub mod stream;
pub mod unix;
pub mod wait;

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io;
use rustix::net::{AddressFamily, sockopt};

/// Silence after which the kernel asks whether the peer still lives. The kernel's own two hours
/// outlast every firewall's memory; nine unanswered probes 75 s apart then end the connection.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// The address family of an address.
fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    }
}

/// Sets what every connection has, on a socket that listens: its clients inherit it.
fn set_stream_options(socket: impl AsFd) -> io::Result<()> {
    keep_alive(&socket)?;
    set_needed_options(socket)
}

/// Has the kernel ask now and then whether the peer of a silent connection still lives.
///
/// # Errors
///
/// Those of setsockopt(2); none is possible on a TCP socket.
pub fn keep_alive(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)
}

/// Sets what a connection has to have from its first byte.
fn set_needed_options(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    // Small writes go out at once: holding them back is for whoever wrote them to decide.
    sockopt::set_tcp_nodelay(socket, true)?;
    // An urgent byte stays in its place in the stream instead of being taken out of it, where a
    // plain copy would lose it (RFC 6093, section 3.1, calls this the only reliable way).
    sockopt::set_socket_oobinline(socket, true)
}
