//! evener (map to be written)
pub mod acceptor;
pub mod config;
pub mod demo;
pub mod dummy;
pub mod events;
pub mod health;
pub mod limits;
pub mod log;
pub mod net;
pub mod policy;
pub mod pool;
pub mod reaper;
pub mod registry;
pub mod server;
pub mod session;
pub mod sync;
pub mod threads;
