use std::panic::{AssertUnwindSafe, catch_unwind};

use exercises::e01_panic::Active;

/// Runs work that panics; the panic ends here.
fn panicking(work: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
}

#[test]
fn a_session_that_panics_is_not_counted_any_more() {
    let active = Active::default();
    active.run(|| panicking(|| active.run(|| panic!("a bug in this session"))));
    assert_eq!(active.count(), 0);
    active.run(|| assert_eq!(active.count(), 1));
}

#[test]
fn a_panic_under_the_lock_does_not_spread() {
    let active = Active::default();
    panicking(|| active.run_alone(|_| panic!("a bug in this session")));
    active.run(|| assert_eq!(active.count(), 1));
}
