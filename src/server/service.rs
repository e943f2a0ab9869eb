//! evener as a service, on the server's thread: what it waits for while it serves, the sockets that it
//! inherits and passes on, and what the service manager is told and when.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select, tick};

use super::entrances::DoorChange;
use super::{Server, Shutdown, StartError, at, handover};
use crate::config::cli::Source;
use crate::config::{self, Config, ListenOn};
use crate::control::{Change, Request};
use crate::events::{Changed, Event, Life, Serving, Shortage, Start};
use crate::limits::Capacity;
use crate::log::Log;
use crate::names::Lookup;
use crate::net::listener::Bound;
use crate::policy::address::Address;
use crate::privileges;
use crate::sync::Gate;
use crate::systemd::{Inherited, Manager};
use crate::threads;
use crate::upgrade::{self, Predecessor, Program};

/// Becomes whoever the config wants evener to be, now that all addresses are taken, and finds out for how
/// many sessions there is room: limits are those of a user.
pub(super) fn become_user(
    config: &Config,
    source: &Source,
    gate: &Gate,
    log: &Log,
) -> Result<Arc<Capacity>, StartError> {
    // What may be raised is raised by the one who may raise it.
    let mut capacity = Capacity::read();
    if let Some(became) = privileges::become_user(config).map_err(StartError::Privilege)? {
        log.send(Event::Confined(became));
        capacity = Capacity::read();
        for warning in privileges::out_of_reach(config, source) {
            log.send(Changed::Warning { warning });
        }
    }
    let configured = config.limits.max_connections;
    gate.set_limit(capacity.allowed(configured));
    log.send(Start::Room {
        ceiling: capacity.ceiling_at_start(),
        configured,
    });
    Ok(Arc::new(capacity))
}

/// From one attempt to open a listener again to the next.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Who evener deals with while it serves, beside clients and backends.
#[derive(Debug)]
pub struct Surroundings {
    /// A message for each signal to stop.
    pub signals: Receiver<()>,
    /// A message for each SIGHUP. Disconnected where there is none.
    pub reloads: Receiver<()>,
    /// A message for each order to upgrade.
    pub upgrades: Receiver<()>,
    /// Who started evener, if it wants to hear of it.
    pub manager: Manager,
    /// How the addresses of host names are found.
    pub lookup: Lookup,
    /// How to start another evener; an error when that can't be known.
    pub program: io::Result<Program>,
}

/// The process id of a new evener that serves, or why it does not.
type Outcome = Result<u32, String>;

impl Server {
    /// Serves, and makes the changes that are asked for, until a signal to stop comes or a new evener has
    /// taken over; then shuts down. Meanwhile it tells the service manager how evener is.
    pub fn run(mut self, around: &Surroundings, predecessor: Option<Predecessor>) -> Shutdown {
        match predecessor.map(Predecessor::relieve) {
            // The predecessor is the one that the manager listens to, and tells it of us.
            Some(Ok(())) => {}
            Some(Err(_)) => return self.stop(around),
            None => self.told(around.manager.ready()),
        }
        let sign_of_life = around.manager.sign_of_life_every().map_or_else(never, tick);
        // Without room for a message: what nobody takes, because evener stops, is not sent either.
        let (sender, outcomes) = bounded(0);
        let mut upgrades = around.upgrades.clone();
        let mut was_alive = true;
        while !self.signalled {
            let wake = at(self.upkeep());
            let (requests, hangups) = self.asked();
            select! {
                recv(around.signals) -> _ => break,
                recv(requests) -> request => {
                    // The control, which this server owns too, holds the other end.
                    let Ok(request) = request else { break };
                    self.grant(request, around);
                }
                recv(hangups) -> hangup => match hangup {
                    Ok(()) => {
                        let change = Change::Reload { dry_run: false };
                        self.grant(Request::unanswered(change), around);
                    }
                    Err(_) => self.hangups = never(),
                },
                recv(self.names.news()) -> news => if let Ok(news) = news {
                    let news = std::iter::once(news).chain(self.names.news().try_iter());
                    self.hear(news.collect(), around);
                },
                recv(wake) -> _ => {}
                recv(self.mode_changes) -> _ => {}
                recv(self.gone_down) -> backend => if let Ok(backend) = backend {
                    self.abort_sessions_of(&backend);
                },
                recv(sign_of_life) -> _ => was_alive = self.sign(&around.manager, was_alive),
                recv(upgrades) -> upgrade => match upgrade {
                    Ok(()) if !self.is_upgrading => match self.start_successor(around, sender.clone()) {
                        Ok(()) => self.is_upgrading = true,
                        Err(error) => self.log.send(Life::UpgradeFailed { error: error.to_string() }),
                    },
                    Ok(()) => {}
                    Err(_) => upgrades = never(),
                },
                recv(outcomes) -> outcome => match outcome.unwrap_or_else(|gone| Err(gone.to_string())) {
                    Ok(pid) => return self.hand_over(around, pid),
                    Err(error) => {
                        self.is_upgrading = false;
                        self.log.send(Life::UpgradeFailed { error });
                    }
                },
            }
        }
        // A new evener that serves from now on is told to stop as well.
        drop(outcomes);
        self.stop(around)
    }

    /// Where changes are asked for. What would be changed here while a new evener starts, that one would not
    /// know: so whoever asks waits for the outcome.
    pub(super) fn asked(&self) -> (Receiver<Request>, Receiver<()>) {
        match self.is_upgrading {
            true => (never(), never()),
            false => (self.requests.clone(), self.hangups.clone()),
        }
    }

