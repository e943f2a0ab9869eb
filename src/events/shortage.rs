//! What evener lacks: room, sockets, threads, time. It goes on without, tries again, and says what to raise.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::LogLevel;
use crate::limits::PROBES_AT_ONCE;

/// Something is short.
#[derive(Debug, Clone)]
pub enum Shortage {
    /// A listener could not accept a client for lack of something; it goes on after a pause.
    AcceptFailed {
        /// The listener.
        listener: Arc<str>,
        /// What the kernel said.
        error: String,
        /// What can be done.
        advice: &'static str,
    },
    /// A listener that refused its clients for a while can't be opened again; that is tried again.
    ReopenFailed {
        /// The listener.
        listener: Arc<str>,
        /// The address.
        address: String,
        /// What the kernel said.
        error: String,
    },
    /// The OS refused a thread; who needed it tries again after a pause.
    ThreadRefused {
        /// What needed it.
        by: Arc<str>,
        /// What the kernel said.
        error: String,
    },
    /// The OS refused a socket to somebody who tries again after a pause.
    SocketRefused {
        /// What needed it.
        by: Arc<str>,
        /// What the kernel said.
        error: String,
    },
    /// As many sessions as allowed; further clients wait in the backlog.
    Full {
        /// The listener that stopped accepting.
        listener: Arc<str>,
        /// The limit.
        limit: u32,
    },
    /// Probes begin so late that some are left out; at most every 10 s.
    ProbesLate {
        /// How late the latest of them began.
        late: Duration,
    },
    /// Events that were not written because the log's sink was too slow.
    LogDropped {
        /// How many.
        events: u64,
    },
}

impl Shortage {
    /// All the same.
    pub(super) const LEVEL: LogLevel = LogLevel::Warn;

    pub(super) fn fields(&self) -> (&'static str, Value) {
        match self {
            Shortage::AcceptFailed {
                listener,
                error,
                advice,
            } => {
                let fields = json!({"listener": &**listener, "error": error, "advice": advice});
                ("accept_failed", fields)
            }
            Shortage::ReopenFailed {
                listener,
                address,
                error,
            } => {
                let fields = json!({"listener": &**listener, "address": address, "error": error});
                ("reopen_failed", fields)
            }
            Shortage::ThreadRefused { by, error } => {
                ("thread_refused", json!({"by": &**by, "error": error}))
            }
            Shortage::SocketRefused { by, error } => {
                ("socket_refused", json!({"by": &**by, "error": error}))
            }
            Shortage::Full { listener, limit } => {
                ("full", json!({"listener": &**listener, "limit": limit}))
            }
            Shortage::ProbesLate { late } => {
                let fields = json!({"late_seconds": late.as_secs_f64(), "at_once": PROBES_AT_ONCE});
                ("probes_late", fields)
            }
            Shortage::LogDropped { events } => ("log_dropped", json!({"events": events})),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shortage::AcceptFailed {
                listener,
                error,
                advice,
            } => write!(
                f,
                "listener {listener} can't accept for now: {error}; clients wait in the backlog; {advice}"
            ),
            Shortage::ReopenFailed {
                listener,
                address,
                error,
            } => write!(
                f,
                "listener {listener} can't be opened again at {address}: {error}; its clients are refused; \
                 another process took its port while evener refused clients there, and evener goes on trying"
            ),
            Shortage::ThreadRefused { by, error } => write!(
                f,
                "{by} waits for a thread, which the system refuses: {error}; \
                 raise ulimit -u, TasksMax= or vm.max_map_count, or lower limits.max_connections"
            ),
            Shortage::SocketRefused { by, error } => write!(
                f,
                "{by} waits for a socket, which the system refuses: {error}; \
                 raise ulimit -n (LimitNOFILE=), or free memory"
            ),
            Shortage::Full { listener, limit } => write!(
                f,
                "listener {listener} is full at {limit} connections; further clients wait in the backlog"
            ),
            Shortage::ProbesLate { late } => write!(
                f,
                "health checks can't keep up: a probe began {:.1}s late, with {PROBES_AT_ONCE} at once; raise \
                 interval, or lower timeout: a server that does not answer costs all of it",
                late.as_secs_f64()
            ),
            Shortage::LogDropped { events } => write!(
                f,
                "{events} log lines were dropped: whoever reads the log is too slow"
            ),
        }
    }
}
