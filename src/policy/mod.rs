//! What is decided, apart from what is done. PURE: no clock, no socket, no thread, no lock; time
//! and randomness come in as arguments, so that every decision can be tested by a table.

pub mod balance;
pub mod health;
