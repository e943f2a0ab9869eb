//! Locks and atomics: the only place that names `std::sync::atomic`, `parking_lot` or `loom`.
//!
//! The rest of the program shares memory through the small types below, each of which does one
//! thing and has one ordering argument. Read this file before any other use of an atomic.
//!
//! # The ordering table
//!
//! `Relaxed` promises that each single atomic is consistent by itself: no increment is lost, and
//! everybody sees its values in one order. It promises nothing about *other* memory. So the
//! question for each row is: does the reader, because of the value it saw, go on to touch memory
//! that the writer wrote before? If not, `Relaxed` is enough. If so, the writer needs `Release`
//! and the reader `Acquire`, and the row names the partner.
//!
//! | atomic | who writes | who reads | ordering | why that is enough | model |
//! | --- | --- | --- | --- | --- | --- |
//! | [`Ticket`] | every pick, `fetch_add` | the same call | Relaxed | the number only chooses a slot; the slots come from a [`Published`] rotation, whose lock orders them | `ticket_is_unique` |
//! | [`Counter`] (and the [`Histogram`] made of them) | many threads, `fetch_add`; the log thread takes, `swap` | the log thread; who answers for the metrics | Relaxed | a statistic: nothing is read because of it | `counter_loses_nothing` |
//! | [`Active`] | claim: `compare_exchange`, `fetch_update` or `fetch_add`; end of a lease: `fetch_sub` | balancing policies | Relaxed | for a policy, a load estimate; the claim's compare-exchange is atomic in any ordering, and the backend it belongs to never moves or dies under a lease (it is held by an `Arc`); where a session waits until there is room, the mutex of the [`Queue`] is the partner: a lease is given back before it is locked to wake, and the look is under it | `active_claims_spread_a_burst`, `active_claims_stay_below_the_limit` and three more |
//! | [`Streak`] | failures: `fetch_add`; a success: load, then store of 0 | the same calls | Relaxed | the number only decides whether to tell the health thread, by a channel, which orders what is told | `streak_reaches_a_number_once` |
//! | [`Allowance`] | take: `compare_exchange`; giving back: `fetch_add` | the same calls | Acquire to take, Release to give back; partner: the other call | whoever takes a place that was given back opens its pipe after the one before has closed its own | `allowance_is_never_exceeded` |
//! | [`Progress`] | one thread at a time, load + store; a hand-over by a [`Slot`] is between two | the reaper; the session thread at the end | Relaxed | a single writer can't lose an update; the reaper only compares it with its own last reading, and the join of the return thread orders the last read | `progress_of_one_writer_only_grows_and_loses_nothing` |
//! | [`Cause`] | first of several, `compare_exchange` | the session thread at the end | Relaxed | the value is all there is to know; the join of the return thread orders the last read of what that has given; others give a cause before they shut the socket down, whose lock in the kernel is the partner | `cause_is_the_first_that_was_given` |
//! | [`Flag`] | either thread of a session, or the reaper, `swap`; for a listener, the server | the others of these; the listener's thread | Relaxed | no other memory is read because of it; where it is compared with the state of a socket, or read after a bell (an eventfd) was heard, the kernel's lock on that is the partner | `flag_is_raised_once`, `flag_looked_at_after_the_connection_tells_a_fin_from_a_reset` |
//! | [`Setting`] | the thread that makes all changes, `store` | whoever acts on it | Relaxed | the value is all there is to know; a moment more of the old one is no harm | `setting_is_the_old_or_the_new_one` |
//!
//! No `SeqCst` anywhere. It would be needed where two threads each write one atomic and then read the
//! *other's*, and one of them at least must see the new value; or where several readers have to agree on the
//! order of two writes. One such pair is there, a backend's limit and the count of its sessions: a session
//! that ends while a reload sets the first limit may wake nobody. Nothing hangs on it, since who waits looks
//! again at intervals. No thread waits *on* these atomics: one that has to wait uses one of the types below,
//! a channel, or blocks in a system call.
//!
//! | type | who waits | for | model |
//! | --- | --- | --- | --- |
//! | [`Gate`] | a listener's thread | room for a session | `gate_is_never_above_the_limit_and_everybody_gets_in` and three more |
//! | [`Queue`] | a session's thread | its turn at a backend that is full | `queue_serves_one_after_the_other` and two more |
//! | [`Handover`] | a session's thread | the result of its return thread | `handover_loses_no_wake_up` |
//! | [`Slot`] | a parked thread | its next job | `slot_loses_no_job`, `slot_gives_one_job_after_another_and_then_the_dismissal` |
//! | [`Published`] | nobody, but for the time of a copy | | `published_is_whole_and_never_goes_back` |
//!
//! The models are in `tests/loom/`, each beside a broken variant for which the model checker finds
//! the order of steps that breaks it; `scripts/test-loom` runs them. `tests/shuttle/` has models of all of it
//! at once (`scripts/test-shuttle`).
#![doc = include_str!("../doc/orderings.md")]

