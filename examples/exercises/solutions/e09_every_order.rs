//! Exercise 9, solved: whoever has steps left can be the next; after that it is the same question with
//! one step less. This is what loom does at each step of a model, with more than two threads, and it
//! leaves out orders that can't differ.

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
    if first + second == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    if first > 0 {
        all.extend(beginning_with(Turn::First, orders(first - 1, second)));
    }
    if second > 0 {
        all.extend(beginning_with(Turn::Second, orders(first, second - 1)));
    }
    all
}

fn beginning_with(turn: Turn, rests: Vec<Vec<Turn>>) -> impl Iterator<Item = Vec<Turn>> {
    rests
        .into_iter()
        .map(move |rest| [vec![turn], rest].concat())
}
