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
