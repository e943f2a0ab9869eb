//! One of the two ways of a session, and what its end means for the other side.

use crate::events::EndReason;
use crate::net::abort;
use crate::net::end::{Ended, Failure, Peer};
use crate::net::relay::{Line, Relay, Step};
use crate::net::splice::Pipes;
use crate::registry::Live;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToBackend,
    ToClient,
}

/// One way of a session.
#[derive(Debug)]
pub(super) struct Way<'a> {
    live: &'a Live,
    backend: &'a Peer,
    direction: Direction,
    relay: Relay,
}

impl<'a> Way<'a> {
    /// The way from the client to the backend.
    pub(super) fn to_backend(live: &'a Live, backend: &'a Peer) -> Way<'a> {
        Way {
            live,
            backend,
            direction: Direction::ToBackend,
            relay: Relay::default(),
        }
    }

    /// The way back, of which `relay` may have done a part.
    pub(super) fn to_client(live: &'a Live, backend: &'a Peer, relay: Relay) -> Way<'a> {
        Way {
            live,
            backend,
            direction: Direction::ToClient,
            relay,
        }
    }

    /// Moves what is there now, without blocking, and the end of the way if it is right behind: that
    /// is looked for behind answers only, since few clients end their side with the question.
    pub(super) fn step(&mut self) -> Step {
        let to_the_end = self.direction == Direction::ToClient;
        let step = self.relay.step(self.line(), to_the_end);
        if let Step::Ended(ended) = step {
            self.settle(ended);
        }
        step
    }

    /// Copies until the way ends.
    pub(super) fn run(mut self, pipes: &Pipes) -> Ended {
        let ended = std::mem::take(&mut self.relay).run(self.line(), pipes);
        self.settle(ended);
        ended
    }

    /// What has been done of it, for another thread to go on.
    pub(super) fn into_relay(self) -> Relay {
        self.relay
    }

    fn line(&self) -> Line<'a> {
        let (client, backend) = (&self.live.client, self.backend);
        let (from, to, moved) = match self.direction {
            Direction::ToBackend => (client, backend, &self.live.bytes_in),
            Direction::ToClient => (backend, client, &self.live.bytes_out),
        };
        Line { from, to, moved }
    }

    /// What follows from the end of this way. A source that failed is passed on as a reset of the
    /// sink, as soon as the sink has what came before; that also ends the other way.
    fn settle(&self, ended: Ended) {
        let to = self.line().to;
        self.live.half_closed.raise();
        match ended {
            Ended::SourceFailed(failure) => {
                self.live.set_cause(self.source_failed(failure));
                abort::wait_until_delivered(&to.stream);
                abort::reset(&to.stream);
            }
            // The sink lives, and evener could not write to it (no buffers, for example). What it got is
            // not the whole stream, and nothing but a reset tells it so, nor wakes the other direction.
            Ended::SinkFailed(failure)
                if !to.fin_sent.is_raised() && abort::is_connected(&to.stream) =>
            {
                self.live.set_cause(self.sink_failed(failure));
                abort::reset(&to.stream);
            }
            // A sink that is gone is found by the other direction, after what it had sent.
            Ended::SinkFailed(_) | Ended::Finished => {}
        }
    }

    fn source_failed(&self, failure: Failure) -> EndReason {
        match self.direction {
            Direction::ToBackend => client_failed(failure),
            Direction::ToClient => server_failed(failure),
        }
    }

    fn sink_failed(&self, failure: Failure) -> EndReason {
        match self.direction {
            Direction::ToBackend => server_failed(failure),
            Direction::ToClient => client_failed(failure),
        }
    }
}

pub(super) fn client_failed(failure: Failure) -> EndReason {
    match failure {
        Failure::Reset => EndReason::ClientReset,
        Failure::Lost => EndReason::ClientLost,
    }
}

pub(super) fn server_failed(failure: Failure) -> EndReason {
    match failure {
        Failure::Reset => EndReason::ServerReset,
        Failure::Lost => EndReason::ServerLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::connect::tests::pair;
    use crate::policy::bulk::Method;
    use crate::registry::testing::{live, server};
    use std::io::Write;

    #[test]
    fn a_sink_that_lives_and_cannot_be_written_to_is_reset() {
        let (client, mut client_peer) = pair();
        let (backend, _backend_peer) = pair();
        let live = live(1, client);
        let backend = live.attach(&server(), backend);
        // Every write fails from here on, though the connection is there.
        backend.stream.shutdown(std::net::Shutdown::Write).unwrap();
        client_peer.write_all(b"on the way").unwrap();
        let ended = Way::to_backend(&live, backend).run(&Pipes::new(Method::Copy, 0));
        assert!(matches!(ended, Ended::SinkFailed(_)), "{ended:?}");
        assert!(!abort::is_connected(&backend.stream));
        assert!(live.cause().is_some());
    }
}
