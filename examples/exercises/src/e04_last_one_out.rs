//! Exercise 4: the last one out gives the place back.
//!
//! A session has two threads, one for each direction, and one place at its backend. Here the first
//! direction to end gives the place back, while the other may go on for hours: the backend gets more
//! sessions than it may have. And if both gave it back, it would get even more.
//!
//! Hint: what counts its owners by itself, and does something when the last one is gone? (Clone it once
//! for each direction.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The places taken at a backend.
#[derive(Default)]
pub struct Backend {
    /// Written when a session begins and when it ends.
    pub taken: Arc<AtomicU32>,
}

/// One direction of a session. It has ended when this is dropped, in whatever way.
pub struct Direction {
    taken: Arc<AtomicU32>,
    is_first: bool,
}

impl Backend {
    /// Takes a place for a session; returns its two directions.
    pub fn session(&self) -> (Direction, Direction) {
        self.taken.fetch_add(1, Relaxed);
        let direction = |is_first| Direction {
            taken: Arc::clone(&self.taken),
            is_first,
        };
        (direction(true), direction(false))
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        if self.is_first {
            self.taken.fetch_sub(1, Relaxed);
        }
    }
}
