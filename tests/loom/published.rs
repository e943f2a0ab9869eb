//! Models of Published: whole values, and never back to an older one.

use super::*;

// Published: whole values, and never an older one after a newer one. The parts of the value are
// atomics, read and written `Relaxed`, so that only the lock can put them in order.

struct Both(AtomicU32, AtomicU32);

impl Both {
    fn new(value: u32) -> Both {
        let both = Both(AtomicU32::new(0), AtomicU32::new(0));
        both.set(value);
        both
    }

    fn set(&self, value: u32) {
        self.0.store(value, Relaxed);
        self.1.store(value, Relaxed);
    }

    fn get(&self) -> u32 {
        let (one, other) = (self.0.load(Relaxed), self.1.load(Relaxed));
        assert_eq!(one, other, "half a value");
        one
    }
}

#[test]
fn published_is_whole_and_never_goes_back() {
    model(|| {
        let published = Arc::new(Published::new(Both::new(1)));
        let reader = spawn(&published, |published| {
            let (first, second) = (published.load(), published.load());
            let (first, second) = (first.get(), second.get());
            assert!(1 <= first && first <= second, "an older one after a newer");
        });
        published.store(Both::new(2));
        published.store(Both::new(3));
        reader.join().unwrap();
        assert_eq!(published.load().get(), 3);
    });
}

#[test]
fn published_by_change_in_place_is_seen_half() {
    loom_finds("half a value", || {
        let both = Arc::new(Both::new(1));
        let reader = spawn(&both, |both| both.get());
        both.set(2);
        reader.join().unwrap();
    });
}

/// Which of two values counts is said by a number; and nothing says that whoever sees the number
/// sees the value too. That is what `Release` and `Acquire`, or the lock, are for.
#[test]
fn published_by_a_relaxed_index_is_seen_half() {
    loom_finds("half a value", || {
        let values = Arc::new(([Both::new(1), Both::new(0)], AtomicU32::new(0)));
        let reader = spawn(&values, |values| {
            let (values, index) = &*values;
            values[index.load(Relaxed) as usize].get()
        });
        values.0[1].set(2);
        values.1.store(1, Relaxed);
        reader.join().unwrap();
    });
}
