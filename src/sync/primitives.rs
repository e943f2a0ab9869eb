//! What the types of this module are made of: std's atomics and parking, `parking_lot`'s locks.
//!
//! Under `--cfg loom` and `--cfg shuttle` the same names stand for those of a model checker, so that
//! `tests/loom/` and `tests/shuttle/` can run the very types that the program uses through the orders in which
//! their steps can happen. No other build knows of them.

#[cfg(not(any(loom, shuttle)))]
pub use parking_lot::{Condvar, Mutex, RwLock};
#[cfg(not(any(loom, shuttle)))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
#[cfg(not(any(loom, shuttle)))]
pub(super) use std::thread::{Thread, current, park_timeout};

#[cfg(loom)]
use loom as checker;
#[cfg(shuttle)]
use shuttle as checker;

#[cfg(any(loom, shuttle))]
pub(super) use checker::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
#[cfg(any(loom, shuttle))]
pub(super) use checker::thread::{Thread, current};
#[cfg(any(loom, shuttle))]
pub(super) use modelled::park_timeout;
#[cfg(any(loom, shuttle))]
pub use modelled::{Condvar, Mutex, RwLock};

/// The checker's locks, which look like std's, with the signatures of `parking_lot`: no poison, and a wait
/// that borrows its guard.
#[cfg(any(loom, shuttle))]
mod modelled {
    use std::ops::{Deref, DerefMut};
    use std::sync::PoisonError;
    use std::time::{Duration, Instant};

    use super::checker::sync as model;
    use super::checker::sync::{LockResult, RwLockReadGuard, RwLockWriteGuard};

    /// As `parking_lot`'s, these locks know no poison. A model in which a thread panicked has failed, but the
    /// drops of that thread still take locks, and a panic in one of them would end the whole test program.
    fn sound<T>(result: LockResult<T>) -> T {
        result.unwrap_or_else(PoisonError::into_inner)
    }

    /// A mutex.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(model::Mutex<T>);

    /// Holds a mutex; `None` only while a condition variable has it.
    #[derive(Debug)]
    pub struct MutexGuard<'a, T>(Option<model::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        /// Around `value`.
        pub fn new(value: T) -> Mutex<T> {
            Mutex(model::Mutex::new(value))
        }

        /// Blocks until it is free.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(sound(self.0.lock())))
        }
    }

    const HELD: &str = "only a condition variable takes it, and gives it back";

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().unwrap_or_else(|| unreachable!("{HELD}"))
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().unwrap_or_else(|| unreachable!("{HELD}"))
        }
    }

    /// A condition variable.
    #[derive(Debug, Default)]
    pub struct Condvar(model::Condvar);

    /// How a wait with a deadline ended.
    #[derive(Debug)]
    pub struct WaitTimeoutResult(());

    impl WaitTimeoutResult {
        /// Never: see [`Condvar::wait_until`].
        pub fn timed_out(&self) -> bool {
            false
        }
    }

    impl Condvar {
        /// Nobody waits yet.
        pub fn new() -> Condvar {
            Condvar::default()
        }

        /// Blocks until notified.
        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            guard.0 = guard.0.take().map(|held| sound(self.0.wait(held)));
        }

        /// Blocks until notified. A model has no clock, and a wake-up that only a timeout makes up
        /// for is a lost one: the deadline never comes, and the checker reports who sleeps for ever.
        pub fn wait_until<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            _deadline: Instant,
        ) -> WaitTimeoutResult {
            self.wait(guard);
            WaitTimeoutResult(())
        }

        /// Wakes one.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Wakes all.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// A reader-writer lock.
    #[derive(Debug)]
    pub struct RwLock<T>(model::RwLock<T>);

    impl<T> RwLock<T> {
        /// Around `value`.
        pub fn new(value: T) -> RwLock<T> {
            RwLock(model::RwLock::new(value))
        }

        /// Blocks until nobody writes.
        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            sound(self.0.read())
        }

        /// Blocks until nobody reads or writes.
        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            sound(self.0.write())
        }
    }

    /// Parks until unparked; the timeout never comes, as in [`Condvar::wait_until`].
    pub(in super::super) fn park_timeout(_: Duration) {
        super::checker::thread::park();
    }
}
