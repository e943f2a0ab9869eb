//! How many sessions may wait for a backend, and how often they look up while they do. PURE.
//!
//! Sessions wait in one queue per pool, not one per backend: the next place anywhere goes to whoever
//! came first, and nobody waits for a slow server while another has room.
//! (HAProxy has a queue per server as well, for sessions that belong to one.) The bound is therefore that of the pool: what the
//! `max_queue` of its backends add up to.

use std::time::Duration;

/// From one look at the client to the next, in a short queue: nobody notices that it takes so long to
/// give up, and twenty looks a second of one session are no load.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks a second of all who wait, at most: each costs a thread's waking and a system call, about 5 µs.
const LOOKS_PER_SECOND_MAX: u32 = 10_000;

/// How many may wait, of backends that each allow for so many; `None` is any number.
pub fn room(max_queues: impl IntoIterator<Item = Option<u32>>) -> usize {
    let sum = max_queues.into_iter().try_fold(0, |sum: usize, one| {
        Some(sum.saturating_add(usize::try_from(one?).ok()?))
    });
    sum.unwrap_or(usize::MAX)
}

/// From one look at the client to the next, while so many wait: all of them together look no more often
/// than `LOOKS_PER_SECOND_MAX` says.
pub fn look_every(waiting: usize) -> Duration {
    let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    LOOK_EVERY.max(Duration::from_secs(1) / LOOKS_PER_SECOND_MAX * waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_that_of_all_backends_together() {
        assert_eq!(room([Some(5), Some(0), Some(7)]), 12);
        assert_eq!(room([Some(5), None]), usize::MAX);
        assert_eq!(room([Some(0)]), 0);
        assert_eq!(room([]), 0);
    }

    #[test]
    fn a_long_queue_looks_less_often() {
        let cases = [(1, 50), (500, 50), (1_000, 100), (8_000, 800)];
        for (waiting, milliseconds) in cases {
            assert_eq!(look_every(waiting), Duration::from_millis(milliseconds));
        }
    }
}
