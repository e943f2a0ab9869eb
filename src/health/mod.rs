//! Health checks: the checker thread decides when to probe and publishes what came of it; each
//! probe runs on a thread of its own, so that one black-holed backend delays no other.

mod agenda;
mod checker;
mod probe;
mod target;

pub use checker::Checker;
pub use target::{All, Order, Target};
