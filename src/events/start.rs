//! What is told of the start: where evener listens, how much room there is, what was left out.

use std::fmt;

use serde_json::{Value, json};

use crate::config::LogLevel;
use crate::limits::Ceiling;

/// Something of the start, or of an address that a reload adds.
#[derive(Debug, Clone)]
pub enum Start {
    /// How many sessions this process can hold, and how many the config allows (`None` is `auto`).
    Room {
        /// What the machine allows.
        ceiling: Ceiling,
        /// What the config asks for.
        configured: Option<u32>,
    },
    /// The health thread begins its first round.
    HealthCheck,
    /// A listener accepts connections.
    Listening {
        /// The address as written, or the real one where the OS chose the port.
        address: String,
    },
    /// The admin server answers.
    AdminListening {
        /// `http://127.0.0.1:9900/` or `unix:/path`.
        address: String,
    },
    /// The default admin address can't be had, so there is no admin server.
    AdminUnavailable {
        /// The address.
        address: String,
        /// What the kernel said.
        error: String,
    },
    /// Every user of the machine can read the admin token.
    AdminTokenPublic {
        /// Its file.
        file: String,
    },
    /// A socket that the service manager passed to evener, and that no listener uses.
    InheritedUnused {
        /// Which, and why not.
        what: String,
    },
}

impl Start {
    pub(super) fn level(&self) -> LogLevel {
        match self {
            Start::AdminUnavailable { .. }
            | Start::AdminTokenPublic { .. }
            | Start::InheritedUnused { .. } => LogLevel::Warn,
            Start::Room { .. }
            | Start::HealthCheck
            | Start::Listening { .. }
            | Start::AdminListening { .. } => LogLevel::Info,
        }
    }

    pub(super) fn fields(&self) -> (&'static str, Value) {
        match self {
            Start::Room {
                ceiling,
                configured,
            } => {
                let bound = ceiling.bound.map(|(bound, _)| bound.name());
                let fields =
                    json!({"sessions": ceiling.sessions, "bound": bound, "configured": configured});
                ("room", fields)
            }
            Start::HealthCheck => ("health_check_starting", json!({})),
            Start::Listening { address } => ("listening", json!({"address": address})),
            Start::AdminListening { address } => ("admin_listening", json!({"address": address})),
            Start::AdminUnavailable { address, error } => (
                "admin_unavailable",
                json!({"address": address, "error": error}),
            ),
            Start::AdminTokenPublic { file } => ("admin_token_public", json!({"file": file})),
            Start::InheritedUnused { what } => ("inherited_unused", json!({"what": what})),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::Room {
                ceiling,
                configured,
            } => room(f, ceiling, *configured),
            Start::HealthCheck => write!(f, "Starting health check..."),
            Start::Listening { address } => write!(f, "Load Balancer started on {address}"),
            Start::AdminListening { address } => write!(f, "admin server at {address}"),
            Start::AdminUnavailable { address, error } => write!(
                f,
                "no admin server: the default address {address} can't be had: {error}; give another one \
                 with --admin or admin.bind, or say `off`"
            ),
            Start::AdminTokenPublic { file } => write!(
                f,
                "every user of this machine can read the admin token in {file}; try: chmod o-r {file}"
            ),
            Start::InheritedUnused { what } => write!(
                f,
                "an inherited socket is closed: {what}; \
                 correct the bind of a listener, or ListenStream= in the .socket unit"
            ),
        }
    }
}

fn room(f: &mut fmt::Formatter<'_>, ceiling: &Ceiling, configured: Option<u32>) -> fmt::Result {
    write!(f, "{ceiling}")?;
    match configured {
        Some(n) if n > ceiling.sessions => write!(
            f,
            "; limits.max_connections asks for {n}, which is more: {} it is",
            ceiling.sessions
        ),
        Some(n) => write!(f, "; limits.max_connections allows {n}"),
        None => Ok(()),
    }
}