mod allowance;
mod gate;
mod handover;
mod histogram;
mod parking;
mod primitives;
mod queue;

pub use allowance::{Allowance, Allowed};
pub use gate::{Closed, Gate, Permit};
pub use handover::Handover;
pub use histogram::{Distribution, Histogram};
pub use parking::{Slot, Woken};
pub use primitives::{Condvar, Mutex, RwLock};
pub use queue::{Joined, Place, Queue};

use std::sync::Arc;

use primitives::Ordering::Relaxed;
use primitives::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};

/// Numbers handed out one by one: no two calls get the same one.
///
/// Written and read by whoever takes a ticket. `fetch_add` and not load-then-store: two threads
/// that load the same value would both get it, and two sessions would land on one backend.
#[derive(Debug, Default)]
pub struct Ticket(AtomicU64);

impl Ticket {
    /// The next number, from 0; wraps after 2^64.
    pub fn take(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }

    /// The number that the next call of [`Ticket::take`] would get: for whoever only looks.
    pub fn next(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A count of events. Written by many threads; where somebody reads it, by the thread that reports it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// How many so far, and starts again at 0; no event is lost in between.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Relaxed)
    }
}

/// How often something failed in a row. Written by those who try it.
#[derive(Debug, Default)]
pub struct Streak(AtomicU32);

impl Streak {
    /// Another failure; says which one it is, from 1. Of several at once each gets a number of its own,
    /// so one that is waited for comes once.
    pub fn more(&self) -> u32 {
        self.0.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// A success. It writes only what was not 0: many succeed all the time, on all processors.
    pub fn end(&self) {
        if self.0.load(Relaxed) != 0 {
            self.0.store(0, Relaxed);
        }
    }
}

/// How many sessions hold a backend now. Written by claims and by the end of leases, read by the
/// policies.
#[derive(Debug, Default)]
pub struct Active(AtomicU32);

impl Active {
    /// How many now; it may be different by the time the caller acts on it.
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// One more, whatever the count is.
    pub fn claim(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One more if the count is still `seen`; otherwise nothing happens and the choice that rested
    /// on `seen` has to be made again.
    ///
    /// This is what keeps a burst of clients from landing on one backend: reading this count and adding to
    /// it are a single step, because the step fails when the count has moved. The others may have moved
    /// meanwhile; a burst only adds, and so is spread all the same.
    pub fn claim_if(&self, seen: u32) -> bool {
        self.0
            .compare_exchange(seen, seen + 1, Relaxed, Relaxed)
            .is_ok()
    }

    /// One more unless there are `limit` already; says whether it was counted.
    ///
    /// Looking and adding are a single step here too: of two sessions that both see the last free
    /// place, one gets it.
    pub fn claim_below(&self, limit: u32) -> bool {
        let one_more = |active| (active < limit).then_some(active + 1);
        self.0.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// One less. Called once for each claim, by the lease.
    pub fn release(&self) {
        let before = self.0.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a lease was released twice");
    }
}

/// How far a thread has come, in bytes. Written by that one thread, or by the one it hands its work to;
/// read by the reaper, and at the end by the session thread for its report.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

impl Progress {
    /// Adds `bytes`. Only ever called by the one owning thread, which is why a load and a store do:
    /// they cost less than a `fetch_add`, whose lock on the cache line guards against a second writer.
    pub fn add(&self, bytes: u64) {
        self.0.store(self.0.load(Relaxed) + bytes, Relaxed);
    }

    /// Bytes so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The reason that ended something: the first one given stays. 0 is "none yet".
#[derive(Debug, Default)]
pub struct Cause(AtomicU8);

impl Cause {
    /// Sets `code` (not 0) unless a reason was set before; says whether it did.
    pub fn set(&self, code: u8) -> bool {
        debug_assert!(code != 0);
        self.0.compare_exchange(0, code, Relaxed, Relaxed).is_ok()
    }

    /// The reason, 0 if there is none yet.
    pub fn get(&self) -> u8 {
        self.0.load(Relaxed)
    }
}

/// Something that becomes true once and stays so.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Makes it true; says whether it was so before.
    pub fn raise(&self) -> bool {
        self.0.swap(true, Relaxed)
    }

    /// Is it true yet?
    pub fn is_raised(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A small number that is chosen once and may be chosen anew. Written by the thread that makes all
/// changes; read by many, often.
#[derive(Debug, Default)]
pub struct Setting(AtomicU32);

impl Setting {
    /// Starts with `value`.
    pub fn new(value: u32) -> Setting {
        Setting(AtomicU32::new(value))
    }

    /// Chooses.
    pub fn set(&self, value: u32) {
        self.0.store(value, Relaxed);
    }

    /// What was chosen last, as far as this thread can know.
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// A value that is replaced as a whole, never changed in place: readers get a snapshot that stays
/// what it was for as long as they hold it.
///
/// A reader-writer lock around an `Arc`: many sessions read at once, each for the time of one
/// reference count; the health thread writes, rarely. The lock orders everything behind the `Arc`.
/// `parking_lot` is task-fair: a waiting writer stops new readers, so a thread that holds the read
/// lock must never take it again. [`Published::load`] can't: it gives the lock back before it returns.
#[derive(Debug)]
pub struct Published<T>(RwLock<Arc<T>>);

impl<T> Published<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Published<T> {
        Published::holding(Arc::new(value))
    }

    /// Starts with a value that others hold as well.
    pub fn holding(value: Arc<T>) -> Published<T> {
        Published(RwLock::new(value))
    }

    /// The value of this moment.
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&self.0.read())
    }

    /// Looks at the value of this moment, which can't be replaced meanwhile: for a look that is
    /// short, blocks in nothing and takes this lock in no other way. It saves the reference count
    /// of [`Published::load`], which all who load write to.
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.0.read())
    }

