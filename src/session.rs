//! One session's life, top to bottom: lease a backend, connect, relay both ways, report.
//!
//! [`run`] is called on the session thread, which also copies from the client to the backend. The
//! way back is copied by the return thread, set aside by the listener before. Every resource of the
//! session is a guard (the permit, the registry entry, the lease, the report, the sockets), so that
//! each way out of here, a panic included, gives everything back.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Timeouts, WhenDown};
use crate::events::{EndReason, Event, FailedAttempt, SessionRecord};
use crate::log::Log;
use crate::net::abort;
use crate::net::connect::{self, ConnectError};
use crate::net::relay::{self, Ended, Failure, Peer};
use crate::policy::idle::Watch;
use crate::pool::{Lease, Pool};
use crate::registry::{Live, Registry};
use crate::sync::{Permit, Ticket};
use crate::threads::{self, Seat};

/// Pause before another attempt when evener lacks a descriptor or memory.
const RESOURCES_PAUSE: Duration = Duration::from_millis(50);

/// What all sessions of one listener have in common. Read by all, changed by none.
#[derive(Debug)]
pub struct Context {
    /// Name of the listener.
    pub listener: Arc<str>,
    /// The pool that serves it.
    pub pool: Arc<Pool>,
    /// How long each phase may last.
    pub timeouts: Timeouts,
    /// Where the report goes.
    pub log: Log,
    /// All live sessions of the process.
    pub registry: Arc<Registry<Watch>>,
    /// Numbers for the sessions of the process.
    pub ids: Arc<Ticket>,
    /// When the process started; the reaper counts from it.
    pub epoch: Instant,
}

/// A client that was accepted, with what is set aside for it.
#[derive(Debug)]
pub struct Arrival {
    /// The client's connection.
    pub client: TcpStream,
    /// The client's address.
    pub address: SocketAddr,
    /// When it was accepted.
    pub at: Instant,
    /// The thread for the way back.
    pub return_seat: Seat,
    /// Its places among the sessions of the process and of the listener.
    pub permits: (Permit, Option<Permit>),
}

/// Runs a session to its end.
pub fn run(context: &Context, arrival: Arrival) {
    let Arrival {
        client,
        address,
        at,
        return_seat,
        permits,
    } = arrival;
    // Locals are dropped last to first: the places are given back after all else is done.
    let _permits = permits;
    let live = Arc::new(Live::new(context.ids.take() + 1, client));
    let mut report = Report::new(context, &live, address, at);
    let _listed = context
        .registry
        .enter(&live, Watch::new(context.epoch.elapsed()));
    let _abort_on_panic = AbortOnPanic(&live);

    let reason = match find_backend(context, &live, &mut report) {
        Ok((lease, backend)) => {
            let backend = live.attach(backend);
            report.connected(context, &lease);
            let reason = relay_both_ways(&live, backend, return_seat, &lease);
            drop(lease);
            reason
        }
        Err(reason) => {
            drop(return_seat);
            turn_away(&live.client.stream, context.pool.when_down, reason);
            reason
        }
    };
    // Whoever ended the session from outside gave the reason before what followed from it.
    live.set_cause(reason);
    report.record.reason = live.cause().unwrap_or(reason);
}

/// Leases and connects until one backend answers: at once on the next one when one fails, others
/// first, and the same again only when every other has been tried. No byte of the client has been
/// read yet, so nothing can be lost.
fn find_backend(
    context: &Context,
    live: &Live,
    report: &mut Report<'_>,
) -> Result<(Lease, TcpStream), EndReason> {
    let client = &live.client.stream;
    let give_up_at = Instant::now() + context.timeouts.connect;
    let mut tried = Vec::new();
    loop {
        let lease = match context.pool.lease(&tried) {
            Some(lease) => lease,
            None if tried.is_empty() => return Err(EndReason::NoBackend),
            None => {
                tried.clear();
                continue;
            }
        };
        let backend = lease.backend();
        threads::set_name(&threads::name_of(&format!("c{}>", live.id), &backend.name));
        let outcome = connect::connect(backend.address, context.timeouts.connect, client.as_fd());
        // Without a descriptor the backend was never asked, so that is no attempt.
        if !matches!(outcome, Err(ConnectError::Resources(_))) {
            report.record.attempts += 1;
        }
        let error = match outcome {
            Ok(stream) => return Ok((lease, stream)),
            Err(ConnectError::AskerLeft) => return Err(EndReason::ClientLeft),
            Err(ConnectError::Resources(_)) => {
                // What is short comes back when a session ends; nothing of the backend is held meanwhile.
                drop(lease);
                if !connect::pause(client.as_fd(), RESOURCES_PAUSE) {
                    return Err(EndReason::ClientLeft);
                }
                if Instant::now() >= give_up_at {
                    return Err(EndReason::Resources);
                }
                continue;
            }
            Err(error) => error,
        };
        backend.connect_failures.increment();
        let failure = FailedAttempt {
            backend: Arc::clone(&backend.name),
            address: backend.address,
            error: error.to_string(),
        };
        context.log.send(Event::ConnectFailed {
            id: live.id,
            pool: Arc::clone(&context.pool.name),
            failure: failure.clone(),
        });
        report.record.failures.push(failure);
        if report.record.attempts > context.pool.retries {
            return Err(connect_failed(&error));
        }
        tried.push(lease.index());
    }
}

