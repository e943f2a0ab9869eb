//! One session's life, top to bottom: learn whom it is for, choose the pool, lease a backend, connect,
//! relay both ways, report.
//!
//! [`run`] is called on the session thread, which serves the opening exchange (`opening`) and then
//! copies from the client to the backend. When the session lives on, the way back is copied by the
//! return thread, set aside by the listener before. Every resource of the
//! session is a guard (the permit, the registry entry, the lease, the report, the sockets), so that
//! each way out of here, a panic included, gives everything back.
//!
//! ```text
//!   accepted ──▶ PROXY header ──▶ TLS name ──▶ lease ──▶ connect ──▶ opening ──▶ two directions ──▶ report
//!                (trusted only)   (routes only)  │ ▲        │ fails    one thread   a thread each
//!                     │                 │        │ └────────┘ retries left
//!                     │                 │        ▼ all are full, or `hold`
//!                     ▼                 ▼      queue ──▶ lease, or too late
//!                     └─────── reset ───┴───────────────────┴──────────────────────────────────────▶ report
//! ```
//!
//! # The system calls of a short session
//!
//! One question, one answer, both ends close (`strace -f`, backend on this machine):
//!
//! | step | calls |
//! | --- | --- |
//! | hand-over | `accept4`, `futex` (wake) on the listener thread; `prctl` (the name) |
//! | connect | `socket`, two `setsockopt` (one more for each option that the pool's `socket` has, and with a source a `setsockopt` and `bind`), `connect` twice, `ioctl` (blocking from here on), for a high port `getsockname` (not connected to itself?); on a network `ppoll` and `getsockopt` for the second `connect`; a hedge costs what another attempt does |
//! | opening | `recvfrom`, `sendto`, `ppoll`, `recvfrom`, `recvfrom` (the FIN), `sendto`, `getpeername` (FIN or reset?), `shutdown` |
//! | end | `recvfrom` (the FIN), `getpeername`, `shutdown`, `close` twice, `futex` (park) |
//! | record, if it will be written | `clock_gettime` at the begin and at the end, `getsockopt` (`TCP_INFO`) of both sides |
//!
//! Nothing else: no timers (the reaper has a clock for all), no `fcntl`, and the client's options are
//! inherited from the listening socket, whatever `socket` says there. A PROXY header costs two `recvfrom` and a `prctl` where one is
//! accepted (`ppoll` as well when it is not there yet), a `sendto` where one is sent, and before that a
//! `getsockname` if none came in. A listener with routes has a `prctl` and a `recvfrom` more to look at the
//! TLS hello, and for each wait for more of it a `recvfrom`, a `ppoll` and a `setsockopt`.

mod admit;
mod blame;
mod hedge;
mod measure;
mod opening;
mod queue;
mod report;
mod route;
mod way;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::admission::{Admission, Admitted};
use crate::config::{AcceptProxy, Timeouts, WhenDown};
use crate::events::EndReason;
use crate::health::Suspect;
use crate::log::Log;
use crate::net::abort;
use crate::net::connect::ConnectError;
use crate::net::end::{Ended, Peer};
use crate::net::relay::Relay;
use crate::net::splice::Pipes;
use crate::net::stream::Stream;
use crate::net::wait;
use crate::policy::address::Address;
use crate::pool::{Lease, Pool};
use crate::registry::{Listener, Live, Notes, Origin, Registry};
use crate::stats::Stats;
use crate::sync::{Permit, Ticket};
use crate::threads::{self, Name, Running, Seat};
pub use admit::{is_proxy, let_in};
use hedge::Reached;
use opening::Opening;
use queue::Search;
use report::Report;
pub use route::Routes;
use way::{Way, client_failed, server_failed};

/// Pause before another attempt when evener lacks a descriptor or memory.
const RESOURCES_PAUSE: Duration = Duration::from_millis(50);

/// What the sessions of one listener have in common. Read by all, changed by none: a reload makes
/// another one for those that come after it.
#[derive(Debug)]
pub struct Context {
    /// The listener.
    pub listener: Arc<Listener>,
    /// The pools that serve it.
    pub routes: Routes,
    /// From whom a PROXY header is due, and how long it may take.
    pub accept_proxy: Option<AcceptProxy>,
    /// How long each phase may last.
    pub timeouts: Timeouts,
    /// Who is let in.
    pub admission: Admission,
    /// Sessions of the process at once, by the config.
    pub max_connections: Option<u32>,
    /// How relays copy, and the pipes that they may have.
    pub pipes: Pipes,
    /// Where a backend is reported to which connections fail.
    pub suspects: Sender<Suspect>,
    /// Where the report goes.
    pub log: Log,
    /// All live sessions of the process.
    pub registry: Arc<Registry>,
    /// The counts of the process.
    pub stats: Arc<Stats>,
    /// Numbers for the sessions of the process.
    pub ids: Arc<Ticket>,
    /// When the process started; the reaper counts from it.
    pub epoch: Instant,
}

