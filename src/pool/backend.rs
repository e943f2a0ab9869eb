//! One server address behind the balancer: what was configured, what is known, what was counted.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::policy::health::{self, AdminState, Health};
use crate::sync::{Active, Counter, RwLock, Ticket};

/// A backend. Shared by its pool, the health thread and the leases on it.
#[derive(Debug)]
pub struct Backend {
    /// Unique within the pool.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share relative to the others.
    pub weight: u32,
    /// What the administrator wants of it.
    pub admin: AdminState,
    /// What is known of its health. Written by the health thread; read by whoever builds a rotation
    /// or reports. A lock and not an atomic, because state and reason belong together.
    condition: RwLock<Condition>,
    /// Sessions that hold it now.
    pub active: Active,
    /// Sessions that were connected to it.
    pub total: Counter,
    /// Attempts to connect to it that failed.
    pub connect_failures: Counter,
    /// One for each pick of another backend after this one failed.
    pub retry_tickets: Ticket,
}

/// What is known of a backend's health.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Up, down, or not known yet.
    pub health: Health,
    /// What the probe that decided found.
    pub reason: Arc<str>,
}

impl Backend {
    /// A backend in the given health; `Starting` takes no session until a probe decides.
    pub fn new(
        name: &str,
        address: SocketAddr,
        weight: u32,
        admin: AdminState,
        health: Health,
    ) -> Backend {
        Backend {
            name: name.into(),
            address,
            weight,
            admin,
            condition: RwLock::new(Condition {
                health,
                reason: "not probed yet".into(),
            }),
            active: Active::default(),
            total: Counter::default(),
            connect_failures: Counter::default(),
            retry_tickets: Ticket::default(),
        }
    }

    /// What is known of its health now.
    pub fn condition(&self) -> Condition {
        self.condition.read().clone()
    }

    /// Writes what is known now. Called by the health thread only.
    pub fn set_condition(&self, condition: Condition) {
        *self.condition.write() = condition;
    }

    /// May it take a new session? The truth table stands in [`crate::policy::health`].
    pub fn takes_sessions(&self) -> bool {
        health::takes_sessions(self.condition.read().health, self.admin, self.weight)
    }
}
