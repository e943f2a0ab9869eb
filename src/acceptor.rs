//! A listener thread: waits for room, accepts, refuses whom the config does not let in, sets two
//! threads aside, hands the client over.
//!
//! The order is what keeps clients safe when something is short. Room first: at the limit nothing
//! is accepted, and clients wait in the kernel's backlog, where the first one served is the first
//! one that came. A shortage of descriptors or threads is a pause, never the end of the thread.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::events::Shortage;
use crate::limits::Capacity;
use crate::net::listener::{self, AcceptError, Listening};
use crate::registry::Listener;
use crate::session::{self, Arrival, Context};
use crate::sync::{Closed, Gate, Permit, Published};
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
    /// What its sessions have in common. Written by the server, which puts another one here when the
    /// config has changed; read for each client.
    pub context: Arc<Published<Context>>,
    /// The socket; the server holds it too, to shut it down.
    pub socket: Arc<Listening>,
    /// Places among all sessions of the process.
    pub process_gate: Arc<Gate>,
    /// Where the process's limit comes from; looked at again after a shortage.
    pub capacity: Arc<Capacity>,
    /// Where threads come from.
    pub threads: Threads,
    /// A descriptor kept for the moment when there is none left: given up then, it lets one of the
    /// accepted clients have its backend, and the end of that session lets others. Taken again with
    /// the next client that could be accepted.
    pub spare: Option<OwnedFd>,
    /// Disconnected when the config that opened this listener is in force: until then there may be nobody
    /// to serve its clients, and they wait in the backlog.
    pub begin: Receiver<Infallible>,
}

impl Acceptor {
    /// Accepts clients until the gate of the process is closed or this listener is shut down.
    pub fn run(mut self) {
        let mut state = State::new(self.spare.take());
        let _ = self.begin.recv();
        threads::keep_going(|| match self.next_client(&mut state) {
            Ok(()) => ControlFlow::Continue(()),
            Err(Closed) => ControlFlow::Break(()),
        });
    }

    /// One round: at most one client.
    fn next_client(&self, state: &mut State) -> Result<(), Closed> {
        self.wait_for_room(state)?;
        let (client, address) = match listener::accept(&self.socket) {
            Ok(accepted) => accepted,
            Err(error) => return self.after_error(&error, state),
        };
        let at = Instant::now();
        if state.spare.is_none() {
            state.spare = spare_descriptor();
        }
        // Who comes after a reload is served as the new config says.
        let context = self.context.load();
        state.go_by_the_name_of(&context.listener);
        let mut admitted = None;
        if !session::is_proxy(&context, &address) {
            admitted = session::let_in(&context, &client, &address, at);
            if admitted.is_none() {
                return Ok(());
            }
        }
        context.listener.accepted.increment();
        let permits = self.enter(&context)?;
        let session_seat = self.seat(&context, state)?;
        let return_seat = self.seat(&context, state)?;
        let arrival = Arrival {
            client,
            address,
            at,
            return_seat,
            permits,
            admitted,
        };
        // Nobody joins a session: its own report tells how it ended, a panic included.
        session_seat.run(move || session::run(&context, arrival));
        Ok(())
    }

    /// Waits until there is room in the process and in the listener.
    fn wait_for_room(&self, state: &mut State) -> Result<(), Closed> {
        let mut patience = Duration::ZERO;
        loop {
            // Anew each time: a reload may have raised the limit, or have put another listener here.
            let context = self.context.load();
            let full = if !self.process_gate.wait_for_room(patience)? {
                &self.process_gate
            } else if !context.listener.gate.wait_for_room(patience)? {
                &context.listener.gate
            } else {
                return Ok(());
            };
            if self.socket.is_shut_down() {
                return Err(Closed);
            }
            patience = LOOK_EVERY;
            if state.full.is_due() {
                let (_, limit) = full.occupancy();
                let listener = Arc::clone(&context.listener.name);
                context.log.send(Shortage::Full { listener, limit });
            }
            // Who is always full would read a dozen files for each client otherwise.
            if state.look.is_due() {
                self.look_at_the_limit(&context);
            }
        }
    }

    /// Takes a place in each gate. There was room a moment ago; another listener may have taken it,
    /// and then this client waits here, accepted, until the next session ends.
    fn enter(&self, context: &Context) -> Result<(Permit, Permit), Closed> {
        let of_process = self.process_gate.enter()?;
        let of_listener = context.listener.gate.enter()?;
        Ok((of_process, of_listener))
    }

    fn look_at_the_limit(&self, context: &Context) {
        let allowed = self.capacity.allowed(context.max_connections);
        self.process_gate.set_limit(allowed);
    }

    /// Sets a thread aside; when the OS refuses, tries again until it does not.
    fn seat(&self, context: &Context, state: &mut State) -> Result<Seat, Closed> {
        loop {
            match self.threads.reserve() {
                Ok(seat) => return Ok(seat),
                Err(error) => {
                    if state.thread.is_due() {
                        let by = format!("listener {}", context.listener.name).into();
                        context.log.send(Shortage::ThreadRefused {
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
        let context = self.context.load();
        match listener::accept_error(error) {
            AcceptError::Again => Ok(()),
            AcceptError::Closed => {
                if self.socket.is_shut_down() {
                    return Err(Closed);
                }
                // While the gate is open it was not us: `ss -K`, for example.
                self.process_gate.wait_for_room(Duration::ZERO)?;
                context.log.send(Shortage::AcceptFailed {
                    listener: Arc::clone(&context.listener.name),
                    error: error.to_string(),
                    advice: "the socket was shut down from outside and takes no client any more; restart evener",
                });
                Err(Closed)
            }
            AcceptError::Pause(advice) => {
                if state.accept.is_due() {
                    context.log.send(Shortage::AcceptFailed {
                        listener: Arc::clone(&context.listener.name),
                        error: error.to_string(),
                        advice,
                    });
                }
                state.spare = None;
                // If a limit was lowered while we run, stay below it from now on.
                self.look_at_the_limit(&context);
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
    /// The listener after which this thread is called.
    named_after: Option<Arc<Listener>>,
}

impl State {
    fn new(spare: Option<OwnedFd>) -> State {
        State {
            named_after: None,
            full: Occasionally::new(REPORT_EVERY),
            thread: Occasionally::new(REPORT_EVERY),
            accept: Occasionally::new(REPORT_EVERY),
            look: Occasionally::new(LOOK_EVERY),
            spare,
        }
    }
}

impl State {
    /// Names the thread after its listener, which a reload may have replaced.
    fn go_by_the_name_of(&mut self, listener: &Arc<Listener>) {
        let is_current = |named: &Arc<Listener>| Arc::ptr_eq(named, listener);
        if !self.named_after.as_ref().is_some_and(is_current) {
            threads::set_name(&threads::name_of("listen ", &listener.name));
            self.named_after = Some(Arc::clone(listener));
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
