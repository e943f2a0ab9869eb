//! Models of the types in `evener::sync`: loom runs each through every order in which the steps of
//! its threads can happen, and every value that the memory model lets a load return.
//!
//! Each model stands beside a broken variant, the way that looks right and is not, for which loom
//! has to find the order that breaks it. That shows two things: what the real type's one detail is
//! good for, and that the model would notice if it were missing.
//!
//! `scripts/test-loom` runs them. The table in `src/sync/mod.rs` names the model for each type.

#![cfg(loom)]
#![allow(
    clippy::unwrap_used,
    reason = "a panic is how a model fails, in its helpers too"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::TryRecvError;
use evener::config::{self, BackendAddress};
use evener::policy::balance;
use evener::policy::health::{AdminState, Health};
use evener::pool::{Backend, Pool};
use evener::sync::{
    Active, Allowance, Cause, Closed, Condvar, Counter, Flag, Gate, Handover, Mutex, Progress,
    Published, Setting, Slot, Ticket, Woken,
};
use loom::model;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use loom::thread::{self, JoinHandle};

/// Far beyond any model: a model has no clock, so nothing times out in it.
const LATE: Duration = Duration::from_secs(3600);

/// What loom says when every thread sleeps: somebody was not woken.
const SLEEPS_FOR_EVER: &str = "deadlock";

/// Runs `work` on another thread of the model, with a reference of its own to `shared`.
fn spawn<S, T: 'static>(shared: &Arc<S>, work: impl FnOnce(Arc<S>) -> T + 'static) -> JoinHandle<T>
where
    S: 'static,
{
    let shared = Arc::clone(shared);
    thread::spawn(move || work(shared))
}

/// What each of `threads` threads, of which the calling one is the last, gets from `work`.
fn each_of<S: 'static, T: 'static>(
    threads: usize,
    shared: &Arc<S>,
    work: impl Fn(&Arc<S>) -> T + Clone + 'static,
) -> Vec<T> {
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let work = work.clone();
            spawn(shared, move |shared| work(&shared))
        })
        .collect();
    let own = work(shared);
    let mut results: Vec<T> = others
        .into_iter()
        .map(|other| other.join().unwrap())
        .collect();
    results.push(own);
    results
}

/// Asserts that loom finds an order of steps in which `broken` fails, in the way `how`.
#[track_caller]
fn loom_finds(how: &str, broken: impl Fn() + Sync + Send + 'static) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| model(broken))) else {
        panic!("loom found no order in which it breaks");
    };
    let said = match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(said), _) => said,
        (_, Some(said)) => *said,
        _ => "",
    };
    assert!(said.contains(how), "it broke in another way: {said}");
}

// Ticket: no two calls get the same number.

fn no_two_alike(mut taken: Vec<u64>) {
    taken.sort_unstable();
    assert_eq!(taken, [0, 1, 2], "a ticket twice");
}

#[test]
fn ticket_is_unique() {
    model(|| {
        no_two_alike(each_of(3, &Arc::new(Ticket::default()), |ticket| {
            ticket.take()
        }))
    });
}

#[test]
fn ticket_by_load_and_store_is_not() {
    loom_finds("a ticket twice", || {
        let next = Arc::new(AtomicU64::new(0));
        no_two_alike(each_of(3, &next, |next| {
            let taken = next.load(Relaxed);
            next.store(taken + 1, Relaxed);
            taken
        }));
    });
}

// Counter: nothing is lost between reading and starting again at 0.

fn nothing_lost(taken: Vec<u64>, left: u64) {
    let total = taken.iter().sum::<u64>() + left;
    assert_eq!(total, 2, "an event was lost or counted twice");
}

#[test]
fn counter_loses_nothing() {
    model(|| {
        let counter = Arc::new(Counter::default());
        let taken = each_of(2, &counter, |counter| {
            counter.increment();
            counter.take()
        });
        nothing_lost(taken, counter.get());
    });
}

#[test]
fn counter_read_and_then_zeroed_does() {
    loom_finds("lost or counted twice", || {
        let counter = Arc::new(AtomicU64::new(0));
        let taken = each_of(2, &counter, |counter| {
            counter.fetch_add(1, Relaxed);
            let taken = counter.load(Relaxed);
            counter.store(0, Relaxed);
            taken
        });
        nothing_lost(taken, counter.load(Relaxed));
    });
}

