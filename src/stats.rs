//! What is counted for the process as a whole. Written by the threads that do what is counted, read
//! by whoever reports; nobody decides anything by these numbers.

use std::time::Duration;

use crate::events::EndReason;
use crate::policy::hedge::Runner;
use crate::sync::{Counter, Histogram};

/// The counts of the process, since its start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Sessions that have ended, by the number of the reason.
    closed: [Counter; EndReason::ALL.len()],
    /// How long sessions lasted.
    pub durations: Histogram,
    /// How long sessions waited for a backend that had room, of those that had to.
    pub queue_time: Histogram,
    /// Attempts to connect after the first of a session.
    pub retries: Counter,
    /// Connections of which two were tried at once, by the one that made it.
    hedges: [Counter; Runner::ALL.len()],
    /// Probes that found a backend well.
    pub probes_good: Counter,
    /// Probes that found it not so.
    pub probes_bad: Counter,
    /// Questions for the addresses of a name that were answered with some.
    pub lookups_good: Counter,
    /// Questions for the addresses of a name that failed.
    pub lookups_bad: Counter,
    /// How late probes began, all but the first of each backend.
    pub probe_delay: Histogram,
}

impl Stats {
    /// A session has ended.
    pub fn closed(&self, reason: EndReason, lasted: Duration) {
        if let Some(count) = self.closed.get(reason as usize - 1) {
            count.increment();
        }
        self.durations.observe(lasted);
    }

    /// Of two attempts to connect at once, this one has made it.
    pub fn hedged(&self, won: Runner) {
        if let Some(count) = self.hedges.get(won as usize) {
            count.increment();
        }
    }

    /// How many hedged connections each of the two has made.
    pub fn hedges(&self) -> impl Iterator<Item = (Runner, u64)> {
        Runner::ALL
            .into_iter()
            .zip(self.hedges.iter().map(Counter::get))
    }

    /// How many sessions have ended for each reason.
    pub fn by_reason(&self) -> impl Iterator<Item = (EndReason, u64)> {
        EndReason::ALL
            .into_iter()
            .zip(self.closed.iter().map(Counter::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_count() {
        let stats = Stats::default();
        for (more, reason) in EndReason::ALL.into_iter().enumerate() {
            for _ in 0..=more {
                stats.closed(reason, Duration::ZERO);
            }
        }
        for (more, (_, count)) in stats.by_reason().enumerate() {
            assert_eq!(count, more as u64 + 1);
        }
        let all: u64 = (1..=EndReason::ALL.len() as u64).sum();
        assert_eq!(stats.durations.read().count, all);
    }
}
