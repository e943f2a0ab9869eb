//! How a long session is getting on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::policy::address::Address;

/// How a long session is getting on.
#[derive(Debug, Clone)]
pub struct SessionProgress {
    /// Number of the session.
    pub id: u64,
    /// The client's address.
    pub client: Address,
    /// Name of the backend, when it is connected.
    pub backend: Option<Arc<str>>,
    /// Bytes from the client to the backend.
    pub bytes_in: u64,
    /// Bytes from the backend to the client.
    pub bytes_out: u64,
    /// Since the accept.
    pub age: Duration,
    /// For how long nothing has moved.
    pub idle: Duration,
}

impl SessionProgress {
    /// The fields of the JSON log.
    pub(super) fn fields(&self) -> Value {
        json!({
            "id": self.id,
            "client": self.client.to_string(),
            "backend": self.backend.as_deref(),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "age_ms": self.age.as_millis() as u64,
            "idle_ms": self.idle.as_millis() as u64,
        })
    }
}

impl fmt::Display for SessionProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, client) = (self.id, &self.client);
        let backend = self.backend.as_deref().unwrap_or("-");
        write!(
            f,
            "session {id} {client} -> {backend} goes on: in={}B out={}B age={:.1}s idle={:.1}s",
            self.bytes_in,
            self.bytes_out,
            self.age.as_secs_f64(),
            self.idle.as_secs_f64()
        )
    }
}
