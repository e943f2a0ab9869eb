//! Exercise 1: make the counter survive a panic.
//!
//! A session counts itself while it runs. When its work panics, the count stays one too high, for
//! ever; and when the work panics in [`Active::run_alone`], the mutex is poisoned, and every call after
//! that panics as well. A bug in one session must end that session only.
//!
//! Hint: what runs on every way out of a function, a panic included? (Step 9.) And
//! `PoisonError::into_inner` gives the value of a poisoned mutex; when is it right to use it?

use std::sync::Mutex;

/// How many sessions run now.
#[derive(Default)]
pub struct Active(Mutex<u32>);

impl Active {
    /// Runs a session, counted for as long as it runs.
    pub fn run(&self, work: impl FnOnce()) {
        *self.0.lock().unwrap() += 1;
        work();
        *self.0.lock().unwrap() -= 1;
    }

    /// Runs work with the count locked, so that no session begins or ends meanwhile.
    pub fn run_alone(&self, work: impl FnOnce(u32)) {
        let count = self.0.lock().unwrap();
        work(*count);
    }

    /// How many run now.
    pub fn count(&self) -> u32 {
        *self.0.lock().unwrap()
    }
}
