//! What a reload, a name or the administrator has changed.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::LogLevel;
use crate::policy::address::Address;

/// Something is otherwise than the config of the start said.
#[derive(Debug, Clone)]
pub enum Changed {
    /// A new config is in force.
    Reloaded {
        /// Number of the config, from 1 for the one of the start.
        generation: u64,
        /// How many changes it made; each has had a line of its own.
        changes: usize,
    },
    /// One thing that a new config has changed.
    Config {
        /// As `reload --dry-run` shows it.
        change: String,
    },
    /// Something in a new config that is allowed, and probably not meant.
    Warning {
        /// What, and what would be right.
        warning: String,
    },
    /// A config was not taken; the old one stays in force.
    ReloadFailed {
        /// Everything that is wrong with it, a line each.
        errors: Vec<String>,
    },
    /// A backend comes or goes because its name has other addresses.
    NameBackend {
        /// As `reload --dry-run` shows it.
        change: String,
    },
    /// Somebody has changed a backend at run time.
    Backend {
        /// The pool.
        pool: Arc<str>,
        /// The backend's name.
        backend: Arc<str>,
        /// Its address.
        address: Address,
        /// What is otherwise now.
        change: String,
    },
    /// A backend that is no longer in use had sessions when its time was over.
    LeavingAborted {
        /// The pool.
        pool: Arc<str>,
        /// The backend's name.
        backend: Arc<str>,
        /// How many.
        sessions: usize,
    },
}

impl Changed {
    pub(super) fn level(&self) -> LogLevel {
        match self {
            Changed::Warning { .. }
            | Changed::ReloadFailed { .. }
            | Changed::LeavingAborted { .. } => LogLevel::Warn,
            Changed::Reloaded { .. }
            | Changed::Config { .. }
            | Changed::NameBackend { .. }
            | Changed::Backend { .. } => LogLevel::Info,
        }
    }

    pub(super) fn fields(&self) -> (&'static str, Value) {
        match self {
            Changed::Reloaded {
                generation,
                changes,
            } => {
                let fields = json!({"generation": generation, "changes": changes});
                ("reloaded", fields)
            }
            Changed::Config { change } => ("config_changed", json!({"change": change})),
            Changed::Warning { warning } => ("config_warning", json!({"warning": warning})),
            Changed::ReloadFailed { errors } => ("reload_failed", json!({"errors": errors})),
            Changed::NameBackend { change } => ("name_backend", json!({"change": change})),
            Changed::Backend {
                pool,
                backend,
                address,
                change,
            } => {
                let address = address.to_string();
                let fields = json!({"pool": &**pool, "backend": &**backend, "address": address,
                                    "change": change});
                ("backend_changed", fields)
            }
            Changed::LeavingAborted {
                pool,
                backend,
                sessions,
            } => {
                let fields = json!({"pool": &**pool, "backend": &**backend, "sessions": sessions});
                ("leaving_aborted", fields)
            }
        }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Changed::Reloaded {
                generation,
                changes: 0,
            } => write!(
                f,
                "config reloaded, nothing has changed (generation {generation})"
            ),
            Changed::Reloaded {
                generation,
                changes,
            } => write!(
                f,
                "config reloaded, changes: {changes} (generation {generation})"
            ),
            Changed::Config { change } => write!(f, "config: {change}"),
            Changed::Warning { warning } => write!(f, "config: {warning}"),
            Changed::ReloadFailed { errors } => write!(
                f,
                "the new config is not taken, the old one stays in force: {}",
                errors.join(" | ")
            ),
            Changed::NameBackend { change } => write!(f, "names: {change}"),
            Changed::Backend {
                pool,
                backend,
                address,
                change,
            } => write!(
                f,
                "backend {backend} {address} (pool {pool}): {change}, as asked for at run time"
            ),
            Changed::LeavingAborted {
                pool,
                backend,
                sessions,
            } => write!(
                f,
                "backend {backend} (pool {pool}) is not in use any more and its time is over: \
                 {sessions} connections aborted"
            ),
        }
    }
}
