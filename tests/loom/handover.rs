//! Models of Handover and Slot: what is handed over arrives, whoever comes first.

use super::*;

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
