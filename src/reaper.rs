//! The reaper: one thread that ends sessions in which nothing moves any more, adds what has moved to
//! the counts of the backends, tells the log how long sessions are getting on, and carries out the orders
//! of the [`Closer`].
//!
//! The threads of a session block in read and write and look at no clock; this one does it for
//! all. It compares the byte counters of each session with what it saw last time, `LOOKS` times per
//! timeout, so a session ends between one and about 1.1 timeouts after its last byte, and never more
//! than a second late.
//! A timeout on each socket (SO_RCVTIMEO) would not do: a one-way download is silent in one direction.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::closer::Closer;
use crate::config::Timeouts;
use crate::events::{EndReason, Event};
use crate::log::Log;
use crate::policy::idle::Watch;
use crate::policy::lifetime::{self, Age};
use crate::registry::{Live, Registry};
use crate::sync::Published;
use crate::threads;

/// How often it looks at a session within the shortest timeout. A byte is noticed one look late at
/// most, and so is the silence after it: a tenth of the timeout together.
const LOOKS: u32 = 20;

/// The shortest time from one look to the next: more would be load, for timeouts that nobody has.
const TICK_MIN: Duration = Duration::from_millis(5);

/// The longest time from one look to the next: half of the second by which a session may end late.
const TICK_MAX: Duration = Duration::from_millis(500);

/// A look that comes so many ticks late, and so late at least, is one of a process that did not run; less may
/// be a machine that is busy.
const LATE_TICKS: u32 = 10;
const STOPPED_MIN: Duration = Duration::from_secs(1);

/// Looks at all sessions again and again until `stop` is disconnected. Timeouts that are published
/// count from the next look on.
pub fn run(
    timeouts: &Published<Timeouts>,
    registry: &Registry,
    closer: &Closer,
    log: &Log,
    epoch: Instant,
    stop: &Receiver<Infallible>,
) {
    // When the last one was over.
    let mut last_look = epoch.elapsed();
    threads::keep_going(|| {
        let timeouts = timeouts.load();
        let telling = log.filter().progress_interval();
        let of_closer = closer.tick(epoch.elapsed());
        let tick = tick(&timeouts, telling).min(of_closer.unwrap_or(TICK_MAX));
        if stop.recv_timeout(tick) != Err(RecvTimeoutError::Timeout) {
            return ControlFlow::Break(());
        }
        let now = epoch.elapsed();
        let was_stopped = now.saturating_sub(last_look) > (LATE_TICKS * tick).max(STOPPED_MIN);
        let mut told = Vec::new();
        let mut lives_on = Vec::new();
        let chosen = registry.select(|live, notes| {
            notes.count_bytes(live);
            if notes.begins_to_be_kept_alive(live) {
                lives_on.push(Arc::clone(live));
            }
            told.extend(telling.and_then(|interval| notes.progress(live, now, interval)));
            if was_stopped {
                // The whole process was (SIGSTOP, a frozen control group, a sleeping machine), so what
                // looks like silence is our own: it is counted anew.
                notes.watch.start_over(now);
            }
            let is_silent = !was_stopped && seems_silent(&timeouts, live, &mut notes.watch, now);
            is_silent || age(&timeouts, live, now) != Age::Young
        });
        for event in told {
            log.send(event);
        }
        for live in lives_on {
            live.keep_alive();
        }
        for live in chosen {
            match age(&timeouts, &live, now) {
                Age::Young if is_silent(&timeouts, registry, &live, now) => end(&live),
                Age::Young => {}
                age => retire(&live, age),
            }
        }
        for news in closer.look(registry, now) {
            log.send(Event::Closing(news));
        }
        // After all of that, which takes its time where there are many.
        last_look = epoch.elapsed();
        ControlFlow::Continue(())
    });
}

/// The time from one look to the next.
fn tick(timeouts: &Timeouts, telling: Option<Duration>) -> Duration {
    let shortest = [
        timeouts.idle,
        timeouts.half_close,
        timeouts.max_lifetime,
        telling,
    ]
    .into_iter()
    .flatten()
    .min();
    shortest.map_or(TICK_MAX, |shortest| {
        (shortest / LOOKS).clamp(TICK_MIN, TICK_MAX)
    })
}

/// Was nothing copied in this session for so long as it may be silent?
fn seems_silent(timeouts: &Timeouts, live: &Live, watch: &mut Watch, now: Duration) -> bool {
    if live.backend().is_none() {
        // Still connecting, which has a timeout of its own; silence begins after it.
        *watch = Watch::new(now);
        return false;
    }
    let half_closed = live.half_closed.is_raised();
    let timeout = if half_closed {
        // Without a timeout of its own, a half-closed session is a session: it may not be idle.
        timeouts.half_close.or(timeouts.idle)
    } else {
        timeouts.idle
    };
    // A FIN is a sign of life like a byte: the timeout that begins with it counts from it.
    let moved = live.bytes_in.get() + live.bytes_out.get() + u64::from(half_closed);
    // Without a timeout, too, it is looked at since when nothing moves: others ask for that.
    let timeout = timeout.unwrap_or(Duration::MAX);
    watch.seems_silent(now, moved, timeout)
}

