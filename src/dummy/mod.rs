//! The dummy backend: a small server to stand behind a balancer in the demo, the tests and the
//! benchmarks. It greets by HTTP and says who it is, or misbehaves in one chosen way.
//!
//! One thread accepts, each connection has a thread of its own. Nothing is shared between them
//! except sockets, so there is no lock and no atomic here: the accepting thread alone knows the
//! list of connections, and it ends, and ends them, when its listening socket is shut down.
//!
//! It uses nothing of the balancer, not even where both do the same (a listening socket, a reset): in
//! a test the two stand on either side, and a mistake that both shared would not show.

mod connection;
mod http;
mod proxy_header;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use connection::Plan;

/// Clients that may wait in the kernel before they are accepted (the kernel caps it at
/// `net.core.somaxconn`). std's 128 overflows in load tests.
const BACKLOG_CONNECTIONS: i32 = 4096;

/// Stack of a connection's thread. Buffers live on the heap, so little is needed.
const STACK_BYTES: usize = 64 * 1024;

/// Rest after accept failed, so that a full descriptor table doesn't cost a whole CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The list of connections is looked through for ended ones when it has grown to this, or to twice
/// what the last look left: a constant cost for each connection.
const SWEEP_MIN: usize = 64;

/// What the dummy does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// Answers every HTTP request with a greeting.
    #[default]
    Http,
    /// Sends every byte back; after the client's FIN the rest, then FIN.
    Echo,
    /// Sends RST.
    Reset,
    /// Sends FIN, takes what the client still sends, closes.
    Close,
    /// Reads and never answers, not even a FIN with a FIN.
    Hang,
}

/// How to start a [`Backend`]. The default is a free port of 127.0.0.1 and plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to listen.
    pub bind: IpAddr,
    /// Port to listen on; with 0 the OS chooses one, see [`Backend::address`].
    pub port: u16,
    /// Who the greeting says it is from; `None` is the port.
    pub name: Option<String>,
    /// Every connection begins with a PROXY header; the greeting names the client that it gives. A
    /// connection without one is reset.
    pub proxy_header: bool,
    /// A line that is sent at once, before anything is read.
    pub banner: Option<String>,
    /// The status of every good answer: for health checks that are to fail.
    pub status: u16,
    /// Wait before each answer (before each piece of an echo; before the RST or the FIN).
    pub delay: Duration,
    /// What happens on a connection, after the banner.
    pub behaviour: Behaviour,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            bind: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            name: None,
            proxy_header: false,
            banner: None,
            status: 200,
            delay: Duration::ZERO,
            behaviour: Behaviour::Http,
        }
    }
}

/// A running dummy backend. Dropping it frees the port, aborts the open connections (their clients
/// see RST) and returns when every thread has ended.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    acceptor: Option<JoinHandle<()>>,
}

impl Backend {
    /// Listens, and serves until the value is dropped.
    ///
    /// # Errors
    ///
    /// The address can't be listened on, or the OS refuses the accepting thread.
    pub fn start(options: Options) -> io::Result<Backend> {
        let listener = Arc::new(listen(SocketAddr::new(options.bind, options.port))?);
        let address = listener.local_addr()?;
        let name = options.name.as_deref();
        let greeting = format!(
            "Hello from Backend Server on port: {}\n",
            name.unwrap_or(&address.port().to_string())
        );
        let connections = Connections {
            // Linux shows 15 bytes of a thread's name: `dummy 65535 con`.
            thread_name: format!("dummy {} con", address.port()),
            plan: Arc::new(Plan { options, greeting }),
            open: Vec::new(),
            sweep_at: SWEEP_MIN,
        };
        let acceptor = Builder::new()
            .name(format!("dummy {}", address.port()))
            .spawn({
                let listener = Arc::clone(&listener);
                move || accept_until_shut_down(&listener, connections)
            })?;
        Ok(Backend {
            address,
            listener,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Wakes the accepting thread with EINVAL; closing the descriptor would wake nobody.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// A listening socket with a long backlog that a restart can bind again at once.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG_CONNECTIONS)?;
    Ok(TcpListener::from(socket))
}

/// The accepting thread. No error ends it but the one that says that the socket was shut down.
fn accept_until_shut_down(listener: &TcpListener, mut connections: Connections) {
    let mut failed_before = false;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                failed_before = false;
                connections.start(stream);
            }
            Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::INVAL) => break,
                // The client left while it was waiting.
                Some(Errno::CONNABORTED) => {}
                _ => {
                    if !failed_before {
                        complain(format_args!("can't accept: {error}; trying again"));
                    }
                    failed_before = true;
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            },
        }
    }
    connections.abort();
}

/// What the accepting thread knows about its connections.
struct Connections {
    thread_name: String,
    plan: Arc<Plan>,
    open: Vec<Connection>,
    sweep_at: usize,
}

/// One connection as seen from outside. Its thread owns the socket: when the thread ends, the
/// socket closes, whoever still remembers the connection.
struct Connection {
    stream: Weak<TcpStream>,
    thread: JoinHandle<()>,
}

impl Connections {
    /// Gives `stream` a thread; a refused thread costs this connection, nothing else.
    fn start(&mut self, stream: TcpStream) {
        if self.open.len() >= self.sweep_at {
            self.open.retain(|one| !one.thread.is_finished());
            self.sweep_at = SWEEP_MIN.max(self.open.len() * 2);
        }
        let stream = Arc::new(stream);
        let weak = Arc::downgrade(&stream);
        let plan = Arc::clone(&self.plan);
        let spawned = Builder::new()
            .name(self.thread_name.clone())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // An error here is the client's doing, and it is gone.
                let _ = plan.serve(&stream);
            });
        match spawned {
            Ok(thread) => self.open.push(Connection {
                stream: weak,
                thread,
            }),
            Err(error) => complain(format_args!(
                "no thread for a connection, it is dropped: {error}"
            )),
        }
    }

    /// Resets what is open, which wakes each thread from whatever it waits for, and joins them all.
    fn abort(self) {
        for connection in &self.open {
            if let Some(stream) = connection.stream.upgrade() {
                let _ = connection::reset(&stream);
            }
        }
        for connection in self.open {
            let _ = connection.thread.join();
        }
    }
}

/// One line on stderr. `eprintln!` would panic where nobody reads it any more.
fn complain(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "dummy backend: {what}");
}

#[cfg(test)]
mod tests;
