//! Step 9: leases, and least connections.
//!
//! What it teaches: two things about one number, "how many sessions does this backend have".
//! Giving back: whoever takes a place holds a *lease*, whose `Drop` gives it back. Return, `?`, a
//! panic: every way out of a function runs it, so no path can forget.
//! Choosing: to choose the backend with the fewest and to count oneself there must be one step. Read
//! all counts, then `compare_exchange` from the count that was seen: it fails when this count has moved
//! meanwhile, and then the choice has to be made again. (The others may have moved; a burst only adds to them.)
//!
//! What goes wrong without it: read, then count. In a burst all clients read the same counts before
//! any of them has counted, and all go to the same idle backend. And a `release()` at the end of the
//! function, which a panic skips: the count stays one too high, for ever.
//!
//! In earnest: `src/pool/mod.rs` (`lease`), `src/pool/lease.rs`, `src/sync/mod.rs` (`Active`),
//! `src/policy/balance/least_connections.rs` (weights, and equals in turn).
//!
//! ```text
//! cargo run --example 09_leases_least_connections
//! ```
//! You will see a burst of three on three idle backends, wrong and right.

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::cell::Cell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

/// Sessions of each backend. Written by claims and by leases that end; read by whoever chooses.
/// Relaxed: nothing else is read because of a count.
#[derive(Default)]
struct Pool {
    active: [AtomicU32; 3],
}

/// A place at a backend, given back when it is dropped.
struct Lease<'a>(&'a AtomicU32);

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Pool {
    /// The backend with the fewest sessions, and how many these were. Old news by the time it returns.
    fn least(&self) -> (&AtomicU32, u32) {
        let counts = self.counts();
        let fewer = |a: usize, b: usize| if counts[b] < counts[a] { b } else { a };
        let least = (0..3).fold(0, fewer);
        (&self.active[least], counts[least])
    }

    /// Right: counts itself where it chose, if the count is still the one it chose by.
    /// `between` stands for what other threads do between reading and counting.
    fn lease(&self, between: impl Fn()) -> Lease<'_> {
        loop {
            let (count, seen) = self.least();
            between();
            // When this fails, another thread has got on: all together never stand still.
            let counted = count.compare_exchange(seen, seen + 1, Relaxed, Relaxed);
            if counted.is_ok() {
                return Lease(count);
            }
        }
    }

    /// Wrong: no increment is lost, but what was chosen by is not what is counted.
    fn lease_by_reading_then_counting(&self, between: impl Fn()) -> Lease<'_> {
        let (count, _) = self.least();
        between();
        count.fetch_add(1, Relaxed);
        Lease(count)
    }

    fn counts(&self) -> [u32; 3] {
        [0, 1, 2].map(|backend| self.active[backend].load(Relaxed))
    }
}

/// A burst: three threads, each of which has read the counts before any counts itself. Returns the
/// sessions of each backend while all three hold their leases.
fn burst(lease: impl for<'a> Fn(&'a Pool, &dyn Fn()) -> Lease<'a> + Sync) -> [u32; 3] {
    let pool = Pool::default();
    let (all_have_read, all_have_leases) = (Barrier::new(3), Barrier::new(4));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let looks = Cell::new(0);
                let _lease = lease(&pool, &|| {
                    // Only the first look is held up; who has to choose again is free to do so.
                    if looks.replace(1) == 0 {
                        all_have_read.wait();
                    }
                });
                all_have_leases.wait();
                all_have_leases.wait();
            });
        }
        all_have_leases.wait();
        let counts = pool.counts();
        all_have_leases.wait();
        counts
    })
}

fn main() {
    let wrong = burst(|pool, between| pool.lease_by_reading_then_counting(between));
    let right = burst(|pool, between| pool.lease(between));
    println!("three clients at once, three idle backends:");
    println!("    read, then count:  {wrong:?}");
    println!("    compare and count: {right:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Wrong: all three on the first, two backends idle.
    #[test]
    fn reading_then_counting_sends_a_burst_to_one() {
        assert_eq!(
            burst(|pool, between| pool.lease_by_reading_then_counting(between)),
            [3, 0, 0]
        );
    }

    /// Right: one each, in whatever order the threads run.
    #[test]
    fn comparing_spreads_it() {
        assert_eq!(burst(|pool, between| pool.lease(between)), [1, 1, 1]);
    }

    /// Wrong: a release at the end is skipped by a panic. Right: the lease gives back.
    #[test]
    fn a_panic_skips_the_release_but_not_the_drop() {
        let pool = Pool::default();
        let by_hand = catch_unwind(AssertUnwindSafe(|| {
            pool.active[0].fetch_add(1, Relaxed);
            if pool.counts() == [1, 0, 0] {
                panic!("a bug in this session");
            }
            pool.active[0].fetch_sub(1, Relaxed);
        }));
        assert!(by_hand.is_err());
        assert_eq!(pool.counts(), [1, 0, 0]);
        let leased = catch_unwind(AssertUnwindSafe(|| {
            let _lease = pool.lease(|| ());
            assert_eq!(pool.counts(), [1, 1, 0]);
            panic!("a bug in this session");
        }));
        assert!(leased.is_err());
        assert_eq!(pool.counts(), [1, 0, 0]);
    }
}
