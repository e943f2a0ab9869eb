//! Models of Gate: never above the limit, and nobody sleeps while there is room.

use super::*;

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
