//! A session's report to the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use crate::events::{EndReason, Event, SessionRecord};
use crate::log::Log;
use crate::pool::Lease;
use crate::registry::Live;

/// Sends the session's record to the log when it is dropped: no session ends without one.
pub(super) struct Report<'a> {
    pub(super) record: SessionRecord,
    start: Instant,
    live: &'a Live,
    log: &'a Log,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        context: &'a Context,
        live: &'a Live,
        client: SocketAddr,
        start: Instant,
    ) -> Report<'a> {
        let record = SessionRecord {
            id: live.id,
            listener: Arc::clone(&context.listener),
            pool: Arc::clone(&context.pool.name),
            client,
            backend: None,
            bytes_in: 0,
            bytes_out: 0,
            connect: None,
            duration: Duration::ZERO,
            attempts: 0,
            failures: Vec::new(),
            // Overwritten by every end but a panic.
            reason: EndReason::Internal,
        };
        Report {
            record,
            start,
            live,
            log: &context.log,
        }
    }

    pub(super) fn connected(&mut self, context: &Context, lease: &Lease) {
        let backend = lease.backend();
        backend.total.increment();
        self.record.backend = Some((Arc::clone(&backend.name), backend.address));
        self.record.connect = Some(self.start.elapsed());
        context.log.send(Event::SessionStarted {
            id: self.live.id,
            listener: Arc::clone(&context.listener),
            client: self.record.client,
            backend: Arc::clone(&backend.name),
        });
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        self.record.bytes_in = self.live.bytes_in.get();
        self.record.bytes_out = self.live.bytes_out.get();
        self.record.duration = self.start.elapsed();
        self.log
            .send(Event::SessionEnded(Box::new(self.record.clone())));
    }
}
