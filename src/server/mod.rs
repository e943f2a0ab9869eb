//! Start and shutdown: builds everything from the config, owns every thread, ends them in order.
//!
//! What ends each thread stands in the thread table of the [crate]. The order: listeners first, so
//! that nobody new gets in; then the sessions, by themselves or by a reset; then the health thread
//! and the reaper, which sessions rely on; then the parked threads. The log is last, and the
//! caller's.

mod build;
mod error;
mod service;

pub use error::StartError;
pub use service::Surroundings;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, never, select};

use crate::acceptor::{self, Acceptor};
use crate::config::{self, Config};
use crate::events::Event;
use crate::health::{Checker, Target};
use crate::limits::Capacity;
use crate::log::Log;
use crate::net::listener::{self, Bound, Listening};
use crate::net::splice::Pipes;
use crate::policy::idle::Watch;
use crate::pool::Pool;
use crate::reaper;
use crate::registry::Registry;
use crate::session::Context;
use crate::sync::{Gate, Ticket};
use crate::systemd::Inherited;
use crate::threads::{self, Threads};

/// A little more than the longest probe takes, for threads that are slow to start.
const FIRST_ROUND_SLACK: Duration = Duration::from_secs(1);

/// How long an aborted session may take to end.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// A running balancer.
#[derive(Debug)]
pub struct Server {
    log: Log,
    shutdown: config::Shutdown,
    threads: Threads,
    registry: Arc<Registry<Watch>>,
    /// Room among all sessions of the process.
    process_gate: Arc<Gate>,
    /// Room among the sessions of each listener that has a limit of its own.
    listener_gates: Vec<Arc<Gate>>,
    /// Disconnected when the process's gate is closed and the last session has ended.
    drained: Receiver<Infallible>,
    /// Each shared with its acceptor; shut down, it ends that.
    listeners: Vec<Arc<Listening>>,
    acceptors: Vec<JoinHandle<()>>,
    /// The health thread and the reaper; dropping `stop` ends them.
    services: Vec<JoinHandle<()>>,
    stop: Sender<Infallible>,
}

/// How the shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// In order: every session ended, by itself or at the deadline.
    Clean,
    /// A second signal cut it short.
    Forced,
}

impl Server {
    /// Takes the addresses, starts the threads, waits for the first round of probes, and opens. A
    /// message on `signals` breaks the start off. Addresses that are `inherited` are not bound anew.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then.
    pub fn start(
        config: &Config,
        log: &Log,
        signals: &Receiver<()>,
        mut inherited: Inherited,
    ) -> Result<Server, StartError> {
        let pools = build::pools(config)?;
        let bound = bind_all(config, &mut inherited)?;
        service::report_unused(inherited, log);
        let capacity = Arc::new(Capacity::new(config.limits.max_connections));
        let ceiling = capacity.ceiling_at_start();
        log.send(Event::Room {
            ceiling,
            configured: config.limits.max_connections,
        });
        let (process_gate, drained) = Gate::new(capacity.allowed());
        let epoch = Instant::now();
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let mut server = Server {
            log: log.clone(),
            shutdown: config.shutdown.clone(),
            threads: Threads::default(),
            registry: Arc::default(),
            process_gate,
            listener_gates: Vec::new(),
            drained,
            listeners: Vec::new(),
            acceptors: Vec::new(),
            services: Vec::new(),
            stop,
        };
        let opened = server
            .start_services(config, &pools, epoch, &stopped, signals)
            .and_then(|()| server.open(config, &pools, bound, &capacity, epoch));
        match opened {
            Ok(()) => Ok(server),
            Err(error) => {
                server.close();
                server.registry.abort_all();
                server.end();
                Err(error)
            }
        }
    }

    /// Starts the health thread and the reaper, and waits for the first probe of each backend.
    fn start_services(
        &mut self,
        config: &Config,
        pools: &[(Arc<Pool>, &config::Pool)],
        epoch: Instant,
        stopped: &Receiver<Infallible>,
        signals: &Receiver<()>,
    ) -> Result<(), StartError> {
        let (timeouts, registry, stop) = (
            config.timeouts.clone(),
            Arc::clone(&self.registry),
            stopped.clone(),
        );
        self.services.push(
            threads::spawn("reaper", move || {
                reaper::run(&timeouts, &registry, epoch, &stop)
            })
            .map_err(StartError::Thread)?,
        );

        let targets = build::targets(pools);
        let patience = targets
            .iter()
            .map(Target::timeout)
            .max()
            .unwrap_or_default()
            + FIRST_ROUND_SLACK;
        if !targets.is_empty() {
            self.log.send(Event::HealthCheckStarting);
        }
        let (first_round, first_round_done) = crossbeam_channel::bounded(0);
        let checker = Checker::new(
            targets,
            self.threads.clone(),
            self.log.clone(),
            build::seed(),
            first_round,
        )
        .map_err(StartError::Socket)?;
        let stop = stopped.clone();
        self.services.push(
            threads::spawn("health", move || checker.run(&stop)).map_err(StartError::Thread)?,
        );
        select! {
            recv(first_round_done) -> _ => Ok(()),
            recv(signals) -> _ => Err(StartError::Interrupted),
            // What has no result by then has no sessions either, until it has one.
            default(patience) => Ok(()),
        }
    }

