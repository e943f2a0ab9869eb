//! The next backend for a session: at once if one has room, or after a wait in the pool's queue.
//!
//! Runs on the session thread. While it waits it holds nothing but its own places, and looks up now and
//! then whether its client is still there: nothing tells a thread that sleeps on a condition variable
//! about a socket.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::Context;
use super::report::Report;
use crate::config::WhenDown;
use crate::events::EndReason;
use crate::net::wait::{self, GRACE_AFTER_FIN, Presence};
use crate::policy::queue;
use crate::pool::{Lease, Pool};
use crate::registry::Live;
use crate::sync::{Joined, Place, Queue};
use crate::threads;

/// A session's way from backend to backend, until one answers.
#[derive(Debug)]
pub(super) struct Search<'a> {
    context: &'a Context,
    live: &'a Live,
    /// The pool that was in force at the last look; the backends that it leases go by its config.
    pool: Arc<Pool>,
    /// The backends that it has tried in vain, by their index in the pool, in that order.
    tried: Vec<usize>,
    /// When it stops waiting, once it has begun to; `None` for ever, too.
    give_up_at: Option<Instant>,
}

/// What a look for a backend found, when it is not to be repeated.
type Found = Result<Lease, EndReason>;

impl<'a> Search<'a> {
    /// A session that has tried nobody yet.
    pub(super) fn new(context: &'a Context, chosen: &Arc<Pool>, live: &'a Live) -> Search<'a> {
        Search {
            context,
            live,
            pool: Arc::clone(chosen),
            tried: Vec::new(),
            give_up_at: None,
        }
    }

    /// The pool of the last lease.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// A backend that this session has not tried yet; one that it has if there is no other.
    pub(super) fn lease(&mut self, report: &mut Report<'_>) -> Found {
        self.catch_up();
        let Some((queue, room)) = self.pool.queue() else {
            return self.look().unwrap_or(Err(EndReason::NoBackend));
        };
        let queue = Arc::clone(queue);
        let begin = Instant::now();
        match queue.join(room, || self.look()) {
            Joined::Served(found) => found,
            Joined::TooMany => Err(self.nobody_or(EndReason::QueueFull)),
            Joined::Waits(place) => {
                let found = self.wait(&queue, &place, begin);
                report.has_waited(begin.elapsed());
                found
            }
        }
    }

    /// Another backend than this one, to be tried at the same time: only one that has room now, and that
    /// nobody waits for; none in a pool that has been replaced meanwhile, whose state is an old one.
    pub(super) fn hedge(&self, first: &Lease) -> Option<Lease> {
        let somebody_waits = || {
            let queue = self.pool.queue();
            queue.is_some_and(|(queue, _)| !queue.is_empty())
        };
        if !Arc::ptr_eq(&self.pool, &self.pool.latest()) || somebody_waits() {
            return None;
        }
        let mut tried = self.tried.clone();
        tried.push(first.index());
        self.pool.lease(&tried, self.client())
    }

    /// Takes note that this backend did not answer.
    pub(super) fn has_tried(&mut self, lease: &Lease) {
        self.tried.push(lease.index());
    }

    /// One look; `None` says that waiting may help.
    fn look(&mut self) -> Option<Found> {
        let client = self.client();
        loop {
            let pool = &self.pool;
            if let Some(lease) = pool.lease(&self.tried, client) {
                return Some(Ok(lease));
            }
            if pool.has_untried(&self.tried) {
                // There is one, so it must be full.
                return None;
            }
            if self.tried.is_empty() {
                let holds = pool.config.when_down == WhenDown::Hold;
                return (!holds).then_some(Err(EndReason::NoBackend));
            }
            self.tried.clear();
        }
    }

    /// For a policy that goes by the client. Clients of a unix socket have no address: all of them are one.
    fn client(&self) -> IpAddr {
        let client = self.live.client_address().ip();
        client.map_or(Ipv4Addr::UNSPECIFIED.into(), |client| client.ip())
    }

    /// Waits for its turn until it is served, `timeouts.queue` is over or the client has left.
    fn wait(&mut self, queue: &Queue, place: &Place<'_>, begin: Instant) -> Found {
        let id = self.live.origin.id;
        threads::set_name(&threads::name_of(format_args!("c{id} "), "queue"));
        if self.give_up_at.is_none() {
            let timeout = self.context.timeouts.queue;
            self.give_up_at = timeout.map(|timeout| begin + timeout);
        }
        let mut fin_at = None;
        loop {
            let now = Instant::now();
            if self.give_up_at.is_some_and(|at| now >= at) {
                return Err(self.nobody_or(EndReason::QueueTimeout));
            }
            let next_look = now + queue::look_every(queue.len());
            let look_at = self.give_up_at.map_or(next_look, |at| at.min(next_look));
            let look_again = || {
                self.catch_up();
                self.look()
            };
            if let Some(found) = place.wait(look_at, look_again) {
                return found;
            }
            if self.client_has_left(&mut fin_at) {
                return Err(EndReason::ClientLeftQueue);
            }
        }
    }

    /// Goes on with the pool that is in force by now. The one before knows nothing of what has happened since:
    /// it would go on handing out a backend that has been drained, or has died.
    fn catch_up(&mut self) {
        let latest = self.pool.latest();
        if Arc::ptr_eq(&self.pool, &latest) {
            return;
        }
        // The same backends may stand elsewhere in it.
        let here = |index: &usize| {
            let tried = self.pool.backends.get(*index)?;
            let mut backends = latest.backends.iter();
            backends.position(|one| Arc::ptr_eq(one, tried))
        };
        self.tried = self.tried.iter().filter_map(here).collect();
        self.pool = latest;
    }

    fn client_has_left(&self, fin_at: &mut Option<Instant>) -> bool {
        match wait::presence(self.live.client.stream.as_fd()) {
            Presence::Here => false,
            Presence::Gone => true,
            Presence::FinOnly => {
                fin_at.get_or_insert_with(Instant::now).elapsed() >= GRACE_AFTER_FIN
            }
        }
    }

    /// That no backend is up says more than that the session has waited for one.
    fn nobody_or(&self, reason: EndReason) -> EndReason {
        match self.pool.can_serve() {
            true => reason,
            false => EndReason::NoBackend,
        }
    }
}
