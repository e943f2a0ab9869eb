//! What the health thread probes, and how it is told.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::probe::Task;
use crate::config::HealthCheck;
use crate::policy::health::Machine;
use crate::pool::{Backend, Condition, Pool};

/// A backend that is probed.
#[derive(Debug)]
pub struct Target {
    pub(super) pool: Arc<Pool>,
    pub(super) backend: Arc<Backend>,
    pub(super) check: HealthCheck,
    pub(super) machine: Machine,
    /// When the current probe was due, or the next one is, since the checker's start.
    pub(super) due: Duration,
    /// When the next one begins: at `due`, or later where the last one found nothing out.
    pub(super) next: Duration,
    pub(super) probed_before: bool,
    pub(super) in_flight: bool,
}

impl Target {
    /// A backend of `pool`, probed at once for the first time.
    pub fn new(pool: Arc<Pool>, backend: Arc<Backend>, check: HealthCheck) -> Target {
        let machine = Machine::new(check.rise, check.fall);
        Target {
            pool,
            backend,
            check,
            machine,
            due: Duration::ZERO,
            next: Duration::ZERO,
            probed_before: false,
            in_flight: false,
        }
    }

    /// How long one probe of it may take.
    pub fn timeout(&self) -> Duration {
        self.check.timeout
    }

    /// What its next probe has to do.
    pub(super) fn task(&self) -> Task {
        Task {
            address: self.backend.address,
            probe: self.check.probe.clone(),
            timeout: self.check.timeout,
            proxy_header: self.pool.config.send_proxy_protocol,
            socket: self.pool.config.socket.clone(),
        }
    }

    /// Takes over what the config says now of a backend that is probed already.
    pub(super) fn adjust(&mut self, new: Target, now: Duration) {
        self.machine.adjust(new.check.rise, new.check.fall);
        if self.probed_before {
            // A shorter interval counts from now on, not after the long one.
            let soon = now + new.check.interval;
            self.due = self.due.min(soon);
            self.next = self.next.min(soon);
        }
        self.pool = new.pool;
        self.check = new.check;
    }
}

/// What the checker is told to do.
#[derive(Debug)]
pub enum Order {
    /// Probe these, too. The sender is dropped, which disconnects its channel, when each of them has
    /// been probed once.
    Add(Vec<Target>, Sender<Infallible>),
    /// Probe these and no others. Those that are probed already keep their health and their turn.
    Replace(All),
}

/// Every backend that there is.
#[derive(Debug)]
pub struct All {
    /// The pools that they are in, to be published when what follows is done.
    pub pools: Vec<Arc<Pool>>,
    /// Those that are to be probed.
    pub targets: Vec<Target>,
    /// Those that are not, with what is known of them without a probe.
    pub unprobed: Vec<(Arc<Backend>, Condition)>,
}
