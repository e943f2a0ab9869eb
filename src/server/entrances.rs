//! The addresses that are listened on: each with its socket, its acceptor's thread, and what its
//! sessions have in common, which a reload replaces while the socket stays open.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::{StartError, service};
use crate::acceptor::{self, Acceptor};
use crate::config::{self, Config, ListenOn, WhenDown};
use crate::limits::Capacity;
use crate::net::listener::{Bound, Listening};
use crate::policy::socket::ListenOptions;
use crate::session::Context;
use crate::sync::{Gate, Published};
use crate::systemd::Inherited;
use crate::threads::{self, Threads};

/// How long the acceptors may take to hand on whom they have accepted.
const HAND_ON_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks whether they have.
const HAND_ON_LOOK: Duration = Duration::from_millis(5);

/// One address that is listened on.
#[derive(Debug)]
pub(super) struct Entrance {
    bind: ListenOn,
    /// Name of the listener that it belongs to.
    listener: String,
    /// What its socket was told last.
    options: ListenOptions,
    /// Shared with the acceptor; shut down, it ends that.
    socket: Arc<Listening>,
    /// Written by the server; read by the acceptor.
    context: Arc<Published<Context>>,
    thread: JoinHandle<()>,
    /// It is to be opened again after it refused clients, and that has failed.
    is_stuck: bool,
}

/// An address that was taken for a listener and is not open yet.
#[derive(Debug)]
pub(super) struct Taken {
    listener: String,
    bind: ListenOn,
    options: ListenOptions,
    bound: Bound,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Entrances {
    open: Vec<Entrance>,
    /// Acceptors that are about to end, each with the gate at which it may wait.
    retired: Vec<(JoinHandle<()>, Arc<Gate>)>,
}

/// A listener at whose address clients are refused from now on, or no longer.
#[derive(Debug)]
pub(super) struct DoorChange {
    pub(super) listener: Arc<str>,
    pub(super) pool: Arc<str>,
    pub(super) address: String,
    pub(super) refuses: bool,
    /// Why it could not be opened.
    pub(super) error: Option<io::Error>,
}

/// What every acceptor needs beside its context.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) process_gate: Arc<Gate>,
    pub(super) capacity: Arc<Capacity>,
    pub(super) threads: Threads,
}

impl Entrances {
    /// Takes every address of the config that is not open, so that one that can't be had is an error
    /// before anything has changed.
    /// One that is `inherited` is not bound anew.
    pub(super) fn take_missing(
        &self,
        config: &Config,
        inherited: &mut Inherited,
    ) -> Result<Vec<Taken>, StartError> {
        let (_, missing) = self.matched(config);
        let take = |(listener, bind): (&config::Listener, &ListenOn)| {
            let bound = service::take(bind, listener, inherited);
            Ok(Taken {
                listener: listener.name.clone(),
                bind: bind.clone(),
                options: listener.socket.clone(),
                bound: bound.map_err(|error| self.bind_error(bind, error, inherited))?,
            })
        };
        missing.into_iter().map(take).collect()
    }

    /// Why an address can't be had. Where the port is in use by evener itself, which overlaps with it
    /// (`:8080` and `127.0.0.1:8080`), the advice is another one.
    fn bind_error(&self, bind: &ListenOn, error: io::Error, inherited: &Inherited) -> StartError {
        let address = bind.to_string();
        let port = |on: &ListenOn| on.tcp().map_or(0, |bind| bind.address.port());
        if error.kind() == io::ErrorKind::AddrInUse && port(bind) != 0 {
            let mut open = self.open.iter();
            if let Some(own) = open.find(|entrance| port(&entrance.bind) == port(bind)) {
                let open = own.bind.to_string();
                return StartError::Overlap { address, open };
            }
            if let Some(passed) = inherited.on_port(port(bind)) {
                return StartError::Passed { address, passed };
            }
        }
        StartError::Bind { address, error }
    }

