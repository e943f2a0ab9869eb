//! Start, changes and shutdown: builds everything from the config, owns every thread, ends them in
//! order.
//!
//! One thread does all of it, the program's first: it starts the server, then makes one change after
//! the other as they are asked for (`reload`, `changes`), and at last runs the shutdown. What ends each
//! thread stands in the thread table of the [crate]. The order: listeners first, so that nobody new
//! gets in; then the sessions, by themselves or by a reset; then the health thread and the reaper, which
//! sessions rely on; then the parked threads. The log is last, and the caller's.
//!
//! ```text
//!   start: bind ──▶ first probes ──▶ open the listeners ──▶ serve ◀──▶ one change after the other
//!            │ an error, a signal         │                   │
//!            ▼                            ▼                   │ signal, or a new process serves
//!          take down what stands: the same as below           ▼
//!                                                 pre_stop_delay, listeners open
//!                                                             ▼
//!                                                 listeners closed, sessions end by themselves
//!                                                             ▼ all have ended, drain_timeout, or a second signal
//!                                                 resets ──▶ health, reaper ──▶ parked threads
//! ```

mod admin;
mod build;
mod changes;
mod closing;
mod entrances;
mod error;
mod first_round;
mod foresight;
mod handover;
mod leaving;
mod names;
mod options;
mod plan;
mod reload;
mod service;
mod shutdown;

pub use error::StartError;
pub use foresight::obstacles;
pub use service::Surroundings;
pub use shutdown::Shutdown;

use std::convert::Infallible;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, never};

use crate::admin::Admin;
use crate::config::cli::Source;
use crate::config::{Config, Timeouts};
use crate::control::{Control, Leaving, Request, Running};
use crate::events::Start;
use crate::health::{Channels, Checker, Order, Suspect};
use crate::log::Log;
use crate::names::Names;
use crate::net::splice::Pipes;
use crate::pool::Backend;
use crate::reaper;
use crate::sync::{Gate, Published, Ticket};
use crate::systemd::Heritage;
use crate::threads::{self, Threads};
use entrances::{Entrances, Tools};
use names::FirstAnswers;
use reload::Next;

/// Backends to which connections fail that the health thread has not looked at yet; more are not worth
/// waiting for.
const SUSPECTS_MAX: usize = 1024;

/// A running balancer.
#[derive(Debug)]
pub struct Server {
    log: Log,
    /// Where a reload finds the config.
    source: Source,
    control: Arc<Control>,
    /// Changes that somebody asks for.
    requests: Receiver<Request>,
    entrances: Entrances,
    admin: Option<Admin>,
    /// Those that were moved or switched off: closed, and to be joined.
    retired_admins: Vec<Admin>,
    tools: Tools,
    pipes: Pipes,
    ids: Arc<Ticket>,
    /// Written here; read by the reaper.
    timeouts: Arc<Published<Timeouts>>,
    /// A signal that ends the program has come.
    signalled: bool,
    /// A new evener was started and does not serve yet.
    is_upgrading: bool,
    /// A message for each SIGHUP; none where there can be none any more.
    hangups: Receiver<()>,
    /// Disconnected when the process's gate is closed and the last session has ended.
    drained: Receiver<Infallible>,
    /// The health thread, the reaper, and the one of names.
    services: Vec<JoinHandle<()>>,
    /// What host names stand for; dropping it ends its thread.
    names: Names,
    /// What is probed; dropping it ends the health thread.
    orders: Sender<Order>,
    /// Takes a message from the health thread when a pool is served otherwise than before.
    mode_changes: Receiver<()>,
    /// Takes each backend that goes down in a pool whose sessions are not to go on then.
    gone_down: Receiver<Arc<Backend>>,
    /// For sessions to report a backend to which connections fail.
    suspects: Sender<Suspect>,
    /// Dropping it ends the reaper.
    stop: Sender<Infallible>,
}

