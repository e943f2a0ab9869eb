//! One value from one thread to another that waits for it: the result of a finished job.

use super::{Condvar, Mutex};

/// A place for one value. One thread puts, one thread takes; whoever takes first sleeps.
///
/// A mutex and a condition variable: the value and "it is there" are the same `Option`, looked at
/// under the lock, so there is no moment at which the taker could miss the putter's wake-up. A
/// channel would do as well, but its receiver spins before it sleeps, and the session's thread
/// mostly waits here for seconds.
#[derive(Debug)]
pub struct Handover<T> {
    /// Written by the putter once; read by the taker.
    value: Mutex<Option<T>>,
    /// Notified when the value is there.
    there: Condvar,
}

impl<T> Default for Handover<T> {
    fn default() -> Self {
        Handover {
            value: Mutex::new(None),
            there: Condvar::new(),
        }
    }
}

impl<T> Handover<T> {
    /// Puts the value and wakes the taker.
    pub fn put(&self, value: T) {
        *self.value.lock() = Some(value);
        self.there.notify_one();
    }

    /// Blocks until the value is there, and takes it.
    pub fn take(&self) -> T {
        let mut value = self.value.lock();
        loop {
            if let Some(value) = value.take() {
                return value;
            }
            self.there.wait(&mut value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_arrives_whoever_comes_first() {
        let early = Handover::default();
        early.put(1);
        assert_eq!(early.take(), 1);

        let late = Handover::default();
        std::thread::scope(|scope| {
            let taker = std::thread::Builder::new()
                .spawn_scoped(scope, || late.take())
                .unwrap();
            late.put(2);
            assert_eq!(taker.join().unwrap(), 2);
        });
    }
}
