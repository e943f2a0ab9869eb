//! The relay: one direction of a session. A session runs it twice, on two threads, once each way.
//!
//! At its heart it is `io::copy` through a buffer: read what has come, write it on, until there is
//! no more. [`Relay::run`] is that loop; how a direction ends, and how that is passed on, stands in
//! [`super::end`].
//!
//! Three things make it fast, each in a file of its own beside this one: a session that only asks and
//! is answered is served by one thread ([`Relay::step`], for `session::opening`), bytes that
//! come in bulk are moved by the kernel without being copied ([`super::splice`]), and a thread looks
//! for the next short message before it goes to sleep for it (`busy_poll.rs`).

use std::cell::RefCell;
use std::ops::ControlFlow::{self, Break, Continue};

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, ioctl_fionread, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::busy_poll::look;
use super::end::{Ended, Failure, Peer, pass_on_end};
use super::splice::{Filled, Pipes};
use crate::policy::bulk::Bulk;
use crate::policy::patience::{BusyPoll, Patience};
use crate::sync::Progress;

/// Bytes that are read at once as long as messages fit. Thousands of silent sessions each hold a
/// buffer of this size, so it is no larger than a question and most answers.
const SMALL_BYTES: usize = 2 * 1024;

/// Bytes that are read at once from the first longer message on.
const LARGE_BYTES: usize = 64 * 1024;

thread_local! {
    /// The buffer of this thread: small between two sessions, so that the next one finds it in the
    /// processor's cache. Empty between any two system calls but a read and the write of what was read.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One direction of a session: where bytes come from, where they go, and the count of those that
/// were written on.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Where bytes come from.
    pub from: &'a Peer,
    /// Where they go.
    pub to: &'a Peer,
    /// Counts what was written on.
    pub moved: &'a Progress,
}

/// What one [`Relay::step`] did.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes were moved.
    Moved,
    /// There was nothing to read yet.
    Nothing,
    /// The sink did not take all at once; [`Relay::run`] goes on with the rest.
    Stuck,
    /// The direction has ended.
    Ended(Ended),
}

/// The state of one direction that outlives a step. Nearly always there is none.
#[derive(Debug, Default)]
pub struct Relay {
    /// Bytes that were read and that the sink could not take at once.
    rest: Vec<u8>,
    /// The failure of the source behind them, which the kernel tells only once.
    failed: Option<Failure>,
}

impl Relay {
    /// Moves what is there now, without blocking.
    ///
    /// With `to_the_end`, it looks for the end of the stream before it writes: where that is right
    /// behind the bytes, as behind most answers, both leave in one segment, and the receiver has them
    /// with one wake-up (18 packets a session instead of 20).
    pub fn step(&mut self, line: Line<'_>, to_the_end: bool) -> Step {
        with_buffer(|buffer| {
            match receive(line.from, buffer, RecvFlags::DONTWAIT) {
                Ok(0) => return Step::Ended(pass_on_end(line.from, line.to)),
                Ok(_) => {}
                Err(Errno::AGAIN) => return Step::Nothing,
                Err(errno) => return Step::Ended(Ended::SourceFailed(errno.into())),
            }
            let behind = if to_the_end {
                receive_more(line.from, buffer)
            } else {
                Err(Errno::AGAIN)
            };
            let flags = match behind {
                Ok(0) => SendFlags::DONTWAIT | SendFlags::MORE,
                _ => SendFlags::DONTWAIT,
            };
            let sent = match send_some(line.to, buffer, flags) {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => 0,
                Err(errno) => return Step::Ended(Ended::SinkFailed(errno.into())),
            };
            line.moved.add(sent as u64);
            if let Some(rest @ [_, ..]) = buffer.get(sent..) {
                self.rest = rest.to_vec();
                self.failed = match behind {
                    Ok(_) | Err(Errno::AGAIN) => None,
                    Err(errno) => Some(errno.into()),
                };
                return Step::Stuck;
            }
            match behind {
                Ok(0) => Step::Ended(pass_on_end(line.from, line.to)),
                Ok(_) | Err(Errno::AGAIN) => Step::Moved,
                Err(errno) => Step::Ended(Ended::SourceFailed(errno.into())),
            }
        })
    }

    /// Copies until either side ends.
    pub fn run(self, line: Line<'_>, pipes: &Pipes) -> Ended {
        if let Err(ended) = send_all(line, &self.rest) {
            return ended;
        }
        if let Some(failure) = self.failed {
            return Ended::SourceFailed(failure);
        }
        drop(self);
        let mut bulk = Bulk::new(pipes.method());
        with_buffer(|buffer| {
            loop {
                let phase = if bulk.is_on() {
                    splice(line, buffer, &mut bulk, pipes)
                } else {
                    copy(line, buffer, &mut bulk, pipes.busy_poll())
                };
                if let Break(ended) = phase {
                    return ended;
                }
            }
        })
    }
}

