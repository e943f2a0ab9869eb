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
use crate::registry::Live;
use crate::threads;

/// Measures one session, on its thread.
#[derive(Debug)]
pub(super) struct Meter {
    /// What the thread had used before; `None`: nothing is measured.
    before: Option<Duration>,
    /// What the return thread has used.
    on_return: Duration,
}

impl Meter {
    /// Begins, if the log wants records.
    pub(super) fn start(log: &Log) -> Meter {
        Meter {
            before: log.filter().has_every_record().then(threads::cpu_time),
            on_return: Duration::ZERO,
        }
    }

    /// Runs the part of the session that is done on another thread, and says what it used there.
    pub(super) fn around<T>(is_on: bool, work: impl FnOnce() -> T) -> (T, Duration) {
        let before = is_on.then(threads::cpu_time);
        let result = work();
        let used = before.map(|before| threads::cpu_time().saturating_sub(before));
        (result, used.unwrap_or_default())
    }

    /// Is anything measured?
    pub(super) fn is_on(&self) -> bool {
        self.before.is_some()
    }

    /// Adds what the return thread has used.
    pub(super) fn add(&mut self, on_return: Duration) {
        self.on_return += on_return;
    }

    /// What is known at the end. Called on the thread that began it.
    pub(super) fn read(&self, live: &Live) -> Measured {
        let Some(before) = self.before else {
            return Measured::default();
        };
        let used = threads::cpu_time().saturating_sub(before);
        Measured {
            client: path(&live.client),
            server: live.backend().and_then(path),
            cpu: Some(used + self.on_return),
        }
    }
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
