//! When a session has lived long enough. PURE.
//!
//! Sessions that began together, after a restart or a failover, must not all end together: each ends at a
//! moment of its own in the last tenth of `max_lifetime` (Envoy has a jitter for its
//! `max_connection_duration`, too; here the configured time is the longest, not the middle). What is left of
//! that tenth is for finding a moment in which nothing is on its way.
//!
//! ```text
//!   Young ── 90 to 100 % of max_lifetime, by its number ──▶ Old ── max_lifetime ──▶ TooOld
//!                                                            │                        │
//!                                      a quiet moment: FIN ◀─┘                        └─▶ RST, or FIN if it is quiet
//! ```

use std::time::Duration;

use super::splitmix::{mix, unit};

/// The share of the lifetime in which sessions end.
const SPREAD: f64 = 0.1;

/// What to do with a session of some age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Nothing.
    Young,
    /// End it as soon as nothing is on its way.
    Old,
    /// End it now.
    TooOld,
}

/// How old the session with this number is.
pub fn age(id: u64, lived: Duration, max_lifetime: Duration) -> Age {
    let at = max_lifetime.mul_f64(1.0 - SPREAD * unit(mix(id)));
    if lived >= max_lifetime {
        Age::TooOld
    } else if lived >= at {
        Age::Old
    } else {
        Age::Young
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn every_session_ends_in_the_last_tenth_and_hardly_two_together() {
        let mut ended_by = Vec::new();
        for id in 0..1000 {
            assert_eq!(
                age(id, HOUR * 9 / 10 - Duration::from_secs(1), HOUR),
                Age::Young
            );
            assert_eq!(age(id, HOUR, HOUR), Age::TooOld);
            let old = |second: &u64| age(id, Duration::from_secs(*second), HOUR) != Age::Young;
            ended_by.extend((3240..=3600).find(old));
        }
        for begin in (3240..3600).step_by(36) {
            let ended = ended_by
                .iter()
                .filter(|at| (begin..begin + 36).contains(*at));
            let count = ended.count();
            assert!(
                (60..140).contains(&count),
                "{count} in a tenth of the tenth"
            );
        }
    }

    #[test]
    fn the_longest_lifetime_does_not_overflow() {
        assert_eq!(age(1, HOUR, Duration::from_secs(366 * 86_400)), Age::Young);
    }
}