/// A client that was accepted, with what is set aside for it.
#[derive(Debug)]
pub struct Arrival {
    /// The client's connection.
    pub client: Stream,
    /// The address of the connection's other end: the client's, or that of a proxy before us.
    pub address: Address,
    /// When it was accepted.
    pub at: Instant,
    /// The thread for the way back.
    pub return_seat: Seat,
    /// Its places among the sessions of the process and of the listener.
    pub permits: (Permit, Permit),
    /// Its place among the sessions of its address; `None` when a PROXY header is yet to say whose it is.
    pub admitted: Option<Admitted>,
}

/// Runs a session to its end.
pub fn run(context: &Context, arrival: Arrival) {
    let Arrival {
        client,
        address,
        at,
        return_seat,
        permits,
        admitted,
    } = arrival;
    // Locals are dropped last to first: the places are given back after all else is done.
    let _places = (permits, admitted);
    let origin = Origin {
        id: context.ids.take() + 1,
        address,
        listener: Arc::clone(&context.listener),
        pool: context.routes.only().cloned(),
        since: at.saturating_duration_since(context.epoch),
    };
    let live = Arc::new(Live::new(origin, client));
    let mut report = Report::new(context, &live, at);
    live.runs_on(report.meter.worker());
    let _listed = context.registry.enter(&live, Notes::new(live.origin.since));
    let _abort_on_panic = AbortOnPanic(&live);

    let found =
        admit::learn_client(context, &live, &mut report).and_then(|(endpoints, admitted)| {
            let pool = route::choose(context, &live, &mut report)?;
            let (pool, lease, backend) = find_backend(context, pool, &live, &mut report)?;
            Ok((endpoints, admitted, pool, lease, backend))
        });
    let reason = match found {
        Ok((endpoints, _admitted, pool, lease, backend)) => {
            let backend = live.attach(lease.backend(), backend);
            report.connected(&lease);
            admit::announce(&pool.config, &live, backend, endpoints);
            let reason = relay_both_ways(&live, backend, return_seat, &lease, &mut report);
            drop(lease);
            reason
        }
        Err(reason) => {
            drop(return_seat);
            let when_down = live
                .pool()
                .map_or(WhenDown::Reset, |pool| pool.config.when_down);
            turn_away(&live.client.stream, when_down, reason);
            reason
        }
    };
    // Whoever ended the session from outside gave the reason before what followed from it.
    live.set_cause(reason);
    report.reason = live.cause().unwrap_or(reason);
}

/// Leases and connects until one backend answers: at once on the next one when one fails, others
/// first, and the same again only when every other has been tried. No byte of the client has been
/// read yet (a PROXY header is not the client's), so nothing can be lost. After a reload it goes on with
/// the pool that has taken the place of the `chosen` one, and gives back which it was.
fn find_backend(
    context: &Context,
    chosen: &Arc<Pool>,
    live: &Live,
    report: &mut Report<'_>,
) -> Result<(Arc<Pool>, Lease, Stream), EndReason> {
    let client = &live.client.stream;
    let begin = Instant::now();
    let mut short_since = None;
    let mut search = Search::new(context, chosen, live);
    loop {
        let lease = search.lease(report)?;
        let pool = Arc::clone(search.pool());
        name_after(live, &lease);
        let Reached {
            lease,
            asked_at,
            outcome,
        } = hedge::reach(&pool, live, &mut search, lease, report);
        let backend = lease.backend();
        let error = match outcome {
            Ok(stream) => {
                backend.counts.connect_time.observe(asked_at.elapsed());
                backend.failures.end();
                report.answered_after(begin.elapsed());
                return Ok((pool, lease, stream));
            }
            Err(ConnectError::AskerLeft) => return Err(EndReason::ClientLeft),
            Err(ConnectError::Resources(_)) => {
                // What is short comes back when a session ends; nothing of the backend is held meanwhile.
                drop(lease);
                let since = *short_since.get_or_insert_with(Instant::now);
                if !wait::pause(client.as_fd(), RESOURCES_PAUSE) {
                    return Err(EndReason::ClientLeft);
                }
                if since.elapsed() >= context.timeouts.connect {
                    return Err(EndReason::Resources);
                }
                continue;
            }
            Err(error) => error,
        };
        blame::failed(&pool, live, backend, &error, report);
        if report.attempts > pool.config.retries {
            return Err(blame::reason(&error));
        }
        context.stats.retries.increment();
        search.has_tried(&lease);
    }
}

