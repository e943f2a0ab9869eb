//! Descriptors that the process was started with: from a number in the environment to an owned
//! descriptor. It is done at most once in a process, at its start, by the main thread.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Once;

/// Done once: a number that was taken belongs to its `OwnedFd` from then on.
static TAKEN: Once = Once::new();

/// Takes the descriptors with these numbers, which whoever started this process has left open for
/// it, and sees to it that no program started by this one gets them in turn.
///
/// # Errors
///
/// One for each number that is not such a descriptor: closed, or opened by this process itself.
/// From the second call on, that is all of them.
pub fn take_inherited(numbers: &[RawFd]) -> Vec<io::Result<OwnedFd>> {
    let mut taken = Vec::new();
    TAKEN.call_once(|| {
        for (at, number) in numbers.iter().enumerate() {
            let is_repeated = numbers.iter().take(at).any(|earlier| earlier == number);
            taken.push(if is_repeated {
                refused()
            } else {
                take(*number)
            });
        }
    });
    if taken.is_empty() {
        numbers.iter().map(|_| refused()).collect()
    } else {
        taken
    }
}

fn take(number: RawFd) -> io::Result<OwnedFd> {
    // Standard input, output and error belong to std.
    if number <= libc::STDERR_FILENO {
        return refused();
    }
    // SAFETY: the call takes numbers and returns one; a number that is not open is an error.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return refused();
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and nobody in this process owns it. std and rustix open everything with
    // FD_CLOEXEC, which a descriptor that came through exec can't have had; so this one came through
    // exec. It is none of the three that std takes for granted, and no second `OwnedFd` is made of
    // it: `TAKEN` lets one call in, which takes each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "it was not left open for this process",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "the rule is for evener's own listeners"
    )]
    fn only_what_came_through_exec_is_taken_and_only_once() {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        // SAFETY: dup takes a number. What it makes is like what came through exec: open, without
        // FD_CLOEXEC, and nobody's.
        let (left, other) = unsafe { (libc::dup(own.as_raw_fd()), libc::dup(own.as_raw_fd())) };
        let taken = take_inherited(&[0, own.as_raw_fd(), left, left, 9999]);
        let ok: Vec<bool> = taken.iter().map(Result::is_ok).collect();
        assert_eq!(ok, [false, false, true, false, false], "{taken:?}");
        // SAFETY: the descriptor is open: `taken` holds it.
        let flags = unsafe { libc::fcntl(left, libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);

        assert!(take_inherited(&[other]).iter().all(Result::is_err));
        // SAFETY: it was made above and given to nobody.
        unsafe { libc::close(other) };
    }
}
