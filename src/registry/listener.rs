//! What a listener counts and limits, whatever becomes of its addresses.

use std::sync::Arc;

use super::RouteBook;
use crate::admission::Rejections;
use crate::admission::clients::Clients;
use crate::sync::{Counter, Gate, Setting};

/// A listener, as its sessions see it. A reload that still has one of this name takes it over, with
/// its counts and whoever is inside.
#[derive(Debug)]
pub struct Listener {
    /// Unique among the listeners.
    pub name: Arc<str>,
    /// The places for its sessions. Without a limit there are as many as a number can say.
    pub gate: Arc<Gate>,
    /// Clients that were accepted and let in. Written by its acceptors; read by whoever reports.
    pub accepted: Counter,
    /// Clients that were not let in, by reason.
    pub rejections: Rejections,
    /// 1 while the kernel refuses its clients, because its pool has no backend. Written by the server;
    /// read by whoever reports.
    pub refuses: Setting,
    /// What is known of the addresses that its clients come from, where these are limited.
    pub clients: Arc<Clients>,
    /// Where its sessions went, if it has routes.
    pub routes: RouteBook,
}

impl Listener {
    /// A listener with this limit on its sessions.
    pub fn new(name: &str, max_connections: Option<u32>) -> Listener {
        Listener {
            name: name.into(),
            gate: Gate::new(max_connections.unwrap_or(u32::MAX)).0,
            accepted: Counter::default(),
            rejections: Rejections::default(),
            refuses: Setting::default(),
            clients: Arc::default(),
            routes: RouteBook::default(),
        }
    }

    /// Changes the limit; who is inside stays.
    pub fn set_limit(&self, max_connections: Option<u32>) {
        self.gate.set_limit(max_connections.unwrap_or(u32::MAX));
    }

    /// Sessions that live now, and how many there may be.
    pub fn occupancy(&self) -> (u32, Option<u32>) {
        let (inside, limit) = self.gate.occupancy();
        (inside, (limit != u32::MAX).then_some(limit))
    }
}
