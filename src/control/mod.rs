//! The running balancer as an administrator sees it: what is there now, and the way to ask for
//! changes.
//!
//! Looking takes no more than a snapshot, so it holds up nobody. Changes are asked for over a channel
//! and made by one thread, the server's, one after the other: so none of them meets another half-way,
//! and whoever asks gets the answer when the change is in force.

mod addresses;
mod request;
mod running;

pub use crate::config::closing::Close;
pub use addresses::{Addresses, Name, fixed, watched};
pub use request::{Answer, Change, Made, Refusal, Request};
pub use running::{LastReload, Leaving, OpenListener, Running};

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::closer::Closer;
use crate::events::EndReason;
use crate::registry::Registry;
use crate::stats::Stats;
use crate::sync::{Flag, Gate, Published};
use crate::threads::Threads;

/// How long whoever asks for a change waits for it: longer than a reload takes that waits for the first
/// probe of new backends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shared by the server and by whoever looks at it or asks for changes.
#[derive(Debug)]
pub struct Control {
    /// What is running now. Written by the server; read by whoever looks.
    pub running: Published<Running>,
    /// The live sessions.
    pub registry: Arc<Registry>,
    /// The orders to close sessions little by little.
    pub closer: Closer,
    /// The counts of the process.
    pub stats: Arc<Stats>,
    /// The threads of sessions and probes.
    pub threads: Threads,
    /// The places for sessions of the process.
    pub process_gate: Arc<Gate>,
    /// When the process started.
    pub epoch: Instant,
    /// The shutdown has begun. Raised by the server; read by whoever reports.
    pub draining: Flag,
    requests: Sender<Request>,
}

impl Control {
    /// The control of a server that has nothing running yet, and where the server finds the requests.
    pub fn new(
        running: Running,
        threads: Threads,
        process_gate: Arc<Gate>,
    ) -> (Arc<Control>, Receiver<Request>) {
        // Not bounded: who asks waits for the answer, so there are no more of them than there are admin
        // connections. And a bounded channel keeps what is in it when nobody receives any more, so that
        // whoever asked just before the end would wait for an answer in vain.
        let (sender, requests) = crossbeam_channel::unbounded();
        let control = Control {
            running: Published::new(running),
            registry: Arc::default(),
            closer: Closer::default(),
            stats: Arc::default(),
            threads,
            process_gate,
            epoch: Instant::now(),
            draining: Flag::default(),
            requests: sender,
        };
        (Arc::new(control), requests)
    }

    /// Asks for a change and waits until it is in force.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing has changed then, unless it says that it took too long.
    pub fn ask(&self, change: Change) -> Answer {
        let (request, answer) = Request::new(change);
        self.requests.send(request).map_err(|_| Refusal::Gone)?;
        answer.recv_timeout(PATIENCE).map_err(|error| {
            if error.is_timeout() {
                Refusal::TooLong
            } else {
                Refusal::Gone
            }
        })?
    }

    /// Resets the session with this number; false if there is none.
    pub fn kill(&self, id: u64) -> bool {
        let Some(live) = self.registry.get(id) else {
            return false;
        };
        live.set_cause(EndReason::Killed);
        live.abort();
        true
    }

    /// Is evener ready for clients? Otherwise the reason why not.
    ///
    /// # Errors
    ///
    /// What is missing, in words.
    pub fn readiness(&self) -> Result<(), String> {
        if self.draining.is_raised() {
            return Err("draining: evener is shutting down".to_owned());
        }
        let running = self.running.load();
        if running.listeners.is_empty() {
            return Err("starting: no listener is open yet".to_owned());
        }
        // A pool to which no listener leads keeps no client waiting.
        let in_use = running.pools.iter().filter(|pool| running.is_in_use(pool));
        for pool in in_use {
            if !pool.can_serve() {
                return Err(format!("pool {} has no backend that can serve", pool.name));
            }
        }
        Ok(())
    }
}