    /// Replaces the value for all who load from now on.
    pub fn store(&self, value: T) {
        self.put(Arc::new(value));
    }

    /// As [`Published::store`], for a value that others hold as well.
    pub fn put(&self, value: Arc<T>) {
        // The old value is dropped after the lock is released: freeing it may take long.
        let _old = std::mem::replace(&mut *self.0.write(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `work` on four threads that start together.
    fn four_at_once<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    std::thread::Builder::new()
                        .spawn_scoped(scope, || {
                            barrier.wait();
                            work()
                        })
                        .unwrap()
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        })
    }

    #[test]
    fn no_two_threads_get_the_same_ticket() {
        let ticket = Ticket::default();
        let mut taken: Vec<u64> =
            four_at_once(|| (0..1000).map(|_| ticket.take()).collect::<Vec<_>>()).concat();
        taken.sort_unstable();
        assert_eq!(taken, (0..4000).collect::<Vec<_>>());
    }

    #[test]
    fn a_claim_on_a_count_that_moved_is_refused() {
        let active = Active::default();
        assert!(active.claim_if(0));
        assert!(!active.claim_if(0), "the count is 1 by now");
        assert!(active.claim_if(1));
        active.release();
        assert_eq!(active.get(), 1);
    }

    #[test]
    fn of_many_who_claim_the_last_place_one_wins() {
        let active = Active::default();
        active.claim();
        let won = four_at_once(|| active.claim_below(2));
        assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
        assert!(!active.claim_below(2));
        assert_eq!(active.get(), 2);
    }

    #[test]
    fn of_many_who_claim_from_the_same_count_one_wins() {
        let active = Active::default();
        let won = four_at_once(|| active.claim_if(0));
        assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
    }

    #[test]
    fn the_first_cause_stays() {
        let cause = Cause::default();
        assert!(cause.set(3));
        assert!(!cause.set(5));
        assert_eq!(cause.get(), 3);
    }

    #[test]
    fn a_snapshot_stays_what_it_was() {
        let published = Published::new(1);
        let before = published.load();
        published.store(2);
        assert_eq!((*before, *published.load()), (1, 2));
    }

    #[test]
    fn taking_a_counter_loses_nothing() {
        let counter = Counter::default();
        let taken: u64 = four_at_once(|| {
            (0..1000)
                .map(|_| {
                    counter.increment();
                    counter.take()
                })
                .sum::<u64>()
        })
        .into_iter()
        .sum();
        assert_eq!(taken + counter.get(), 4000);
    }
}
