//! What is told of a session while it is on its way: a backend that did not answer, the one that did.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::record::{FailedAttempt, Server};
use crate::policy::address::Address;

/// A session has its backend.
#[derive(Debug, Clone)]
pub struct SessionStarted {
    /// Number of the session.
    pub id: u64,
    /// The listener it came by.
    pub listener: Arc<str>,
    /// The pool that serves it.
    pub pool: Arc<str>,
    /// The client's address.
    pub client: Address,
    /// The backend's name.
    pub backend: Arc<str>,
    /// The backend's address.
    pub address: Address,
}

/// An attempt to connect failed; the session goes on with the next backend if it has attempts left.
#[derive(Debug, Clone)]
pub struct ConnectFailed {
    /// Number of the session.
    pub id: u64,
    /// The pool of the backend.
    pub pool: Arc<str>,
    /// Which backend, and what went wrong.
    pub failure: FailedAttempt,
}

impl SessionStarted {
    pub(super) fn fields(&self) -> Value {
        json!({"id": self.id, "listener": &*self.listener, "pool": &*self.pool,
               "client": self.client.to_string(), "backend": &*self.backend,
               "address": self.address.to_string()})
    }
}

impl fmt::Display for SessionStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "session {} {} -> {} started listener={} pool={}",
            self.id,
            self.client,
            Server(&self.backend, &self.address),
            self.listener,
            self.pool
        )
    }
}

impl ConnectFailed {
    pub(super) fn fields(&self) -> Value {
        let failure = &self.failure;
        json!({"id": self.id, "pool": &*self.pool, "backend": &*failure.backend,
               "address": failure.address.to_string(), "error": failure.error})
    }
}

impl fmt::Display for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, pool, failure) = (self.id, &self.pool, &self.failure);
        write!(
            f,
            "session {id}: can't connect to {} {} (pool {pool}): {}",
            failure.backend, failure.address, failure.error
        )
    }
}
