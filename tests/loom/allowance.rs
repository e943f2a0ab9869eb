//! Models of Allowance: never more at once than there are places.

use super::*;

// Allowance: never more at once than there are places, and every place comes back.

/// What there may be one of, open or not: by plain loads and stores, so that a thread sees what the
/// one before it did only if something orders the two.
#[derive(Default)]
struct Pipe(AtomicBool);

impl Pipe {
    fn open_and_close(&self) {
        assert!(!self.0.load(Relaxed), "two at once");
        self.0.store(true, Relaxed);
        self.0.store(false, Relaxed);
    }
}

/// Three threads for one place. `take` says whether it got it.
fn three_for_one_place<A: 'static>(allowance: &Arc<A>, take: fn(&A) -> bool, give_back: fn(&A)) {
    let shared = Arc::new((Arc::clone(allowance), Pipe::default()));
    each_of(3, &shared, move |shared| {
        let (allowance, pipe) = &**shared;
        if take(allowance) {
            pipe.open_and_close();
            give_back(allowance);
        }
    });
}

#[test]
fn allowance_is_never_exceeded() {
    model(|| {
        let shared = Arc::new((Arc::new(Allowance::new(1)), Pipe::default()));
        each_of(3, &shared, |shared| {
            let (allowance, pipe) = &**shared;
            if let Some(allowed) = allowance.take() {
                pipe.open_and_close();
                drop(allowed);
            }
        });
        assert_eq!(shared.0.left(), 1, "a place was lost");
    });
}

#[test]
fn allowance_taken_first_and_looked_at_then_is() {
    loom_finds("two at once", || {
        let left = Arc::new(AtomicU32::new(1));
        let take = |left: &AtomicU32| {
            let before = left.fetch_sub(1, Acquire);
            if before == 0 {
                left.fetch_add(1, Relaxed);
            }
            before != 0
        };
        three_for_one_place(&left, take, |left| drop(left.fetch_add(1, Release)));
    });
}

#[test]
fn allowance_given_back_without_release_overlaps_the_next_one() {
    loom_finds("two at once", || {
        let left = Arc::new(AtomicU32::new(1));
        let take = |left: &AtomicU32| left.compare_exchange(1, 0, Acquire, Relaxed).is_ok();
        three_for_one_place(&left, take, |left| drop(left.fetch_add(1, Relaxed)));
    });
}