impl Server {
    /// Takes the addresses, starts the threads, waits for the first round of probes, and opens. A
    /// signal breaks the start off. `config` is what `source` has just given. Addresses
    /// that are in the `heritage` are not bound anew.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then but a thread that looks up names, until it has its answer.
    pub fn start(
        source: Source,
        config: Config,
        log: &Log,
        around: &Surroundings,
        mut heritage: Heritage,
    ) -> Result<Server, StartError> {
        // Nobody, until it is known whose limits count.
        let (process_gate, drained) = Gate::new(0);
        let threads = Threads::default();
        let orders = heritage.orders.take();
        let orders = orders.map(|orders| handover::read(&orders, &config));
        let nothing = nothing_yet(&source, &config, orders.unwrap_or_default());
        let (control, requests) = Control::new(nothing, threads.clone(), Arc::clone(&process_gate));
        let running = control.running.load();
        let (lookup, stats) = (around.lookup.clone(), Arc::clone(&control.stats));
        let (names, names_thread) = Names::start(lookup, stats).map_err(StartError::Thread)?;
        let addresses = FirstAnswers::wait_for(&names, &config, &running, around, || {})?;
        let addresses = addresses.with_known(&config, &running)?;
        let none = Entrances::default();
        let next = Next::prepare(config, addresses, &running, &none, &mut heritage, None, log)?;
        handover::tell(&running.leaving, &next.draft, &next.config, log);
        service::report_unused(heritage.sockets, log);
        let capacity = service::become_user(&next.config, &source, &process_gate, log)?;
        let (orders, received) = crossbeam_channel::unbounded();
        let (suspects, suspected) = crossbeam_channel::bounded(SUSPECTS_MAX);
        let (went_down, gone_down) = crossbeam_channel::unbounded();
        let (mode_changed, mode_changes) = crossbeam_channel::bounded(1);
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let mut server = Server {
            log: log.clone(),
            source,
            control,
            requests,
            entrances: Entrances::default(),
            admin: None,
            retired_admins: Vec::new(),
            pipes: Pipes::new(next.config.performance.relay, capacity.pipes()),
            tools: Tools {
                process_gate,
                capacity,
                threads,
            },
            ids: Arc::default(),
            timeouts: Arc::new(Published::new(next.config.timeouts.clone())),
            signalled: false,
            is_upgrading: false,
            hangups: around.reloads.clone(),
            drained,
            services: vec![names_thread],
            names,
            orders,
            mode_changes,
            gone_down,
            suspects,
            stop,
        };
        let channels = Channels {
            orders: received,
            suspects: suspected,
            mode_changed,
            went_down,
        };
        let checker = Checker::new(
            channels,
            server.tools.threads.clone(),
            log.clone(),
            Arc::clone(&server.control.stats),
            build::seed(),
        );
        let checker = checker.map_err(StartError::Socket);
        match checker.and_then(|checker| server.first_time(next, checker, stopped, around)) {
            Ok(()) => Ok(server),
            Err(error) => {
                server.close();
                server.control.registry.abort_all();
                server.end();
                Err(error)
            }
        }
    }

    fn first_time(
        &mut self,
        next: Next,
        checker: Checker,
        stopped: Receiver<Infallible>,
        around: &Surroundings,
    ) -> Result<(), StartError> {
        self.start_services(checker, stopped)?;
        if next
            .config
            .pools
            .iter()
            .any(|pool| pool.health_check.is_some())
        {
            self.log.send(Start::HealthCheck);
        }
        self.probe_first(&next, around)?;
        self.install(next)
    }

    /// Starts the health thread and the reaper.
    fn start_services(
        &mut self,
        checker: Checker,
        stopped: Receiver<Infallible>,
    ) -> Result<(), StartError> {
        let (timeouts, control) = (Arc::clone(&self.timeouts), Arc::clone(&self.control));
        let log = self.log.clone();
        let reaper = threads::spawn("reaper", move || {
            let (registry, closer) = (&control.registry, &control.closer);
            reaper::run(&timeouts, registry, closer, &log, control.epoch, &stopped);
        });
        self.services.push(reaper.map_err(StartError::Thread)?);
        let health = threads::spawn("health", move || checker.run());
        self.services.push(health.map_err(StartError::Thread)?);
        Ok(())
    }

    /// Where the admin server answers, if there is one.
    pub fn admin_address(&self) -> Option<&str> {
        self.admin.as_ref().map(Admin::address)
    }

    /// What others may look at, and how they ask for changes.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }
}

/// A message at that moment; never without one.
fn at(moment: Option<Instant>) -> Receiver<Instant> {
    moment.map_or_else(never, crossbeam_channel::at)
}

/// What runs before anything does: generation 0, which has no listener and no pool; and the backends of
/// which something was asked of the evener before.
fn nothing_yet(source: &Source, config: &Config, leaving: Vec<Leaving>) -> Running {
    let file = match source {
        Source::File { path, .. } => Some(path.clone()),
        Source::Arguments(_) => None,
    };
    Running {
        generation: 0,
        config: Arc::new(config.clone()),
        file,
        loaded_at: SystemTime::now(),
        last_reload: None,
        listeners: Vec::new(),
        pools: Vec::new(),
        leaving,
        addresses: Arc::default(),
    }
}
