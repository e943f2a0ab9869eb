//! One attempt to connect to the backend that was leased, or two at once: with `hedge_after`, another
//! backend is leased and asked as well when the first has not answered for that long.
//!
//! Runs on the session thread. The lease of the attempt that loses goes back at once, and nothing is held
//! against its backend: it may have been about to answer. One that fails by itself is counted as any other.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::blame;
use super::queue::Search;
use super::report::Report;
use crate::net::connect::{self, ConnectError};
use crate::net::hedge::{self, Patience, Referee};
use crate::net::outgoing::Outgoing;
use crate::net::stream::Stream;
use crate::policy::hedge::Runner;
use crate::pool::{Lease, Pool};
use crate::registry::Live;

/// How an attempt has ended; of two, the one that connected or, where none did, that failed last.
pub(super) struct Reached {
    pub(super) lease: Lease,
    pub(super) asked_at: Instant,
    pub(super) outcome: Result<Stream, ConnectError>,
}

/// Connects to the backend of this lease, and to another one as well if it takes long.
pub(super) fn reach(
    pool: &Arc<Pool>,
    live: &Live,
    search: &mut Search<'_>,
    lease: Lease,
    report: &mut Report<'_>,
) -> Reached {
    let client = live.client.stream.as_fd();
    let timeout = report.context.timeouts.connect;
    let outgoing = Outgoing {
        options: &pool.config.socket,
        client: live.client_address().ip().map(|client| client.ip()),
    };
    let asked_at = Instant::now();
    let address = &lease.backend().address;
    // A unix socket answers at once, or has a full backlog, which is no lost packet.
    let (Some(hedge_after), Some(address)) = (pool.config.hedge_after, address.ip()) else {
        let outcome = connect::connect(address, timeout, outgoing, client);
        report.count_attempt(&outcome);
        return Reached {
            lease,
            asked_at,
            outcome,
        };
    };
    let patience = Patience {
        timeout,
        hedge_after,
    };
    let hedges_before = report.hedges;
    let mut pair = Pair {
        pool,
        live,
        search,
        report,
        ahead: Racer {
            runner: Runner::First,
            lease,
            asked_at,
        },
        beside: None,
        hedges_before,
    };
    let race = hedge::connect(address, patience, outgoing, client, &mut pair);
    pair.settle(race.last, race.outcome)
}

/// One of the attempts.
struct Racer {
    runner: Runner,
    lease: Lease,
    asked_at: Instant,
}

/// The attempts that are under way.
struct Pair<'a, 's, 'r> {
    pool: &'a Arc<Pool>,
    live: &'a Live,
    search: &'a mut Search<'s>,
    report: &'a mut Report<'r>,
    /// The one that goes on whatever happens.
    ahead: Racer,
    beside: Option<Racer>,
    /// Of the whole session.
    hedges_before: u32,
}

impl Pair<'_, '_, '_> {
    /// The one beside is the one that goes on, if it is this one.
    fn follow(&mut self, runner: Runner) {
        if let Some(beside) = self.beside.as_mut().filter(|one| one.runner == runner) {
            std::mem::swap(&mut self.ahead, beside);
        }
    }

    /// All is over.
    fn settle(mut self, last: Runner, outcome: Result<Stream, ConnectError>) -> Reached {
        self.follow(last);
        if last == Runner::Second {
            super::name_after(self.live, &self.ahead.lease);
        }
        self.report.count_attempt(&outcome);
        if self.beside.take().is_some() {
            self.report.hedges += 1;
        }
        if outcome.is_ok() && self.report.hedges > self.hedges_before {
            self.report.won_by(last);
        }
        let Racer {
            lease, asked_at, ..
        } = self.ahead;
        Reached {
            lease,
            asked_at,
            outcome,
        }
    }
}

impl Referee for Pair<'_, '_, '_> {
    fn second(&mut self) -> Option<SocketAddr> {
        let lease = self.search.hedge(&self.ahead.lease)?;
        let address = lease.backend().address.ip()?;
        self.beside = Some(Racer {
            runner: Runner::Second,
            lease,
            asked_at: Instant::now(),
        });
        Some(address)
    }

    fn fell_out(&mut self, runner: Runner, error: ConnectError) {
        self.follow(runner.other());
        let Some(lost) = self.beside.take() else {
            return;
        };
        // Without a descriptor its backend was never asked.
        if !matches!(error, ConnectError::Resources(_)) {
            self.report.hedges += 1;
            blame::failed(
                self.pool,
                self.live,
                lost.lease.backend(),
                &error,
                self.report,
            );
            self.search.has_tried(&lost.lease);
        }
    }
}