// Active: choosing the less busy of two backends and counting oneself there are one step.

fn spread_evenly(sessions: u32, active: &[Active; 2]) {
    let counts = [active[0].get(), active[1].get()];
    assert_eq!(counts[0] + counts[1], sessions);
    assert!(
        counts[0].abs_diff(counts[1]) <= 1,
        "a burst on one: {counts:?}"
    );
}

fn less_busy(active: &[Active; 2]) -> (&Active, u32) {
    let seen = [active[0].get(), active[1].get()];
    let choice = usize::from(seen[1] < seen[0]);
    (&active[choice], seen[choice])
}

#[test]
fn active_claims_spread_a_burst() {
    model(|| {
        let backends = Arc::new([Active::default(), Active::default()]);
        each_of(3, &backends, |backends| {
            loop {
                let (backend, seen) = less_busy(backends);
                if backend.claim_if(seen) {
                    break;
                }
            }
        });
        spread_evenly(3, &backends);
    });
}

#[test]
fn active_checked_and_then_claimed_does_not() {
    loom_finds("a burst on one", || {
        let backends = Arc::new([Active::default(), Active::default()]);
        each_of(3, &backends, |backends| {
            loop {
                let (backend, seen) = less_busy(backends);
                if backend.get() == seen {
                    backend.claim();
                    break;
                }
            }
        });
        spread_evenly(3, &backends);
    });
}

#[test]
fn active_is_won_once_from_the_same_count_and_given_back() {
    model(|| {
        let active = Arc::new(Active::default());
        let won = each_of(3, &active, |active| active.claim_if(0));
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        each_of(2, &active, |active| {
            active.claim();
            active.release();
        });
        assert_eq!(active.get(), 1);
    });
}

/// The same with all that the program has around it: rotation, policy, lease.
#[test]
fn active_of_a_pool_is_spread_by_its_leases_and_given_back() {
    model(|| {
        let pool = Arc::new(pool_of_two());
        let leases = each_of(2, &pool, |pool| {
            pool.lease(&[], [192, 0, 2, 1].into()).unwrap()
        });
        assert_ne!(leases[0].index(), leases[1].index(), "a burst on one");
        drop(leases);
        let left = pool.backends.iter().map(|backend| backend.active.get());
        assert_eq!(left.sum::<u32>(), 0);
    });
}

fn pool_of_two() -> Pool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let server = config::Backend::new(BackendAddress::Ip(address));
    let config = config::Pool {
        balance: balance::by_name("least_connections").unwrap(),
        ..config::Pool::new("web", vec![server])
    };
    let backends = ["one", "two"].map(|name| {
        let backend = Backend::new(name, address, 1, AdminState::Ready, Health::Up);
        Arc::new(backend)
    });
    let pool = Pool::new(&config, backends.into(), 0);
    let _ = pool.publish();
    pool
}

// Progress: one writer.

#[test]
fn progress_of_one_writer_only_grows_and_loses_nothing() {
    model(|| {
        let progress = Arc::new(Progress::default());
        let reaper = spawn(&progress, |progress| (progress.get(), progress.get()));
        progress.add(1);
        progress.add(2);
        let (first, second) = reaper.join().unwrap();
        assert!(first <= second && second <= 3);
        assert_eq!(progress.get(), 3);
    });
}

#[test]
fn progress_of_two_writers_loses_bytes() {
    loom_finds("bytes were lost", || {
        let progress = Arc::new(Progress::default());
        each_of(2, &progress, |progress| progress.add(1));
        assert_eq!(progress.get(), 2, "bytes were lost");
    });
}

// Cause: the first reason stays, and everybody who looks agrees on it.

#[test]
fn cause_is_the_first_that_was_given() {
    model(|| {
        let cause = Arc::new(Cause::default());
        let reader = spawn(&cause, |cause| (cause.get(), cause.get()));
        let other = spawn(&cause, |cause| cause.set(1));
        let own_was_first = cause.set(2);
        let other_was_first = other.join().unwrap();
        assert!(own_was_first != other_was_first);
        let stays = if own_was_first { 2 } else { 1 };
        assert_eq!(cause.get(), stays);
        let (before, after) = reader.join().unwrap();
        assert!([0, stays].contains(&before) && [before, stays].contains(&after));
    });
}

