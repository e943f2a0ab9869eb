//! When to let the kernel move bytes (splice) and when to copy them.
//!
//! A splice costs two system calls and the upkeep of a pipe, whatever it moves; a copy costs two
//! system calls and the bytes. So short messages are copied and long streams are spliced, and what
//! tells them apart is how much there is to read each time: a stream comes back full again and again.
//! A single long message does not, so it takes a few full reads more than short ones to start, and a
//! few short ones more than full ones to stop: a stream stutters, and a long message has an end. PURE.
//!
//! ```text
//!               4 full reads more than short ones
//!   copy ──────────────────────────────────────────▶ splice ── the kernel can't ──▶ copy, for good
//!    ▲ ◀──────────────────────────────────────────── │
//!    │         16 short reads more than full ones    │
//!    └───────────── every pipe is taken ─────────────┘
//! ```

/// How the bytes of a session are moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// Copied while they are few, spliced while they come in bulk.
    #[default]
    Auto,
    /// Always copied, the portable way.
    Copy,
    /// Spliced from the first byte, where the kernel allows it.
    Splice,
}

impl Method {
    /// Every one.
    pub const ALL: [Method; 3] = [Method::Auto, Method::Copy, Method::Splice];

    /// The word for it in configs.
    pub fn word(self) -> &'static str {
        match self {
            Method::Auto => "auto",
            Method::Copy => "copy",
            Method::Splice => "splice",
        }
    }
}

/// A read of at least this many bytes is a full one. A message that is longer than this and comes
/// all at once is rare; a stream brings this much even over a slow network, once it is under way.
const FULL_BYTES: usize = 16 * 1024;

/// Full reads, less the short ones among them, after which splicing begins.
const START_AFTER: u32 = 4;

/// Short reads, less the full ones among them, after which it ends.
const STOP_AFTER: u32 = 16;

/// What has been seen of one direction, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulk {
    method: Method,
    is_on: bool,
    /// Reads that spoke against what is done now, less those that spoke for it.
    against: u32,
}

impl Bulk {
    /// Nothing seen yet.
    pub fn new(method: Method) -> Bulk {
        Bulk {
            method,
            is_on: method == Method::Splice,
            against: 0,
        }
    }

    /// Is splicing the better way now?
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Takes note of a read of so many bytes.
    pub fn saw(&mut self, bytes: usize) {
        if self.method != Method::Auto {
            return;
        }
        if (bytes >= FULL_BYTES) == self.is_on {
            self.against = self.against.saturating_sub(1);
            return;
        }
        self.against += 1;
        let enough = if self.is_on { STOP_AFTER } else { START_AFTER };
        if self.against >= enough {
            self.is_on = !self.is_on;
            self.against = 0;
        }
    }

    /// It can't be done now, since every pipe is taken: copies, and tries again later.
    pub fn put_off(&mut self) {
        self.method = Method::Auto;
        self.is_on = false;
        self.against = 0;
    }

    /// It was tried and can't be done: from now on this direction copies.
    pub fn refuse(&mut self) {
        self.method = Method::Copy;
        self.is_on = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: usize = FULL_BYTES - 1;

    fn after(method: Method, reads: &[(u32, usize)]) -> bool {
        let mut bulk = Bulk::new(method);
        for (times, bytes) in reads {
            (0..*times).for_each(|_| bulk.saw(*bytes));
        }
        bulk.is_on()
    }

    #[test]
    fn a_few_more_full_reads_start_it_and_a_few_more_short_ones_stop_it() {
        let cases: [(&[(u32, usize)], bool); 9] = [
            (&[], false),
            (&[(1000, SHORT)], false),
            (&[(START_AFTER - 1, FULL_BYTES)], false),
            (&[(START_AFTER, FULL_BYTES)], true),
            // Long messages, each with its end; and short ones with a long one now and then.
            (
                &[(3, FULL_BYTES), (1, SHORT), (3, FULL_BYTES), (1, SHORT)],
                true,
            ),
            (
                &[(100, SHORT), (3, FULL_BYTES), (2, SHORT), (2, FULL_BYTES)],
                false,
            ),
            (
                &[(START_AFTER - 1, FULL_BYTES), (1, SHORT), (1, FULL_BYTES)],
                false,
            ),
            (
                &[
                    (START_AFTER, FULL_BYTES),
                    (STOP_AFTER - 1, SHORT),
                    (1, FULL_BYTES),
                    (1, SHORT),
                ],
                true,
            ),
            (&[(START_AFTER, FULL_BYTES), (STOP_AFTER, SHORT)], false),
        ];
        for (reads, is_on) in cases {
            assert_eq!(after(Method::Auto, reads), is_on, "{reads:?}");
        }
    }

    #[test]
    fn a_method_that_was_asked_for_stays() {
        assert!(!after(Method::Copy, &[(100, FULL_BYTES)]));
        assert!(after(Method::Splice, &[(100, 1)]));
    }

    #[test]
    fn what_was_put_off_is_tried_again_when_more_comes() {
        for method in [Method::Auto, Method::Splice] {
            let mut bulk = Bulk::new(method);
            bulk.put_off();
            assert!(!bulk.is_on());
            (0..START_AFTER).for_each(|_| bulk.saw(FULL_BYTES));
            assert!(bulk.is_on());
        }
    }

    #[test]
    fn what_was_refused_is_not_tried_again() {
        for method in [Method::Auto, Method::Splice] {
            let mut bulk = Bulk::new(method);
            bulk.refuse();
            (0..100).for_each(|_| bulk.saw(FULL_BYTES));
            assert!(!bulk.is_on());
        }
    }
}
