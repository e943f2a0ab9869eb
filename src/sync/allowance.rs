//! So many at once and no more, for things that one can do without.

use std::sync::Arc;

use super::primitives::AtomicU32;
use super::primitives::Ordering::{Acquire, Relaxed, Release};

/// How many more there may be. Unlike a [`super::Gate`] nobody waits here: who finds nothing left does
/// without, so a single atomic is enough.
#[derive(Debug)]
pub struct Allowance {
    /// Written by whoever takes one or gives it back; read by who takes.
    left: AtomicU32,
}

impl Allowance {
    /// At most `count` at once.
    pub fn new(count: u32) -> Allowance {
        Allowance {
            left: AtomicU32::new(count),
        }
    }

    /// One of them, unless all are taken.
    ///
    /// Looking whether one is left and taking it are a single step. To take first, look then and put
    /// back what was too much is wrong: the count is below zero for a moment, which is a very large
    /// number, and whoever looks in that moment finds plenty.
    pub fn take(self: &Arc<Self>) -> Option<Allowed> {
        let mut left = self.left.load(Relaxed);
        while left > 0 {
            match self
                .left
                .compare_exchange_weak(left, left - 1, Acquire, Relaxed)
            {
                Ok(_) => {
                    return Some(Allowed {
                        from: Arc::clone(self),
                    });
                }
                Err(now) => left = now,
            }
        }
        None
    }

    /// How many are left now.
    pub fn left(&self) -> u32 {
        self.left.load(Relaxed)
    }
}

/// One of those that are allowed; dropping it gives it back.
#[derive(Debug)]
pub struct Allowed {
    from: Arc<Allowance>,
}

impl Drop for Allowed {
    fn drop(&mut self) {
        // Release, for the Acquire in `take`: what was held under this is closed before the next is opened.
        self.from.left.fetch_add(1, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_were_allowed_and_each_comes_back() {
        let allowance = Arc::new(Allowance::new(2));
        let (one, two) = (allowance.take(), allowance.take());
        assert!(one.is_some() && two.is_some() && allowance.take().is_none());
        drop(one);
        assert!(allowance.take().is_some());
        drop(two);
        assert_eq!(allowance.left(), 2);
    }
}