    /// Refuses clients where there is no backend for them and the config wants that; says when to try
    /// again what has failed.
    pub(super) fn open_and_refuse(&mut self) -> Option<Instant> {
        for change in self.entrances.open_and_refuse() {
            let DoorChange {
                listener,
                pool,
                address,
                refuses,
                error,
            } = change;
            match error {
                None => self.log.send(Serving::Door {
                    listener,
                    pool,
                    address,
                    refuses,
                }),
                Some(error) => self.log.send(Shortage::ReopenFailed {
                    listener,
                    address,
                    error: error.to_string(),
                }),
            }
        }
        let has_stuck = self.entrances.has_stuck();
        has_stuck.then(|| Instant::now() + TRY_AGAIN)
    }

    /// Makes a change that is asked for, and answers. The manager waits for the end of a reload.
    fn grant(&mut self, request: Request, around: &Surroundings) {
        let is_reload = request.change == Change::Reload { dry_run: false };
        if is_reload {
            self.told(around.manager.reloading());
        }
        let answer = self.make(&request.change, around);
        if is_reload {
            self.told(around.manager.ready());
        }
        request.answer(answer);
    }

    fn stop(mut self, around: &Surroundings) -> Shutdown {
        self.signalled = true;
        let config = self.control.running.load();
        let (drain, delay) = {
            let shutdown = &config.config.shutdown;
            (shutdown.drain_timeout, shutdown.pre_stop_delay)
        };
        let longest = drain.map(|drain| drain.saturating_add(delay));
        self.told(around.manager.stopping(longest));
        self.shut_down(&around.signals, delay)
    }

    /// Starts another evener with our sockets, and a thread that waits for its word.
    fn start_successor(&self, around: &Surroundings, outcomes: Sender<Outcome>) -> io::Result<()> {
        let program = around.program.as_ref();
        let program = program.map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        let mut sockets = self.entrances.for_another_program()?;
        if let Some(admin) = &self.admin {
            sockets.extend(admin.for_another_program()?);
        }
        let orders = handover::write(&self.control.running.load());
        let successor = program.start(sockets, orders.as_deref())?;
        self.log.send(Life::UpgradeStarted {
            pid: successor.id(),
        });
        // Nobody joins it: it ends with its word, or with the process.
        threads::spawn("upgrade", move || {
            let outcome = successor.wait();
            // It fails when this process was told to stop meanwhile; that meant the new one as well.
            if let (Err(_), Ok(pid)) = (outcomes.send(outcome.clone()), outcome) {
                upgrade::stop(pid);
            }
        })?;
        Ok(())
    }

    /// Leaves the listeners to process `pid` and drains. Whoever this process has accepted, it serves:
    /// so the acceptors end first, and only then do the gates close.
    fn hand_over(mut self, around: &Surroundings, pid: u32) -> Shutdown {
        self.told(around.manager.main_process(pid));
        self.log.send(Life::Upgraded { pid });
        self.entrances.leave();
        if around.reloads.try_recv().is_ok() {
            upgrade::reload(pid);
        }
        // Who asks at the admin address means the one that serves. Whoever has asked this one hears no word
        // of its end; for a change it is too late, and without this nobody would answer it.
        self.requests = never();
        if let Some(admin) = self.admin.take() {
            admin.join();
        }
        // The delay is for an outer balancer that has to look away; this address goes on being served.
        self.shut_down(&around.signals, Duration::ZERO)
    }

    /// Gives the manager a sign of life, if there is one; says whether there is.
    pub(super) fn sign(&self, manager: &Manager, was_alive: bool) -> bool {
        let is_alive = self.is_alive();
        if is_alive {
            self.told(manager.alive());
        } else if was_alive {
            self.log.send(Life::NoSignOfLife);
        }
        is_alive
    }

    /// What a sign of life proves: every thread that the process can't do without still runs (a panic
    /// does not end them, so one that has ended is a bug, or a listening socket that was shut down
    /// from outside); and the locks that every session takes can be had, or this call would not return.
    /// It does not prove that backends answer: that is what the health check is for, and no reason to
    /// restart evener.
    fn is_alive(&self) -> bool {
        let services = self.services.iter().all(|thread| !thread.is_finished());
        let _ = (
            self.control.registry.len(),
            self.tools.process_gate.occupancy(),
        );
        services && self.entrances.all_run()
    }

    /// Reports a message that did not reach the service manager.
    fn told(&self, result: io::Result<()>) {
        if let Err(error) = result {
            let error = error.to_string();
            self.log.send(Life::ManagerUnreachable { error });
        }
    }
}

/// The address, taken: the inherited socket that has it, or a new one. For `:PORT` the inherited one may be
/// of IPv4 only, as it is on a machine without IPv6.
pub(super) fn take(
    on: &ListenOn,
    listener: &config::Listener,
    inherited: &mut Inherited,
) -> io::Result<Bound> {
    let options = &listener.socket;
    match on {
        ListenOn::Tcp(bind) => {
            let of_ipv4 = Address::Ip((Ipv4Addr::UNSPECIFIED, bind.address.port()).into());
            let socket = inherited
                .take(&bind.address.into())
                .or_else(|| bind.dual_stack.then(|| inherited.take(&of_ipv4))?);
            match socket {
                Some(socket) => Bound::inherited_with(socket, options),
                None => Bound::with(bind.address, bind.dual_stack, options),
            }
        }
        ListenOn::Unix(path) => {
            let address = Address::Unix(path.as_path().into());
            match inherited.take(&address) {
                Some(socket) => Ok(Bound::inherited_unix(socket, path)),
                None => Bound::unix(path, listener.mode),
            }
        }
    }
}

/// Says which sockets were passed to evener in vain, and closes them.
pub(super) fn report_unused(inherited: Inherited, log: &Log) {
    for what in inherited.unused() {
        log.send(Start::InheritedUnused { what });
    }
}