#[test]
fn cause_checked_and_then_set_is_given_twice() {
    loom_finds("two were first", || {
        let cause = Arc::new(AtomicU8::new(0));
        let were_first = each_of(2, &cause, |cause| {
            let is_first = cause.load(Relaxed) == 0;
            if is_first {
                cause.store(1, Relaxed);
            }
            is_first
        });
        assert_ne!(were_first, [true, true], "two were first");
    });
}

// Setting: no half of one value with half of another, and never back to the old one.

#[test]
fn setting_is_the_old_or_the_new_one() {
    model(|| {
        let setting = Arc::new(Setting::default());
        setting.set(0x0f);
        let reader = spawn(&setting, |setting| (setting.get(), setting.get()));
        setting.set(0xf0);
        let seen = reader.join().unwrap();
        assert!([(0x0f, 0x0f), (0x0f, 0xf0), (0xf0, 0xf0)].contains(&seen));
    });
}

#[test]
fn a_setting_in_two_parts_is_seen_half_changed() {
    loom_finds("half of each", || {
        let parts = Arc::new((AtomicU8::new(0), AtomicU8::new(0)));
        let reader = spawn(&parts, |parts| {
            (parts.0.load(Relaxed), parts.1.load(Relaxed))
        });
        parts.0.store(1, Relaxed);
        parts.1.store(1, Relaxed);
        let (one, other) = reader.join().unwrap();
        assert_eq!(one, other, "half of each");
    });
}

// Flag: one of those who raise it is the first. And what the relay makes of it: a thread sends our
// FIN to a peer, which may end the connection; another has read 0 there and wants to know whether
// the connection ended in order.

#[test]
fn flag_is_raised_once() {
    model(|| {
        let flag = Arc::new(Flag::default());
        let were_up = each_of(2, &flag, |flag| flag.raise());
        assert!(were_up[0] != were_up[1] && flag.is_raised());
    });
}

#[test]
fn flag_checked_and_then_raised_is_raised_twice() {
    loom_finds("two were first", || {
        let flag = Arc::new(AtomicBool::new(false));
        let were_up = each_of(2, &flag, |flag| {
            let was_up = flag.load(Relaxed);
            flag.store(true, Relaxed);
            was_up
        });
        assert_ne!(were_up, [false, false], "two were first");
    });
}

/// A connection to which the peer has sent its FIN, so that ours is its end.
#[derive(Default)]
struct FinReceived {
    fin_sent: Flag,
    /// In the kernel, and under the socket's own lock there.
    is_gone: Mutex<bool>,
}

impl FinReceived {
    /// What the one thread does, while the other calls `looks_reset`.
    fn ends_in_order(looks_reset: impl FnOnce(&FinReceived) -> bool) {
        let peer = Arc::new(FinReceived::default());
        let writer = spawn(&peer, |peer| {
            peer.fin_sent.raise();
            *peer.is_gone.lock() = true;
        });
        assert!(!looks_reset(&peer), "taken for a reset");
        writer.join().unwrap();
    }
}

#[test]
fn flag_looked_at_after_the_connection_tells_a_fin_from_a_reset() {
    model(|| {
        FinReceived::ends_in_order(|peer| *peer.is_gone.lock() && !peer.fin_sent.is_raised());
    });
}

#[test]
fn flag_looked_at_before_the_connection_does_not() {
    loom_finds("taken for a reset", || {
        FinReceived::ends_in_order(|peer| !peer.fin_sent.is_raised() && *peer.is_gone.lock());
    });
}

// Published: whole values, and never an older one after a newer one. The parts of the value are
// atomics, read and written `Relaxed`, so that only the lock can put them in order.

struct Both(AtomicU32, AtomicU32);

impl Both {
    fn new(value: u32) -> Both {
        let both = Both(AtomicU32::new(0), AtomicU32::new(0));
        both.set(value);
        both
    }

    fn set(&self, value: u32) {
        self.0.store(value, Relaxed);
        self.1.store(value, Relaxed);
    }

    fn get(&self) -> u32 {
        let (one, other) = (self.0.load(Relaxed), self.1.load(Relaxed));
        assert_eq!(one, other, "half a value");
        one
    }
}

#[test]
fn published_is_whole_and_never_goes_back() {
    model(|| {
        let published = Arc::new(Published::new(Both::new(1)));
        let reader = spawn(&published, |published| {
            let (first, second) = (published.load(), published.load());
            let (first, second) = (first.get(), second.get());
            assert!(1 <= first && first <= second, "an older one after a newer");
        });
        published.store(Both::new(2));
        published.store(Both::new(3));
        reader.join().unwrap();
        assert_eq!(published.load().get(), 3);
    });
}

