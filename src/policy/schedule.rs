//! When the next probe of a backend is due.
//!
//! A time is a [`Duration`] since some moment that the caller fixed once. Each probe is planned
//! from the time at which the last one was due, not from when it ran or ended: so the average rate
//! stays one per interval, however slow the probes are.

use std::time::Duration;

use super::health::Health;
use super::splitmix::unit;

/// The largest share of the interval by which a probe may be moved: two probes of one backend are
/// at least half an interval apart.
pub const JITTER_MAX: f64 = 0.5;

/// How long it is from one probe of a backend to the next.
///
/// | health | the last result | interval |
/// | --- | --- | --- |
/// | starting | | fast |
/// | up | agrees | normal |
/// | down | agrees | of a backend that is down |
/// | up or down | contradicts it: a streak has begun | fast |
///
/// (HAProxy's `inter`, `fastinter` and `downinter`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// While nothing is in doubt.
    pub normal: Duration,
    /// While it is in doubt how the backend is.
    pub fast: Duration,
    /// While it is down.
    pub down: Duration,
}

impl Intervals {
    /// The interval that follows a result; `streak` is how many of the last ones contradict the health.
    pub const fn after(&self, health: Health, streak: u32) -> Duration {
        match (health, streak) {
            (Health::Up, 0) => self.normal,
            (Health::Down, 0) => self.down,
            _ => self.fast,
        }
    }
}

/// When the second probe of a backend is due, if the first was at `first`: at a random point of
/// the interval that follows. The first probes all run at once; this is what spreads the rest.
pub fn second_probe(first: Duration, interval: Duration, random: u64) -> Duration {
    first.saturating_add(scale(interval, unit(random)))
}

/// When the next probe is due, if the last was due at `due`: an interval later, and moved at random
/// by up to `jitter`, a share of the interval, either way. The jitter is at most [`JITTER_MAX`].
///
/// The answer is never before `now`. Beats that have passed are left out, not made up for: after a
/// pause of the process every backend gets one probe, not a burst.
pub fn next_probe(
    due: Duration,
    now: Duration,
    interval: Duration,
    jitter: f64,
    random: u64,
) -> Duration {
    let jitter = jitter.clamp(0.0, JITTER_MAX);
    let delay = scale(interval, 1.0 + jitter * (2.0 * unit(random) - 1.0));
    let next = due.saturating_add(delay);
    let late = now.saturating_sub(next);
    let beats = late.as_nanos().div_ceil(interval.as_nanos().max(1));
    let caught_up =
        next.saturating_add(interval.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX)));
    caught_up.max(now)
}

/// A part or a multiple of an interval. A factor that is no number, or an interval of ages that
/// overflows, gives the interval itself: a probe is better a bit off than a panic.
fn scale(interval: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(interval.as_secs_f64() * factor).unwrap_or(interval)
}

#[cfg(test)]
mod tests {
    use super::super::splitmix::nth;
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Half of the range of bits: the draw that moves nothing.
    const MIDDLE: u64 = 1 << 63;

    #[test]
    fn a_backend_in_doubt_is_asked_sooner() {
        let intervals = Intervals {
            normal: ms(2000),
            fast: ms(500),
            down: ms(5000),
        };
        for (health, streak, expected) in [
            (Health::Starting, 0, 500),
            (Health::Up, 0, 2000),
            (Health::Up, 1, 500),
            (Health::Up, 7, 500),
            (Health::Down, 0, 5000),
            (Health::Down, 1, 500),
        ] {
            assert_eq!(
                intervals.after(health, streak),
                ms(expected),
                "{health:?} {streak}"
            );
        }
    }

    /// Beats that can be checked by eye: due, now, jitter, bits, and the next, at one a second.
    #[test]
    fn next_beats() {
        let cases = [
            (10_000, 10_000, 0.0, 0, 11_000),
            (10_000, 10_900, 0.0, 0, 11_000), // a slow probe does not move the next
            (10_000, 11_000, 0.0, 0, 11_000),
            (10_000, 11_001, 0.0, 0, 12_000), // missed: left out
            (10_000, 99_999, 0.0, 0, 100_000),
            (10_000, 10_000, 0.1, MIDDLE, 11_000),
            (10_000, 10_000, 0.1, 0, 10_900),
            (10_000, 10_900, 0.1, 0, 10_900),
            (10_000, 10_950, 0.1, 0, 11_900),
            (10_000, 9_000, 0.0, 0, 11_000),
            (10_000, 10_000, 7.0, 0, 10_500), // as if it were JITTER_MAX
            (10_000, 10_000, f64::NAN, 0, 11_000),
        ];
        for (due, now, jitter, random, expected) in cases {
            let next = next_probe(ms(due), ms(now), ms(1000), jitter, random);
            assert_eq!(next, ms(expected), "due {due}, now {now}, jitter {jitter}");
        }
    }

    /// Jitter moves single probes and leaves the rate alone: 10,000 probes take 10,000 intervals,
    /// give or take one percent.
    #[test]
    fn jitter_keeps_the_rate() {
        let step = |due, n| next_probe(due, due, ms(1000), 0.5, nth(42, n));
        let end = (1..=10_000).fold(Duration::ZERO, step);
        assert!(end.abs_diff(ms(10_000_000)) < ms(100_000), "{end:?}");
    }

    /// The second probes of many backends are spread over one whole interval.
    #[test]
    fn second_probes_are_spread() {
        let mut tenths = [0; 10];
        for n in 1..=10_000 {
            let after = second_probe(ms(50), ms(1000), nth(2, n)) - ms(50);
            tenths[after.as_millis() as usize / 100] += 1;
        }
        assert!(
            tenths.iter().all(|tenth| (900..1100).contains(tenth)),
            "{tenths:?}"
        );
    }

    /// Numbers at the edge of the type are answered, not panicked at.
    #[test]
    fn extremes() {
        assert_eq!(next_probe(ms(5), ms(9), Duration::ZERO, 0.1, 7), ms(9));
        let next = next_probe(Duration::MAX, Duration::MAX, Duration::MAX, 0.5, u64::MAX);
        assert_eq!(next, Duration::MAX);
        let next = next_probe(
            Duration::ZERO,
            Duration::MAX,
            Duration::from_nanos(1),
            0.0,
            0,
        );
        assert_eq!(next, Duration::MAX);
        assert_eq!(second_probe(Duration::MAX, ms(1), u64::MAX), Duration::MAX);
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// The next probe is never in the past, never sooner than the jitter allows, and there is
        /// never a gap of more than one beat.
        #[test]
        fn next_is_neither_past_nor_far(
            due in 0_u64..1_000_000,
            late in 0_u64..100_000,
            interval in 1_u64..5_000,
            jitter in 0.0..JITTER_MAX,
            random in any::<u64>(),
        ) {
            let (now, step) = (ms(due + late), ms(interval));
            let next = next_probe(ms(due), now, step, jitter, random);
            prop_assert!(next >= now);
            prop_assert!(next >= ms(due) + step / 2);
            prop_assert!(next <= now.max(ms(due) + step / 2) + step);
        }
    }
}
