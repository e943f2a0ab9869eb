//! evener (map to be written)
pub mod config;
pub mod policy;
pub mod sync;
pub mod threads;
pub mod limits;
pub mod events;
pub mod log;
pub mod net;
