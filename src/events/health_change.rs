//! A backend that came up or went down, as text and as JSON.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::policy::address::Address;

/// A backend that came up or went down.
#[derive(Debug, Clone)]
pub struct HealthChange {
    /// The pool it is in.
    pub pool: Arc<str>,
    /// Its name.
    pub backend: Arc<str>,
    /// Its address.
    pub address: Address,
    /// True: it takes sessions again.
    pub up: bool,
    /// It was the first probe that brought it up: no news.
    pub first: bool,
    /// What the last probe found, in words.
    pub reason: String,
    /// How many probes in a row said so; 0: it was its agent.
    pub streak: u32,
    /// Backends of the pool that are up now.
    pub up_count: usize,
    /// Backends of the pool.
    pub total: usize,
}

impl HealthChange {
    /// The fields of the JSON log.
    pub(super) fn fields(&self) -> Value {
        json!({
            "pool": &*self.pool,
            "backend": &*self.backend,
            "address": self.address.to_string(),
            "health": if self.up { "up" } else { "down" },
            "reason": self.reason,
            "streak": self.streak,
            "up_count": self.up_count,
            "total": self.total,
        })
    }
}

impl fmt::Display for HealthChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.up { "UP" } else { "DOWN" };
        write!(f, "Server {} is {state} (pool {}", self.address, self.pool)?;
        if *self.backend != *self.address.to_string() {
            write!(f, ", backend {}", self.backend)?;
        }
        match self.streak {
            0 => write!(f, "; {}", self.reason)?,
            1 => write!(f, "; 1 probe: {}", self.reason)?,
            many => write!(f, "; {many} probes in a row: {}", self.reason)?,
        }
        write!(f, "; {} of {} up)", self.up_count, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_change_begins_with_the_promised_words() {
        let change = HealthChange {
            pool: "web".into(),
            backend: "a".into(),
            address: Address::Ip("127.0.0.1:8001".parse().unwrap()),
            up: false,
            first: false,
            reason: "connection refused".into(),
            streak: 3,
            up_count: 2,
            total: 3,
        };
        assert_eq!(
            change.to_string(),
            "Server 127.0.0.1:8001 is DOWN (pool web, backend a; 3 probes in a row: connection refused; 2 of 3 up)"
        );
    }
}
