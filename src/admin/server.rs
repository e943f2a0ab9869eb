//! The threads of the admin server: one accepts, and each connection has one.
//!
//! The accepting thread owns all there is to know of the connections, so nothing here needs a lock:
//! of each it has the thread, to join it, and a weak reference to the socket, to wake it. The socket
//! itself belongs to the connection's thread and is closed by it.

use std::convert::Infallible;
use std::io;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::{Door, Handler, Response, Token, http};
use crate::config::AdminBind;
use crate::events::{Shortage, Start};
use crate::limits::ADMIN_CONNECTIONS;
use crate::log::Log;
use crate::net::listener::{self, AcceptError};
use crate::net::stream::{Stream, Timed};
use crate::threads;

/// What a peer may cost in all, from the accept to the last byte of the answer. The time that the
/// handler takes is not the peer's.
const PATIENCE: Duration = Duration::from_secs(5);

/// For the answer to somebody whose time is over: enough where the socket has room, as it has then.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How long the peer may take to close when it has its answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// How much more of a request that was refused is read away, bytes.
const UNREAD_BYTES_MAX: u64 = 256 * 1024;

/// How long requests that are on their way may take to arrive when the server is closed: whoever has
/// connected in that moment gets an answer.
const LAST_REQUESTS: Duration = Duration::from_millis(200);

/// How long connections may go on after that.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Pause after a shortage of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// A shortage of threads is reported once, then not again for this long.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Stack of a connection's thread. A handler may read a config and render a page of thousands of
/// backends; the 64 KiB of a session would not do for that.
const STACK_BYTES: usize = 512 * 1024;

/// A running admin server. To move it, start another one, then [`close`](Admin::close) this one. One
/// that is only dropped answers on.
#[derive(Debug)]
pub struct Admin {
    /// Shared with the accepting thread; shut down, it ends that.
    door: Arc<Door>,
    thread: JoinHandle<()>,
}

impl Admin {
    /// Starts to answer at this door when `begin` is disconnected; until then connections wait in the
    /// backlog.
    ///
    /// # Errors
    ///
    /// When the OS refuses the thread.
    pub fn start(
        door: Door,
        handler: Arc<dyn Handler>,
        log: &Log,
        begin: Receiver<Infallible>,
    ) -> io::Result<Admin> {
        let door = Arc::new(door);
        let (alive, ended) = crossbeam_channel::bounded(0);
        let acceptor = Acceptor {
            door: Arc::clone(&door),
            handler,
            log: log.clone(),
            connections: Vec::new(),
            alive,
            ended,
            reported: None,
        };
        let thread = threads::spawn("admin", move || {
            let _ = begin.recv();
            acceptor.run();
        })?;
        log.send(Start::AdminListening {
            address: door.address().to_owned(),
        });
        Ok(Admin { door, thread })
    }

    /// Where it is: `http://127.0.0.1:9900/` or `unix:/path`.
    pub fn address(&self) -> &str {
        self.door.address()
    }

    /// Its socket once more, for a program that this process starts; `None` for a unix socket.
    ///
    /// # Errors
    ///
    /// No descriptor left.
    pub fn for_another_program(&self) -> io::Result<Option<OwnedFd>> {
        self.door.for_another_program()
    }

    /// Does it listen where this says? Then a reload keeps it, and gives it the token of the config.
    pub fn is_at(&self, bind: &AdminBind) -> bool {
        self.door.is_at(bind)
    }

    /// Asks for this token from now on; see [`Door::read_token`].
    pub fn set_token(&self, token: Option<Token>) {
        self.door.set_token(token);
    }

    /// Takes no new request; a unix socket's file is gone. Requests that are being answered get their answer, within a second; it
    /// does not wait for them, so a handler may call this.
    pub fn close(&self) {
        self.door.close();
    }

    /// Have its threads ended, after [`Admin::close`]? Then [`Admin::join`] does not wait.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Closes it and waits until its threads have ended. Never to
    /// be called by a handler, nor by anyone whom a handler waits for.
    pub fn join(self) {
        self.close();
        // A panic in it was reported by the panic hook when it happened.
        let _ = self.thread.join();
    }
}

/// What the accepting thread owns.
struct Acceptor {
    door: Arc<Door>,
    handler: Arc<dyn Handler>,
    log: Log,
    connections: Vec<Connection>,
    /// Each connection's thread holds a clone; it carries nothing. When the last clone is gone,
    /// `ended` is disconnected.
    alive: Sender<Infallible>,
    ended: Receiver<Infallible>,
    /// When a shortage of threads was last reported.
    reported: Option<Instant>,
}

