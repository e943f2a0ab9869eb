//! Two attempts to connect for one asker: the second begins when the first has had no answer for a while,
//! and the first that connects wins.
//!
//! Runs on the session thread. Most connects of a network take one round trip; one that takes seconds has
//! lost its SYN, or asks a host that is gone, and to ask another server meanwhile costs one SYN (the tail at
//! scale, Dean and Barroso, CACM 56(2), 2013: hedged requests). The one that loses is closed before a byte
//! was sent on it, and nothing is held against it.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::connect::{Asker, Attempt, Begun, ConnectError, wait_any};
use super::outgoing::Outgoing;
use super::stream::Stream;
use crate::policy::hedge::Runner;

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Each attempt has so long.
    pub timeout: Duration,
    /// The second one begins when the first has taken so long.
    pub hedge_after: Duration,
}

/// Who knows what is tried, and is told at once of what fails.
pub trait Referee {
    /// The address of the second attempt, if there is to be one. Asked for once.
    fn second(&mut self) -> Option<SocketAddr>;

    /// One attempt has failed, or could not begin, while the other goes on.
    fn fell_out(&mut self, runner: Runner, error: ConnectError);
}

/// How it went.
#[derive(Debug)]
pub struct Race {
    /// The one that connected; or, where none did, that failed last.
    pub last: Runner,
    /// How that one went.
    pub outcome: Result<Stream, ConnectError>,
}

impl Race {
    fn over(last: Runner, outcome: Result<Stream, ConnectError>) -> Race {
        Race { last, outcome }
    }
}

/// Connects to `address`, and to another address as well if that takes long. Gives up as
/// [`super::connect::connect`] does.
pub fn connect(
    address: SocketAddr,
    patience: Patience,
    outgoing: Outgoing<'_>,
    asker: BorrowedFd<'_>,
    referee: &mut impl Referee,
) -> Race {
    let begin = Instant::now();
    let first = match Attempt::begin(address, outgoing) {
        Ok(Begun::Waits(attempt)) => (attempt, begin + patience.timeout),
        Ok(Begun::Connected(stream)) => return Race::over(Runner::First, Ok(stream)),
        Err(error) => return Race::over(Runner::First, Err(error)),
    };
    let mut asker = Asker::new(asker);
    let hedge_at = first.1.min(begin + patience.hedge_after);
    match wait_any(&first.0, None, hedge_at, &mut asker) {
        Ok(None) => {}
        Ok(Some(_)) => return Race::over(Runner::First, first.0.finish()),
        Err(error) => return Race::over(Runner::First, Err(error)),
    }
    let second = referee.second();
    match second.map(|address| Attempt::begin(address, outgoing)) {
        None => {}
        Some(Ok(Begun::Waits(attempt))) => {
            let second = (attempt, Instant::now() + patience.timeout);
            return both(first, second, &mut asker, referee);
        }
        Some(Ok(Begun::Connected(stream))) => return Race::over(Runner::Second, Ok(stream)),
        Some(Err(error)) => referee.fell_out(Runner::Second, error),
    }
    Race::over(Runner::First, one(first, &mut asker))
}

/// An attempt, and when its time is over.
type Timed = (Attempt, Instant);

/// Waits for whichever answers first; for the other one if that has failed.
fn both(first: Timed, second: Timed, asker: &mut Asker<'_>, referee: &mut impl Referee) -> Race {
    // The first began earlier, so its time is over earlier.
    let (runner, outcome, other) = match wait_any(&first.0, Some(&second.0), first.1, asker) {
        Err(error) => return Race::over(Runner::First, Err(error)),
        Ok(None) => (Runner::First, Err(ConnectError::TimedOut), second),
        Ok(Some(Runner::First)) => (Runner::First, first.0.finish(), second),
        Ok(Some(Runner::Second)) => (Runner::Second, second.0.finish(), first),
    };
    match outcome {
        Ok(_) => Race::over(runner, outcome),
        Err(error) => {
            referee.fell_out(runner, error);
            Race::over(runner.other(), one(other, asker))
        }
    }
}

/// Waits for the only one that is left.
fn one((attempt, until): Timed, asker: &mut Asker<'_>) -> Result<Stream, ConnectError> {
    match wait_any(&attempt, None, until, asker)? {
        Some(_) => attempt.finish(),
        None => Err(ConnectError::TimedOut),
    }
}
