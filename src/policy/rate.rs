//! How often something may happen: a token bucket, kept as one number. PURE.
//!
//! The bucket holds one second's worth of the rate, and at least one: with `20/s` a client may come
//! 20 times at once and then every 50 ms; with `6/m` once, and then every 10 s. Instead of tokens the
//! bucket remembers when it will be full again (the "generic cell rate algorithm" of ITU-T I.371):
//! each taking moves that moment one interval on, and it is refused if that would be more than a
//! bucket away. So nothing has to be refilled by a clock.

use std::fmt;
use std::time::Duration;

/// So many times in a second or a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many times; at least 1.
    pub count: u32,
    /// In which time.
    pub per: Per,
}

/// The time that a [`Rate`] is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// `/s`.
    Second,
    /// `/m`.
    Minute,
}

impl Per {
    /// Both.
    pub const ALL: [Per; 2] = [Per::Second, Per::Minute];

    /// The letter for it in configs.
    pub fn word(self) -> &'static str {
        match self {
            Per::Second => "s",
            Per::Minute => "m",
        }
    }

    /// How long it is.
    pub fn time(self) -> Duration {
        match self {
            Per::Second => Duration::from_secs(1),
            Per::Minute => Duration::from_secs(60),
        }
    }
}

impl Rate {
    /// From one time to the next, in a steady flow.
    pub fn interval(self) -> Duration {
        self.per.time() / self.count.max(1)
    }

    /// How long an empty bucket takes to be full: a second, or the interval if that is longer.
    pub fn refill(self) -> Duration {
        self.interval().max(Duration::from_secs(1))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.word())
    }
}

/// The bucket of one client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it is full, on the clock of the caller.
    full_at: Duration,
}

impl Bucket {
    /// Takes one out of the bucket at `now`, if there is one.
    pub fn take(&mut self, rate: Rate, now: Duration) -> bool {
        // A bucket that was emptied at a slower rate, which has been changed since, owes no more than
        // one of this rate can.
        self.full_at = self.full_at.clamp(now, now + rate.refill());
        let taken = self.full_at + rate.interval();
        if taken - now > rate.refill() {
            return false;
        }
        self.full_at = taken;
        true
    }

    /// Is there nothing to remember of it at `now`?
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::proptest_config;
    use proptest::prelude::*;

    fn rate(count: u32, per: Per) -> Rate {
        Rate { count, per }
    }

    /// How many are taken in a row at one moment.
    fn burst(bucket: &mut Bucket, rate: Rate, now: Duration) -> u32 {
        (0..=rate.count)
            .take_while(|_| bucket.take(rate, now))
            .count() as u32
    }

    #[test]
    fn a_full_bucket_holds_a_second_and_at_least_one() {
        for (rate, expected) in [
            (rate(20, Per::Second), 20),
            (rate(1, Per::Second), 1),
            (rate(1, Per::Minute), 1),
            (rate(59, Per::Minute), 1),
            (rate(600, Per::Minute), 10),
            // Intervals that are no whole number of nanoseconds.
            (rate(3, Per::Second), 3),
            (rate(7_777, Per::Second), 7_777),
        ] {
            let mut bucket = Bucket::default();
            assert!(bucket.is_full(Duration::ZERO));
            let now = Duration::from_secs(5);
            assert_eq!(burst(&mut bucket, rate, now), expected, "{rate}");
            assert!(!bucket.take(rate, now) && !bucket.is_full(now));
            assert!(bucket.take(rate, now + rate.interval()), "{rate}");
            assert!(bucket.is_full(now + 2 * rate.refill()));
        }
    }

    #[test]
    fn what_was_owed_at_a_slower_rate_is_not_held_against_a_faster_one() {
        let (slow, fast) = (rate(1, Per::Minute), rate(10, Per::Second));
        let mut bucket = Bucket::default();
        assert!(bucket.take(slow, Duration::ZERO));
        assert!(!bucket.take(fast, Duration::ZERO));
        assert!(bucket.take(fast, fast.interval()));
    }

    proptest! {
        #![proptest_config(proptest_config())]

        /// In any stretch of time no more is taken than a bucket and what flows in.
        #[test]
        fn never_more_than_the_burst_and_the_flow(
            count in 1..200_u32,
            minute in any::<bool>(),
            pauses in prop::collection::vec(0..100_000_u64, 1..300),
        ) {
            let rate = rate(count, if minute { Per::Minute } else { Per::Second });
            let mut bucket = Bucket::default();
            let mut now = Duration::ZERO;
            let mut taken = Vec::new();
            for pause in pauses {
                now += Duration::from_micros(pause);
                if bucket.take(rate, now) {
                    taken.push(now);
                }
            }
            for (place, begin) in taken.iter().enumerate() {
                for (more, end) in taken[place..].iter().enumerate() {
                    let most = (rate.refill() + (*end - *begin)).as_nanos() / rate.interval().as_nanos();
                    prop_assert!((more as u128) < most, "{} in {:?}", more + 1, *end - *begin);
                }
            }
        }
    }
}
