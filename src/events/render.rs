//! How each event reads: a sentence for people, a name and fields for programs.

use std::fmt;

use serde_json::{Value, json};

use super::Event;

impl Event {
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
            Event::SocketRefused { by, error } => {
                ("socket_refused", json!({"by": &**by, "error": error}))
            }
            Event::Full { listener, limit } => {
                ("full", json!({"listener": &**listener, "limit": limit}))
            }
            Event::Draining {
                sessions, timeout, ..
            } => (
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
            // The text is the message, which every line has.
            Event::Note { .. } => ("note", json!({})),
            Event::Stopped => ("stopped", json!({})),
            Event::Panicked { thread, what } => {
                ("panicked", json!({"thread": thread, "what": what}))
            }
            Event::LogDropped { events } => ("log_dropped", json!({"events": events})),
        }
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
            Event::SocketRefused { by, error } => write!(
                f,
                "{by} waits for a socket, which the system refuses: {error}; \
                 raise ulimit -n (LimitNOFILE=), or free memory"
            ),
            Event::Full { listener, limit } => write!(
                f,
                "listener {listener} is full at {limit} connections; further clients wait in the backlog"
            ),
            Event::Draining {
                sessions,
                since,
                timeout,
            } => {
                write!(f, "draining {sessions} connections, ")?;
                match timeout {
                    Some(timeout) => {
                        let until = humantime::format_rfc3339_seconds(*since + *timeout);
                        write!(f, "until {until}")
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
            Event::Note { text } => f.write_str(text),
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
    fn a_shortage_names_what_is_short_and_what_raises_it() {
        let (by, error) = ("the health check".into(), "refused".to_owned());
        let of_threads = Event::ThreadRefused { by, error };
        assert!(of_threads.to_string().contains("TasksMax="));
        let (by, error) = ("the health check".into(), "refused".to_owned());
        let of_sockets = Event::SocketRefused { by, error };
        assert!(of_sockets.to_string().contains("LimitNOFILE="));
    }

    #[test]
    fn the_end_of_a_drain_does_not_depend_on_when_the_line_is_written() {
        let event = Event::Draining {
            sessions: 2,
            since: std::time::UNIX_EPOCH,
            timeout: Some(std::time::Duration::from_secs(25)),
        };
        assert_eq!(
            event.to_string(),
            "draining 2 connections, until 1970-01-01T00:00:25Z"
        );
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
}
