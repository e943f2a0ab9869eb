//! Parked threads, reused. A session needs two threads; spawning both anew for each connection
//! halves the rate of connections, so a thread that has finished a job parks and waits for the next.
//!
//! Idle threads form a stack: the one that parked last, whose stack and caches are warm, is used
//! first, and those at the bottom, which nobody has needed for `IDLE_KEEP`, end. A refusal by the
//! operating system to make a thread is an `io::Error` here, never a panic, and a panic inside a
//! job ends that job only: the thread goes on.
//!
//! A parked thread waits for jobs at its [`Slot`], which loses none. It ends in one of two ways: it
//! takes itself off the stack, or whoever took it off the stack dismisses it. A thread that is set
//! aside is not on the stack, so it stays until its seat is used or given back, shutdown or not.
#![doc = include_str!("../doc/what_a_thread_costs.md")]

mod cpu;
mod named;
mod signals;

pub use cpu::cpu_time;
pub use named::{Name, id, keep_going, name, name_of, set_name, spawn, spawn_with_stack};
pub use signals::on_signal;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::sync::{Handover, Mutex, Slot, Woken};

/// How long a thread stays parked with nothing to do before it ends.
const IDLE_KEEP: Duration = Duration::from_secs(2);

/// How long a thread without work keeps the name of its last job. Under load the next job comes
/// sooner and gives it a new name anyway, which saves a system call for each.
const NAME_KEEP: Duration = Duration::from_millis(50);

/// Stack of every thread made here. The deepest path is a log record being formatted, at
/// well under half of it; smaller stacks were measured not to save resident memory.
const STACK_BYTES: usize = 64 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The set of reusable threads.
#[derive(Debug, Clone, Default)]
pub struct Threads {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Written by whoever starts or ends a thread, gives it a job or takes it back.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Parked threads by number, the most recently used at the back. The number stands beside the
    /// thread, so that looking one up among thousands runs along one piece of memory.
    idle: VecDeque<(u64, Arc<Worker>)>,
    /// Every thread that has not ended, by its number, so that shutdown can join them all.
    handles: HashMap<u64, JoinHandle<()>>,
    next_number: u64,
    closed: bool,
}

/// One reusable thread, as seen from outside.
struct Worker {
    number: u64,
    /// Where its next job comes.
    slot: Slot<Job>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "worker {}", self.number)
    }
}

/// A thread that is set aside for the holder. Dropping it unused gives it back.
#[derive(Debug)]
pub struct Seat {
    worker: Option<Arc<Worker>>,
    shared: Arc<Shared>,
}

/// Where the result of a job will be.
#[derive(Debug)]
pub struct Running<T> {
    result: Arc<Handover<thread::Result<T>>>,
}

impl<T> Running<T> {
    /// Blocks until the job has ended; `Err` holds what it panicked with.
    pub fn join(self) -> thread::Result<T> {
        self.result.take()
    }
}

impl Threads {
    /// Sets a thread aside: a parked one if there is one, a new one otherwise.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a new thread (`WouldBlock`: a limit on processes, memory
    /// maps or memory), or when [`Threads::shut_down`] was called.
    pub fn reserve(&self) -> io::Result<Seat> {
        let mut state = self.shared.state.lock();
        if state.closed {
            return Err(io::Error::other("the threads are being shut down"));
        }
        if let Some((_, worker)) = state.idle.pop_back() {
            drop(state);
            return Ok(self.seat(worker));
        }
        let number = state.next_number;
        state.next_number += 1;
        let worker = Arc::new(Worker {
            number,
            slot: Slot::default(),
        });
        let shared = Arc::clone(&self.shared);
        let own = Arc::clone(&worker);
        // Under the lock, so that the thread finds its own handle there when it ends.
        let handle = spawn("parked", move || run_worker(&shared, &own))?;
        state.handles.insert(number, handle);
        drop(state);
        Ok(self.seat(worker))
    }

    fn seat(&self, worker: Arc<Worker>) -> Seat {
        Seat {
            worker: Some(worker),
            shared: Arc::clone(&self.shared),
        }
    }

    /// How many threads there are, busy and parked.
    pub fn count(&self) -> usize {
        self.shared.state.lock().handles.len()
    }

    /// Makes parked threads end now and busy ones after their job, and joins them all. The caller
    /// has seen to it that every job comes to an end.
    pub fn shut_down(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        for (_, worker) in idle {
            worker.slot.dismiss();
        }
        for handle in handles.into_values() {
            // A job's panic was caught and handed over; a thread itself never ends by one.
            let _ = handle.join();
        }
    }
}

impl Seat {
    /// Runs `work` on the thread. What it returns, or the panic that ended it, is in [`Running`].
    pub fn start<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
        let result = Arc::new(Handover::default());
        let put = Arc::clone(&result);
        self.give(move || put.put(sealed(work)));
        Running { result }
    }

    /// Runs `work` on the thread for its own sake: nobody waits for it, and a panic ends it only.
    pub fn run(self, work: impl FnOnce() + Send + 'static) {
        self.give(move || drop(sealed(work)));
    }

    fn give(mut self, job: impl FnOnce() + Send + 'static) {
        if let Some(worker) = self.worker.take() {
            worker.slot.give(Box::new(job));
        }
    }
}

