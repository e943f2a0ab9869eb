//! Exercise 10: add a balancing policy, in one file and one line, to evener itself.
//!
//! `most_connections` gives a session to the backend that has the most already, as long as it may take
//! one more: full machines stay full, and empty ones can be switched off. Equals: the first of the pool.
//!
//! The file is `src/policy/balance/most_connections.rs` of the repository, the line is in
//! `src/policy/balance/mod.rs`, in `policies!`. `first.rs` is the shortest policy to begin from.
//!
//! Hint: `choice.is_open(backend)` says whether this session may try that backend, `(choice.active)(backend)`
//! how many sessions it has. Say in `Pick::seen` what you saw there, and the pool counts the session
//! only if that has not changed meanwhile (step 9).

use exercises::policy::balance::{Choice, Hashing, Pick, Rotation, by_name};

/// What `most_connections` picks among idle or busy backends of weight 1.
fn pick(active: &[u32], tried: &[usize], full: &[usize]) -> Option<Pick> {
    let policy = by_name("most_connections").expect("there is no policy of that name yet");
    let backends: Vec<(usize, u32)> = (0..active.len()).map(|backend| (backend, 1)).collect();
    (policy.pick)(&Choice {
        rotation: &Rotation::new(&backends),
        active: &|backend| active[backend],
        is_full: Some(&|backend| full.contains(&backend)),
        share: None,
        tried,
        ticket: 5,
        random: 7,
        hashing: Hashing::default(),
    })
}

fn backend(active: &[u32], tried: &[usize], full: &[usize]) -> Option<usize> {
    pick(active, tried, full).map(|pick| pick.backend)
}

#[test]
fn the_busiest_is_picked() {
    assert_eq!(backend(&[1, 3, 2], &[], &[]), Some(1));
    assert_eq!(backend(&[2, 2, 2], &[], &[]), Some(0));
}

#[test]
fn one_that_was_tried_or_is_full_is_not() {
    assert_eq!(backend(&[1, 3, 2], &[1], &[]), Some(2));
    assert_eq!(backend(&[1, 3, 2], &[], &[1, 2]), Some(0));
    assert_eq!(backend(&[1], &[0], &[]), None);
}

#[test]
fn it_says_what_it_saw() {
    let seen = pick(&[1, 3, 2], &[], &[]).and_then(|pick| pick.seen);
    assert_eq!(seen, Some(3));
}
