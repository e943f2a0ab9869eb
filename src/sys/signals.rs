//! Signals that are waited for by a thread, instead of interrupting one.

use std::io;
use std::mem::MaybeUninit;

/// A signal that evener waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Hangup,
    /// SIGUSR2.
    User2,
}

impl Signal {
    const ALL: [Signal; 2] = [Signal::Hangup, Signal::User2];

    fn number(self) -> libc::c_int {
        match self {
            Signal::Hangup => libc::SIGHUP,
            Signal::User2 => libc::SIGUSR2,
        }
    }
}

/// Blocks these signals in the calling thread and in every thread that it starts from now on. They
/// then wait for somebody to ask for them by [`wait`], and end nothing.
///
/// # Errors
///
/// Those of pthread_sigmask(3); none is possible with these arguments.
pub fn block(signals: &[Signal]) -> io::Result<()> {
    let set = set_of(signals);
    // SAFETY: the call reads the set, and is told not to write the old one.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    result(error)
}

/// Waits until one of these signals is sent to the process, and takes it. They must be blocked in
/// every thread: see [`block`].
///
/// # Errors
///
/// Those of sigwait(3): an empty set.
pub fn wait(signals: &[Signal]) -> io::Result<Signal> {
    let set = set_of(signals);
    loop {
        let mut number = 0;
        // SAFETY: the call reads the set and writes a number; both live through it.
        result(unsafe { libc::sigwait(&set, &mut number) })?;
        // It is always one of the set.
        if let Some(signal) = Signal::ALL.into_iter().find(|s| s.number() == number) {
            return Ok(signal);
        }
    }
}

fn set_of(signals: &[Signal]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set that it is given; sigaddset gets that set and valid
    // signal numbers.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal.number());
        }
        set.assume_init()
    }
}

fn result(error: libc::c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise(signal: Signal) {
        // SAFETY: raise takes a number; the signal goes to this thread, which blocks it.
        unsafe { libc::raise(signal.number()) };
    }

    #[test]
    fn a_blocked_signal_ends_nothing_and_is_there_for_who_asks() {
        let thread = std::thread::Builder::new().spawn(|| {
            block(&Signal::ALL).unwrap();
            raise(Signal::Hangup);
            raise(Signal::User2);
            assert_eq!(wait(&[Signal::User2]).unwrap(), Signal::User2);
            assert_eq!(wait(&Signal::ALL).unwrap(), Signal::Hangup);
        });
        thread.unwrap().join().unwrap();
    }
}
