//! What evener needs of the kernel beyond `std` and `rustix`: system calls that have no safe wrapper
//! elsewhere, and what makes the process less powerful.
//!
//! The `evener` crate forbids unsafe code; here is one small function per call, each `unsafe` block with
//! the reason why it is sound.

mod inherited;
mod options;
mod sandbox;
mod signals;
mod user;

pub use inherited::take_inherited;
pub use options::{
    bind_to_device, set_bind_address_no_port, set_defer_accept, set_local_port_range,
    set_receive_low_water, set_transparent, unlock_buffers,
};
pub use sandbox::{Reach, SandboxError, filter_calls, keep_files_away, set_no_new_privileges};
pub use signals::{Signal, block, wait};
pub use user::{become_user, find_group, find_user, is_user};

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// What the kernel knows about one TCP connection: the part of `struct tcp_info` that evener reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// The connection is over: reset, or closed in order by both sides. The counts of what was not
    /// delivered mean nothing then.
    pub is_closed: bool,
    /// Segments that were sent and are not acknowledged yet (a FIN counts as one).
    pub unacked_segments: u32,
    /// Bytes written by us that the kernel has not sent yet, for example because the peer's window is shut.
    pub unsent_bytes: u32,
    /// Bytes that the peer has acknowledged, over the whole life of the connection.
    pub acknowledged_bytes: u64,
    /// Smoothed round-trip time; zero when nothing was measured.
    pub rtt: Duration,
    /// Segments that were sent again, over the whole life of the connection.
    pub retransmits: u32,
}

impl TcpInfo {
    /// Has the peer's kernel acknowledged everything that was written, or can it no more?
    pub fn is_delivered(&self) -> bool {
        self.is_closed || (self.unacked_segments == 0 && self.unsent_bytes == 0)
    }
}

/// State of a TCP connection that is over (include/net/tcp_states.h, part of the kernel's ABI).
const TCP_CLOSE: u8 = 7;

/// Reads `TCP_INFO` of a TCP socket (tcp(7)).
///
/// # Errors
///
/// What getsockopt(2) gives: not a socket, not TCP.
pub fn tcp_info(socket: impl AsFd) -> io::Result<TcpInfo> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` and `length` live through the call and `length` is the size of `info`, so the
    // kernel writes inside it only. The descriptor is open: `AsFd` borrows it for the whole call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, which is a valid value of this struct of integers, and the kernel has
    // overwritten a prefix of it (older kernels know fewer fields, which then stay 0).
    let info = unsafe { info.assume_init() };
    Ok(TcpInfo {
        is_closed: info.tcpi_state == TCP_CLOSE,
        unacked_segments: info.tcpi_unacked,
        unsent_bytes: info.tcpi_notsent_bytes,
        acknowledged_bytes: info.tcpi_bytes_acked,
        rtt: Duration::from_micros(info.tcpi_rtt.into()),
        retransmits: info.tcpi_total_retrans,
    })
}

/// How many arenas glibc's allocator may have after [`bound_arenas`]. It would make eight for each
/// processor, each with 64 MiB of addresses; evener's threads allocate little, and share a few well.
pub const ARENAS_MAX: u16 = 8;

/// Bounds the arenas of the allocator (mallopt(3), M_ARENA_MAX). Other allocators have none.
pub fn bound_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two numbers, and may be called at any time, by any thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX.into());
    }
}

/// Makes the calling thread, and every thread that it starts from now on, run as a batch
/// (SCHED_BATCH, sched(7)): when it wakes, it waits for its turn instead of interrupting whoever runs.
/// Its share of the processor stays the same. It takes no privilege.
///
/// # Errors
///
/// Those of sched_setscheduler(2); under a realtime policy, or when a sandbox forbids the call.
pub fn schedule_as_batch() -> io::Result<()> {
    // The kernel's struct sched_param is this one number; that of musl has more in it, which no
    // policy uses.
    let priority: libc::c_int = 0;
    // SAFETY: the call reads `priority`, which lives through it; 0 is the calling thread. (musl's own
    // wrapper refuses: POSIX means the process where Linux means the thread.)
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_BATCH,
            &priority,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "the rule is for evener's own connections"
)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn bytes_that_the_peer_does_not_read_stay_undelivered() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let reader = listener.accept().unwrap();
        assert!(tcp_info(&sender).unwrap().is_delivered());

        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 65536]).is_ok() {}
        let info = tcp_info(&sender).unwrap();
        assert!(!info.is_delivered() && info.unsent_bytes > 0, "{info:?}");

        // After a reset the kernel still counts bytes that nobody will ever get.
        drop(listener);
        drop(reader);
        while !tcp_info(&sender).unwrap().is_closed {
            std::thread::yield_now();
        }
        assert!(tcp_info(&sender).unwrap().is_delivered());
    }

    #[test]
    fn a_descriptor_that_is_not_tcp_is_an_error() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(tcp_info(&one).is_err());
    }

    #[test]
    fn a_batch_thread_hands_its_policy_on() {
        let policy = || std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        // Field 41 (proc_pid_stat(5)), counted behind the name, which may hold spaces.
        let policy = move || -> i32 {
            let stat = policy();
            let fields = stat.rsplit_once(')').unwrap().1;
            fields.split_whitespace().nth(38).unwrap().parse().unwrap()
        };
        let spawn = |work: Box<dyn FnOnce() -> i32 + Send>| {
            std::thread::Builder::new().spawn(work).unwrap()
        };
        let inherited = spawn(Box::new(move || {
            schedule_as_batch().unwrap();
            spawn(Box::new(policy)).join().unwrap()
        }));
        assert_eq!(inherited.join().unwrap(), libc::SCHED_BATCH);
    }
}
