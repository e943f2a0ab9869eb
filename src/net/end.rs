//! How one direction of a session ends, and how its end is passed on.
//!
//! - A **FIN** from the source is passed on as a FIN to the sink, after every byte before it. The
//!   other direction lives on: `tar | nc` half-closes and then waits for an answer.
//! - A **reset** of the source is reported to the caller, after every byte that came before it has
//!   been written on. The caller passes it on as a reset, so that the sink does not take a broken
//!   stream for a finished one.
//! - A sink that fails is reported too. What it had sent before it failed is the business of the
//!   other direction, which will find the end of it.
//!
//! ```text
//!            bytes ──▶ written on ──┐
//!              ▲                    │ the sink fails ──▶ SinkFailed: the other direction finds its end
//!   read ──────┼────────────────────┘
//!              ├─ 0, and the connection stands, or a FIN was on it before ──▶ FIN to the sink: Finished
//!              ├─ 0, and the connection is gone, without a FIN of ours ─────▶ SourceFailed(Reset)
//!              └─ ECONNRESET, ETIMEDOUT, … ─────────────────────────────────▶ SourceFailed(Reset or Lost)
//! ```
//!
//! # The reset that looks like a FIN
//!
//! Linux keeps the error of a reset connection once: the first system call to notice gets
//! ECONNRESET, and a read after that returns 0, which means FIN. Here two threads work on each
//! socket, one reading and one writing, and if the writer notices the reset first, the reader
//! sees 0. So a 0 is looked at twice: if the connection is gone altogether, and we had not sent our
//! own FIN (after both FINs it is gone in order), it was a reset. Unless a FIN had come before the
//! reset: then the stream is whole, and the kernel says so by leaving another error.

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown, sockopt};

use super::abort;
use super::stream::Stream;
use crate::sync::Flag;

/// One of the two connections of a session.
#[derive(Debug)]
pub struct Peer {
    /// Read by one of the session's threads, written by the other, reset by whoever ends the session.
    pub stream: Stream,
    /// Raised just before our FIN is sent, by the thread that writes to the peer or by the reaper;
    /// read by the thread that reads from it, after a read returned 0.
    pub fin_sent: Flag,
}

impl Peer {
    /// A connection to which no FIN has been sent.
    pub fn new(stream: impl Into<Stream>) -> Peer {
        Peer {
            stream: stream.into(),
            fin_sent: Flag::default(),
        }
    }
}

/// How one direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The source sent a FIN, and so did we to the sink.
    Finished,
    /// The source failed; what came before was written to the sink.
    SourceFailed(Failure),
    /// The sink failed; what the source sends has nowhere to go.
    SinkFailed(Failure),
}

/// How a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer reset it.
    Reset,
    /// The network lost it: nobody answers any more.
    Lost,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        match errno {
            Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE | Errno::NOTCONN => Failure::Reset,
            _ => Failure::Lost,
        }
    }
}

/// Was the reset preceded by a FIN? The stream is whole then, and the reset says only that the peer
/// takes nothing more. Linux leaves EPIPE for a reset after a FIN, ECONNRESET for one without; when
/// the other thread has taken the error already, nobody knows, and it counts as a reset.
fn ended_before_reset(stream: &Stream) -> bool {
    matches!(sockopt::socket_error(stream), Ok(Err(Errno::PIPE)))
}

/// A read returned 0: tells a FIN from a reset that the other thread has noticed first, and passes
/// a FIN on.
pub(super) fn pass_on_end(from: &Peer, to: &Peer) -> Ended {
    // In this order: a connection that is gone in order had our FIN raised before. The other way
    // round, the other thread could send our FIN between the two questions.
    let is_gone = !abort::is_connected(&from.stream);
    if is_gone && !from.fin_sent.is_raised() && !ended_before_reset(&from.stream) {
        return Ended::SourceFailed(Failure::Reset);
    }
    if to.fin_sent.raise() {
        // The reaper was faster, and ended both sides.
        return Ended::Finished;
    }
    match shutdown(&to.stream, Shutdown::Write) {
        Ok(()) => Ended::Finished,
        Err(errno) => Ended::SinkFailed(errno.into()),
    }
}
