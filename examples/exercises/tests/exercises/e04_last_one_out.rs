use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use exercises::e04_last_one_out::{Backend, Direction};

fn taken(backend: &Backend) -> u32 {
    backend.taken.load(Relaxed)
}

#[test]
fn the_place_is_taken_until_both_have_ended() {
    let backend = Backend::default();
    let (there, back) = backend.session();
    drop(there);
    assert_eq!(taken(&backend), 1, "one direction goes on");
    drop(back);
    assert_eq!(taken(&backend), 0);
    let (there, back) = backend.session();
    drop(back);
    assert_eq!(taken(&backend), 1, "one direction goes on");
    drop(there);
    assert_eq!(taken(&backend), 0);
}

#[test]
fn a_panic_gives_it_back_too() {
    let backend = Backend::default();
    let (there, back) = backend.session();
    let panics = |_direction: Direction| panic!("a bug in this direction");
    assert!(thread::spawn(move || panics(there)).join().is_err());
    assert_eq!(taken(&backend), 1, "one direction goes on");
    drop(back);
    assert_eq!(taken(&backend), 0);
}