    /// For each open entrance the listener of the config that has its address, and the addresses of
    /// the config that are not open. An address is at home with the listener that it had.
    fn matched<'c>(
        &self,
        config: &'c Config,
    ) -> (
        Vec<Option<&'c config::Listener>>,
        Vec<(&'c config::Listener, &'c ListenOn)>,
    ) {
        let mut homes = vec![None; self.open.len()];
        let mut wanted: Vec<(&config::Listener, &ListenOn)> = config
            .listeners
            .iter()
            .flat_map(|listener| listener.bind.iter().map(move |bind| (listener, bind)))
            .collect();
        for same_name in [true, false] {
            for (home, entrance) in homes.iter_mut().zip(&self.open) {
                let place = wanted.iter().position(|(listener, bind)| {
                    is_same(bind, &entrance.bind)
                        && (listener.name == entrance.listener || !same_name)
                });
                if let (None, Some(place)) = (&home, place) {
                    *home = Some(wanted.remove(place).0);
                }
            }
        }
        (homes, wanted)
    }

    /// Opens what was taken; clients are let in when `begin` is disconnected. On an error nothing of it
    /// stays open.
    pub(super) fn open(
        &mut self,
        taken: Vec<Taken>,
        tools: &Tools,
        begin: &Receiver<Infallible>,
        context: impl Fn(&str) -> Option<Arc<Context>>,
    ) -> Result<(), StartError> {
        let before = self.open.len();
        for taken in taken {
            let Some(context) = context(&taken.listener) else {
                continue;
            };
            match open(taken, tools, begin.clone(), context) {
                Ok(entrance) => self.open.push(entrance),
                Err(error) => {
                    for entrance in self.open.split_off(before) {
                        self.retire(entrance);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Gives each entrance the context of its listener in this config and tells its socket the options, and
    /// closes those that have none. What a socket does not take is returned: that was tried before, so it is
    /// not to be expected.
    pub(super) fn settle(
        &mut self,
        config: &Config,
        context: impl Fn(&str) -> Option<Arc<Context>>,
    ) -> Vec<String> {
        let mut refused = Vec::new();
        let (homes, _) = self.matched(config);
        type Home = (String, u32, ListenOptions);
        let home = |listener: &config::Listener| -> Home {
            (
                listener.name.clone(),
                listener.mode,
                listener.socket.clone(),
            )
        };
        let homes: Vec<Option<Home>> = homes.into_iter().map(|one| one.map(home)).collect();
        for (mut entrance, home) in std::mem::take(&mut self.open).into_iter().zip(homes) {
            match home.and_then(|home| Some((context(&home.0)?, home))) {
                Some((context, (name, mode, options))) => {
                    entrance.context.put(context);
                    // Whoever has removed the file has closed the entrance for all who come, mode or not.
                    let _ = entrance.socket.set_mode(mode);
                    if let Err(error) = entrance.socket.tell(&entrance.options, &options) {
                        refused.push(format!("listener {name}: {error}"));
                    }
                    entrance.options = options;
                    entrance.listener = name;
                    self.open.push(entrance);
                }
                None => self.retire(entrance),
            }
        }
        refused
    }

    fn retire(&mut self, entrance: Entrance) {
        entrance.socket.shut_down();
        let gate = Arc::clone(&entrance.context.load().listener.gate);
        self.retired.push((entrance.thread, gate));
        // Those that have ended need no place; joining them does not block.
        self.retired.retain(|(thread, _)| !thread.is_finished());
    }

    /// Lets the kernel refuse the clients of each listener whose pools have `when_down: refuse` and no
    /// backend, all that it leads to, and lets those of the others come; says what has changed, and, the first time, what
    /// could not.
    pub(super) fn open_and_refuse(&mut self) -> Vec<DoorChange> {
        let mut changes = Vec::new();
        for entrance in &mut self.open {
            let context = entrance.context.load();
            let refuses = context
                .routes
                .pools()
                .all(|pool| pool.config.when_down == WhenDown::Refuse && !pool.can_serve());
            context.listener.refuses.set(refuses.into());
            let outcome = match refuses {
                true => Ok(entrance.socket.refuse()),
                false => entrance.socket.reopen(),
            };
            let was_stuck = std::mem::replace(&mut entrance.is_stuck, outcome.is_err());
            if outcome.as_ref().map_or(!was_stuck, |changed| *changed) {
                changes.push(DoorChange {
                    listener: Arc::clone(&context.listener.name),
                    pool: context
                        .routes
                        .pools()
                        .next()
                        .map_or("".into(), |pool| Arc::clone(&pool.name)),
                    address: shown_address(&entrance.bind, &entrance.socket),
                    refuses,
                    error: outcome.err(),
                });
            }
        }
        changes
    }

    /// Is there a listener that should be open and is not?
    pub(super) fn has_stuck(&self) -> bool {
        self.open.iter().any(|entrance| entrance.is_stuck)
    }

    /// The addresses of a listener that are open: as written, or the real ones where the OS chose the
    /// port.
    pub(super) fn addresses(&self, listener: &str) -> Vec<String> {
        self.open
            .iter()
            .filter(|entrance| entrance.listener == listener)
            .map(|entrance| shown_address(&entrance.bind, &entrance.socket))
            .collect()
    }

    /// Does every acceptor run that nobody has ended?
    pub(super) fn all_run(&self) -> bool {
        let ended = |entrance: &Entrance| entrance.thread.is_finished();
        !self.open.iter().any(ended)
    }

    /// The sockets once more, for another program.
    pub(super) fn for_another_program(&self) -> io::Result<Vec<OwnedFd>> {
        // One that refuses clients does not listen: a new program makes one of its own.
        let sockets = self.open.iter().map(|entrance| &entrance.socket);
        sockets
            .filter(|socket| !socket.refuses())
            .map(|socket| socket.for_another_program())
            .collect()
    }

    /// Leaves all of them to who shares the sockets, and lets the acceptors hand on whom they have
    /// accepted: they end by themselves, because no gate closes.
    pub(super) fn leave(&self) {
        for entrance in &self.open {
            entrance.socket.shut_down();
        }
        let begin = Instant::now();
        let have_ended = || {
            self.open
                .iter()
                .all(|entrance| entrance.thread.is_finished())
        };
        while !have_ended() && begin.elapsed() < HAND_ON_PATIENCE {
            thread::sleep(HAND_ON_LOOK);
        }
    }

    /// Closes all of them and joins their threads. The gate of the process has been closed.
    pub(super) fn close(&mut self) {
        for entrance in std::mem::take(&mut self.open) {
            self.retire(entrance);
        }
        for (thread, gate) in self.retired.drain(..) {
            gate.close();
            // A panic in it was reported by the panic hook when it happened.
            let _ = thread.join();
        }
    }
}

fn open(
    taken: Taken,
    tools: &Tools,
    begin: Receiver<Infallible>,
    context: Arc<Context>,
) -> Result<Entrance, StartError> {
    let Taken {
        listener,
        bind,
        options,
        bound,
    } = taken;
    let socket = Listening::new(bound).map_err(|error| StartError::Bind {
        address: bind.to_string(),
        error,
    })?;
    let socket = Arc::new(socket);
    let context = Arc::new(Published::holding(context));
    let acceptor = Acceptor {
        context: Arc::clone(&context),
        socket: Arc::clone(&socket),
        process_gate: Arc::clone(&tools.process_gate),
        capacity: Arc::clone(&tools.capacity),
        threads: tools.threads.clone(),
        spare: acceptor::spare_descriptor(),
        begin,
    };
    let name = threads::name_of("listen ", &listener);
    let thread = threads::spawn(name.as_str(), move || acceptor.run());
    Ok(Entrance {
        bind,
        listener,
        options,
        socket,
        context,
        thread: thread.map_err(StartError::Thread)?,
        is_stuck: false,
    })
}

/// The address as it was written, or the real one where the OS chose the port.
fn shown_address(bind: &ListenOn, socket: &Listening) -> String {
    match (bind, socket.local_addr()) {
        (ListenOn::Tcp(bind), Ok(address)) if bind.address.port() == 0 => address.to_string(),
        _ => bind.to_string(),
    }
}

/// Is it the same address, however it is written?
fn is_same(one: &ListenOn, other: &ListenOn) -> bool {
    match (one, other) {
        (ListenOn::Tcp(one), ListenOn::Tcp(other)) => {
            (one.address, one.dual_stack) == (other.address, other.dual_stack)
        }
        (one, other) => one == other,
    }
}
