//! Exercise 8, solved: what is kept is the moment at which the next probe is due. How long that is from
//! now is worked out before each wait, and an order changes nothing. (crossbeam's `recv_deadline` takes
//! the moment itself.)

/// When to probe. Times are milliseconds since the start.
pub struct Agenda {
    interval_ms: u64,
    due_ms: u64,
}

impl Agenda {
    /// The first probe is due after one interval.
    pub fn new(interval_ms: u64) -> Agenda {
        Agenda {
            interval_ms,
            due_ms: interval_ms,
        }
    }

    /// A probe was made.
    pub fn probed(&mut self, now_ms: u64) {
        self.due_ms = now_ms + self.interval_ms;
    }

    /// An order came and was obeyed. None of them has to do with probes.
    pub fn ordered(&mut self, _now_ms: u64) {}

    /// How long to wait for an order until the next probe is due.
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        self.due_ms.saturating_sub(now_ms)
    }
}
