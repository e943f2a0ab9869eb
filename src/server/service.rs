//! evener as a service: the sockets that it inherits, and what the service manager is told and when.
//! Runs on the main thread, which does nothing else while evener serves.

use std::net::{Ipv4Addr, TcpListener};

use crossbeam_channel::{Receiver, never, select, tick};

use super::Server;
use crate::config;
use crate::events::Event;
use crate::log::Log;
use crate::systemd::{Inherited, Manager};

impl Server {
    /// Tells the service manager that evener serves, keeps telling it that evener is alive, and
    /// returns when a signal has come and the manager knows that evener is about to stop.
    pub fn serve(&self, signals: &Receiver<()>, manager: &Manager) {
        self.told(manager.ready());
        let sign_of_life = manager.sign_of_life_every().map_or_else(never, tick);
        let mut was_alive = true;
        loop {
            select! {
                // The sender lives in the signal handler, so this is a signal.
                recv(signals) -> _ => break,
                recv(sign_of_life) -> _ => {
                    let is_alive = self.is_alive();
                    if is_alive {
                        self.told(manager.alive());
                    } else if was_alive {
                        self.log.send(Event::NoSignOfLife);
                    }
                    was_alive = is_alive;
                }
            }
        }
        let longest = self.shutdown.drain_timeout;
        let longest = longest.map(|drain| drain.saturating_add(self.shutdown.pre_stop_delay));
        self.told(manager.stopping(longest));
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
    fn told(&self, result: std::io::Result<()>) {
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
