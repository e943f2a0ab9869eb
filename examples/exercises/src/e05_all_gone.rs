//! Exercise 5: wait until all have left.
//!
//! A shutdown waits for the last session. It looks, sees somebody, and sleeps; if the last one leaves
//! between the look and the sleep, its wake-up finds nobody asleep, and the shutdown sleeps for ever.
//!
//! `between` is the test's way to stop time: the last one leaves while it runs. Call it once in each
//! call of [`Sessions::wait_until_all_left`]: between the look and the sleep; where one lock covers both,
//! before that is locked.
//!
//! Hint: the look and the change have to be under one mutex, the one that the condition variable
//! releases when it sleeps; and see step 11 about `if`.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Condvar, Mutex};

/// The sessions that live now.
#[derive(Default)]
pub struct Sessions {
    count: AtomicU32,
    asleep: Mutex<()>,
    changed: Condvar,
}

impl Sessions {
    /// One more.
    pub fn begin(&self) {
        self.count.fetch_add(1, Relaxed);
    }

    /// One less.
    pub fn end(&self) {
        self.count.fetch_sub(1, Relaxed);
        self.changed.notify_all();
    }

    /// Sleeps until there are none.
    pub fn wait_until_all_left(&self, between: impl FnOnce()) {
        if self.count.load(Relaxed) > 0 {
            between();
            let asleep = self.asleep.lock().unwrap();
            drop(self.changed.wait(asleep).unwrap());
        }
    }
}
