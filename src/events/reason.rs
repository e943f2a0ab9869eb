//! Why a session ended: in a word, and in HAProxy's two letters.

use crate::config::LogLevel;

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
    /// What came from a trusted proxy was no PROXY header.
    BadProxyHeader,
    /// The PROXY header was not complete in time.
    ProxyHeaderTimeout,
    /// The connection ended before its PROXY header was complete.
    ClientLeftBeforeHeader,
    /// What the client asked for has no route, and the listener no pool for the rest.
    NoRoute,
    /// The client's TLS hello was not complete in time.
    HelloTimeout,
    /// The client left before it was known what it asks for.
    ClientLeftBeforeHello,
    /// The client left while evener was connecting for it.
    ClientLeft,
    /// Every attempt to connect was refused, the last one too.
    ConnectRefused,
    /// The last attempt to connect took longer than `timeouts.connect`.
    ConnectTimeout,
    /// The last attempt to connect failed otherwise (no route).
    ConnectFailed,
    /// No backend of the pool can take a session.
    NoBackend,
    /// evener lacked a descriptor, memory, a local port or a local address to connect.
    Resources,
    /// The drain's deadline passed, or a second signal came.
    Shutdown,
    /// A bug in evener: the session's thread panicked.
    Internal,
    /// An administrator ended it.
    Killed,
    /// Its backend was taken out of the config: it was idle, or the time to finish was over.
    Removed,
    /// The client that a PROXY header named is not let in.
    Refused,
    /// The client left while it waited for a backend.
    ClientLeftQueue,
    /// No backend had room, or was up, within `timeouts.queue`.
    QueueTimeout,
    /// No backend had room, and as many waited as may.
    QueueFull,
    /// It has lived for `timeouts.max_lifetime`.
    Lifetime,
    /// Its backend went down, in a pool with `on_down: close`.
    BackendDown,
    /// Its backend had more than its share, and an administrator has asked to move what is beyond.
    Rebalanced,
    /// Its backend is drained, and an administrator has asked to close its sessions.
    Drained,
}

impl EndReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [EndReason; 31] = [
        EndReason::Normal,
        EndReason::ClientReset,
        EndReason::ServerReset,
        EndReason::ClientLost,
        EndReason::ServerLost,
        EndReason::IdleTimeout,
        EndReason::HalfCloseTimeout,
        EndReason::BadProxyHeader,
        EndReason::ProxyHeaderTimeout,
        EndReason::ClientLeftBeforeHeader,
        EndReason::NoRoute,
        EndReason::HelloTimeout,
        EndReason::ClientLeftBeforeHello,
        EndReason::ClientLeft,
        EndReason::ConnectRefused,
        EndReason::ConnectTimeout,
        EndReason::ConnectFailed,
        EndReason::NoBackend,
        EndReason::Resources,
        EndReason::Shutdown,
        EndReason::Internal,
        EndReason::Killed,
        EndReason::Removed,
        EndReason::Refused,
        EndReason::ClientLeftQueue,
        EndReason::QueueTimeout,
        EndReason::QueueFull,
        EndReason::Lifetime,
        EndReason::BackendDown,
        EndReason::Rebalanced,
        EndReason::Drained,
    ];

    /// The word in the log, and HAProxy's two letters for the same (its manual, "Session state at
    /// disconnection": who ended it, in upper case for an abort and in lower case for a timeout, and
    /// when: R waiting for the request, here the PROXY header or the TLS hello, Q in the queue, C connecting,
    /// D exchanging data).
    pub fn word_and_code(self) -> (&'static str, &'static str) {
        match self {
            EndReason::Normal => ("normal", "--"),
            EndReason::ClientReset => ("client_reset", "CD"),
            EndReason::ServerReset => ("server_reset", "SD"),
            EndReason::ClientLost => ("client_lost", "cD"),
            EndReason::ServerLost => ("server_lost", "sD"),
            EndReason::IdleTimeout => ("idle_timeout", "cD"),
            EndReason::HalfCloseTimeout => ("half_close_timeout", "sD"),
            EndReason::BadProxyHeader => ("bad_proxy_header", "PR"),
            EndReason::ProxyHeaderTimeout => ("proxy_header_timeout", "cR"),
            EndReason::ClientLeftBeforeHeader => ("client_closed_before_proxy_header", "CR"),
            EndReason::NoRoute => ("no_route", "PR"),
            EndReason::HelloTimeout => ("hello_timeout", "cR"),
            EndReason::ClientLeftBeforeHello => ("client_closed_before_hello", "CR"),
            EndReason::ClientLeft => ("client_closed_while_connecting", "CC"),
            EndReason::ConnectRefused => ("connect_refused", "SC"),
            EndReason::ConnectTimeout => ("connect_timeout", "sC"),
            EndReason::ConnectFailed => ("connect_failed", "SC"),
            EndReason::NoBackend => ("no_backend", "SC"),
            EndReason::Resources => ("resources", "RC"),
            EndReason::Shutdown => ("shutdown", "KD"),
            EndReason::Internal => ("internal", "ID"),
            EndReason::Killed => ("killed", "KD"),
            EndReason::Removed => ("backend_removed", "KD"),
            EndReason::Refused => ("refused", "PR"),
            EndReason::ClientLeftQueue => ("client_closed_while_queued", "CQ"),
            EndReason::QueueTimeout => ("queue_timeout", "sQ"),
            EndReason::QueueFull => ("queue_full", "PQ"),
            EndReason::Lifetime => ("max_lifetime", "PD"),
            EndReason::BackendDown => ("backend_down", "DD"),
            EndReason::Rebalanced => ("rebalanced", "KD"),
            EndReason::Drained => ("drained", "KD"),
        }
    }

    /// How important a session that ended so is: that a client was turned away matters more than
    /// that one left.
    pub fn level(self) -> LogLevel {
        match self {
            EndReason::BadProxyHeader
            | EndReason::ProxyHeaderTimeout
            | EndReason::ConnectRefused
            | EndReason::ConnectTimeout
            | EndReason::ConnectFailed
            | EndReason::NoBackend
            | EndReason::QueueTimeout
            | EndReason::QueueFull
            | EndReason::Resources => LogLevel::Warn,
            EndReason::Internal => LogLevel::Error,
            _ => LogLevel::Info,
        }
    }

    /// The reason with this number.
    pub fn from_code(code: u8) -> Option<EndReason> {
        EndReason::ALL
            .get(usize::from(code).checked_sub(1)?)
            .copied()
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
        assert_eq!(EndReason::from_code(EndReason::ALL.len() as u8 + 1), None);
    }
}
