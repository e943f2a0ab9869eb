//! What a session has cost and how its networks were, for its record.
//!
//! It takes four system calls: the clock of the session's thread at its begin and its end, and
//! `TCP_INFO` of both sides (two more where there is a return thread). They are made only if the record
//! will be written. The sockets are asked at the very end, when both directions are over: the kernel
//! keeps its figures for as long as the socket is open, through both FINs and through a reset by the
//! peer. It forgets them when evener itself resets a connection, and then they are not known.

use std::time::Duration;

use crate::events::{Measured, Path};
use crate::log::Log;
use crate::net::end::Peer;
use crate::registry::{Live, Worker};
use crate::threads;

/// Measures one session, on its thread.
#[derive(Debug)]
pub(super) struct Meter {
    worker: Worker,
    /// What the return thread has used.
    on_return: Duration,
}

impl Meter {
    /// Begins, if the log wants records.
    pub(super) fn start(log: &Log) -> Meter {
        Meter {
            worker: worker(log.filter().has_every_record()),
            on_return: Duration::ZERO,
        }
    }

    /// The session's thread.
    pub(super) fn worker(&self) -> Worker {
        self.worker
    }

    /// Is anything measured?
    pub(super) fn is_on(&self) -> bool {
        self.worker.cpu_before.is_some()
    }

    /// Adds what the return thread has used.
    pub(super) fn add(&mut self, on_return: Duration) {
        self.on_return += on_return;
    }

    /// What is known at the end. Called on the thread that began it.
    pub(super) fn read(&self, live: &Live) -> Measured {
        if !self.is_on() {
            return Measured::default();
        }
        Measured {
            client: path(&live.client),
            server: live.backend().and_then(path),
            cpu: Some(used(self.worker) + self.on_return),
        }
    }
}

/// The calling thread, as it begins to work for a session.
pub(super) fn worker(is_measured: bool) -> Worker {
    Worker {
        id: threads::id(),
        cpu_before: is_measured.then(threads::cpu_time),
    }
}

/// What the calling thread has used since it was that worker; nothing if that is not measured.
pub(super) fn used(worker: Worker) -> Duration {
    let used = |before| threads::cpu_time().saturating_sub(before);
    worker.cpu_before.map(used).unwrap_or_default()
}

fn path(peer: &Peer) -> Option<Path> {
    let info = evener_sys::tcp_info(&peer.stream).ok()?;
    // Every connection has been timed, if only by its handshake.
    let is_known = !info.rtt.is_zero();
    is_known.then_some(Path {
        rtt: info.rtt,
        retransmits: info.retransmits,
    })
}
