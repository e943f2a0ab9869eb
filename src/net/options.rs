//! Sets what sockets are told. Called before a socket listens or connects, and by a reload on sockets
//! that listen.
//!
//! Connections that a listening socket accepts inherit all of it (tests/socket_options.rs reads it back),
//! so a session has no system call to make for its client.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;

use rustix::net::sockopt;

use crate::policy::socket::{KeepAlive, ListenOptions, SocketOptions};

/// An option that a socket did not take.
#[derive(Debug)]
pub struct OptionError {
    /// The key in the config.
    pub key: &'static str,
    /// What the kernel said.
    pub error: io::Error,
}

impl OptionError {
    /// What can be done about it.
    fn advice(&self) -> &'static str {
        match (self.key, self.error.kind()) {
            (_, io::ErrorKind::PermissionDenied) => {
                "it takes the capability CAP_NET_ADMIN or CAP_NET_RAW (AmbientCapabilities= in the unit file)"
            }
            ("interface", _) => "`ip link` lists the interfaces",
            ("receive_buffer", _) => "raise sysctl net.core.rmem_max",
            ("send_buffer", _) => "raise sysctl net.core.wmem_max",
            ("source", io::ErrorKind::AddrNotAvailable) => {
                "no interface of this machine has that address; `ip address` lists them"
            }
            ("source", io::ErrorKind::InvalidInput) => {
                "widen sysctl net.ipv4.ip_local_port_range, or choose ports in it"
            }
            ("source", _) => "a range of ports takes Linux 6.3",
            _ => "leave it out to have what the kernel does by itself",
        }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.error, self.advice())
    }
}

impl std::error::Error for OptionError {}

/// A socket of which nobody has said anything.
pub(super) const UNTOLD: SocketOptions = SocketOptions {
    keepalive: None,
    nodelay: false,
    ..SocketOptions::USUAL
};

/// Makes an error name the key.
pub(super) fn of<E: Into<io::Error>>(key: &'static str) -> impl Fn(E) -> OptionError {
    move |error| OptionError {
        key,
        error: error.into(),
    }
}

/// Tells a socket that listens, or will, everything: that it was told `before`, or nobody knows what.
///
/// # Errors
///
/// The option that it does not take. Those before it are set.
pub(super) fn set_listen(
    socket: impl AsFd,
    before: Option<&ListenOptions>,
    now: &ListenOptions,
    is_ipv6: bool,
) -> Result<(), OptionError> {
    let socket = socket.as_fd();
    let common = before.map(|before| &before.common);
    if common.map(|common| common.keepalive) != Some(now.common.keepalive) {
        set_keepalive(socket, now.common.keepalive)?;
    }
    set(socket, common, &now.common, is_ipv6)?;
    check_buffers(socket, &now.common)?;
    if before.map(|before| before.defer_accept) != Some(now.defer_accept) {
        let seconds = now.defer_accept.map_or(0, |time| time.as_secs());
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        evener_sys::set_defer_accept(socket, seconds).map_err(of("defer_accept"))?;
    }
    Ok(())
}

/// Has the kernel ask now and then whether the peer of a silent connection still lives, or not.
pub(super) fn set_keepalive(
    socket: impl AsFd,
    keepalive: Option<KeepAlive>,
) -> Result<(), OptionError> {
    let socket = socket.as_fd();
    let set = || {
        sockopt::set_socket_keepalive(socket, keepalive.is_some())?;
        let Some(keepalive) = keepalive else {
            return Ok(());
        };
        sockopt::set_tcp_keepidle(socket, keepalive.idle)?;
        sockopt::set_tcp_keepintvl(socket, keepalive.interval)?;
        sockopt::set_tcp_keepcnt(socket, keepalive.count)
    };
    set().map_err(of("keepalive"))
}

/// Sets what is other than it was `before`, keepalive apart; all of it where that is not known.
pub(super) fn set(
    socket: impl AsFd,
    before: Option<&SocketOptions>,
    now: &SocketOptions,
    is_ipv6: bool,
) -> Result<(), OptionError> {
    let socket = socket.as_fd();
    if before.map(|before| before.nodelay) != Some(now.nodelay) {
        sockopt::set_tcp_nodelay(socket, now.nodelay).map_err(of("nodelay"))?;
    }
    if before.map(|before| before.user_timeout) != Some(now.user_timeout) {
        let time = now.user_timeout.unwrap_or_default().as_millis();
        let time = u32::try_from(time).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(socket, time).map_err(of("user_timeout"))?;
    }
    set_buffers(socket, before, now)?;
    if before.map(|before| &before.interface) != Some(&now.interface) {
        let name = now.interface.as_deref().unwrap_or_default();
        evener_sys::bind_to_device(socket, name).map_err(of("interface"))?;
    }
    if before.map(|before| before.transparent) != Some(now.transparent) {
        evener_sys::set_transparent(socket, is_ipv6, now.transparent).map_err(of("transparent"))?;
    }
    Ok(())
}

fn set_buffers(
    socket: impl AsFd,
    before: Option<&SocketOptions>,
    now: &SocketOptions,
) -> Result<(), OptionError> {
    let socket = socket.as_fd();
    let sizes = |options: &SocketOptions| (options.receive_buffer, options.send_buffer);
    if before.map(sizes) == Some(sizes(now)) {
        return Ok(());
    }
    // A size that was set stays for ever otherwise, and the kernel leaves it alone.
    if before.map(sizes) != Some((None, None)) {
        free_buffers(socket);
    }
    if let Some(bytes) = now.receive_buffer {
        let set = sockopt::set_socket_recv_buffer_size(socket, bytes as usize);
        set.map_err(of("receive_buffer"))?;
    }
    if let Some(bytes) = now.send_buffer {
        let set = sockopt::set_socket_send_buffer_size(socket, bytes as usize);
        set.map_err(of("send_buffer"))?;
    }
    Ok(())
}

/// Gives both buffers the size that the system gives new sockets, and their growth back to the kernel.
/// Before Linux 5.14 they stay as they are.
fn free_buffers(socket: impl AsFd) {
    let socket = socket.as_fd();
    // The kernel doubles what it is told.
    let usual = |name: &str| -> Option<usize> {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
        let bytes: usize = text.split_whitespace().nth(1)?.parse().ok()?;
        Some(bytes / 2)
    };
    if let (Some(receive), Some(send)) = (usual("tcp_rmem"), usual("tcp_wmem")) {
        let _ = sockopt::set_socket_recv_buffer_size(socket, receive);
        let _ = sockopt::set_socket_send_buffer_size(socket, send);
    }
    let _ = evener_sys::unlock_buffers(socket);
}

/// Has the socket the buffers that it was told? The kernel makes them smaller without a word.
pub(super) fn check_buffers(socket: impl AsFd, options: &SocketOptions) -> Result<(), OptionError> {
    let socket = socket.as_fd();
    let check = |key, wanted: Option<u32>, real: rustix::io::Result<usize>| {
        let real = real.map_err(of(key))? / 2;
        match wanted {
            Some(bytes) if real < bytes as usize => {
                let what = format!("the system allows {real} bytes, not {bytes}");
                Err(of(key)(io::Error::new(io::ErrorKind::InvalidInput, what)))
            }
            _ => Ok(()),
        }
    };
    let (receive, send) = (options.receive_buffer, options.send_buffer);
    if (receive, send) == (None, None) {
        return Ok(());
    }
    check(
        "receive_buffer",
        receive,
        sockopt::socket_recv_buffer_size(socket),
    )?;
    check(
        "send_buffer",
        send,
        sockopt::socket_send_buffer_size(socket),
    )
}