    /// Opens every listener and starts a thread for each of its addresses.
    fn open(
        &mut self,
        config: &Config,
        pools: &[(Arc<Pool>, &config::Pool)],
        bound: Vec<BoundListener<'_>>,
        capacity: &Arc<Capacity>,
        epoch: Instant,
    ) -> Result<(), StartError> {
        let ids = Arc::new(Ticket::default());
        let pipes = Pipes::new(config.performance.relay, capacity.pipes());
        for (listener, addresses) in bound {
            // The config has checked that the pool is there.
            let Some((pool, _)) = pools.iter().find(|(_, pool)| pool.name == listener.pool) else {
                continue;
            };
            let listener_gate = listener.max_connections.map(|limit| Gate::new(limit).0);
            self.listener_gates.extend(listener_gate.clone());
            let context = Arc::new(Context {
                listener: listener.name.as_str().into(),
                pool: Arc::clone(pool),
                timeouts: config.timeouts.clone(),
                pipes: pipes.clone(),
                log: self.log.clone(),
                registry: Arc::clone(&self.registry),
                ids: Arc::clone(&ids),
                epoch,
            });
            let name = threads::name_of("listen ", &listener.name);
            for (bind, bound) in addresses {
                let socket = bound.listen().map_err(|error| bind_error(bind, error))?;
                let address = shown_address(bind, &socket);
                let socket = Arc::new(socket);
                let acceptor = Acceptor {
                    context: Arc::clone(&context),
                    listener: Arc::clone(&socket),
                    process_gate: Arc::clone(&self.process_gate),
                    listener_gate: listener_gate.clone(),
                    capacity: Arc::clone(capacity),
                    threads: self.threads.clone(),
                    spare: acceptor::spare_descriptor(),
                };
                self.listeners.push(socket);
                let acceptor = threads::spawn(name.as_str(), move || acceptor.run());
                self.acceptors.push(acceptor.map_err(StartError::Thread)?);
                self.log.send(Event::Listening { address });
            }
        }
        Ok(())
    }

    /// Ends in order: no new sessions, those that run may end by themselves until the deadline, the
    /// rest is aborted. A further message on `signals` cuts every wait short.
    pub fn shut_down(mut self, signals: &Receiver<()>) -> Shutdown {
        let timeout = self.shutdown.drain_timeout;
        let delay = self.shutdown.pre_stop_delay;
        let (sessions, _) = self.process_gate.occupancy();
        self.log.send(Event::Draining {
            sessions,
            since: SystemTime::now(),
            timeout: timeout.map(|timeout| timeout + delay),
        });
        let mut forced = false;
        if !delay.is_zero() {
            select! {
                recv(signals) -> _ => forced = true,
                default(delay) => {}
            }
        }
        self.close();
        // Looked at first: `select!` takes any of several that are ready, and a signal that comes
        // twice (`timeout` sends it to the process and to its group) is not to cut short what is over.
        if !forced && self.drained.try_recv() == Err(TryRecvError::Disconnected) {
            self.end();
            return Shutdown::Clean;
        }
        if !forced {
            let deadline = timeout.map_or_else(never, crossbeam_channel::after);
            select! {
                recv(self.drained) -> _ => {
                    self.end();
                    return Shutdown::Clean;
                }
                recv(signals) -> _ => forced = true,
                recv(deadline) -> _ => {}
            }
        }
        let sessions = self.registry.abort_all();
        self.log.send(Event::Aborted {
            sessions,
            by_signal: forced,
        });
        if self.drained.recv_timeout(ABORT_PATIENCE) == Err(RecvTimeoutError::Disconnected) {
            self.end();
        } else {
            // The process ends all the same, without joining what would block it.
            let sessions = self.registry.len();
            self.log.send(Event::Stuck { sessions });
        }
        if forced {
            Shutdown::Forced
        } else {
            Shutdown::Clean
        }
    }

    /// Lets no new client in: closes the gates, ends the listeners and joins their threads.
    fn close(&mut self) {
        self.process_gate.close();
        for gate in &self.listener_gates {
            gate.close();
        }
        for listener in &self.listeners {
            listener::shut_down(listener);
        }
        join(self.acceptors.drain(..));
        // Nobody else holds them now, unless another process does: they close.
        self.listeners.clear();
    }

    /// Ends and joins what is left, when there are no sessions any more.
    fn end(self) {
        drop(self.stop);
        join(self.services);
        self.threads.shut_down();
        self.log.send(Event::Stopped);
    }
}

fn join(handles: impl IntoIterator<Item = JoinHandle<()>>) {
    for handle in handles {
        // A panic in it was reported by the panic hook when it happened.
        let _ = handle.join();
    }
}

/// A listener, and each of its addresses with the socket that has taken it.
type BoundListener<'c> = (&'c config::Listener, Vec<(&'c config::Bind, Bound)>);

/// Takes every address, so that one that can't be had is an error before anything is started.
fn bind_all<'c>(
    config: &'c Config,
    inherited: &mut Inherited,
) -> Result<Vec<BoundListener<'c>>, StartError> {
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        let mut addresses = Vec::new();
        for bind in &listener.bind {
            let bound = service::take(bind, inherited).map_or_else(
                || Bound::new(bind.address, bind.dual_stack),
                Bound::inherited,
            );
            addresses.push((bind, bound.map_err(|error| bind_error(bind, error))?));
        }
        listeners.push((listener, addresses));
    }
    Ok(listeners)
}

fn bind_error(bind: &config::Bind, error: io::Error) -> StartError {
    StartError::Bind {
        address: bind.text.clone(),
        error,
    }
}

/// The address as it was written, or the real one where the OS chose the port.
fn shown_address(bind: &config::Bind, socket: &Listening) -> String {
    match socket.local_addr() {
        Ok(address) if bind.address.port() == 0 => address.to_string(),
        _ => bind.text.clone(),
    }
}