/// What a client gets for which there is no backend.
fn turn_away(client: &TcpStream, when_down: WhenDown, reason: EndReason) {
    if reason == EndReason::ClientLeft {
        return;
    }
    match when_down {
        WhenDown::Reset => abort::reset(client),
        WhenDown::Close => abort::finish_unread(client),
    }
}

/// Copies in both directions, on this thread and on the return thread, until both have ended.
fn relay_both_ways(
    live: &Arc<Live>,
    backend: &Peer,
    return_seat: Seat,
    lease: &Lease,
) -> EndReason {
    let name = threads::name_of(&format!("c{}<", live.id), &lease.backend().name);
    let shared = Arc::clone(live);
    let returning = return_seat.start(move || {
        threads::set_name(&name);
        let _abort_on_panic = AbortOnPanic(&shared);
        match shared.backend() {
            Some(backend) => one_way(&shared, backend, Direction::ToClient),
            None => Ended::Finished,
        }
    });
    let to_backend = one_way(live, backend, Direction::ToBackend);
    let Ok(to_client) = returning.join() else {
        return EndReason::Internal;
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

/// Which way bytes go.
#[derive(Debug, Clone, Copy)]
enum Direction {
    ToBackend,
    ToClient,
}

/// One direction, to its end. A source that failed is passed on as a reset of the sink, as soon as
/// the sink has what came before; that also ends the other direction.
fn one_way(live: &Live, backend: &Peer, direction: Direction) -> Ended {
    let client = &live.client;
    type Reason = fn(Failure) -> EndReason;
    let (from, to, moved, source_failed, sink_failed): (_, _, _, Reason, Reason) = match direction {
        Direction::ToBackend => (
            client,
            backend,
            &live.bytes_in,
            client_failed,
            server_failed,
        ),
        Direction::ToClient => (
            backend,
            client,
            &live.bytes_out,
            server_failed,
            client_failed,
        ),
    };
    let ended = relay::copy(from, to, moved);
    live.half_closed.raise();
    match ended {
        Ended::SourceFailed(failure) => {
            live.set_cause(source_failed(failure));
            abort::wait_until_delivered(&to.stream);
            abort::reset(&to.stream);
        }
        // The sink lives, and evener could not write to it (no buffers, for example). What it got is
        // not the whole stream, and nothing but a reset tells it so, nor wakes the other direction.
        Ended::SinkFailed(failure)
            if !to.fin_sent.is_raised() && abort::is_connected(&to.stream) =>
        {
            live.set_cause(sink_failed(failure));
            abort::reset(&to.stream);
        }
        // A sink that is gone is found by the other direction, after what it had sent.
        Ended::SinkFailed(_) | Ended::Finished => {}
    }
    ended
}

/// The reason of a session whose last attempt to connect failed so.
fn connect_failed(error: &ConnectError) -> EndReason {
    match error {
        ConnectError::Refused => EndReason::ConnectRefused,
        ConnectError::TimedOut => EndReason::ConnectTimeout,
        _ => EndReason::ConnectFailed,
    }
}

fn client_failed(failure: Failure) -> EndReason {
    match failure {
        Failure::Reset => EndReason::ClientReset,
        Failure::Lost => EndReason::ClientLost,
    }
}

fn server_failed(failure: Failure) -> EndReason {
    match failure {
        Failure::Reset => EndReason::ServerReset,
        Failure::Lost => EndReason::ServerLost,
    }
}

/// Sends the session's record to the log when it is dropped: no session ends without one.
struct Report<'a> {
    record: SessionRecord,
    start: Instant,
    live: &'a Live,
    log: &'a Log,
}

impl<'a> Report<'a> {
    fn new(context: &'a Context, live: &'a Live, client: SocketAddr, start: Instant) -> Report<'a> {
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

    fn connected(&mut self, context: &Context, lease: &Lease) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::connect::tests::pair;
    use std::io::Write;

    #[test]
    fn a_sink_that_lives_and_cannot_be_written_to_is_reset() {
        let (client, mut client_peer) = pair();
        let (backend, _backend_peer) = pair();
        let live = Live::new(1, client);
        let backend = live.attach(backend);
        // Every write fails from here on, though the connection is there.
        backend.stream.shutdown(std::net::Shutdown::Write).unwrap();
        client_peer.write_all(b"on the way").unwrap();
        let ended = one_way(&live, backend, Direction::ToBackend);
        assert!(matches!(ended, Ended::SinkFailed(_)), "{ended:?}");
        assert!(!abort::is_connected(&backend.stream));
        assert!(live.cause().is_some());
    }
}
