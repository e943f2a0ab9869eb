//! Health checks: the checker thread decides when to probe and publishes what came of it; each
//! probe runs on a thread of its own, so that one black-holed backend delays no other.

mod checker;
mod probe;

pub use checker::{Checker, Target};
