//! What sockets are told, tried before anything has changed: an option that can't be had is an error of the
//! start or the reload, not of each session.

use super::StartError;
use crate::config::Config;
use crate::net::{listener, outgoing};

/// Tries the options of every listener and every pool.
pub(super) fn try_all(config: &Config) -> Result<(), StartError> {
    for of_config in &config.listeners {
        let of = || format!("listener {}", of_config.name);
        listener::try_options(&of_config.socket)
            .map_err(|error| StartError::Option { of: of(), error })?;
    }
    for pool in &config.pools {
        let of = || format!("pool {}", pool.name);
        outgoing::try_options(&pool.socket)
            .map_err(|error| StartError::Option { of: of(), error })?;
    }
    Ok(())
}
