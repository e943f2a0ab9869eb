//! evener as a service: the sockets that it inherits and passes on, and what the service manager is told
//! and when. Runs on the main thread, which does nothing else while evener serves.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select, tick};

use super::{Server, Shutdown};
use crate::config;
use crate::events::Event;
use crate::log::Log;
use crate::net::listener;
use crate::systemd::{Inherited, Manager};
use crate::threads;
use crate::upgrade::{self, Predecessor, Program};

/// How long the listeners' threads may take to hand on whom they have accepted.
const HAND_ON_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks whether they have.
const HAND_ON_LOOK: Duration = Duration::from_millis(5);

/// Who evener deals with while it serves, beside clients and backends.
#[derive(Debug)]
pub struct Surroundings {
    /// A message for each signal to stop.
    pub signals: Receiver<()>,
    /// A message for each order to upgrade.
    pub upgrades: Receiver<()>,
    /// Who started evener, if it wants to hear of it.
    pub manager: Manager,
    /// How to start another evener; an error when that can't be known.
    pub program: io::Result<Program>,
}

/// The process id of a new evener that serves, or why it does not.
type Outcome = Result<u32, String>;

impl Server {
    /// Serves until a signal to stop comes, or until a new evener has taken over; then shuts down.
    /// Meanwhile it tells the service manager that evener serves, lives, and is about to stop.
    pub fn serve(self, around: &Surroundings, predecessor: Option<Predecessor>) -> Shutdown {
        match predecessor.map(Predecessor::relieve) {
            // The predecessor is the one that the manager listens to, and tells it of us.
            Some(Ok(())) => {}
            Some(Err(_)) => return self.stop(around),
            None => self.told(around.manager.ready()),
        }
        let sign_of_life = around.manager.sign_of_life_every().map_or_else(never, tick);
        let (sender, outcomes) = bounded(1);
        let mut was_alive = true;
        let mut is_upgrading = false;
        loop {
            select! {
                // The sender lives in the signal handler, so this is a signal.
                recv(around.signals) -> _ => return self.stop(around),
                recv(sign_of_life) -> _ => was_alive = self.sign(&around.manager, was_alive),
                recv(around.upgrades) -> _ => if !is_upgrading {
                    is_upgrading = true;
                    if let Err(error) = self.start_successor(around, sender.clone()) {
                        // There is room: this is the only message.
                        let _ = sender.try_send(Err(error.to_string()));
                    }
                },
                recv(outcomes) -> outcome => match outcome.unwrap_or_else(|gone| Err(gone.to_string())) {
                    Ok(pid) => return self.hand_over(around, pid),
                    Err(error) => {
                        is_upgrading = false;
                        self.log.send(Event::UpgradeFailed { error });
                    }
                },
            }
        }
    }

    fn stop(self, around: &Surroundings) -> Shutdown {
        let longest = self.shutdown.drain_timeout;
        let longest = longest.map(|drain| drain.saturating_add(self.shutdown.pre_stop_delay));
        self.told(around.manager.stopping(longest));
        self.shut_down(&around.signals)
    }

    /// Starts another evener with our sockets, and a thread that waits for its word.
    fn start_successor(&self, around: &Surroundings, outcomes: Sender<Outcome>) -> io::Result<()> {
        let program = around.program.as_ref();
        let program = program.map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        let sockets: io::Result<_> = self
            .listeners
            .iter()
            .map(|listener| listener.for_another_program())
            .collect();
        let successor = program.start(sockets?)?;
        self.log.send(Event::UpgradeStarted {
            pid: successor.id(),
        });
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
    /// so the listeners' threads end first, and only then do the gates close.
    fn hand_over(mut self, around: &Surroundings, pid: u32) -> Shutdown {
        self.told(around.manager.main_process(pid));
        self.log.send(Event::Upgraded { pid });
        for listener in &self.listeners {
            listener::shut_down(listener);
        }
        let begin = Instant::now();
        while begin.elapsed() < HAND_ON_PATIENCE
            && !self.acceptors.iter().all(|thread| thread.is_finished())
        {
            thread::sleep(HAND_ON_LOOK);
        }
        // It is for an outer balancer that has to look away; this address goes on being served.
        self.shutdown.pre_stop_delay = Duration::ZERO;
        self.shut_down(&around.signals)
    }

    /// Gives the manager a sign of life, if there is one; says whether there is.
    fn sign(&self, manager: &Manager, was_alive: bool) -> bool {
        let is_alive = self.is_alive();
        if is_alive {
            self.told(manager.alive());
        } else if was_alive {
            self.log.send(Event::NoSignOfLife);
        }
        is_alive
    }

    /// What a sign of life proves: every thread that the process can't do without still runs (a panic
    /// does not end them, so one that has ended is a bug, or a listening socket that was shut down
    /// from outside); and the locks that every session takes can be had, or this call would not return.
    /// It does not prove that backends answer: that is what the health check is for, and no reason to
    /// restart evener.
    fn is_alive(&self) -> bool {
        let mut needed = self.services.iter().chain(&self.acceptors);
        let all_run = needed.all(|thread| !thread.is_finished());
        let _ = (self.registry.len(), self.process_gate.occupancy());
        all_run
    }

    /// Reports a message that did not reach the service manager.
    fn told(&self, result: io::Result<()>) {
        if let Err(error) = result {
            let error = error.to_string();
            self.log.send(Event::ManagerUnreachable { error });
        }
    }
}

/// The inherited socket for this address. For `:PORT` it may be one of IPv4 only, as it is on a
/// machine without IPv6.
pub(super) fn take(bind: &config::Bind, inherited: &mut Inherited) -> Option<TcpListener> {
    inherited.take(bind.address).or_else(|| {
        let of_ipv4 = (Ipv4Addr::UNSPECIFIED, bind.address.port()).into();
        bind.dual_stack.then(|| inherited.take(of_ipv4))?
    })
}

/// Says which sockets were passed to evener in vain, and closes them.
pub(super) fn report_unused(inherited: Inherited, log: &Log) {
    for what in inherited.unused() {
        log.send(Event::InheritedUnused { what });
    }
}
