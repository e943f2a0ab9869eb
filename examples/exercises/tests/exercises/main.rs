//! The tests of the exercises: each fails until its exercise is solved.

mod e01_panic;
mod e02_short_write;
mod e03_limit;
mod e04_last_one_out;
mod e05_all_gone;
mod e06_who_wakes;
mod e07_backpressure;
mod e08_starved_probe;
mod e09_every_order;
mod e10_policy;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Does what an unsolved exercise may hang in. After ten seconds it has failed.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = channel();
    thread::spawn(move || done.send(work()));
    match is_done.recv_timeout(Duration::from_secs(10)) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("it hangs: nothing has come of it in ten seconds"),
        Err(RecvTimeoutError::Disconnected) => panic!("the thread that does it has panicked"),
    }
}
