//! Models of the types in `evener::sync`: loom runs each through every order in which the steps of
//! its threads can happen, and the old values that a load may return (loom does not move a Relaxed access
//! before an earlier one, which the memory model allows).
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

mod allowance;
mod gate;
mod handover;
mod numbers;
mod published;
mod queue;

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
    Published, Setting, Slot, Streak, Ticket, Woken,
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