/// Copies until either side ends, or bytes come in bulk.
fn copy(
    line: Line<'_>,
    buffer: &mut Vec<u8>,
    bulk: &mut Bulk,
    busy_poll: BusyPoll,
) -> ControlFlow<Ended> {
    let mut patience = Patience::default();
    let mut is_short = false;
    while !bulk.is_on() {
        // Behind a short message comes another one soon, or none for long; behind a part of a long one,
        // whatever the network brings.
        let patience = (is_short && busy_poll == BusyPoll::Auto).then_some(&mut patience);
        let bytes = copy_once(line, buffer, patience)?;
        is_short = bytes < SMALL_BYTES;
        bulk.saw(bytes);
    }
    Continue(())
}

/// Reads what has come, blocking until there is something, and writes it on. With `patience`, it looks
/// for a while before it blocks.
fn copy_once(
    line: Line<'_>,
    buffer: &mut Vec<u8>,
    patience: Option<&mut Patience>,
) -> ControlFlow<Ended, usize> {
    let found = patience
        .and_then(|patience| look(patience, || receive(line.from, buffer, RecvFlags::DONTWAIT)));
    match found.unwrap_or_else(|| receive(line.from, buffer, RecvFlags::empty())) {
        Ok(0) => Break(pass_on_end(line.from, line.to)),
        Ok(bytes) => match send_all(line, buffer) {
            Ok(()) => Continue(bytes),
            Err(ended) => Break(ended),
        },
        Err(errno) => Break(Ended::SourceFailed(errno.into())),
    }
}

/// Lets the kernel move bytes until either side ends, or they come in bulk no more. Without a pipe,
/// copying goes on.
fn splice(
    line: Line<'_>,
    buffer: &mut Vec<u8>,
    bulk: &mut Bulk,
    pipes: &Pipes,
) -> ControlFlow<Ended> {
    let Some(mut pipe) = pipes.open() else {
        bulk.put_off();
        return Continue(());
    };
    while bulk.is_on() {
        match pipe.fill(&line.from.stream) {
            Filled::Bytes(bytes) => {
                if let Err(errno) = pipe.empty_into(&line.to.stream, |moved| line.moved.add(moved))
                {
                    return Break(Ended::SinkFailed(errno.into()));
                }
                bulk.saw(bytes);
            }
            // The end, or an urgent byte, which a splice does not pass: a plain read tells them apart.
            Filled::Nothing => drop(copy_once(line, buffer, None)?),
            Filled::Failed(errno) => return Break(Ended::SourceFailed(errno.into())),
            Filled::Refused => bulk.refuse(),
        }
    }
    Continue(())
}

fn with_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.reserve_exact(SMALL_BYTES);
        let result = work(buffer);
        buffer.clear();
        buffer.shrink_to(SMALL_BYTES);
        result
    })
}

/// Reads what has come into `buffer`, in place of what was there. What fills a small buffer is more
/// than a small message: the buffer grows, and takes what else is there.
fn receive(from: &Peer, buffer: &mut Vec<u8>, flags: RecvFlags) -> Result<usize, Errno> {
    buffer.clear();
    let bytes = read_into(from, buffer, flags)?;
    if bytes < SMALL_BYTES || buffer.capacity() >= LARGE_BYTES {
        return Ok(bytes);
    }
    buffer.reserve_exact(LARGE_BYTES - bytes);
    // Only where bytes wait is this read sure not to take away an error, which the kernel tells once:
    // the next read would see the end of the stream instead.
    if ioctl_fionread(&from.stream).is_ok_and(|waiting| waiting > 0) {
        return Ok(bytes + read_into(from, buffer, RecvFlags::DONTWAIT).unwrap_or(0));
    }
    Ok(bytes)
}

/// Reads what else has come behind what is in `buffer`, without blocking; 0 is the end.
fn receive_more(from: &Peer, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
    if buffer.len() == buffer.capacity() {
        return Err(Errno::AGAIN);
    }
    read_into(from, buffer, RecvFlags::DONTWAIT)
}

fn read_into(from: &Peer, buffer: &mut Vec<u8>, flags: RecvFlags) -> Result<usize, Errno> {
    retry_on_intr(|| Ok(recv(&from.stream, spare_capacity(buffer), flags)?.1))
}

/// Writes some of it. A peer that is gone is an error, not a signal.
fn send_some(to: &Peer, bytes: &[u8], flags: SendFlags) -> Result<usize, Errno> {
    retry_on_intr(|| send(&to.stream, bytes, flags | SendFlags::NOSIGNAL))
}

/// Writes all of it.
fn send_all(line: Line<'_>, mut bytes: &[u8]) -> Result<(), Ended> {
    while !bytes.is_empty() {
        let sent = send_some(line.to, bytes, SendFlags::empty())
            .map_err(|errno| Ended::SinkFailed(errno.into()))?;
        line.moved.add(sent as u64);
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
