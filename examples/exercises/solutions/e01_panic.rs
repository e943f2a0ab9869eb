//! Exercise 1, solved: the count is given back by a guard, whose `Drop` runs on every way out. A lock
//! that was held in a panic guards a plain number, which no panic can leave half changed: so its value
//! is good, poisoned or not. (evener uses `parking_lot`, whose locks know no poison, for this reason.)

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many sessions run now.
#[derive(Default)]
pub struct Active(Mutex<u32>);

/// One session that is counted.
struct Counted<'a>(&'a Active);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
    }
}

impl Active {
    fn lock(&self) -> MutexGuard<'_, u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a session, counted for as long as it runs.
    pub fn run(&self, work: impl FnOnce()) {
        *self.lock() += 1;
        let _counted = Counted(self);
        work();
    }

    /// Runs work with the count locked, so that no session begins or ends meanwhile.
    pub fn run_alone(&self, work: impl FnOnce(u32)) {
        let count = self.lock();
        work(*count);
    }

    /// How many run now.
    pub fn count(&self) -> u32 {
        *self.lock()
    }
}
