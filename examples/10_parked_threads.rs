//! Step 10: parked threads, and the lost wake-up.
//!
//! What it teaches: to start a thread takes longer than to wake one, so a thread that has finished
//! parks and waits for its next job. "Is there a job? No. Then sleep" are two steps, and a job that
//! comes in between must not be slept through. Three rules: to look and to leave one's name are one
//! step, under a lock; the giver puts the job first and wakes then; coming back from `park` means
//! nothing by itself, look again. An `unpark` that comes before the `park` is kept, as a token.
//!
//! What goes wrong without it: the thread looks, finds nothing, and leaves its name afterwards. A giver
//! in between finds no name, wakes nobody, and the thread sleeps beside its job. Rare, and for ever.
//!
//! In earnest: `src/sync/parking.rs` (`Slot`), `src/threads/mod.rs` (which thread gets the job), and
//! `tests/loom/handover.rs` (`slot_loses_no_job`: every order of steps, tried).
//!
//! ```text
//! cargo run --example 10_parked_threads
//! ```
//! You will see what a thousand jobs take on one parked thread, and on a new thread each.

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::collections::HashSet;
use std::error::Error;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use parking_lot::Mutex;

type Job = Box<dyn FnOnce() + Send>;

/// Where one thread waits for its next job. The lock makes the job and the name of who waits for it
/// one state: written by the giver and by the waiting thread.
#[derive(Default)]
struct Slot {
    state: Mutex<(Option<Job>, Option<Thread>)>,
}

impl Slot {
    /// Puts a job there and wakes who waits for it.
    fn give(&self, job: Job) {
        let mut state = self.state.lock();
        state.0 = Some(job);
        let sleeper = state.1.take();
        // Waking comes after unlocking: the woken thread would only run into the lock.
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.unpark();
        }
    }

    /// Right. `between` stands for what others do after the look and before the sleep.
    /// None: nothing came for so long.
    fn wait(&self, patience: Duration, mut between: impl FnMut()) -> Option<Job> {
        let deadline = Instant::now() + patience;
        loop {
            let mut state = self.state.lock();
            if let Some(job) = state.0.take() {
                return Some(job);
            }
            // Under the lock too: who gives up with his name left there would be given one more job.
            let left = deadline.checked_duration_since(Instant::now())?;
            // Still under the lock: whoever gives from here on finds the name.
            state.1 = Some(thread::current());
            drop(state);
            between();
            thread::park_timeout(left);
        }
    }
}

/// A thousand jobs, one after another; `run` has them done. Says what that took.
fn a_thousand_jobs(mut run: impl FnMut(Job)) -> Result<String, Box<dyn Error>> {
    let (begin, mut threads) = (Instant::now(), HashSet::new());
    let (done, is_done) = unbounded();
    for _ in 0..1000 {
        let done = done.clone();
        run(Box::new(move || {
            done.send(thread::current().id()).unwrap_or_default()
        }));
        threads.insert(is_done.recv()?);
    }
    Ok(format!(
        "threads: {}, time: {:?}",
        threads.len(),
        begin.elapsed()
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let slot = Slot::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            while let Some(job) = slot.wait(Duration::from_millis(200), || ()) {
                job();
            }
        });
        println!("parked: {}", a_thousand_jobs(|job| slot.give(job))?);
        println!("new:    {}", a_thousand_jobs(|job| drop(scope.spawn(job)))?);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: the same steps, and the lock is let go between the look and the name.
    fn wait_carelessly(slot: &Slot, patience: Duration, between: &mut dyn FnMut()) -> Option<Job> {
        let deadline = Instant::now() + patience;
        if let Some(job) = slot.state.lock().0.take() {
            return Some(job);
        }
        between();
        slot.state.lock().1 = Some(thread::current());
        // Woken? Then there is a job. Not woken? Then this sleeps on, whatever lies there.
        while slot.state.lock().1.is_some() {
            let left = deadline.checked_duration_since(Instant::now())?;
            thread::park_timeout(left);
        }
        slot.state.lock().0.take()
    }

    /// Waits with `wait`; a job is given exactly between the look and the sleep. Says whether it
    /// was found, and whether it lies there still.
    fn a_job_comes_between(wait: fn(&Slot, Duration, &mut dyn FnMut()) -> bool) -> (bool, bool) {
        let slot = Slot::default();
        let mut job: Option<Job> = Some(Box::new(|| ()));
        let found = wait(&slot, Duration::from_millis(50), &mut || {
            if let Some(job) = job.take() {
                slot.give(job);
            }
        });
        let lies_there = slot.state.lock().0.is_some();
        (found, lies_there)
    }

    /// Wrong: the thread sleeps until its patience ends, with the job beside it.
    #[test]
    fn a_name_left_too_late_is_a_wake_up_lost() {
        let outcome = a_job_comes_between(|slot, patience, between| {
            wait_carelessly(slot, patience, between).is_some()
        });
        assert_eq!(outcome, (false, true));
    }

    /// Right, though the wake-up comes before the sleep: the token is kept.
    #[test]
    fn a_wake_up_before_the_sleep_is_kept() {
        let outcome = a_job_comes_between(|slot, _, between| {
            slot.wait(Duration::from_secs(3600), between).is_some()
        });
        assert_eq!(outcome, (true, false));
    }

    /// A job that comes when the patience ends is not left behind: the last look is at the deadline.
    #[test]
    fn a_job_that_comes_at_the_last_moment_is_found() {
        let outcome = a_job_comes_between(|slot, patience, between| {
            let late = &mut || {
                thread::sleep(patience);
                between();
            };
            slot.wait(patience, late).is_some()
        });
        assert_eq!(outcome, (true, false));
    }

    /// The patience of a thread that nobody needs ends.
    #[test]
    fn nothing_comes_and_the_wait_ends() {
        assert!(
            Slot::default()
                .wait(Duration::from_millis(1), || ())
                .is_none()
        );
    }
}
