//! When a session has been silent for too long. PURE.
//!
//! "Silent" means that no byte moves in either direction: a download is not idle because the
//! client says nothing. Bytes also move when evener copies none, as long as the kernel still
//! delivers what it was given; a slow reader with a full socket buffer is slow, not idle. So
//! before a session is called silent, the kernel is asked.
//!
//! ```text
//!              nothing copied for the timeout                nothing outstanding, or the same as at the last look
//!   moving ───────────────────────────────────▶ ask the ────────────────────────────────────────────────────────▶ silent
//!     ▲                                         kernel ──┐
//!     ├──────────── a byte is copied ─────────────┤  ▲   │ peers have acknowledged more since:
//!     │                                              └───┘ the time starts anew
//! ```

use std::time::Duration;

/// What the reaper remembers of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Bytes copied, as of the last look.
    moved: u64,
    /// Bytes that the peers had acknowledged when the kernel was asked last, if it was in this silence.
    acknowledged: Option<u64>,
    /// When this silence began.
    since: Duration,
}

/// What the kernel still has to deliver for a session, asked for only when nothing moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outstanding {
    /// Nothing: both peers have acknowledged all that was written.
    Nothing,
    /// Something; so many bytes were acknowledged so far, in all.
    Acknowledged(u64),
}

impl Watch {
    /// Begins to watch a session at `now`.
    pub fn new(now: Duration) -> Watch {
        Watch {
            moved: 0,
            acknowledged: None,
            since: now,
        }
    }

    /// Counts the silence from `now` on, since nobody could have heard anything before.
    pub fn start_over(&mut self, now: Duration) {
        self.acknowledged = None;
        self.since = now;
    }

    /// How long nothing has moved, as far as is known, at `now`.
    pub fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }

    /// Looks at the session at `now`: `moved` bytes were copied so far. True: none for `timeout`, so that it
    /// is time to ask the kernel, and then [`Watch::is_silent`].
    pub fn seems_silent(&mut self, now: Duration, moved: u64, timeout: Duration) -> bool {
        if moved != self.moved {
            *self = Watch {
                moved,
                acknowledged: None,
                since: now,
            };
            return false;
        }
        self.silence(now) >= timeout
    }

    /// Is a session that seems silent at `now` silent indeed, with what the kernel has said?
    pub fn is_silent(&mut self, now: Duration, outstanding: Outstanding) -> bool {
        match outstanding {
            Outstanding::Nothing => true,
            Outstanding::Acknowledged(bytes) if self.acknowledged == Some(bytes) => true,
            Outstanding::Acknowledged(bytes) => {
                self.acknowledged = Some(bytes);
                self.since = now;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Whether a session is silent at each of the given moments, each with its bytes.
    fn run(looks: &[(u64, u64, Outstanding)]) -> Vec<bool> {
        let mut watch = Watch::new(at(0));
        looks
            .iter()
            .map(|(now, moved, out)| {
                watch.seems_silent(at(*now), *moved, TIMEOUT) && watch.is_silent(at(*now), *out)
            })
            .collect()
    }

    #[test]
    fn silence_is_counted_from_the_last_byte_in_either_direction() {
        use Outstanding::Nothing;
        let looks = [(5, 1, Nothing), (14, 1, Nothing), (15, 1, Nothing)];
        assert_eq!(run(&looks), [false, false, true]);
    }

    #[test]
    fn a_byte_just_before_the_end_starts_anew() {
        use Outstanding::Nothing;
        assert_eq!(
            run(&[(9, 0, Nothing), (10, 1, Nothing), (19, 1, Nothing)]),
            [false; 3]
        );
    }

    #[test]
    fn a_slow_reader_is_not_silent_and_a_stopped_one_is() {
        use Outstanding::Acknowledged;
        let slow = [
            (10, 0, Acknowledged(1)),
            (20, 0, Acknowledged(2)),
            (30, 0, Acknowledged(3)),
        ];
        assert_eq!(run(&slow), [false; 3]);
        let stopped = [
            (10, 0, Acknowledged(1)),
            (19, 0, Acknowledged(1)),
            (20, 0, Acknowledged(1)),
        ];
        assert_eq!(run(&stopped), [false, false, true]);
    }

    #[test]
    fn a_clock_that_stands_still_ends_nothing() {
        assert_eq!(run(&[(0, 0, Outstanding::Nothing); 3]), [false; 3]);
    }
}
