//! evener (map to be written)
pub mod config;
pub mod policy;
