//! Clients that a listener did not let in: why, and what is logged of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

/// Why a client was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// By a rule of `access`, or its default.
    Denied,
    /// Its address has `max_connections_per_ip` sessions.
    IpLimit,
    /// Its address comes more often than `connection_rate_per_ip`.
    Rate,
}

impl Refusal {
    /// Every reason; a reason's place here is its number.
    pub const ALL: [Refusal; 3] = [Refusal::Denied, Refusal::IpLimit, Refusal::Rate];

    /// The word in the log and the metrics.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::Denied => "denied",
            Refusal::IpLimit => "ip_limit",
            Refusal::Rate => "rate",
        }
    }

    /// The key of the config that it comes from.
    fn key(self) -> &'static str {
        match self {
            Refusal::Denied => "access",
            Refusal::IpLimit => "max_connections_per_ip",
            Refusal::Rate => "connection_rate_per_ip",
        }
    }
}

/// Clients of one listener that were refused for one reason.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The listener.
    pub listener: Arc<str>,
    /// Why.
    pub reason: Refusal,
    /// How many since the line before.
    pub count: u64,
    /// The address of the last of them.
    pub example: SocketAddr,
}

impl Refused {
    /// The fields of the JSON log.
    pub(super) fn fields(&self) -> Value {
        json!({
            "listener": &*self.listener,
            "reason": self.reason.word(),
            "count": self.count,
            "example": self.example.to_string(),
        })
    }
}

impl Refused {
    /// As a line about one client alone.
    pub(super) fn one(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, listener, reason) = (self.example, &self.listener, self.reason.word());
        write!(f, "client {client} refused: {reason} listener={listener}")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = if self.count == 1 { "client" } else { "clients" };
        write!(
            f,
            "listener {} refused {} {clients}: {} ({}), the last one {}",
            self.listener,
            self.count,
            self.reason.word(),
            self.reason.key(),
            self.example
        )
    }
}