/// Names this thread, which connects and then copies from the client, after the session and its backend.
fn name_after(live: &Live, lease: &Lease) {
    let id = live.origin.id;
    threads::set_name(&threads::name_of(
        format_args!("c{id}>"),
        &lease.backend().name,
    ));
}

/// What a client gets that is not served.
fn turn_away(client: &Stream, when_down: WhenDown, reason: EndReason) {
    match (reason, when_down) {
        (
            EndReason::ClientLeft
            | EndReason::ClientLeftQueue
            | EndReason::ClientLeftBeforeHeader
            | EndReason::ClientLeftBeforeHello
            | EndReason::Refused,
            _,
        ) => {}
        // No answer of any kind to who doesn't begin as it should: a FIN could pass for one.
        (
            EndReason::BadProxyHeader
            | EndReason::ProxyHeaderTimeout
            | EndReason::HelloTimeout
            | EndReason::NoRoute,
            _,
        )
        | (_, WhenDown::Reset | WhenDown::Refuse | WhenDown::Hold | WhenDown::FailOpen) => {
            abort::reset(client);
        }
        (_, WhenDown::Close) => abort::finish_unread(client),
    }
}

/// Serves the opening exchange, then copies in both directions until both have ended: on this thread
/// and on the return thread, or on this thread alone when only one way is left.
fn relay_both_ways(
    live: &Arc<Live>,
    backend: &Peer,
    return_seat: Seat,
    lease: &Lease,
    report: &mut Report<'_>,
) -> EndReason {
    let name = || threads::name_of(format_args!("c{}<", live.origin.id), &lease.backend().name);
    let pipes = &report.context.pipes;
    let mut there = Way::to_backend(live, backend);
    let mut back = Way::to_client(live, backend, Relay::default());
    let (to_backend, to_client) =
        match opening::serve(live, backend, pipes.method(), &mut there, &mut back) {
            Opening::BackendEnded(to_client) => {
                drop(return_seat);
                (there.run(pipes), to_client)
            }
            Opening::ClientEnded(to_backend) => {
                drop(return_seat);
                threads::set_name(&name());
                (to_backend, back.run(pipes))
            }
            Opening::LivesOn => {
                let way = (live, back.into_relay(), pipes);
                let is_measured = report.meter.is_on();
                let returning = start_return(return_seat, name(), way, is_measured);
                let to_backend = there.run(pipes);
                match returning.join() {
                    Ok((to_client, used)) => {
                        report.meter.add(used);
                        (to_backend, to_client)
                    }
                    Err(_panic) => return EndReason::Internal,
                }
            }
        };

    match (to_backend, to_client) {
        (Ended::Finished, Ended::Finished) => EndReason::Normal,
        // A direction whose source failed has told the other side already. One whose sink failed
        // could not: the other way, bytes may still have been coming from that sink. By now they
        // have been delivered to the kernel; the source learns of the failure after it has them.
        (Ended::SinkFailed(failure), _) => {
            abort::wait_until_delivered(&live.client.stream);
            abort::reset(&live.client.stream);
            server_failed(failure)
        }
        (_, Ended::SinkFailed(failure)) => {
            abort::wait_until_delivered(&backend.stream);
            abort::reset(&backend.stream);
            client_failed(failure)
        }
        (Ended::SourceFailed(failure), _) => client_failed(failure),
        (_, Ended::SourceFailed(failure)) => server_failed(failure),
    }
}

/// Copies from the backend to the client on the thread that was set aside for it.
fn start_return(
    seat: Seat,
    name: Name,
    (live, relay, pipes): (&Arc<Live>, Relay, &Pipes),
    is_measured: bool,
) -> Running<(Ended, Duration)> {
    let (live, pipes) = (Arc::clone(live), pipes.clone());
    seat.start(move || {
        threads::set_name(&name);
        let worker = measure::worker(is_measured);
        live.returns_on(worker);
        let _abort_on_panic = AbortOnPanic(&live);
        let ended = match live.backend() {
            Some(backend) => Way::to_client(&live, backend, relay).run(&pipes),
            None => Ended::Finished,
        };
        (ended, measure::used(worker))
    })
}

/// Ends the other thread of a session when this one panics; it would wait for ever otherwise.
struct AbortOnPanic<'a>(&'a Live);

impl Drop for AbortOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.set_cause(EndReason::Internal);
            self.0.abort();
        }
    }
}