/// The result of `work`, or the panic that ended it.
fn sealed<T>(work: impl FnOnce() -> T) -> thread::Result<T> {
    // Unwind safety: `work` is consumed, and what it shares is behind locks that do not poison and
    // atomics; guards inside it have been dropped by the unwinding.
    catch_unwind(AssertUnwindSafe(work))
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.shared.park(worker);
        }
    }
}

impl Shared {
    /// Puts a thread that has nothing to do on top of the stack.
    fn park(&self, worker: Arc<Worker>) {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            worker.slot.dismiss();
        } else {
            state.idle.push_back((worker.number, worker));
        }
    }

    /// Takes a thread that waited in vain off the stack, so that it may end. False when it is not
    /// there: somebody has set it aside, and a job will come, or a dismissal.
    fn retire(&self, worker: &Worker) -> bool {
        let mut state = self.state.lock();
        // Whoever waited longest is near the front, so the search is short.
        let place = state
            .idle
            .iter()
            .position(|(number, _)| *number == worker.number);
        let Some(place) = place else { return false };
        state.idle.remove(place);
        state.handles.remove(&worker.number);
        true
    }
}

/// The life of a reusable thread.
fn run_worker(shared: &Shared, own: &Arc<Worker>) {
    let mut patience = IDLE_KEEP;
    loop {
        match own.slot.wait(patience) {
            Woken::Given(job) => {
                job();
                patience = NAME_KEEP;
                shared.park(Arc::clone(own));
            }
            Woken::Dismissed => return,
            Woken::InVain if patience == NAME_KEEP => {
                set_name(&name_of("parked", ""));
                patience = IDLE_KEEP;
            }
            Woken::InVain if shared.retire(own) => return,
            Woken::InVain => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_thread_takes_the_next_job() {
        let threads = Threads::default();
        let first = threads
            .reserve()
            .unwrap()
            .start(|| thread::current().id())
            .join()
            .unwrap();
        // The result is handed over just before the thread parks.
        while threads.shared.state.lock().idle.is_empty() {
            thread::yield_now();
        }
        let second = threads
            .reserve()
            .unwrap()
            .start(|| thread::current().id())
            .join()
            .unwrap();
        assert_eq!(first, second);
        threads.shut_down();
    }

    #[test]
    fn a_panic_ends_the_job_and_not_the_thread() {
        let threads = Threads::default();
        let seat = threads.reserve().unwrap();
        assert!(
            seat.start(|| std::panic::resume_unwind(Box::new("as injected")))
                .join()
                .is_err()
        );
        assert_eq!(threads.reserve().unwrap().start(|| 7).join().unwrap(), 7);
        threads.shut_down();
    }

    #[test]
    fn a_seat_given_back_is_used_again() {
        let threads = Threads::default();
        drop(threads.reserve().unwrap());
        drop(threads.reserve().unwrap());
        assert_eq!(threads.count(), 1);
        threads.shut_down();
    }

    #[test]
    fn shut_down_joins_parked_busy_and_reserved_threads() {
        let threads = Threads::default();
        drop(threads.reserve().unwrap());
        let reserved = threads.reserve().unwrap();
        let (release, released) = crossbeam_channel::bounded::<()>(0);
        let busy = threads
            .reserve()
            .unwrap()
            .start(move || released.recv().is_err());
        drop(release);
        drop(reserved);
        threads.shut_down();
        assert!(busy.join().unwrap());
        assert!(threads.reserve().is_err());
    }

    #[test]
    fn a_job_given_during_the_shutdown_still_runs() {
        let threads = Threads::default();
        let seat = threads.reserve().unwrap();
        let (done, is_done) = crossbeam_channel::bounded(1);
        let (of_shutdown, threads) = (threads.clone(), threads);
        let shutdown = spawn("shutdown", move || {
            of_shutdown.shut_down();
            done.send(()).unwrap();
        })
        .unwrap();
        // Longer than a parked thread has patience: this one is set aside, and must not end.
        assert!(is_done.recv_timeout(IDLE_KEEP + IDLE_KEEP / 4).is_err());
        assert!(threads.reserve().is_err(), "no new ones");
        assert_eq!(seat.start(|| 7).join().unwrap(), 7);
        shutdown.join().unwrap();
    }

    #[test]
    fn every_job_runs_once_when_many_are_started_at_once() {
        let threads = Threads::default();
        let ran = Arc::new(crate::sync::Counter::default());
        for _ in 0..50 {
            let running: Vec<_> = (0..20)
                .map(|_| {
                    let ran = Arc::clone(&ran);
                    threads.reserve().unwrap().start(move || ran.increment())
                })
                .collect();
            running
                .into_iter()
                .for_each(|running| running.join().unwrap());
        }
        assert_eq!(ran.get(), 1000);
        threads.shut_down();
    }

    #[test]
    fn a_thread_that_nobody_needs_ends() {
        let threads = Threads::default();
        drop(threads.reserve().unwrap());
        let deadline = std::time::Instant::now() + 5 * IDLE_KEEP;
        while threads.count() > 0 {
            assert!(
                std::time::Instant::now() < deadline,
                "still there: {threads:?}"
            );
            thread::park_timeout(Duration::from_millis(10));
        }
        threads.shut_down();
    }
}
