//! A session's report to the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use crate::events::{EndReason, Event, FailedAttempt, SessionRecord};
use crate::pool::Lease;
use crate::registry::Live;

/// What will be said of a session. Sent to the log when it is dropped: no session ends without it.
pub(super) struct Report<'a> {
    /// Attempts to connect so far.
    pub(super) attempts: u32,
    /// Those of them that failed, in order.
    pub(super) failures: Vec<FailedAttempt>,
    /// Why it ended; overwritten by every end but a panic.
    pub(super) reason: EndReason,
    /// More about why, in words.
    pub(super) detail: Option<&'static str>,
    /// When it was accepted.
    pub(super) start: Instant,
    context: &'a Context,
    live: &'a Live,
    /// Name and address.
    backend: Option<(Arc<str>, SocketAddr)>,
    connect: Option<Duration>,
}

impl<'a> Report<'a> {
    /// Of a session that was accepted at `start`.
    pub(super) fn new(context: &'a Context, live: &'a Live, start: Instant) -> Report<'a> {
        Report {
            attempts: 0,
            failures: Vec::new(),
            reason: EndReason::Internal,
            detail: None,
            start,
            context,
            live,
            backend: None,
            connect: None,
        }
    }

    /// Takes note of the backend that answered.
    pub(super) fn connected(&mut self, lease: &Lease) {
        let backend = lease.backend();
        backend.counts.connected.increment();
        self.backend = Some((Arc::clone(&backend.name), backend.address));
        self.connect = Some(self.start.elapsed());
        self.context.log.debug(|| Event::SessionStarted {
            id: self.live.origin.id,
            listener: Arc::clone(&self.context.listener.name),
            client: self.live.client_address(),
            backend: Arc::clone(&backend.name),
        });
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        let duration = self.start.elapsed();
        self.context.stats.closed(self.reason, duration);
        let record = SessionRecord {
            id: self.live.origin.id,
            listener: Arc::clone(&self.context.listener.name),
            pool: Arc::clone(&self.context.pool.name),
            client: self.live.client_address(),
            via: self.live.via(),
            backend: self.backend.take(),
            bytes_in: self.live.bytes_in.get(),
            bytes_out: self.live.bytes_out.get(),
            connect: self.connect,
            duration,
            attempts: self.attempts,
            failures: std::mem::take(&mut self.failures),
            reason: self.reason,
            detail: self.detail,
        };
        self.context.log.send(Event::SessionEnded(Box::new(record)));
    }
}
