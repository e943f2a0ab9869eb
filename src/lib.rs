//! evener (map to be written)
pub mod config;
pub mod dummy;
pub mod policy;
