//! Which backend is taken out because real connections to it fail, and for how long. PURE.
//!
//! ```text
//!          n failures in a row, and the share allows it
//!   in ──────────────────────────────────────────────────▶ ejected
//!    ▲                                                        │
//!    └──── its time is over, or a probe finds it well ────────┘
//! ```
//!
//! Probes ask every few seconds; clients ask all the time. So the first to know that a server is dead are
//! the sessions that fail to connect, and after a few of them in a row nobody else has to find out. What
//! they know is one-sided, though: who is ejected gets no session that could show it to be well again.
//! Hence the end by time, and a time that grows with each ejection (as Envoy's outlier detection has it: the
//! base time as often as it was ejected, less one for each base time that it was in since).

use std::time::Duration;

/// What the config says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Attempts to connect that fail in a row.
    pub consecutive_failures: u32,
    /// How long the first ejection lasts.
    pub ejection_time: Duration,
    /// How long any does, at most.
    pub max_ejection_time: Duration,
    /// How many of a pool's backends may be out at once, in percent.
    pub max_ejection_percent: u32,
}

impl Rules {
    /// Is this failure, the `streak`th in a row, one to act upon? Every `consecutive_failures`th is: when the
    /// first could not be acted upon, a later one may.
    pub fn is_suspect(&self, streak: u32) -> bool {
        streak.is_multiple_of(self.consecutive_failures)
    }

    /// May another one be ejected when so many of `total` are? At least one backend always stays in, and of
    /// two that fail alike both are more likely to be well than both to be dead.
    pub fn has_room(&self, ejected: usize, total: usize) -> bool {
        let allowed = total as u128 * u128::from(self.max_ejection_percent) / 100;
        ejected + 1 < total.max(1) && ((ejected + 1) as u128) <= allowed
    }
}

/// How often and until when one backend is ejected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// How often, less what was forgiven.
    times: u32,
    /// When the last ejection ended, or is to end.
    until: Duration,
}

impl History {
    /// Ejects it at `now`; says until when.
    pub fn eject(&mut self, now: Duration, rules: &Rules) -> Duration {
        let good_for = now.saturating_sub(self.until);
        let forgiven = good_for.as_nanos() / rules.ejection_time.as_nanos().max(1);
        self.times = self
            .times
            .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
            .saturating_add(1);
        let time = rules.ejection_time.saturating_mul(self.times);
        self.until = now.saturating_add(time.min(rules.max_ejection_time));
        self.until
    }

    /// It is back before its time.
    pub fn end(&mut self, now: Duration) {
        self.until = now;
    }

    /// When the current ejection ends, or the last one ended.
    pub const fn until(&self) -> Duration {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        consecutive_failures: 3,
        ejection_time: Duration::from_secs(10),
        max_ejection_time: Duration::from_secs(45),
        max_ejection_percent: 50,
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn every_third_failure_in_a_row_counts() {
        let acts: Vec<u32> = (1..=9).filter(|streak| RULES.is_suspect(*streak)).collect();
        assert_eq!(acts, [3, 6, 9]);
    }

    #[test]
    fn no_more_than_the_share_is_out_and_never_the_last() {
        // Of so many, how many may be out at most.
        let cases = [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (10, 5), (11, 5)];
        for (total, most) in cases {
            let out = (0..total).take_while(|out| RULES.has_room(*out, total));
            assert_eq!(out.count(), most, "of {total}");
        }
        let all = Rules {
            max_ejection_percent: 100,
            ..RULES
        };
        assert_eq!((0..5).take_while(|out| all.has_room(*out, 5)).count(), 4);
        let none = Rules {
            max_ejection_percent: 0,
            ..RULES
        };
        assert!(!none.has_room(0, 100));
    }

    #[test]
    fn each_ejection_lasts_longer_up_to_the_most() {
        let mut history = History::default();
        let mut now = at(100);
        for seconds in [10, 20, 30, 40, 45, 45] {
            let until = history.eject(now, &RULES);
            assert_eq!(until - now, at(seconds));
            now = until;
        }
    }

    #[test]
    fn time_without_an_ejection_is_forgiven() {
        let mut history = History::default();
        let first = history.eject(at(100), &RULES);
        let second = history.eject(first + at(9), &RULES);
        assert_eq!(second - (first + at(9)), at(20), "nothing is forgiven yet");
        let third = history.eject(second + at(25), &RULES);
        assert_eq!(third - (second + at(25)), at(10), "both are");
        history.end(third - at(5));
        assert_eq!(history.until(), third - at(5));
    }
}
