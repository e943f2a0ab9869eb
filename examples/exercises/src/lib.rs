//! Ten exercises. Each module says what is wrong, and has a hint; its test fails until it is right.
//!
//! `cargo test --test exercises e01` runs the test of the first one. How it can be solved is in `solutions/`.

pub mod e01_panic;
pub mod e02_short_write;
pub mod e03_limit;
pub mod e04_last_one_out;
pub mod e05_all_gone;
pub mod e06_who_wakes;
pub mod e07_backpressure;
pub mod e08_starved_probe;
pub mod e09_every_order;
pub mod policy;
