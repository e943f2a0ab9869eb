//! Exercise 9: try every order.
//!
//! A race shows itself in one order of steps among many, and an ordinary test sees a few of them. A
//! model checker runs all. This is one, for two threads; but it tries two orders only, one thread after
//! the other, and so finds no fault in the ticket of step 4 that loads first and stores then.
//!
//! Hint: for two threads with `a` and `b` steps, an order is a list of `a` times `First` and `b` times
//! `Second`. Every order begins with the one or with the other; and the rest of it? There are
//! (a + b)! / (a! · b!) of them. (`tests/loom/` has a model checker that knows locks and memory orderings, too.)

/// Whose step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// The first thread's.
    First,
    /// The second thread's.
    Second,
}

/// All orders in which two threads can take so many steps.
pub fn orders(first: usize, second: usize) -> Vec<Vec<Turn>> {
    let one = vec![Turn::First; first];
    let other = vec![Turn::Second; second];
    vec![[one.clone(), other.clone()].concat(), [other, one].concat()]
}
