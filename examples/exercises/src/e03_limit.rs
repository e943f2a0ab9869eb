//! Exercise 3: keep the limit.
//!
//! No more than `limit` sessions at once. The check and the counting are two steps here, and a burst of
//! clients walks through between them: all look before any has counted.
//!
//! `between` is the test's way to stop time: it stands for what other threads do meanwhile. Call it once
//! in each call of [`Limit::enter`]: after a look at the count and before it is changed; with a mutex, before
//! that is locked.
//!
//! Hint: to count first and to check then is not it: two who come for the last place at once would
//! both be refused. `compare_exchange` in a loop, or `fetch_update`, which is one.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Counts who is inside.
pub struct Limit {
    inside: AtomicU32,
    limit: u32,
}

impl Limit {
    /// Nobody is inside yet.
    pub fn new(limit: u32) -> Limit {
        let inside = AtomicU32::new(0);
        Limit { inside, limit }
    }

    /// Goes in if there is room; says whether there was.
    pub fn enter(&self, between: impl FnOnce()) -> bool {
        if self.inside.load(Relaxed) == self.limit {
            return false;
        }
        between();
        self.inside.fetch_add(1, Relaxed);
        true
    }

    /// How many are inside.
    pub fn inside(&self) -> u32 {
        self.inside.load(Relaxed)
    }
}
