//! The end, in order: nobody new, then those who are there by themselves or by a reset, then the threads.
//! Until the last session has ended, servers go on being probed and backends that have left being seen off.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, after, never, select};

use super::{Server, at};
use crate::events::Life;

/// How long an aborted session may take to end.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// How the shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// In order: every session ended, by itself or at the deadline.
    Clean,
    /// A second signal cut it short.
    Forced,
}

/// Why the wait for the last session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// It has ended.
    Whole,
    /// Time is over.
    Late,
    /// A signal has cut it short.
    Forced,
}

impl Server {
    /// Ends in order: no new sessions, those that run may end by themselves until the deadline, the
    /// rest is aborted. Before that nothing changes for so long as `delay`. The second of all `signals` cuts
    /// every wait short; after an upgrade, the first one asks for what is being done already.
    pub(super) fn shut_down(mut self, signals: &Receiver<()>, delay: Duration) -> Shutdown {
        self.control.draining.raise();
        // Whoever asks for a change from now on is told so.
        self.requests = never();
        let config = Arc::clone(&self.control.running.load().config);
        let timeout = config.shutdown.drain_timeout;
        let (sessions, _) = self.tools.process_gate.occupancy();
        self.log.send(Life::Draining {
            sessions,
            since: SystemTime::now(),
            timeout: timeout.map(|timeout| timeout + delay),
        });
        let is_cut_short = !delay.is_zero() && self.look_on(signals, delay);
        self.close();
        let drained = match is_cut_short {
            true => Drained::Forced,
            false => self.drain(signals, timeout),
        };
        if drained == Drained::Whole {
            self.end();
            return Shutdown::Clean;
        }
        let sessions = self.control.registry.abort_all();
        self.log.send(Life::Aborted {
            sessions,
            by_signal: drained == Drained::Forced,
        });
        if self.drained.recv_timeout(ABORT_PATIENCE) == Err(RecvTimeoutError::Disconnected) {
            self.end();
        } else {
            // The process ends all the same, without joining what would block it.
            let sessions = self.control.registry.len();
            self.log.send(Life::Stuck { sessions });
        }
        match drained {
            Drained::Forced => Shutdown::Forced,
            Drained::Whole | Drained::Late => Shutdown::Clean,
        }
    }

    /// Goes on as before for so long as `delay`; true: a signal has cut it short.
    fn look_on(&mut self, signals: &Receiver<()>, delay: Duration) -> bool {
        let over = after(delay);
        loop {
            let wake = at(self.upkeep());
            select! {
                recv(signals) -> _ => return true,
                recv(over) -> _ => return false,
                recv(self.mode_changes) -> _ => {}
                recv(self.gone_down) -> backend => if let Ok(backend) = backend {
                    self.abort_sessions_of(&backend);
                },
                recv(wake) -> _ => {}
            }
        }
    }

    /// Waits for the end of the last session.
    fn drain(&mut self, signals: &Receiver<()>, timeout: Option<Duration>) -> Drained {
        let deadline = timeout.map_or_else(never, after);
        loop {
            // Looked at first: `select!` takes any of several that are ready, and a signal that comes
            // twice (`timeout` sends it to the process and to its group) is not to cut short what is over.
            if self.drained.try_recv() == Err(TryRecvError::Disconnected) {
                return Drained::Whole;
            }
            let wake = at(self.see_off());
            select! {
                recv(self.drained) -> _ => return Drained::Whole,
                recv(signals) -> _ => {
                    if self.signalled {
                        return Drained::Forced;
                    }
                    self.signalled = true;
                }
                recv(deadline) -> _ => return Drained::Late,
                recv(self.gone_down) -> backend => if let Ok(backend) = backend {
                    self.abort_sessions_of(&backend);
                },
                recv(wake) -> _ => {}
            }
        }
    }

    /// What is done whenever something has happened: says when to do it again, whatever happens.
    pub(super) fn upkeep(&mut self) -> Option<Instant> {
        let next_door = self.open_and_refuse();
        self.see_off().into_iter().chain(next_door).min()
    }

    /// Lets no new client in: closes the gates, ends the listeners and joins their threads.
    pub(super) fn close(&mut self) {
        self.tools.process_gate.close();
        self.entrances.close();
    }

    /// Ends and joins what is left, when there are no sessions any more.
    pub(super) fn end(self) {
        for admin in self.admin.into_iter().chain(self.retired_admins) {
            admin.join();
        }
        drop(self.stop);
        drop(self.orders);
        drop(self.names);
        for service in self.services {
            // A panic in it was reported by the panic hook when it happened.
            let _ = service.join();
        }
        self.tools.threads.shut_down();
        self.log.send(Life::Stopped);
    }
}
