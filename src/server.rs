//! Start and shutdown: builds everything from the config, owns every thread, ends them in order.
//!
//! | thread | blocks in | ends because |
//! | --- | --- | --- |
//! | listener, one per address | `accept`, or the gate when full | the gate is closed and the socket shut down |
//! | session and return thread, two per session | `read` and `write` | both sides have ended, or were reset |
//! | health | a channel | the stop channel is disconnected |
//! | probe, one per probe in flight | `connect` | its timeout |
//! | reaper | a channel, with a timeout | the stop channel is disconnected |
//! | log | a channel | every sender is gone |

use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select};

use crate::acceptor::Acceptor;
use crate::config::{self, Config};
use crate::events::Event;
use crate::health::{Checker, Target};
use crate::limits::Capacity;
use crate::log::Log;
use crate::net::listener::{self, Bound};
use crate::net::resolve;
use crate::policy::health::{Health, is_probed};
use crate::policy::idle::Watch;
use crate::pool::{Backend, Pool};
use crate::reaper;
use crate::registry::Registry;
use crate::session::Context;
use crate::sync::{Gate, Ticket};
use crate::threads::{self, Threads};

/// Why evener could not start.
#[derive(Debug)]
pub enum StartError {
    /// An address can't be listened on.
    Bind {
        /// The address as written.
        address: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// A backend's name has no address.
    Resolve {
        /// The backend's name in the config.
        backend: String,
        /// The host name.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// A thread of evener's own was refused.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind { address, error } => {
                write!(f, "can't listen on {address}: {error}; ")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        write!(f, "another program listens there: end it, or choose another address")
                    }
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "ports below 1024 need CAP_NET_BIND_SERVICE (AmbientCapabilities= in the unit file)"
                    ),
                    io::ErrorKind::AddrNotAvailable => {
                        write!(f, "no interface of this machine has that address")
                    }
                    _ => write!(f, "choose another address"),
                }
            }
            StartError::Resolve { backend, host, error } => write!(
                f,
                "can't find the address of {host} (backend {backend}): {error}; \
                 check the name and the system's resolver, or write an IP address"
            ),
            StartError::Thread(error) => {
                write!(f, "the system refuses a thread: {error}; raise ulimit -u or TasksMax=")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// A running balancer.
#[derive(Debug)]
pub struct Server {
    log: Log,
    shutdown: config::Shutdown,
    threads: Threads,
    registry: Arc<Registry<Watch>>,
    gates: Vec<Arc<Gate>>,
    /// Disconnected when the gates are closed and the last session has ended.
    drained: Receiver<Infallible>,
    listeners: Vec<Arc<TcpListener>>,
    acceptors: Vec<JoinHandle<()>>,
    /// The health thread and the reaper; dropping `stop` ends them.
    services: Vec<JoinHandle<()>>,
    stop: Sender<Infallible>,
}

impl Server {
    /// Takes the addresses, starts the threads, waits for the first round of probes, and opens.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then.
    pub fn start(config: &Config, log: &Log) -> Result<Server, StartError> {
        let bound = bind_all(config)?;
        let seed = RandomState::new().hash_one(std::process::id());
        let pools = build_pools(config, seed)?;

        let capacity = Arc::new(Capacity::new(config.limits.max_connections));
        log.send(Event::Room {
            ceiling: capacity.ceiling_at_start(),
            configured: config.limits.max_connections,
        });
        let (process_gate, drained) = Gate::new(capacity.allowed());
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let mut server = Server {
            log: log.clone(),
            shutdown: config.shutdown.clone(),
            threads: Threads::default(),
            registry: Arc::default(),
            gates: vec![Arc::clone(&process_gate)],
            drained,
            listeners: Vec::new(),
            acceptors: Vec::new(),
            services: Vec::new(),
            stop,
        };
        match server.open(config, &pools, bound, &capacity, &process_gate, seed, &stopped) {
            Ok(()) => Ok(server),
            Err(error) => {
                server.end();
                Err(error)
            }
        }
    }
}
