//! The life of the process after its start: upgrades, the drain, the end, and what must never happen.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::config::LogLevel;

/// Something that concerns the process as a whole.
#[derive(Debug, Clone)]
pub enum Life {
    /// SIGUSR2: a new process was started, and is given the listening sockets.
    UpgradeStarted {
        /// Its process id.
        pid: u32,
    },
    /// The new process serves; this one takes nobody any more.
    Upgraded {
        /// Its process id.
        pid: u32,
    },
    /// The new process did not come to serve; this one goes on.
    UpgradeFailed {
        /// Why.
        error: String,
    },
    /// No new session is taken; those that run may end by themselves.
    Draining {
        /// Sessions that run.
        sessions: u32,
        /// When the drain began.
        since: SystemTime,
        /// How long they may run from then on; `None` is for ever.
        timeout: Option<Duration>,
    },
    /// Sessions were aborted, at the drain's deadline or by a second signal.
    Aborted {
        /// How many.
        sessions: usize,
        /// True: by a second signal.
        by_signal: bool,
    },
    /// The process is about to exit.
    Stopped,
    /// A message to the service manager failed.
    ManagerUnreachable {
        /// What the kernel said.
        error: String,
    },
    /// A thread that evener can't do without has ended, so the service manager's watchdog is left to
    /// restart it.
    NoSignOfLife,
    /// Aborted sessions that did not end: a bug in evener, which exits all the same.
    Stuck {
        /// How many.
        sessions: usize,
    },
    /// A thread panicked: a bug in evener, contained.
    Panicked {
        /// The thread's name.
        thread: String,
        /// Message and place.
        what: String,
    },
}

impl Life {
    pub(super) fn level(&self) -> LogLevel {
        match self {
            Life::Panicked { .. } | Life::Stuck { .. } | Life::NoSignOfLife => LogLevel::Error,
            Life::UpgradeFailed { .. } | Life::ManagerUnreachable { .. } | Life::Aborted { .. } => {
                LogLevel::Warn
            }
            Life::UpgradeStarted { .. }
            | Life::Upgraded { .. }
            | Life::Draining { .. }
            | Life::Stopped => LogLevel::Info,
        }
    }

    pub(super) fn fields(&self) -> (&'static str, Value) {
        match self {
            Life::UpgradeStarted { pid } => ("upgrade_started", json!({"pid": pid})),
            Life::Upgraded { pid } => ("upgraded", json!({"pid": pid})),
            Life::UpgradeFailed { error } => ("upgrade_failed", json!({"error": error})),
            Life::Draining {
                sessions, timeout, ..
            } => {
                let seconds = timeout.map(|timeout| timeout.as_secs_f64());
                let fields = json!({"sessions": sessions, "timeout_seconds": seconds});
                ("draining", fields)
            }
            Life::Aborted {
                sessions,
                by_signal,
            } => {
                let fields = json!({"sessions": sessions, "by_signal": by_signal});
                ("aborted", fields)
            }
            Life::Stopped => ("stopped", json!({})),
            Life::ManagerUnreachable { error } => ("manager_unreachable", json!({"error": error})),
            Life::NoSignOfLife => ("no_sign_of_life", json!({})),
            Life::Stuck { sessions } => ("stuck", json!({"sessions": sessions})),
            Life::Panicked { thread, what } => {
                ("panicked", json!({"thread": thread, "what": what}))
            }
        }
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Life::UpgradeStarted { pid } => {
                write!(f, "upgrade: process {pid} was started and is to take over")
            }
            Life::Upgraded { pid } => {
                write!(f, "upgrade: process {pid} serves now, and this one drains")
            }
            Life::UpgradeFailed { error } => write!(
                f,
                "upgrade: the new process did not take over, and this one goes on: {error}"
            ),
            Life::Draining {
                sessions,
                since,
                timeout,
            } => draining(f, *sessions, *since, *timeout),
            Life::Aborted {
                sessions,
                by_signal,
            } => {
                let why = match by_signal {
                    true => "second signal",
                    false => "the drain's time is over",
                };
                write!(f, "{why}: {sessions} connections aborted")
            }
            Life::Stopped => write!(f, "stopped"),
            Life::ManagerUnreachable { error } => write!(
                f,
                "can't tell the service manager how evener is: {error}; \
                 look at NOTIFY_SOCKET, and at NotifyAccess= in the unit file"
            ),
            Life::NoSignOfLife => write!(
                f,
                "a thread that evener can't do without has ended; \
                 the service manager gets no sign of life any more, so that it restarts evener"
            ),
            Life::Stuck { sessions } => write!(
                f,
                "a bug in evener: {sessions} connections did not end when they were reset; exiting all the same"
            ),
            Life::Panicked { thread, what } => write!(
                f,
                "a bug in evener: thread {thread} panicked: {what}; the other threads go on"
            ),
        }
    }
}

/// How long sessions may still run.
fn draining(
    f: &mut fmt::Formatter<'_>,
    sessions: u32,
    since: SystemTime,
    timeout: Option<Duration>,
) -> fmt::Result {
    write!(f, "draining {sessions} connections, ")?;
    match timeout {
        Some(timeout) => {
            let until = humantime::format_rfc3339_seconds(since + timeout);
            write!(f, "until {until}")
        }
        None => write!(f, "until the last one ends"),
    }
}
