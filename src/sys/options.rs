//! Options of sockets that are numbers and have no safe wrapper elsewhere (setsockopt(2), socket(7),
//! ip(7), tcp(7)).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

/// How many bytes have to be there before a thread that waits to read is woken (SO_RCVLOWAT). The end of
/// the stream and errors wake it as well.
///
/// # Errors
///
/// What setsockopt(2) gives: not a socket.
pub fn set_receive_low_water(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes)
}

/// Lets a socket have an address that is not this machine's (IP_TRANSPARENT, IPV6_TRANSPARENT).
///
/// # Errors
///
/// `PermissionDenied` without CAP_NET_ADMIN or CAP_NET_RAW.
pub fn set_transparent(socket: impl AsFd, is_ipv6: bool, on: bool) -> io::Result<()> {
    let (level, name) = match is_ipv6 {
        true => (libc::SOL_IPV6, libc::IPV6_TRANSPARENT),
        false => (libc::SOL_IP, libc::IP_TRANSPARENT),
    };
    set(socket, level, name, on.into())
}

/// Leaves the choice of the port to connect(2) where bind(2) is called with an address only
/// (IP_BIND_ADDRESS_NO_PORT).
///
/// # Errors
///
/// What setsockopt(2) gives: not a socket.
pub fn set_bind_address_no_port(socket: impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// The option of [`set_local_port_range`] (include/uapi/linux/in.h).
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

/// The ports from which connect(2) may choose the local one; those that the system does not give out are
/// not among them.
///
/// # Errors
///
/// `ENOPROTOOPT` before Linux 6.3.
pub fn set_local_port_range(socket: impl AsFd, first: u16, last: u16) -> io::Result<()> {
    let both = u32::from(last) << 16 | u32::from(first);
    set(
        socket,
        libc::SOL_IP,
        IP_LOCAL_PORT_RANGE,
        both.cast_signed(),
    )
}

/// Has accept(2) leave out connections that have sent nothing, for so many seconds; 0 is none
/// (TCP_DEFER_ACCEPT).
///
/// # Errors
///
/// What setsockopt(2) gives: not a TCP socket.
pub fn set_defer_accept(socket: impl AsFd, seconds: u32) -> io::Result<()> {
    let seconds = libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SOL_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// Lets the kernel choose the sizes of a socket's buffers again (SO_BUF_LOCK).
///
/// # Errors
///
/// `ENOPROTOOPT` before Linux 5.14.
pub fn unlock_buffers(socket: impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_BUF_LOCK, 0)
}

/// Ties a socket to the network interface of this name; to none by an empty one (SO_BINDTODEVICE).
///
/// # Errors
///
/// `ENODEV` when there is none; `PermissionDenied` without CAP_NET_RAW where the socket has one.
pub fn bind_to_device(socket: impl AsFd, interface: &str) -> io::Result<()> {
    let name = interface.as_bytes();
    let length = libc::socklen_t::try_from(name.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: the kernel reads `length` bytes of `name`, which has so many and lives through the call; it
    // needs no NUL at the end. The descriptor is open: `AsFd` borrows it for the whole call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name.as_ptr().cast(),
            length,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set(
    socket: impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `value`, which is that long and lives through the call.
    // The descriptor is open: `AsFd` borrows it for the whole call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
