//! Exercise 8: the probe that never comes.
//!
//! The health thread waits for its orders, until the next probe is due. Each order begins a new wait of
//! a whole interval. An order every second, and the probe of every two seconds is never due.
//!
//! What is decided is kept apart from what is done, as in `src/policy/`: no clock and no thread in
//! here, the time comes in as a number, and so a test can let an hour pass in no time.
//!
//! Hint: a timeout begins anew with every call. What does not?

/// When to probe. Times are milliseconds since the start.
pub struct Agenda {
    interval_ms: u64,
    woken_ms: u64,
}

impl Agenda {
    /// The first probe is due after one interval.
    pub fn new(interval_ms: u64) -> Agenda {
        let woken_ms = 0;
        Agenda {
            interval_ms,
            woken_ms,
        }
    }

    /// A probe was made.
    pub fn probed(&mut self, now_ms: u64) {
        self.woken_ms = now_ms;
    }

    /// An order came and was obeyed. None of them has to do with probes.
    pub fn ordered(&mut self, now_ms: u64) {
        self.woken_ms = now_ms;
    }

    /// How long to wait for an order until the next probe is due.
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        (self.woken_ms + self.interval_ms).saturating_sub(now_ms)
    }
}