/// Is a session that seems silent silent indeed? The kernel is asked for each by itself, and not while every
/// session that begins or ends waits for the list of all.
fn is_silent(timeouts: &Timeouts, registry: &Registry, live: &Live, now: Duration) -> bool {
    let outstanding = live.outstanding();
    let judged = registry.note(live.origin.id, |notes| {
        // Something may have moved since the first look.
        seems_silent(timeouts, live, &mut notes.watch, now)
            && notes.watch.is_silent(now, outstanding)
    });
    judged == Some(true)
}

/// How old a session is that has its backend; one that waits for it has timeouts of its own.
fn age(timeouts: &Timeouts, live: &Live, now: Duration) -> Age {
    let lived = now.saturating_sub(live.origin.since);
    match (timeouts.max_lifetime, live.backend()) {
        (Some(max), Some(_)) => lifetime::age(live.origin.id, lived, max),
        _ => Age::Young,
    }
}

/// Ends a session that has lived long enough: in order, at a moment in which nothing is on its way; by a
/// reset when no such moment has come.
fn retire(live: &Live, age: Age) {
    let is_quiet = live.is_quiet();
    if !is_quiet && age != Age::TooOld {
        return;
    }
    live.set_cause(EndReason::Lifetime);
    match is_quiet {
        true => live.finish(),
        false => live.abort(),
    }
}

/// Ends a silent session: in order when all was delivered, and by a reset when a peer does not
/// take what it was sent, since the kernel would hold on to those bytes for minutes.
fn end(live: &Live) {
    let reason = if live.half_closed.is_raised() {
        EndReason::HalfCloseTimeout
    } else {
        EndReason::IdleTimeout
    };
    live.set_cause(reason);
    match live.is_quiet() {
        true => live.finish(),
        false => live.abort(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::connect::tests::pair;
    use crate::registry::testing::{live, server};
    use std::io::{Read, Write};

    const TIMEOUTS: Timeouts = Timeouts {
        connect: Duration::from_secs(60),
        idle: Some(Duration::from_secs(10)),
        half_close: Some(Duration::from_secs(5)),
        queue: None,
        max_lifetime: None,
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Both looks at a session.
    fn is_silent(timeouts: &Timeouts, live: &Live, watch: &mut Watch, now: Duration) -> bool {
        seems_silent(timeouts, live, watch, now) && watch.is_silent(now, live.outstanding())
    }

    #[test]
    fn the_time_that_connecting_took_is_not_silence() {
        let live = live(1, pair().0);
        let mut watch = Watch::new(at(0));
        assert!(!is_silent(&TIMEOUTS, &live, &mut watch, at(29)));
        live.attach(&server(), pair().0);
        assert!(!is_silent(&TIMEOUTS, &live, &mut watch, at(30)));
        assert!(is_silent(&TIMEOUTS, &live, &mut watch, at(39)));
    }

    #[test]
    fn bytes_that_wait_to_be_read_are_not_silence() {
        let (client, mut peer) = pair();
        let live = live(1, client);
        live.attach(&server(), pair().0);
        let mut watch = Watch::new(at(0));
        peer.write_all(b"nobody has come to read this").unwrap();
        while rustix::io::ioctl_fionread(&live.client.stream).unwrap() == 0 {
            std::thread::yield_now();
        }
        assert!(!is_silent(&TIMEOUTS, &live, &mut watch, at(10)));
        end(&live);
        let broken = peer.read(&mut [0; 1]).unwrap_err();
        assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn without_a_half_closed_timeout_the_idle_one_counts() {
        let live = live(1, pair().0);
        live.attach(&server(), pair().0);
        live.half_closed.raise();
        let timeouts = Timeouts {
            half_close: None,
            ..TIMEOUTS
        };
        let mut watch = Watch::new(at(0));
        assert!(!is_silent(&timeouts, &live, &mut watch, at(1)));
        assert!(!is_silent(&timeouts, &live, &mut watch, at(10)));
        assert!(is_silent(&timeouts, &live, &mut watch, at(11)));
    }

    #[test]
    fn the_half_closed_timeout_counts_from_the_fin() {
        let live = live(1, pair().0);
        live.attach(&server(), pair().0);
        let mut watch = Watch::new(at(0));
        assert!(!is_silent(&TIMEOUTS, &live, &mut watch, at(8)));
        live.half_closed.raise();
        assert!(!is_silent(&TIMEOUTS, &live, &mut watch, at(9)));
        assert!(!is_silent(&TIMEOUTS, &live, &mut watch, at(13)));
        assert!(is_silent(&TIMEOUTS, &live, &mut watch, at(14)));
    }
}
