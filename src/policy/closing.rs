//! Closing many sessions little by little: how fast, and which of them first. PURE.
//!
//! All clients of a server at once would all come again at once; so they are closed at a pace, a steady one
//! or one that is through at a given time. Idle ones come first, since nobody waits for anything there, and
//! the oldest first among them and among the others.

use std::fmt;
use std::time::Duration;

use super::rate::Rate;

/// The most that is made up for when the look is late: one second's worth.
const LATE_MAX: Duration = Duration::from_secs(1);

/// What an administrator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How many, in which time.
    pub rate: Rate,
    /// A session in which nothing has moved for so long is idle.
    pub idle_for: Duration,
}

/// How fast sessions are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// So many in a time.
    Rate(Rate),
    /// All of them by then, evenly; on the clock of the caller.
    Until(Duration),
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::Rate(rate) => rate.fmt(f),
            Pace::Until(_) => f.write_str("evenly until the deadline"),
        }
    }
}

/// Tells when the next session is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacer {
    pace: Pace,
    next_at: Duration,
}

impl Pacer {
    /// The first one is due at `now`.
    pub fn new(pace: Pace, now: Duration) -> Pacer {
        Pacer { pace, next_at: now }
    }

    /// The pace.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// From one session to the next, with so many left at `now`.
    pub fn interval(&self, left: u32, now: Duration) -> Duration {
        match self.pace {
            Pace::Rate(rate) => rate.interval(),
            Pace::Until(until) => until.saturating_sub(now) / left.max(1),
        }
    }

    /// How many of those that are left are to be closed at `now`.
    pub fn due(&self, left: u32, now: Duration) -> u32 {
        let Some(late) = now.checked_sub(self.next_at) else {
            return 0;
        };
        let interval = self.interval(left, now).as_nanos();
        if interval == 0 {
            return left;
        }
        let more = late.min(LATE_MAX).as_nanos() / interval;
        u32::try_from(more)
            .unwrap_or(u32::MAX)
            .saturating_add(1)
            .min(left)
    }

    /// So many were closed at `now`, of those that were left. What was due and could not be closed is not
    /// made up for later.
    pub fn closed(&mut self, count: u32, left: u32, now: Duration) {
        let interval = self.interval(left, now);
        let earliest = self.next_at.max(now.saturating_sub(LATE_MAX));
        self.next_at = match count < self.due(left, now) {
            true if count == 0 => now,
            true => now + interval,
            false => earliest + interval.saturating_mul(count),
        };
    }
}

/// A session that may be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<T> {
    /// Which.
    pub what: T,
    /// For how long nothing has moved in it.
    pub silence: Duration,
}

/// The order in which they are closed; they come oldest first. With `only_idle`, the others are not. One in
/// which something has just moved is not closed: it would be in the middle of something.
pub fn in_order<T>(
    candidates: impl IntoIterator<Item = Candidate<T>>,
    idle_for: Duration,
    only_idle: bool,
) -> impl Iterator<Item = T> {
    let (idle, others): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|one| one.silence >= idle_for);
    let others = others
        .into_iter()
        .filter(move |one| !only_idle && !one.silence.is_zero());
    idle.into_iter().chain(others).map(|one| one.what)
}

#[cfg(test)]
mod tests {
    use super::super::rate::Per;
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn per_second(count: u32) -> Pace {
        Pace::Rate(Rate {
            count,
            per: Per::Second,
        })
    }

    /// How many are closed at each of these moments, of so many that can all be closed.
    fn run(pace: Pace, mut left: u32, looks: &[u64]) -> Vec<u32> {
        let mut pacer = Pacer::new(pace, ms(looks[0]));
        let mut closed = Vec::new();
        for look in looks {
            let count = pacer.due(left, ms(*look));
            pacer.closed(count, left, ms(*look));
            left -= count;
            closed.push(count);
        }
        closed
    }

    #[test]
    fn a_rate_is_kept_however_the_looks_fall() {
        let five = per_second(5);
        for (looks, expected) in [
            (vec![0, 100, 200, 300, 400, 500], vec![1, 0, 1, 0, 1, 0]),
            // Late looks make up for it, so that it stays five in a second.
            (vec![0, 500, 1000, 1500], vec![1, 2, 3, 2]),
            // A process that was stopped does not close a minute's worth at once.
            (vec![0, 60_000, 60_100], vec![1, 6, 0]),
        ] {
            assert_eq!(run(five, 100, &looks), expected, "{looks:?}");
        }
        assert_eq!(
            run(five, 2, &[0, 1000, 2000]),
            [1, 1, 0],
            "no more than there are"
        );
        assert_eq!(run(per_second(1000), 5000, &[0, 100, 200]), [1, 100, 100]);
        let minute = Pace::Rate(Rate {
            count: 6,
            per: Per::Minute,
        });
        assert_eq!(run(minute, 9, &[0, 5_000, 10_000, 20_000]), [1, 0, 1, 1]);
    }

    #[test]
    fn what_has_to_be_done_by_a_time_is_spread_over_it() {
        let until = Pace::Until(ms(1000));
        assert_eq!(run(until, 4, &[0, 250, 500, 750, 1000]), [1, 1, 1, 1, 0]);
        assert_eq!(run(until, 3, &[1000, 1100]), [3, 0], "it is over");
        let many: u32 = run(until, 1000, &[0, 100, 500, 999, 1000]).iter().sum();
        assert_eq!(many, 1000);
    }

    #[test]
    fn what_could_not_be_closed_is_not_made_up_for() {
        let mut pacer = Pacer::new(per_second(10), ms(0));
        pacer.closed(0, 50, ms(0));
        pacer.closed(0, 50, ms(900));
        assert_eq!(pacer.due(50, ms(900)), 1, "still due");
        pacer.closed(1, 50, ms(900));
        assert_eq!(pacer.due(50, ms(999)), 0);
        assert_eq!(pacer.due(50, ms(1000)), 1);
    }

    #[test]
    fn idle_ones_first_and_the_oldest_first_among_them() {
        let all = || {
            [(1, 5), (2, 30), (3, 0), (4, 10), (5, 9)].map(|(what, seconds)| Candidate {
                what,
                silence: ms(1000 * seconds),
            })
        };
        let order = |only_idle| in_order(all(), ms(10_000), only_idle).collect::<Vec<_>>();
        assert_eq!(order(false), [2, 4, 1, 5], "not the one that is at work");
        assert_eq!(order(true), [2, 4]);
        let any: Vec<i32> = in_order(all(), Duration::ZERO, true).collect();
        assert_eq!(any, [1, 2, 3, 4, 5]);
    }
}
