//! What the agent of a backend says, as text and as JSON.

use std::fmt;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::policy::address::Address;

/// What the agent of a backend says, or why it says nothing.
#[derive(Debug, Clone)]
pub struct AgentSaying {
    /// The pool of the backend.
    pub pool: Arc<str>,
    /// The backend's name.
    pub backend: Arc<str>,
    /// The agent's address.
    pub address: Address,
    /// Its line, or why there is none.
    pub text: String,
}

impl AgentSaying {
    /// The fields of the JSON log.
    pub(super) fn fields(&self) -> Value {
        json!({
            "pool": &*self.pool,
            "backend": &*self.backend,
            "agent": self.address.to_string(),
            "text": self.text,
        })
    }

    /// A sentence of a line.
    pub(super) fn news(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.who(f)?;
        write!(f, " says `{}`", self.text)
    }

    /// A sentence of silence.
    pub(super) fn silence(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.who(f)?;
        write!(
            f,
            " gives no answer that makes sense: {}; what it said before stays; \
             look at the agent, or at `agent` of the pool",
            self.text
        )
    }

    fn who(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (backend, pool, address) = (&self.backend, &self.pool, &self.address);
        write!(
            f,
            "the agent of backend {backend} (pool {pool}) at {address}"
        )
    }
}
