//! A listener thread: waits for room, accepts, sets two threads aside, hands the client over.
//!
//! The order is what keeps clients safe when something is short. Room first: at the limit nothing
//! is accepted, and clients wait in the kernel's backlog, where the first one served is the first
//! one that came. A shortage of descriptors or threads is a pause, never the end of the thread.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::events::Event;
use crate::limits::Capacity;
use crate::net::listener::{self, AcceptError, Listening};
use crate::session::{self, Arrival, Context};
use crate::sync::{Closed, Gate, Permit};
use crate::threads::{self, Seat, Threads};

/// Pause after a shortage: long enough not to spin, short enough not to be noticed.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a full listener looks whether the limit itself has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A shortage is reported once, then not again for this long.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// What a listener thread owns and uses.
#[derive(Debug)]
pub struct Acceptor {
    /// What its sessions have in common.
    pub context: Arc<Context>,
    /// The socket; the server holds it too, to shut it down.
    pub listener: Arc<Listening>,
    /// Places among all sessions of the process.
    pub process_gate: Arc<Gate>,
    /// Places among the sessions of this listener, if it has a limit of its own.
    pub listener_gate: Option<Arc<Gate>>,
    /// Where the process's limit comes from; looked at again after a shortage.
    pub capacity: Arc<Capacity>,
    /// Where threads come from.
    pub threads: Threads,
    /// A descriptor kept for the moment when there is none left: given up then, it lets one of the
    /// accepted clients have its backend, and the end of that session lets others. Taken again with
    /// the next client that could be accepted.
    pub spare: Option<OwnedFd>,
}

impl Acceptor {
    /// Accepts clients until the gate is closed.
    pub fn run(mut self) {
        let mut state = State::new(self.spare.take());
        threads::keep_going(|| match self.next_client(&mut state) {
            Ok(()) => ControlFlow::Continue(()),
            Err(Closed) => ControlFlow::Break(()),
        });
    }

    /// One round: at most one client.
    fn next_client(&self, state: &mut State) -> Result<(), Closed> {
        self.wait_for_room(state)?;
        let (client, address) = match listener::accept(&self.listener) {
            Ok(accepted) => accepted,
            Err(error) => return self.after_error(&error, state),
        };
        let at = Instant::now();
        if state.spare.is_none() {
            state.spare = spare_descriptor();
        }
        let permits = self.enter()?;
        let session_seat = self.seat(state)?;
        let return_seat = self.seat(state)?;
        let context = Arc::clone(&self.context);
        let arrival = Arrival {
            client,
            address,
            at,
            return_seat,
            permits,
        };
        // Nobody joins a session: its own report tells how it ended, a panic included.
        session_seat.run(move || session::run(&context, arrival));
        Ok(())
    }

    fn gates(&self) -> impl Iterator<Item = &Arc<Gate>> {
        std::iter::once(&self.process_gate).chain(&self.listener_gate)
    }

    fn wait_for_room(&self, state: &mut State) -> Result<(), Closed> {
        for gate in self.gates() {
            let mut has_room = gate.wait_for_room(Duration::ZERO)?;
            while !has_room {
                if state.full.is_due() {
                    let (_, limit) = gate.occupancy();
                    let listener = Arc::clone(&self.context.listener);
                    self.context.log.send(Event::Full { listener, limit });
                }
                has_room = gate.wait_for_room(LOOK_EVERY)?;
                if self.listener.is_shut_down() {
                    return Err(Closed);
                }
                // Who is always full would read a dozen files for each client otherwise.
                if state.look.is_due() {
                    self.process_gate.set_limit(self.capacity.allowed());
                }
            }
        }
        Ok(())
    }

    /// Takes a place in each gate. There was room a moment ago; another listener may have taken it,
    /// and then this client waits here, accepted, until the next session ends.
    fn enter(&self) -> Result<(Permit, Option<Permit>), Closed> {
        let of_process = self.process_gate.enter()?;
        let of_listener = self.listener_gate.as_ref().map(Gate::enter).transpose()?;
        Ok((of_process, of_listener))
    }

    /// Sets a thread aside; when the OS refuses, tries again until it does not.
    fn seat(&self, state: &mut State) -> Result<Seat, Closed> {
        loop {
            match self.threads.reserve() {
                Ok(seat) => return Ok(seat),
                Err(error) => {
                    if state.thread.is_due() {
                        let by = format!("listener {}", self.context.listener).into();
                        self.context.log.send(Event::ThreadRefused {
                            by,
                            error: error.to_string(),
                        });
                    }
                    thread::sleep(PAUSE);
                    // Fails when the gate was closed meanwhile: the client is given up with the rest.
                    self.process_gate.wait_for_room(Duration::ZERO)?;
                }
            }
        }
    }

    fn after_error(&self, error: &io::Error, state: &mut State) -> Result<(), Closed> {
        match listener::accept_error(error) {
            AcceptError::Again => Ok(()),
            AcceptError::Closed if self.listener.is_shut_down() => Err(Closed),
            AcceptError::Closed => {
                // While the gate is open it was not us: `ss -K`, for example.
                self.process_gate.wait_for_room(Duration::ZERO)?;
                self.context.log.send(Event::AcceptFailed {
                    listener: Arc::clone(&self.context.listener),
                    error: error.to_string(),
                    advice: "the socket was shut down from outside and takes no client any more; restart evener",
                });
                Err(Closed)
            }
            AcceptError::Pause(advice) => {
                if state.accept.is_due() {
                    self.context.log.send(Event::AcceptFailed {
                        listener: Arc::clone(&self.context.listener),
                        error: error.to_string(),
                        advice,
                    });
                }
                state.spare = None;
                // If a limit was lowered while we run, stay below it from now on.
                self.process_gate.set_limit(self.capacity.allowed());
                thread::sleep(PAUSE);
                Ok(())
            }
        }
    }
}

/// What a listener thread remembers from one client to the next.
#[derive(Debug)]
struct State {
    /// When each kind of shortage was last reported.
    full: Occasionally,
    thread: Occasionally,
    accept: Occasionally,
    /// When a full listener last looked at the limit.
    look: Occasionally,
    /// As [`Acceptor::spare`].
    spare: Option<OwnedFd>,
}

impl State {
    fn new(spare: Option<OwnedFd>) -> State {
        State {
            full: Occasionally::new(REPORT_EVERY),
            thread: Occasionally::new(REPORT_EVERY),
            accept: Occasionally::new(REPORT_EVERY),
            look: Occasionally::new(LOOK_EVERY),
            spare,
        }
    }
}

/// A descriptor that is good for nothing but to be given up.
pub fn spare_descriptor() -> Option<OwnedFd> {
    Some(File::open("/dev/null").ok()?.into())
}

/// Something that is due at once, and not again for a while after it was done.
#[derive(Debug)]
struct Occasionally {
    every: Duration,
    last: Option<Instant>,
}

impl Occasionally {
    const fn new(every: Duration) -> Occasionally {
        Occasionally { every, last: None }
    }

    /// Is it due? If so, the caller does it now.
    fn is_due(&mut self) -> bool {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= self.every);
        if is_due {
            self.last = Some(Instant::now());
        }
        is_due
    }
}
