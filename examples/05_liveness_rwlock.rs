//! Step 5: who is alive, behind a reader-writer lock.
//!
//! What it teaches: the list of live backends is read by every session and written rarely, by one
//! thread. `RwLock<Arc<Vec<_>>>`: a reader clones the `Arc` (one number counted up), gives the lock
//! back at once and then works with a list that can't change under it. The writer builds a new list
//! and swaps it in whole. Old readers finish with the old one; its memory goes with the last of them.
//!
//! What goes wrong without it: asking twice. "How many are alive?" and "which is the third?" are two
//! looks at two different moments, and in between the third one dies. And a reader that keeps the
//! lock while it connects, for seconds, keeps the news of a dead backend from everybody.
//!
//! In earnest: `src/sync/mod.rs` (`Published`), `src/pool/mod.rs` (who reads), `src/health/checker.rs`
//! (who writes).
//!
//! ```text
//! cargo run --example 05_liveness_rwlock
//! ```
//! You will see a session that finds nobody although a backend lives, and one that does not. In the real
//! thing: `cargo run -- demo`, and type `8001` to stop that backend.

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

// Like std's, but for this: a panic under the lock does not poison it, so `read` and `write` give no `Result`.
use parking_lot::RwLock;

/// Written by the thread that hears who is alive; read by every session, for the time of one clone.
struct Live<T>(RwLock<Arc<Vec<T>>>);

impl<T: Copy + PartialEq> Live<T> {
    fn new(all: &[T]) -> Live<T> {
        Live(RwLock::new(Arc::new(all.to_vec())))
    }

    /// The list of this moment. The lock is free again when this returns.
    fn snapshot(&self) -> Arc<Vec<T>> {
        Arc::clone(&self.0.read())
    }

    /// Only one thread writes, so nothing changes between its snapshot and its swap.
    fn toggle(&self, backend: T) {
        let mut list = self.snapshot().to_vec();
        match list.iter().position(|&live| live == backend) {
            Some(place) => drop(list.remove(place)),
            None => list.push(backend),
        }
        let old = std::mem::replace(&mut *self.0.write(), Arc::new(list));
        // Freed after the lock was given back: freeing can take long, and readers wait meanwhile.
        drop(old);
    }

    /// Right: one look. What happens `between` counting and choosing concerns the next client. Who gets a
    /// backend that has just died is refused there and tries another, as one does who comes a moment earlier.
    fn pick(&self, ticket: usize, between: impl FnOnce()) -> Option<T> {
        let live = self.snapshot();
        let index = ticket.checked_rem(live.len())?;
        between();
        live.get(index).copied()
    }

    /// Wrong: two looks, each properly locked.
    fn pick_in_two_looks(&self, ticket: usize, between: impl FnOnce()) -> Option<T> {
        let index = ticket.checked_rem(self.0.read().len())?;
        between();
        self.0.read().get(index).copied()
    }
}

/// Three sessions' threads pick while another thread takes backends out and puts them in again: each
/// pick finds one of those that were alive at some moment of it.
fn picks_while_it_changes() -> Vec<u16> {
    let live = Live::new(&[8000, 8001, 8002]);
    let ticket = AtomicUsize::new(0);
    thread::scope(|scope| {
        let session = || {
            let pick = |_| live.pick(ticket.fetch_add(1, Relaxed), || ());
            (0..1000).filter_map(pick).collect::<Vec<_>>()
        };
        let sessions = [(); 3].map(|()| scope.spawn(session));
        // 8000 stays, so nobody is ever left without a backend.
        while !sessions.iter().all(|session| session.is_finished()) {
            live.toggle(8001);
            live.toggle(8002);
        }
        let picks = sessions.map(|session| session.join().unwrap_or_default());
        picks.concat()
    })
}

fn main() {
    println!("8000 and 8001 live; ticket 1 is served; between counting and choosing 8001 dies:");
    let [wrong, right] = [(); 2].map(|()| Live::new(&[8000, 8001]));
    println!(
        "    two looks: {:?}",
        wrong.pick_in_two_looks(1, || wrong.toggle(8001))
    );
    println!("    one look:  {:?}", right.pick(1, || right.toggle(8001)));
    println!("    the next:  {:?}", right.pick(2, || ()));
    println!("3000 picks on three threads, while 8001 and 8002 come and go:");
    let picks = picks_while_it_changes();
    for backend in [8000, 8001, 8002] {
        println!(
            "    {backend}: {}",
            picks.iter().filter(|&&pick| pick == backend).count()
        );
    }
    println!("    nobody was left without: {}", picks.len() == 3000);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a backend is alive, and the client gets none.
    #[test]
    fn two_looks_can_find_nothing_although_one_lives() {
        let live = Live::new(&[8000, 8001]);
        assert_eq!(live.pick_in_two_looks(1, || live.toggle(8001)), None);
    }

    /// Right: the client of that moment goes by the list of that moment, the next by the new one.
    #[test]
    fn one_look_always_finds_one() {
        let live = Live::new(&[8000, 8001]);
        assert_eq!(live.pick(1, || live.toggle(8001)), Some(8001));
        assert_eq!(live.pick(1, || ()), Some(8000));
        live.toggle(8000);
        assert_eq!(live.pick(1, || ()), None);
    }

    /// However the threads are scheduled, each of 3000 sessions finds a backend.
    #[test]
    fn nobody_is_left_without_while_lists_are_swapped() {
        assert_eq!(picks_while_it_changes().len(), 3000);
    }

    /// Wrong: a reader that keeps the lock keeps the writer out. Right: a snapshot keeps nobody out.
    #[test]
    fn a_snapshot_does_not_hold_the_lock() {
        let live = Live::new(&[8000]);
        let guard = live.0.read();
        assert!(live.0.try_write().is_none());
        drop(guard);
        let snapshot = live.snapshot();
        assert!(live.0.try_write().is_some());
        live.toggle(8000);
        assert_eq!((snapshot.len(), live.snapshot().len()), (1, 0));
    }
}
