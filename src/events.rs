//! Everything that can be logged: one closed enum, so that every line of the log is listed here.
//!
//! Whoever sees something happen makes the event; [`crate::log`] alone turns it into text. Names
//! come in as `Arc<str>`: an event costs reference counts, not copies, on the thread that sends it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::LogLevel;
use crate::limits::Ceiling;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// Both sides ended their streams and everything was delivered.
    Normal = 1,
    /// The client reset its connection.
    ClientReset,
    /// The backend reset its connection.
    ServerReset,
    /// The network to the client failed (keepalive or retransmission gave up, no route).
    ClientLost,
    /// The network to the backend failed.
    ServerLost,
    /// No byte in either direction for `timeouts.idle`.
    IdleTimeout,
    /// One side had ended, and no byte came for `timeouts.half_close`.
    HalfCloseTimeout,
    /// The client left while evener was connecting for it.
    ClientLeft,
    /// Every attempt to connect was refused, the last one too.
    ConnectRefused,
    /// The last attempt to connect took longer than `timeouts.connect`.
    ConnectTimeout,
    /// The last attempt to connect failed otherwise (no route, no local port).
    ConnectFailed,
    /// No backend of the pool can take a session.
    NoBackend,
    /// evener lacked a descriptor or memory to connect.
    Resources,
    /// The drain's deadline passed, or a second signal came.
    Shutdown,
    /// A bug in evener: the session's thread panicked.
    Internal,
}

impl EndReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [EndReason; 15] = [
        EndReason::Normal,
        EndReason::ClientReset,
        EndReason::ServerReset,
        EndReason::ClientLost,
        EndReason::ServerLost,
        EndReason::IdleTimeout,
        EndReason::HalfCloseTimeout,
        EndReason::ClientLeft,
        EndReason::ConnectRefused,
        EndReason::ConnectTimeout,
        EndReason::ConnectFailed,
        EndReason::NoBackend,
        EndReason::Resources,
        EndReason::Shutdown,
        EndReason::Internal,
    ];

    /// The word in the log, and HAProxy's two letters for the same (its manual, "Session state at
    /// disconnection": who ended it, in upper case for an abort and in lower case for a timeout, and
    /// when: C connecting, D exchanging data).
    pub fn word_and_code(self) -> (&'static str, &'static str) {
        match self {
            EndReason::Normal => ("normal", "--"),
            EndReason::ClientReset => ("client_reset", "CD"),
            EndReason::ServerReset => ("server_reset", "SD"),
            EndReason::ClientLost => ("client_lost", "cD"),
            EndReason::ServerLost => ("server_lost", "sD"),
            EndReason::IdleTimeout => ("idle_timeout", "cD"),
            EndReason::HalfCloseTimeout => ("half_close_timeout", "sD"),
            EndReason::ClientLeft => ("client_closed_while_connecting", "CC"),
            EndReason::ConnectRefused => ("connect_refused", "SC"),
            EndReason::ConnectTimeout => ("connect_timeout", "sC"),
            EndReason::ConnectFailed => ("connect_failed", "SC"),
            EndReason::NoBackend => ("no_backend", "SC"),
            EndReason::Resources => ("resources", "RC"),
            EndReason::Shutdown => ("shutdown", "KD"),
            EndReason::Internal => ("internal", "ID"),
        }
    }

    /// The reason with this number.
    pub fn from_code(code: u8) -> Option<EndReason> {
        EndReason::ALL
            .get(usize::from(code).checked_sub(1)?)
            .copied()
    }
}

/// What is known of a session when it has ended.
#[derive(Debug, Clone)]
pub struct SessionRecord {
    /// Number of the session, from 1.
    pub id: u64,
    /// The listener it came by.
    pub listener: Arc<str>,
    /// The pool that served it.
    pub pool: Arc<str>,
    /// The client's address.
    pub client: SocketAddr,
    /// Name and address of the backend, if one was connected.
    pub backend: Option<(Arc<str>, SocketAddr)>,
    /// Bytes from the client to the backend.
    pub bytes_in: u64,
    /// Bytes from the backend to the client.
    pub bytes_out: u64,
    /// From the accept to the connection with the backend, all attempts included.
    pub connect: Option<Duration>,
    /// From the accept to the end.
    pub duration: Duration,
    /// Attempts to connect.
    pub attempts: u32,
    /// Why it ended.
    pub reason: EndReason,
}

