//! Who serves: how a pool stands, and whether a listener lets anybody in because of it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::LogLevel;
use crate::policy::eligible::Mode;

/// Clients are served otherwise than before.
#[derive(Debug, Clone)]
pub enum Serving {
    /// A pool is served by others.
    Pool {
        /// The pool.
        pool: Arc<str>,
        /// How it stood; `None`: it is new.
        old: Option<Mode>,
        /// How it stands.
        new: Mode,
    },
    /// Clients of a listener are refused from now on, because its pool has no backend, or no longer.
    Door {
        /// The listener.
        listener: Arc<str>,
        /// Its pool.
        pool: Arc<str>,
        /// Its address.
        address: String,
        /// From now on.
        refuses: bool,
    },
}

impl Serving {
    pub(super) fn level(&self) -> LogLevel {
        match self {
            Serving::Door { refuses: true, .. } => LogLevel::Warn,
            Serving::Pool { new, .. } if *new != Mode::Normal => LogLevel::Warn,
            // That a backend is up again has a line of its own.
            Serving::Pool {
                old: None | Some(Mode::Down),
                ..
            } => LogLevel::Debug,
            Serving::Pool { .. } | Serving::Door { .. } => LogLevel::Info,
        }
    }

    pub(super) fn fields(&self) -> (&'static str, Value) {
        match self {
            Serving::Pool { pool, old, new } => {
                let old = old.map(Mode::word);
                let fields = json!({"pool": &**pool, "old": old, "new": new.word()});
                ("pool_mode", fields)
            }
            Serving::Door {
                listener,
                pool,
                address,
                refuses,
            } => {
                let fields = json!({"listener": &**listener, "pool": &**pool, "address": address,
                                    "refuses": refuses});
                ("listener_door", fields)
            }
        }
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Serving::Pool { pool, old, new } => match new {
                Mode::Normal => {
                    let again = old.map_or("", |_| " again");
                    write!(f, "pool {pool} is served by its primaries{again}")
                }
                Mode::Panic => write!(
                    f,
                    "pool {pool} is in panic: fewer are up than panic_threshold asks for, so all of them \
                     serve, up or not"
                ),
                Mode::Backups => write!(f, "pool {pool}: no primary is up, its backups serve"),
                Mode::FailOpen => write!(
                    f,
                    "pool {pool}: nobody is up, and all serve all the same (when_down: fail_open)"
                ),
                Mode::Down => write!(f, "pool {pool}: nobody can serve"),
            },
            Serving::Door {
                listener,
                pool,
                address,
                refuses: true,
            } => write!(
                f,
                "listener {listener} refuses clients at {address}: pool {pool} has no backend"
            ),
            Serving::Door {
                listener, address, ..
            } => write!(f, "listener {listener} is open again at {address}"),
        }
    }
}
