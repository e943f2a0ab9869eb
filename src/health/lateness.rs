//! How late probes begin: whether as many at once as are allowed keep up with the backends. Owned by
//! the health thread; it looks at no clock.

use std::time::Duration;

/// The log hears of it at most this often.
const PAUSE: Duration = Duration::from_secs(10);

/// The latest probe since the log last heard of one.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    worst: Duration,
    told: Option<Duration>,
}

impl Lateness {
    /// A probe of a backend with this interval begins so late, at `now` since the checker's start. Says
    /// how late the latest was when it is time to tell: only who is a whole interval late has missed a
    /// probe.
    pub(super) fn observe(
        &mut self,
        now: Duration,
        late: Duration,
        interval: Duration,
    ) -> Option<Duration> {
        if late <= interval {
            return None;
        }
        self.worst = self.worst.max(late);
        if self.told.is_some_and(|told| now < told + PAUSE) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.worst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_probe_is_told_now_and_then_with_the_worst() {
        let mut lateness = Lateness::default();
        let s = Duration::from_secs;
        let mut at = |now, late| lateness.observe(s(now), s(late), s(2));
        assert_eq!(at(0, 2), None);
        assert_eq!(at(1, 3), Some(s(3)));
        assert_eq!(at(5, 9), None);
        assert_eq!(at(10, 4), None);
        assert_eq!(at(11, 5), Some(s(9)));
        assert_eq!(at(12, 2), None);
        assert_eq!(at(30, 3), Some(s(3)));
    }
}
