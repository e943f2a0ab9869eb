//! A session's report to the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use super::measure::Meter;
use crate::events::{EndReason, Event, FailedAttempt, Load, SessionRecord, SessionStarted};
use crate::net::connect::ConnectError;
use crate::net::stream::Stream;
use crate::policy::hedge::Runner;
use crate::pool::{Backend, Lease};
use crate::registry::Live;

/// What will be said of a session. Sent to the log when it is dropped: no session ends without it.
pub(super) struct Report<'a> {
    /// Attempts to connect so far, of those at once the one that ended last.
    pub(super) attempts: u32,
    /// Further ones that were made beside one of those.
    pub(super) hedges: u32,
    /// Which of two attempts at once has made it.
    won: Option<Runner>,
    /// Attempts that failed, in order.
    pub(super) failures: Vec<FailedAttempt>,
    /// Why it ended; overwritten by every end but a panic.
    pub(super) reason: EndReason,
    /// More about why, in words.
    pub(super) detail: Option<&'static str>,
    /// When it was accepted.
    pub(super) start: Instant,
    /// Measures it.
    pub(super) meter: Meter,
    /// What it has in common with others.
    pub(super) context: &'a Context,
    live: &'a Live,
    backend: Option<Arc<Backend>>,
    connect: Option<Duration>,
    queued: Option<Duration>,
}

impl<'a> Report<'a> {
    /// Of a session that was accepted at `start`.
    pub(super) fn new(context: &'a Context, live: &'a Live, start: Instant) -> Report<'a> {
        Report {
            attempts: 0,
            hedges: 0,
            won: None,
            failures: Vec::new(),
            reason: EndReason::Internal,
            detail: None,
            start,
            meter: Meter::start(&context.log),
            context,
            live,
            backend: None,
            connect: None,
            queued: None,
        }
    }

    /// Takes note of a wait for a backend that has room.
    pub(super) fn has_waited(&mut self, time: Duration) {
        *self.queued.get_or_insert_default() += time;
        self.context.stats.queue_time.observe(time);
    }

    /// Takes note of an attempt. Without a descriptor the backend was never asked, so that is none.
    pub(super) fn count_attempt(&mut self, outcome: &Result<Stream, ConnectError>) {
        if !matches!(outcome, Err(ConnectError::Resources(_))) {
            self.attempts += 1;
        }
    }

    /// Takes note of which of two attempts at once has made it.
    pub(super) fn won_by(&mut self, runner: Runner) {
        self.won = Some(runner);
        self.context.stats.hedged(runner);
    }

    /// Takes note that a backend has answered so long after the search for one began.
    pub(super) fn answered_after(&mut self, search: Duration) {
        let queued = self.queued.unwrap_or_default();
        self.connect = Some(search.saturating_sub(queued));
    }

    /// Takes note of the backend that serves it.
    pub(super) fn connected(&mut self, lease: &Lease) {
        let backend = lease.backend();
        backend.counts.connected.increment();
        self.backend = Some(Arc::clone(backend));
        self.context.log.debug(|| {
            Event::SessionStarted(SessionStarted {
                id: self.live.origin.id,
                listener: Arc::clone(&self.context.listener.name),
                pool: self.pool_name().unwrap_or_else(|| "".into()),
                client: self.live.client_address(),
                backend: Arc::clone(&backend.name),
                address: backend.address.clone(),
            })
        });
    }
}

impl Report<'_> {
    fn pool_name(&self) -> Option<Arc<str>> {
        self.live.pool().map(|pool| Arc::clone(&pool.name))
    }

    /// How many sessions there are besides and including this one. The lease has been given back by
    /// now, the places in the listener and in the process have not; as it is with HAProxy.
    fn load(&self) -> Load {
        let registered = self.context.registry.len();
        let pool = self.live.pool().into_iter().flat_map(|pool| &pool.backends);
        Load {
            process: u32::try_from(registered + 1).unwrap_or(u32::MAX),
            listener: self.context.listener.occupancy().0,
            pool: pool.map(|backend| backend.active.get()).sum(),
            backend: (self.backend.as_ref()).map_or(0, |backend| backend.active.get()),
        }
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        let duration = self.start.elapsed();
        self.context.stats.closed(self.reason, duration);
        let record = SessionRecord {
            id: self.live.origin.id,
            listener: Arc::clone(&self.context.listener.name),
            pool: self.pool_name(),
            sni: self.live.sni().cloned(),
            client: self.live.client_address(),
            via: self.live.via(),
            backend: (self.backend.as_ref())
                .map(|backend| (Arc::clone(&backend.name), backend.address.clone())),
            bytes_in: self.live.bytes_in.get(),
            bytes_out: self.live.bytes_out.get(),
            connect: self.connect,
            queued: self.queued,
            duration,
            attempts: self.attempts + self.hedges,
            hedge_won: self.won,
            failures: std::mem::take(&mut self.failures),
            reason: self.reason,
            detail: self.detail,
            measured: self.meter.read(self.live),
            load: self.context.log.filter().has_counts().then(|| self.load()),
        };
        self.context.log.send(Event::SessionEnded(Box::new(record)));
    }
}