#[test]
fn published_by_change_in_place_is_seen_half() {
    loom_finds("half a value", || {
        let both = Arc::new(Both::new(1));
        let reader = spawn(&both, |both| both.get());
        both.set(2);
        reader.join().unwrap();
    });
}

/// Which of two values counts is said by a number; and nothing says that whoever sees the number
/// sees the value too. That is what `Release` and `Acquire`, or the lock, are for.
#[test]
fn published_by_a_relaxed_index_is_seen_half() {
    loom_finds("half a value", || {
        let values = Arc::new(([Both::new(1), Both::new(0)], AtomicU32::new(0)));
        let reader = spawn(&values, |values| {
            let (values, index) = &*values;
            values[index.load(Relaxed) as usize].get()
        });
        values.0[1].set(2);
        values.1.store(1, Relaxed);
        reader.join().unwrap();
    });
}

// Gate: never above the limit, and nobody sleeps while there is room, or after the close.

/// Counts who is inside, by itself.
#[derive(Default)]
struct Inside(AtomicU32);

impl Inside {
    fn stay(&self, limit: u32) {
        let before = self.0.fetch_add(1, Relaxed);
        assert!(before < limit, "above the limit");
        self.0.fetch_sub(1, Relaxed);
    }
}

#[test]
fn gate_is_never_above_the_limit_and_everybody_gets_in() {
    model(|| {
        let (gate, drained) = Gate::new(1);
        let shared = Arc::new((gate, Inside::default()));
        each_of(3, &shared, |shared| {
            let (gate, inside) = &**shared;
            let permit = gate.enter().unwrap();
            inside.stay(1);
            drop(permit);
        });
        assert_eq!(shared.0.occupancy(), (0, 1));
        assert_eq!(drained.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn gate_wakes_those_who_wait_for_room_and_those_who_enter() {
    model(|| {
        let (gate, _drained) = Gate::new(1);
        let permit = gate.enter().unwrap();
        let enters = spawn(&gate, |gate| drop(gate.enter().unwrap()));
        let listens = spawn(&gate, |gate| {
            gate.wait_for_room(LATE).unwrap();
        });
        drop(permit);
        enters.join().unwrap();
        listens.join().unwrap();
    });
}

#[test]
fn gate_close_wakes_all_and_is_drained_after_the_last() {
    model(|| {
        let (gate, drained) = Gate::new(1);
        let permit = gate.enter().unwrap();
        let enters = spawn(&gate, |gate| gate.enter().map(drop));
        let listens = spawn(&gate, |gate| gate.wait_for_room(LATE));
        gate.close();
        assert_eq!(enters.join().unwrap(), Err(Closed));
        assert_eq!(listens.join().unwrap(), Err(Closed));
        assert_eq!(drained.try_recv(), Err(TryRecvError::Empty));
        drop(permit);
        assert_eq!(drained.try_recv(), Err(TryRecvError::Disconnected));
    });
}

#[test]
fn gate_with_a_higher_limit_wakes_who_waits() {
    model(|| {
        let (gate, _drained) = Gate::new(0);
        let enters = spawn(&gate, |gate| gate.enter().map(drop));
        gate.set_limit(1);
        assert_eq!(enters.join().unwrap(), Ok(()));
    });
}

/// A gate in few lines, with the details that can be wrong left to the model.
struct Bare {
    inside: Mutex<u32>,
    changed: Condvar,
}

impl Bare {
    fn full() -> Arc<Bare> {
        Arc::new(Bare {
            inside: Mutex::new(1),
            changed: Condvar::new(),
        })
    }

    fn enter(&self) {
        let mut inside = self.inside.lock();
        while *inside >= 1 {
            self.changed.wait(&mut inside);
        }
        *inside += 1;
    }

    fn enter_without_a_loop(&self) {
        let mut inside = self.inside.lock();
        if *inside >= 1 {
            self.changed.wait(&mut inside);
        }
        *inside += 1;
        assert!(*inside <= 1, "above the limit");
    }

    fn leave(&self) {
        *self.inside.lock() -= 1;
        self.changed.notify_all();
    }

    fn wait_for_room(&self) {
        let mut inside = self.inside.lock();
        while *inside >= 1 {
            self.changed.wait(&mut inside);
        }
    }
}

#[test]
fn gate_whose_waiters_do_not_look_again_is_above_the_limit() {
    loom_finds("above the limit", || {
        let gate = Bare::full();
        let others = [(); 2].map(|()| {
            spawn(&gate, |gate| {
                gate.enter_without_a_loop();
                gate.leave();
            })
        });
        gate.leave();
        for other in others {
            other.join().unwrap();
        }
    });
}

/// Who waits for room only takes nothing, and the one wake-up with it.
#[test]
fn gate_that_wakes_one_leaves_another_asleep() {
    loom_finds(SLEEPS_FOR_EVER, || {
        let gate = Bare::full();
        let enters = spawn(&gate, |gate| gate.enter());
        let listens = spawn(&gate, |gate| gate.wait_for_room());
        *gate.inside.lock() -= 1;
        gate.changed.notify_one();
        enters.join().unwrap();
        listens.join().unwrap();
    });
}

/// The count is an atomic, and the mutex is there only because a condition variable wants one: a
/// leaver comes and goes between the look and the sleep.
#[test]
fn gate_with_its_count_outside_the_lock_misses_the_wake_up() {
    loom_finds(SLEEPS_FOR_EVER, || {
        let gate = Arc::new((AtomicU32::new(1), Mutex::new(()), Condvar::new()));
        let enters = spawn(&gate, |gate| {
            let (inside, lock, changed) = &*gate;
            let mut held = lock.lock();
            while inside.load(Relaxed) >= 1 {
                changed.wait(&mut held);
            }
        });
        gate.0.fetch_sub(1, Relaxed);
        gate.2.notify_all();
        enters.join().unwrap();
    });
}

// Allowance: never more at once than there are places, and every place comes back.

/// What there may be one of, open or not: by plain loads and stores, so that a thread sees what the
/// one before it did only if something orders the two.
#[derive(Default)]
struct Pipe(AtomicBool);

impl Pipe {
    fn open_and_close(&self) {
        assert!(!self.0.load(Relaxed), "two at once");
        self.0.store(true, Relaxed);
        self.0.store(false, Relaxed);
    }
}

/// Three threads for one place. `take` says whether it got it.
fn three_for_one_place<A: 'static>(allowance: &Arc<A>, take: fn(&A) -> bool, give_back: fn(&A)) {
    let shared = Arc::new((Arc::clone(allowance), Pipe::default()));
    each_of(3, &shared, move |shared| {
        let (allowance, pipe) = &**shared;
        if take(allowance) {
            pipe.open_and_close();
            give_back(allowance);
        }
    });
}

#[test]
fn allowance_is_never_exceeded() {
    model(|| {
        let shared = Arc::new((Arc::new(Allowance::new(1)), Pipe::default()));
        each_of(3, &shared, |shared| {
            let (allowance, pipe) = &**shared;
            if let Some(allowed) = allowance.take() {
                pipe.open_and_close();
                drop(allowed);
            }
        });
        assert_eq!(shared.0.left(), 1, "a place was lost");
    });
}

#[test]
fn allowance_taken_first_and_looked_at_then_is() {
    loom_finds("two at once", || {
        let left = Arc::new(AtomicU32::new(1));
        let take = |left: &AtomicU32| {
            let before = left.fetch_sub(1, Acquire);
            if before == 0 {
                left.fetch_add(1, Relaxed);
            }
            before != 0
        };
        three_for_one_place(&left, take, |left| drop(left.fetch_add(1, Release)));
    });
}

#[test]
fn allowance_given_back_without_release_overlaps_the_next_one() {
    loom_finds("two at once", || {
        let left = Arc::new(AtomicU32::new(1));
        let take = |left: &AtomicU32| left.compare_exchange(1, 0, Acquire, Relaxed).is_ok();
        three_for_one_place(&left, take, |left| drop(left.fetch_add(1, Relaxed)));
    });
}

// Handover: the value arrives, whoever comes first.

#[test]
fn handover_loses_no_wake_up() {
    model(|| {
        let handover = Arc::new(Handover::default());
        let putter = spawn(&handover, |handover| handover.put(7));
        assert_eq!(handover.take(), 7);
        putter.join().unwrap();
    });
}

fn handed_over(put: fn(&(Mutex<Option<u32>>, Condvar)), take: fn(&(Mutex<Option<u32>>, Condvar))) {
    let place = Arc::new((Mutex::new(None), Condvar::new()));
    let putter = spawn(&place, move |place| put(&place));
    take(&place);
    putter.join().unwrap();
}

#[test]
fn handover_that_notifies_before_it_puts_does() {
    loom_finds(SLEEPS_FOR_EVER, || {
        handed_over(
            |(value, there)| {
                there.notify_one();
                *value.lock() = Some(7);
            },
            |(value, there)| {
                let mut value = value.lock();
                while value.take().is_none() {
                    there.wait(&mut value);
                }
            },
        );
    });
}

#[test]
fn handover_that_looks_and_locks_again_to_sleep_does() {
    loom_finds(SLEEPS_FOR_EVER, || {
        handed_over(
            |(value, there)| {
                *value.lock() = Some(7);
                there.notify_one();
            },
            |(value, there)| {
                if value.lock().is_none() {
                    there.wait(&mut value.lock());
                }
            },
        );
    });
}

// Slot: a job that is given to a parked thread is done, whichever of give and park comes first.

#[test]
fn slot_loses_no_job() {
    model(|| {
        let slot = Arc::new(Slot::default());
        let parked = spawn(&slot, |slot| slot.wait(LATE));
        slot.give(7);
        assert_eq!(parked.join().unwrap(), Woken::Given(7));
    });
}

/// As a thread of the program lives: a job, back on the stack, the next job, the end.
#[test]
fn slot_gives_one_job_after_another_and_then_the_dismissal() {
    model(|| {
        let shared = Arc::new((Slot::default(), Handover::default()));
        let parked = spawn(&shared, |shared| {
            let (slot, idle) = &*shared;
            let first = slot.wait(LATE);
            idle.put(());
            (first, slot.wait(LATE), slot.wait(LATE))
        });
        let (slot, idle) = &*shared;
        slot.give(1);
        idle.take();
        slot.give(2);
        slot.dismiss();
        let (first, second, third) = parked.join().unwrap();
        assert_eq!((first, second), (Woken::Given(1), Woken::Given(2)));
        assert_eq!(third, Woken::Dismissed);
    });
}

/// A slot in few lines: the job, and who sleeps there.
#[derive(Default)]
struct BareSlot {
    job: Mutex<Option<u32>>,
    sleeper: Mutex<Option<thread::Thread>>,
}

impl BareSlot {
    fn give(&self, job: u32) {
        *self.job.lock() = Some(job);
        self.unpark();
    }

    fn unpark(&self) {
        let sleeper = self.sleeper.lock().take();
        if let Some(sleeper) = sleeper {
            sleeper.unpark();
        }
    }

    fn park(&self) {
        *self.sleeper.lock() = Some(thread::current());
        thread::park();
    }
}

#[test]
fn slot_that_looks_and_then_leaves_its_name_misses_a_job() {
    loom_finds(SLEEPS_FOR_EVER, || {
        let slot = Arc::new(BareSlot::default());
        let parked = spawn(&slot, |slot| {
            while slot.job.lock().take().is_none() {
                slot.park();
            }
        });
        slot.give(7);
        parked.join().unwrap();
    });
}

#[test]
fn slot_that_wakes_before_it_gives_misses_a_job() {
    loom_finds(SLEEPS_FOR_EVER, || {
        let slot = Arc::new(BareSlot::default());
        let parked = spawn(&slot, |slot| {
            *slot.sleeper.lock() = Some(thread::current());
            while slot.job.lock().take().is_none() {
                slot.park();
            }
        });
        slot.unpark();
        *slot.job.lock() = Some(7);
        parked.join().unwrap();
    });
}

/// The token of an earlier unpark, or anybody else's, ends a park that nothing was given for.
#[test]
fn slot_that_does_not_look_again_after_a_park_finds_nothing() {
    loom_finds("woken for nothing", || {
        let slot = Arc::new(BareSlot::default());
        let parked = spawn(&slot, |slot| {
            for job in 1..=2 {
                *slot.sleeper.lock() = Some(thread::current());
                let mut found = slot.job.lock().take();
                if found.is_none() {
                    thread::park();
                    found = slot.job.lock().take();
                }
                assert_eq!(found, Some(job), "woken for nothing");
            }
        });
        slot.give(1);
        while slot.job.lock().is_some() {
            thread::yield_now();
        }
        slot.give(2);
        parked.join().unwrap();
    });
}