/// A connection, as the accepting thread knows it.
struct Connection {
    /// Gone when the connection's thread has closed it.
    stream: Weak<Stream>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    /// Accepts until the listening socket is shut down, then ends the connections.
    fn run(mut self) {
        threads::keep_going(|| self.next());
        self.finish();
    }

    /// One round: at most one connection.
    fn next(&mut self) -> ControlFlow<()> {
        match self.door.accept() {
            Ok(stream) => {
                self.join_ended();
                self.admit(stream);
                ControlFlow::Continue(())
            }
            Err(error) => match listener::accept_error(&error) {
                AcceptError::Closed => ControlFlow::Break(()),
                AcceptError::Again => ControlFlow::Continue(()),
                AcceptError::Pause(_) => {
                    // The listeners of clients say so in the log; they need the same.
                    thread::sleep(PAUSE);
                    ControlFlow::Continue(())
                }
            },
        }
    }

    fn join_ended(&mut self) {
        let connections = std::mem::take(&mut self.connections);
        let is_over = |connection: &Connection| connection.thread.is_finished();
        let (ended, running) = connections.into_iter().partition(is_over);
        self.connections = running;
        join(ended);
    }

    /// Gives the connection a thread, or says at once that there is none to be had.
    fn admit(&mut self, stream: Stream) {
        let is_open = |connection: &&Connection| connection.stream.strong_count() > 0;
        let open = self.connections.iter().filter(is_open).count();
        if open >= ADMIN_CONNECTIONS {
            let what = format!("{open} admin connections are open; try again in some seconds");
            return stream.dismiss(&Response::error(503, what).encode(false));
        }
        let stream = Arc::new(stream);
        let weak = Arc::downgrade(&stream);
        let own = Arc::clone(&stream);
        let (door, handler) = (Arc::clone(&self.door), Arc::clone(&self.handler));
        let alive = self.alive.clone();
        let work = move || {
            let _alive: Sender<Infallible> = alive;
            serve(&own, &door, &*handler);
        };
        match threads::spawn_with_stack("admin conn", STACK_BYTES, work) {
            Ok(thread) => self.connections.push(Connection {
                stream: weak,
                thread,
            }),
            Err(error) => {
                let what = "the system refuses a thread; try again in some seconds";
                stream.dismiss(&Response::error(503, what).encode(false));
                self.report(&error);
            }
        }
    }

    fn report(&mut self, error: &io::Error) {
        let is_due = |last: Instant| last.elapsed() >= REPORT_EVERY;
        if self.reported.is_none_or(is_due) {
            self.reported = Some(Instant::now());
            self.log.send(Shortage::ThreadRefused {
                by: "the admin server".into(),
                error: error.to_string(),
            });
        }
    }

    /// Requests that are not there yet are given up at once. Answers on their way get a moment, then
    /// they are given up, too.
    fn finish(self) {
        let Acceptor {
            connections,
            alive,
            ended,
            ..
        } = self;
        drop(alive);
        // Disconnected is what it waits for; nothing is ever sent.
        if ended.recv_timeout(LAST_REQUESTS) == Err(RecvTimeoutError::Timeout) {
            each_stream(&connections, Stream::end_reading);
            let _ = ended.recv_timeout(CLOSE_PATIENCE);
        }
        each_stream(&connections, Stream::hang_up);
        join(connections);
    }
}

fn each_stream(connections: &[Connection], act: impl Fn(&Stream)) {
    let open = connections
        .iter()
        .filter_map(|connection| connection.stream.upgrade());
    open.for_each(|stream| act(&stream));
}

fn join(connections: Vec<Connection>) {
    for connection in connections {
        // A panic in it was reported by the panic hook when it happened.
        let _ = connection.thread.join();
    }
}

/// The life of a connection: one request, one answer.
fn serve(stream: &Stream, door: &Door, handler: &dyn Handler) {
    let mut peer = Timed::new(stream, Instant::now() + PATIENCE);
    let Some(received) = door.with_guard(|guard| http::read(&mut peer, guard)) else {
        return;
    };
    let response = match received.request {
        Ok(request) => {
            let begin = Instant::now();
            // Unwind safety: a handler shares only what is behind locks that do not poison, and
            // atomics; the request is not used again.
            let handled = catch_unwind(AssertUnwindSafe(|| handler.handle(&request)));
            peer.extend(begin.elapsed());
            handled.unwrap_or_else(|_| {
                Response::error(500, "a bug in evener: see its log, and please report it")
            })
        }
        Err(response) => response,
    };
    peer.allow_at_least(LAST_WORDS);
    if peer.write_all(&response.encode(received.is_head)).is_ok() {
        // To close with bytes unread would be a reset, which may overtake the answer.
        stream.end_writing();
        peer.allow_at_most(FAREWELL);
        let _ = io::copy(&mut peer.take(UNREAD_BYTES_MAX), &mut io::sink());
    }
}
