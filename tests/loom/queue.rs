//! Models of `Queue`: a place that is left reaches somebody who waits, whoever leaves the queue at that
//! moment, and nobody overtakes.

use std::collections::VecDeque;
use std::time::Instant;

use evener::sync::{Joined, Queue};

use super::*;

/// A backend with room for one session, and the queue before it.
#[derive(Default)]
struct Backend {
    active: Active,
    queue: Queue,
}

impl Backend {
    fn take(&self) -> Option<()> {
        self.active.claim_below(1).then_some(())
    }

    fn leave(&self) {
        self.active.release();
        self.queue.wake();
    }

    /// Waits for the place, however long it takes.
    fn enter(&self) {
        match self.queue.join(usize::MAX, || self.take()) {
            Joined::Served(()) => {}
            Joined::Waits(place) => {
                place.wait(Instant::now() + LATE, || self.take()).unwrap();
            }
            Joined::TooMany => panic!("there is room for any number"),
        }
    }

    /// Joins, and leaves again without having waited.
    fn join_and_give_up(&self) {
        if let Joined::Served(()) = self.queue.join(usize::MAX, || self.take()) {
            self.leave();
        }
    }
}

#[test]
fn queue_serves_one_after_the_other() {
    model(|| {
        let backend = Arc::new(Backend::default());
        each_of(2, &backend, |backend| {
            backend.enter();
            assert_eq!(backend.active.get(), 1);
            backend.leave();
        });
        assert_eq!(backend.active.get(), 0);
        assert!(backend.queue.is_empty());
    });
}

#[test]
fn queue_hands_the_wake_up_on_when_the_first_gives_up() {
    model(|| {
        let backend = Arc::new(Backend::default());
        backend.enter();
        let gives_up = spawn(&backend, |backend| backend.join_and_give_up());
        let waits = spawn(&backend, |backend| backend.enter());
        backend.leave();
        gives_up.join().unwrap();
        waits.join().unwrap();
        assert_eq!(backend.active.get(), 1);
    });
}

#[test]
fn queue_is_in_the_order_of_joining() {
    model(|| {
        let backend = Arc::new(Backend::default());
        backend.enter();
        let Joined::Waits(first) = backend.queue.join(usize::MAX, || backend.take()) else {
            panic!("it is full");
        };
        let second = spawn(&backend, |backend| {
            backend.enter();
            backend.active.get()
        });
        backend.leave();
        first
            .wait(Instant::now() + LATE, || backend.take())
            .unwrap();
        // The second can't have the place yet, so it is the first's to leave.
        drop(first);
        backend.leave();
        assert_eq!(second.join().unwrap(), 1);
    });
}

/// A queue in few lines, with the details that can be wrong left to the model.
#[derive(Default)]
struct Bare {
    free: AtomicBool,
    waiting: Mutex<VecDeque<Arc<Condvar>>>,
}

impl Bare {
    fn take(&self) -> bool {
        self.free.swap(false, Relaxed)
    }

    /// Has the first look again.
    fn wake(&self) {
        let first = self.waiting.lock().front().map(Arc::clone);
        if let Some(first) = first {
            first.notify_one();
        }
    }

    /// Sleeps until the place is free.
    fn enter(&self) {
        let mut waiting = self.waiting.lock();
        let turn = Arc::new(Condvar::new());
        waiting.push_back(Arc::clone(&turn));
        let is_first = |waiting: &VecDeque<Arc<Condvar>>| Arc::ptr_eq(&waiting[0], &turn);
        while !(is_first(&waiting) && self.take()) {
            turn.wait(&mut waiting);
        }
        waiting.pop_front();
    }
}

#[test]
fn queue_that_is_not_locked_to_wake_misses_the_wake_up() {
    loom_finds(SLEEPS_FOR_EVER, || {
        let bare = Arc::new((Bare::default(), Arc::new(Condvar::new())));
        let waits = spawn(&bare, |bare| {
            let (bare, turn) = &*bare;
            let mut waiting = bare.waiting.lock();
            while !bare.take() {
                turn.wait(&mut waiting);
            }
        });
        // Between the look and the sleep of the other, which the mutex would have kept together.
        bare.0.free.store(true, Relaxed);
        bare.1.notify_one();
        waits.join().unwrap();
    });
}

#[test]
fn queue_that_forgets_the_next_when_the_first_gives_up_loses_the_place() {
    loom_finds(SLEEPS_FOR_EVER, || {
        let bare = Arc::new(Bare::default());
        // The first is there, and is about to give up.
        bare.waiting.lock().push_back(Arc::new(Condvar::new()));
        let waits = spawn(&bare, |bare| bare.enter());
        bare.free.store(true, Relaxed);
        bare.wake();
        bare.waiting.lock().pop_front();
        waits.join().unwrap();
    });
}
