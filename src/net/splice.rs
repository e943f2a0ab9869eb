//! Bytes in bulk without a copy: `splice` from a socket into a pipe and from the pipe into the other
//! socket moves references to the kernel's own pages, and evener never touches a byte.
//!
//! Two calls and a pipe per turn instead of two calls and a copy: a loss for short messages, a gain
//! for long ones, so [`crate::policy::bulk`] decides when. What else there is to know:
//!
//! - A pipe is opened when it is first needed, used and closed by one thread only: a thread that is
//!   blocked in `splice` holds the pipe's lock.
//! - Pipes are capped, because each takes two descriptors, and because Linux grants a user without
//!   privileges so many pages of pipes only (`/proc/sys/fs/pipe-user-pages-soft`: 16,384), to all of
//!   the user's programs together. Beyond the cap, and wherever the kernel refuses, copying goes on;
//!   it is always right.
//! - The first of them are large ones, because a turn moves what the pipe holds, and longer turns are
//!   fewer: one stream took 0.17 CPU-seconds per GB with pipes of 1 MiB, 0.25 with 256 KiB, 0.38 with
//!   the 64 KiB that pipes have by default, and 0.55 copied (HAProxy in the same run: 0.31).
//! - `splice` stops at an urgent byte and returns 0, as it does at the end of the stream. The caller
//!   reads once to tell which it was.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, read, retry_on_intr};
use rustix::net::{SendFlags, send};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use super::stream::Stream;
use crate::policy::bulk::Method;
use crate::policy::patience::BusyPoll;
use crate::sync::{Allowance, Allowed};

/// Size of a large pipe, the most that a user without privileges may ask for
/// (`/proc/sys/fs/pipe-max-size`), and the bytes that are asked for at once. A stopped reader pins no
/// more than this of each direction beyond the sockets' own buffers.
const LARGE_BYTES: usize = 1024 * 1024;

/// Large pipes at once: 6,144 of the 16,384 pages that a user without privileges has.
const LARGE_MAX: u32 = 24;

/// What all relays share: how they copy and wait, and how many pipes they may have together.
#[derive(Debug, Clone)]
pub struct Pipes {
    method: Method,
    busy_poll: BusyPoll,
    /// Places for pipes. Taken by the thread that opens one, given back when it drops it; an atomic,
    /// because who finds none copies instead of waiting.
    all: Arc<Allowance>,
    /// The same for large ones among them.
    large: Arc<Allowance>,
}

impl Pipes {
    /// At most `count` pipes at once.
    pub fn new(method: Method, count: u32) -> Pipes {
        Pipes {
            method,
            busy_poll: BusyPoll::default(),
            all: Arc::new(Allowance::new(count)),
            large: Arc::new(Allowance::new(LARGE_MAX)),
        }
    }

    /// The same places, for relays that copy and wait so.
    #[must_use]
    pub fn for_relays(&self, method: Method, busy_poll: BusyPoll) -> Pipes {
        Pipes {
            method,
            busy_poll,
            ..self.clone()
        }
    }

    /// How relays copy.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Whether they look for the next message before they sleep.
    pub(super) fn busy_poll(&self) -> BusyPoll {
        self.busy_poll
    }

    /// A pipe, unless there are too many or the kernel refuses one.
    pub(super) fn open(&self) -> Option<Pipe> {
        let allowed = self.all.take()?;
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).ok()?;
        // A refusal leaves it as it is, which is good enough.
        let large = self
            .large
            .take()
            .filter(|_| fcntl_setpipe_size(&writing, LARGE_BYTES).is_ok());
        Some(Pipe {
            reading,
            writing,
            held: 0,
            _allowed: (allowed, large),
        })
    }
}

/// One pipe, of one direction of one session.
#[derive(Debug)]
pub(super) struct Pipe {
    reading: OwnedFd,
    writing: OwnedFd,
    /// Bytes in it.
    held: usize,
    /// Given back after the descriptors above are closed.
    _allowed: (Allowed, Option<Allowed>),
}

/// What [`Pipe::fill`] found.
#[derive(Debug)]
pub(super) enum Filled {
    /// So many bytes are in the pipe now.
    Bytes(usize),
    /// None: the stream has ended, or goes on behind an urgent byte.
    Nothing,
    /// The kernel does not splice from this socket; nothing was taken from it.
    Refused,
    /// The connection failed.
    Failed(Errno),
}

impl Pipe {
    /// Moves what has come on `from` into the pipe, which is empty; blocks until there is something.
    pub(super) fn fill(&mut self, from: &Stream) -> Filled {
        let turn = || {
            splice(
                from,
                None,
                &self.writing,
                None,
                LARGE_BYTES,
                SpliceFlags::empty(),
            )
        };
        match retry_on_intr(turn) {
            Ok(0) => Filled::Nothing,
            Ok(bytes) => {
                self.held = bytes;
                Filled::Bytes(bytes)
            }
            Err(errno) if is_refusal(errno) => Filled::Refused,
            Err(errno) => Filled::Failed(errno),
        }
    }

    /// Moves all that is in the pipe to `to`, blocking as long as that takes no more, and reports
    /// every part to `moved`.
    ///
    /// # Errors
    ///
    /// Those of the connection. A kernel that does not splice into this socket is none: the bytes are
    /// copied out of the pipe then.
    pub(super) fn empty_into(
        &mut self,
        to: &Stream,
        mut moved: impl FnMut(u64),
    ) -> Result<(), Errno> {
        while self.held > 0 {
            let turn = || {
                splice(
                    &self.reading,
                    None,
                    to,
                    None,
                    self.held,
                    SpliceFlags::empty(),
                )
            };
            let bytes = match retry_on_intr(turn) {
                Ok(bytes) if bytes > 0 => bytes,
                Err(errno) if !is_refusal(errno) => return Err(errno),
                Ok(_) | Err(_) => self.copy_into(to)?,
            };
            self.held -= bytes;
            moved(bytes as u64);
        }
        Ok(())
    }

    /// The way round a kernel that refuses: a page of the pipe, read and written.
    fn copy_into(&mut self, to: &Stream) -> Result<usize, Errno> {
        let mut page = Vec::with_capacity(self.held.min(4096));
        let bytes = retry_on_intr(|| read(&self.reading, spare_capacity(&mut page)))?;
        let mut rest = page.as_slice();
        while !rest.is_empty() {
            let sent = retry_on_intr(|| send(to, rest, SendFlags::NOSIGNAL))?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(bytes)
    }
}

/// Does this error say that the kernel will not splice here, and not that a connection failed?
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::INVAL
            | Errno::NOSYS
            | Errno::PERM
            | Errno::ACCESS
            | Errno::OPNOTSUPP
            | Errno::NOMEM
            | Errno::NOBUFS
            | Errno::BADF
            | Errno::AGAIN
    )
}
