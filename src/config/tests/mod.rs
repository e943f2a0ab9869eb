//! Whole configs and whole command lines: the good ones, the bad ones with the answer that each
//! must get, and arbitrary ones, which must get some answer.

mod address;
mod bad;
mod cli;
mod error;
mod good;
mod health_check;
mod print;
mod value;
mod words;

use super::{Config, ConfigError};

/// The errors of a config that must have some.
fn errors(text: &str) -> Vec<ConfigError> {
    match Config::from_yaml("evener.yaml", text) {
        Ok(config) => panic!("this config was accepted:\n{text}\n{config:#?}"),
        Err(errors) => errors,
    }
}

/// All errors as they are printed.
fn printed(errors: &[ConfigError]) -> String {
    errors.iter().map(|error| format!("{error}\n")).collect()
}
