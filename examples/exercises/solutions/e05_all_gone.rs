//! Exercise 5, solved: the count is under the mutex. From the look until the sleep the lock is held, so
//! nobody can leave in between; `wait` lets go of it and sleeps in one step.

use std::sync::{Condvar, Mutex};

/// The sessions that live now.
#[derive(Default)]
pub struct Sessions {
    count: Mutex<u32>,
    changed: Condvar,
}

impl Sessions {
    /// One more.
    pub fn begin(&self) {
        *self.count.lock().unwrap() += 1;
    }

    /// One less.
    pub fn end(&self) {
        *self.count.lock().unwrap() -= 1;
        self.changed.notify_all();
    }

    /// Sleeps until there are none.
    pub fn wait_until_all_left(&self, between: impl FnOnce()) {
        between();
        let mut count = self.count.lock().unwrap();
        while *count > 0 {
            count = self.changed.wait(count).unwrap();
        }
    }
}
