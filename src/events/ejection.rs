//! A backend that is ejected because real connections to it fail, or in again, as text and as JSON.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::policy::health::Health;

/// A backend that is ejected, or no longer.
#[derive(Debug, Clone)]
pub struct Ejection {
    /// The pool it is in.
    pub pool: Arc<str>,
    /// Its name.
    pub backend: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// For how long it is out; `None`: it is in again.
    pub lasts: Option<Duration>,
    /// Why.
    pub reason: String,
    /// What it is now.
    pub health: Health,
    /// Backends of the pool that are up now.
    pub up_count: usize,
    /// Backends of the pool.
    pub total: usize,
}

impl Ejection {
    /// The fields of the JSON log.
    pub(super) fn fields(&self) -> Value {
        json!({
            "pool": &*self.pool,
            "backend": &*self.backend,
            "address": self.address.to_string(),
            "health": self.health.word(),
            "seconds": self.lasts.map(|lasts| lasts.as_secs_f64()),
            "reason": self.reason,
            "up_count": self.up_count,
            "total": self.total,
        })
    }
}

impl fmt::Display for Ejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server {} is ", self.address)?;
        match self.lasts {
            Some(lasts) => write!(f, "EJECTED for {}", humantime::format_duration(lasts))?,
            None => write!(f, "{} after an ejection", self.health.word().to_uppercase())?,
        }
        write!(f, " (pool {}", self.pool)?;
        if *self.backend != *self.address.to_string() {
            write!(f, ", backend {}", self.backend)?;
        }
        write!(
            f,
            "; {}; {} of {} up)",
            self.reason, self.up_count, self.total
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_long_and_why() {
        let out = Ejection {
            pool: "web".into(),
            backend: "a".into(),
            address: "127.0.0.1:8001".parse().unwrap(),
            lasts: Some(Duration::from_secs(10)),
            reason: "3 connections in a row failed: connection refused".into(),
            health: Health::Ejected,
            up_count: 2,
            total: 3,
        };
        assert_eq!(
            out.to_string(),
            "Server 127.0.0.1:8001 is EJECTED for 10s (pool web, backend a; \
             3 connections in a row failed: connection refused; 2 of 3 up)"
        );
        let back = Ejection {
            lasts: None,
            reason: "its time is over".into(),
            health: Health::Up,
            up_count: 3,
            ..out
        };
        assert_eq!(
            back.to_string(),
            "Server 127.0.0.1:8001 is UP after an ejection (pool web, backend a; its time is over; 3 of 3 up)"
        );
        assert_eq!(back.fields()["seconds"], Value::Null);
    }
}
