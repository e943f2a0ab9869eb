//! evener's own balancing policies, for exercise 10, and what they use of the rest of `src/policy`: only
//! that, because the rest needs packages, and the exercises need none.

#[path = "../../../../src/policy/balance/mod.rs"]
pub mod balance;
#[path = "../../../../src/policy/slow_start.rs"]
pub mod slow_start;
#[path = "../../../../src/policy/splitmix.rs"]
pub mod splitmix;