/// Something that happened and that somebody may want to know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// How many sessions this process can hold, and how many the config allows (`None` is `auto`).
    Room {
        /// What the machine allows.
        ceiling: Ceiling,
        /// What the config asks for.
        configured: Option<u32>,
    },
    /// The health thread begins its first round.
    HealthCheckStarting,
    /// A listener accepts connections.
    Listening {
        /// The address as written, or the real one where the OS chose the port.
        address: String,
    },
    /// A backend came up or went down.
    HealthChanged {
        /// The pool it is in.
        pool: Arc<str>,
        /// Its name.
        backend: Arc<str>,
        /// Its address.
        address: SocketAddr,
        /// True: it takes sessions again.
        up: bool,
        /// It is the first probe that decided.
        first: bool,
        /// What the last probe found, in words.
        reason: String,
        /// How many probes in a row said so.
        streak: u32,
        /// Backends of the pool that are up now.
        up_count: usize,
        /// Backends of the pool.
        total: usize,
    },
    /// A session has its backend.
    SessionStarted {
        /// Number of the session.
        id: u64,
        /// The listener it came by.
        listener: Arc<str>,
        /// The client's address.
        client: SocketAddr,
        /// The backend's name.
        backend: Arc<str>,
    },
    /// An attempt to connect failed; the session goes on with the next backend if it has attempts left.
    ConnectFailed {
        /// Number of the session.
        id: u64,
        /// The pool of the backend.
        pool: Arc<str>,
        /// The backend's name.
        backend: Arc<str>,
        /// Its address.
        address: SocketAddr,
        /// What went wrong.
        error: String,
    },
    /// A session has ended.
    SessionEnded(Box<SessionRecord>),
    /// A listener could not accept a client for lack of something; it goes on after a pause.
    AcceptFailed {
        /// The listener.
        listener: Arc<str>,
        /// What the kernel said.
        error: String,
        /// What can be done.
        advice: &'static str,
    },
    /// The OS refused a thread; who needed it tries again after a pause.
    ThreadRefused {
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
    /// No new session is taken; those that run may end by themselves.
    Draining {
        /// Sessions that run.
        sessions: u32,
        /// How long they may; `None` is for ever.
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
    /// A thread panicked: a bug in evener, contained.
    Panicked {
        /// The thread's name.
        thread: String,
        /// Message and place.
        what: String,
    },
    /// Events that were not written because the log's sink was too slow.
    LogDropped {
        /// How many.
        events: u64,
    },
}

impl Event {
    /// How important it is.
    pub fn level(&self) -> LogLevel {
        match self {
            Event::Panicked { .. } => LogLevel::Error,
            Event::HealthChanged { up: false, .. }
            | Event::AcceptFailed { .. }
            | Event::ThreadRefused { .. }
            | Event::Full { .. }
            | Event::Aborted { .. }
            | Event::LogDropped { .. } => LogLevel::Warn,
            Event::HealthChanged { first: true, .. }
            | Event::SessionStarted { .. }
            | Event::ConnectFailed { .. } => LogLevel::Debug,
            _ => LogLevel::Info,
        }
    }

    /// The two lines a person at a terminal waits for; in the text log they stand alone on their
    /// line, with no time before them.
    pub fn is_banner(&self) -> bool {
        matches!(self, Event::HealthCheckStarting | Event::Listening { .. })
    }

    /// The name of the event and its fields, for the JSON log.
    pub fn fields(&self) -> (&'static str, Value) {
        match self {
            Event::Room {
                ceiling,
                configured,
            } => (
                "room",
                json!({"sessions": ceiling.sessions, "bound": ceiling.bound.map(|(bound, _)| bound.name()),
                       "configured": configured}),
            ),
            Event::HealthCheckStarting => ("health_check_starting", json!({})),
            Event::Listening { address } => ("listening", json!({"address": address})),
            Event::HealthChanged {
                pool,
                backend,
                address,
                up,
                reason,
                streak,
                up_count,
                total,
                ..
            } => (
                "health_changed",
                json!({"pool": &**pool, "backend": &**backend, "address": address.to_string(),
                       "health": if *up { "up" } else { "down" }, "reason": reason, "streak": streak,
                       "up_count": up_count, "total": total}),
            ),
            Event::SessionStarted {
                id,
                listener,
                client,
                backend,
            } => (
                "session_started",
                json!({"id": id, "listener": &**listener, "client": client.to_string(),
                       "backend": &**backend}),
            ),
            Event::ConnectFailed {
                id,
                pool,
                backend,
                address,
                error,
            } => (
                "connect_failed",
                json!({"id": id, "pool": &**pool, "backend": &**backend,
                       "address": address.to_string(), "error": error}),
            ),
            Event::SessionEnded(record) => ("session_ended", record.fields()),
            Event::AcceptFailed {
                listener,
                error,
                advice,
            } => (
                "accept_failed",
                json!({"listener": &**listener, "error": error, "advice": advice}),
            ),
            Event::ThreadRefused { by, error } => {
                ("thread_refused", json!({"by": &**by, "error": error}))
            }
            Event::Full { listener, limit } => {
                ("full", json!({"listener": &**listener, "limit": limit}))
            }
            Event::Draining { sessions, timeout } => (
                "draining",
                json!({"sessions": sessions, "timeout_seconds": timeout.map(|t| t.as_secs_f64())}),
            ),
            Event::Aborted {
                sessions,
                by_signal,
            } => (
                "aborted",
                json!({"sessions": sessions, "by_signal": by_signal}),
            ),
            Event::Stopped => ("stopped", json!({})),
            Event::Panicked { thread, what } => {
                ("panicked", json!({"thread": thread, "what": what}))
            }
            Event::LogDropped { events } => ("log_dropped", json!({"events": events})),
        }
    }
}

impl SessionRecord {
    fn fields(&self) -> Value {
        let (word, code) = self.reason.word_and_code();
        json!({
            "id": self.id,
            "listener": &*self.listener,
            "pool": &*self.pool,
            "client": self.client.to_string(),
            "backend": self.backend.as_ref().map(|(name, _)| &**name),
            "address": self.backend.as_ref().map(|(_, address)| address.to_string()),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "connect_ms": self.connect.map(milliseconds),
            "duration_ms": milliseconds(self.duration),
            "attempts": self.attempts,
            "reason": word,
            "code": code,
        })
    }
}

/// Milliseconds to the microsecond: 0.213.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

impl fmt::Display for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, code) = self.reason.word_and_code();
        write!(f, "session {} {} -> ", self.id, self.client)?;
        match &self.backend {
            Some((name, address)) if **name == *address.to_string() => write!(f, "{address}")?,
            Some((name, address)) => write!(f, "{name} {address}")?,
            None => write!(f, "-")?,
        }
        write!(
            f,
            " ended: {word} {code} listener={} pool={}",
            self.listener, self.pool
        )?;
        write!(f, " in={}B out={}B", self.bytes_in, self.bytes_out)?;
        match self.connect {
            Some(connect) => write!(f, " connect={:.3}ms", milliseconds(connect))?,
            None => write!(f, " connect=-")?,
        }
        write!(
            f,
            " total={:.3}ms attempts={}",
            milliseconds(self.duration),
            self.attempts
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Room {
                ceiling,
                configured,
            } => {
                write!(f, "{ceiling}")?;
                match configured {
                    Some(n) if *n > ceiling.sessions => {
                        write!(
                            f,
                            "; limits.max_connections asks for {n}, which is more: {} it is",
                            ceiling.sessions
                        )
                    }
                    Some(n) => write!(f, "; limits.max_connections allows {n}"),
                    None => Ok(()),
                }
            }
            Event::HealthCheckStarting => write!(f, "Starting health check..."),
            Event::Listening { address } => write!(f, "Load Balancer started on {address}"),
            Event::HealthChanged {
                pool,
                backend,
                address,
                up,
                reason,
                streak,
                up_count,
                total,
                ..
            } => {
                let state = if *up { "UP" } else { "DOWN" };
                write!(f, "Server {address} is {state} (pool {pool}")?;
                if **backend != *address.to_string() {
                    write!(f, ", backend {backend}")?;
                }
                let probes = if *streak == 1 {
                    "probe"
                } else {
                    "probes in a row"
                };
                write!(
                    f,
                    "; {streak} {probes}: {reason}; {up_count} of {total} up)"
                )
            }
            Event::SessionStarted {
                id,
                listener,
                client,
                backend,
            } => {
                write!(
                    f,
                    "session {id} {client} -> {backend} started listener={listener}"
                )
            }
            Event::ConnectFailed {
                id,
                pool,
                backend,
                address,
                error,
            } => {
                write!(
                    f,
                    "session {id}: can't connect to {backend} {address} (pool {pool}): {error}"
                )
            }
            Event::SessionEnded(record) => write!(f, "{record}"),
            Event::AcceptFailed {
                listener,
                error,
                advice,
            } => write!(
                f,
                "listener {listener} can't accept for now: {error}; clients wait in the backlog; {advice}"
            ),
            Event::ThreadRefused { by, error } => write!(
                f,
                "{by} waits for a thread, which the system refuses: {error}; \
                 raise ulimit -u, TasksMax= or vm.max_map_count, or lower limits.max_connections"
            ),
            Event::Full { listener, limit } => write!(
                f,
                "listener {listener} is full at {limit} connections; further clients wait in the backlog"
            ),
            Event::Draining { sessions, timeout } => {
                write!(f, "draining {sessions} connections, ")?;
                match timeout {
                    Some(timeout) => {
                        let until = std::time::SystemTime::now() + *timeout;
                        write!(f, "until {}", humantime::format_rfc3339_seconds(until))
                    }
                    None => write!(f, "until the last one ends"),
                }
            }
            Event::Aborted {
                sessions,
                by_signal: false,
            } => {
                write!(
                    f,
                    "the drain's time is over: {sessions} connections aborted"
                )
            }
            Event::Aborted {
                sessions,
                by_signal: true,
            } => {
                write!(f, "second signal: {sessions} connections aborted")
            }
            Event::Stopped => write!(f, "stopped"),
            Event::Panicked { thread, what } => {
                write!(
                    f,
                    "a bug in evener: thread {thread} panicked: {what}; the other threads go on"
                )
            }
            Event::LogDropped { events } => {
                write!(
                    f,
                    "{events} log lines were dropped: whoever reads the log is too slow"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_from_its_number_and_has_its_own_word() {
        let mut words = std::collections::HashSet::new();
        for reason in EndReason::ALL {
            assert_eq!(EndReason::from_code(reason as u8), Some(reason));
            let (word, code) = reason.word_and_code();
            assert!(words.insert(word), "{word} twice");
            assert_eq!(code.len(), 2);
        }
        assert_eq!(EndReason::from_code(0), None);
        assert_eq!(EndReason::from_code(16), None);
    }

    #[test]
    fn a_state_change_begins_with_the_promised_words() {
        let event = Event::HealthChanged {
            pool: "web".into(),
            backend: "a".into(),
            address: "127.0.0.1:8001".parse().unwrap(),
            up: false,
            first: false,
            reason: "connection refused".into(),
            streak: 3,
            up_count: 2,
            total: 3,
        };
        assert_eq!(
            event.to_string(),
            "Server 127.0.0.1:8001 is DOWN (pool web, backend a; 3 probes in a row: connection refused; 2 of 3 up)"
        );
    }

    #[test]
    fn a_session_record_tells_the_whole_story_on_one_line() {
        let record = SessionRecord {
            id: 7,
            listener: "web".into(),
            pool: "main".into(),
            client: "[::1]:5000".parse().unwrap(),
            backend: Some(("a".into(), "127.0.0.1:8000".parse().unwrap())),
            bytes_in: 78,
            bytes_out: 154,
            connect: Some(Duration::from_micros(213)),
            duration: Duration::from_millis(2),
            attempts: 2,
            reason: EndReason::ClientReset,
        };
        assert_eq!(
            Event::SessionEnded(Box::new(record)).to_string(),
            "session 7 [::1]:5000 -> a 127.0.0.1:8000 ended: client_reset CD listener=web pool=main \
             in=78B out=154B connect=0.213ms total=2.000ms attempts=2"
        );
    }
}
