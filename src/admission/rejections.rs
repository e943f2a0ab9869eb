//! How many clients a listener has refused, and when the log hears of it.
//!
//! A flood must not fill the log, so for each reason there is one line at once, and then at most one
//! every ten seconds, with the number of clients since the line before.

use std::time::Duration;

use crate::events::Refusal;
use crate::sync::{Counter, Mutex};

/// From one line to the next, for the same reason.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The refusals of one listener, by reason.
#[derive(Debug, Default)]
pub struct Rejections([Tally; Refusal::ALL.len()]);

#[derive(Debug, Default)]
struct Tally {
    /// Since the listener began. Written by whoever refuses; read by whoever reports.
    total: Counter,
    /// What the log has not been told. Written by whoever refuses.
    untold: Mutex<Untold>,
}

#[derive(Debug, Default)]
struct Untold {
    count: u64,
    /// When the last line was written, since the start of the process.
    told_at: Option<Duration>,
}

impl Rejections {
    /// Counts a refusal at `now`. If a line is due, the number of clients that it is about.
    pub fn add(&self, reason: Refusal, now: Duration) -> Option<u64> {
        let tally = self.0.get(reason as usize)?;
        tally.total.increment();
        let mut untold = tally.untold.lock();
        untold.count += 1;
        let told_at = untold.told_at;
        if told_at.is_some_and(|told_at| now.saturating_sub(told_at) < REPORT_EVERY) {
            return None;
        }
        untold.told_at = Some(now);
        Some(std::mem::take(&mut untold.count))
    }

    /// How many clients were refused for each reason.
    pub fn by_reason(&self) -> impl Iterator<Item = (Refusal, u64)> {
        let totals = self.0.iter().map(|tally| tally.total.get());
        Refusal::ALL.into_iter().zip(totals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_at_once_then_one_in_ten_seconds_and_nobody_is_lost() {
        let rejections = Rejections::default();
        let at = Duration::from_secs;
        assert_eq!(rejections.add(Refusal::Rate, at(100)), Some(1));
        assert_eq!(rejections.add(Refusal::Denied, at(100)), Some(1));
        for second in 100..110 {
            assert_eq!(rejections.add(Refusal::Rate, at(second)), None);
        }
        assert_eq!(rejections.add(Refusal::Rate, at(110)), Some(11));
        assert_eq!(rejections.add(Refusal::Rate, at(111)), None);
        let totals: Vec<u64> = rejections.by_reason().map(|(_, count)| count).collect();
        assert_eq!(totals, [1, 0, 13]);
    }
}
