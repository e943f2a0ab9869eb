//! When to say how a long session is getting on. PURE.

use std::time::Duration;

/// What the reaper remembers of one session to say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// When it was last said; at first, when the session began.
    said_at: Duration,
    /// Bytes moved as of the last look.
    moved: u64,
    /// When they were last seen to have moved.
    moved_at: Duration,
}

impl Progress {
    /// Of a session that begins at `now`.
    pub fn new(now: Duration) -> Progress {
        Progress {
            said_at: now,
            moved: 0,
            moved_at: now,
        }
    }

    /// Looks at the session at `now`, when `moved` bytes have been copied. If it is time to say how it
    /// is getting on, for how long nothing has moved.
    pub fn look(&mut self, now: Duration, moved: u64, interval: Duration) -> Option<Duration> {
        if moved != self.moved {
            self.moved = moved;
            self.moved_at = now;
        }
        if now.saturating_sub(self.said_at) < interval {
            return None;
        }
        self.said_at = now;
        Some(now.saturating_sub(self.moved_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_an_interval_with_the_silence_so_far() {
        let at = Duration::from_secs;
        let mut progress = Progress::new(at(100));
        assert_eq!(progress.look(at(120), 7, at(30)), None);
        assert_eq!(progress.look(at(130), 7, at(30)), Some(at(10)));
        assert_eq!(progress.look(at(131), 8, at(30)), None);
        assert_eq!(progress.look(at(170), 8, at(30)), Some(at(39)));
        assert_eq!(progress.look(at(171), 8, at(30)), None);
        assert_eq!(progress.look(at(200), 9, at(30)), Some(at(0)));
    }
}
