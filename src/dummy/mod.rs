//! The dummy backend: a small server to stand behind a balancer in the demo, the tests and the
//! benchmarks. It greets by HTTP and says who it is, or misbehaves in one chosen way.
//!
//! One thread accepts, each connection has a thread of its own. Nothing is shared between them
//! except sockets, so there is no lock and no atomic here: the accepting thread alone knows the
//! list of connections, and it ends, and ends them, when its listening socket is shut down.

mod http;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use http::{Refusal, Request};

/// Clients that may wait in the kernel before they are accepted (the kernel caps it at
/// `net.core.somaxconn`). std's 128 overflows in load tests.
const BACKLOG_CONNECTIONS: i32 = 4096;

/// Stack of a connection's thread. Buffers live on the heap, so little is needed.
const STACK_BYTES: usize = 64 * 1024;

/// Bytes read at once.
const BUFFER_BYTES: usize = 16 * 1024;

/// Rest after accept failed, so that a full descriptor table doesn't cost a whole CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long an ended connection waits for the client's FIN before it is closed anyway.
const LINGER: Duration = Duration::from_secs(2);

/// A hung connection looks for a vanished client this often: it would never find out otherwise.
const HANG_KEEPALIVE: Duration = Duration::from_secs(10);

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
    /// A line that is sent at once, before anything is read.
    pub banner: Option<String>,
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
            banner: None,
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

/// The list of connections is looked through for ended ones when it has grown to this, or to twice
/// what the last look left: a constant cost for each connection.
const SWEEP_MIN: usize = 64;

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
                let _ = reset(&stream);
            }
        }
        for connection in self.open {
            let _ = connection.thread.join();
        }
    }
}

/// What every connection is served by.
struct Plan {
    options: Options,
    greeting: String,
}

impl Plan {
    /// One connection from its banner to its end. An error says that the client has gone.
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut writer = stream;
        if let Some(banner) = &self.options.banner {
            writer.write_all(format!("{banner}\n").as_bytes())?;
        }
        match self.options.behaviour {
            Behaviour::Http => self.answer_requests(stream),
            Behaviour::Echo => self.echo(stream),
            Behaviour::Reset => {
                self.delay(stream)?;
                reset(stream)
            }
            Behaviour::Close => {
                self.delay(stream)?;
                close_cleanly(stream)
            }
            Behaviour::Hang => hang(stream),
        }
    }

    fn answer_requests(&self, mut stream: &TcpStream) -> io::Result<()> {
        // What was received and not used yet: a part of a head, or requests sent ahead of answers.
        let mut received = Vec::with_capacity(BUFFER_BYTES);
        loop {
            let request = match next_request(stream, &mut received)? {
                Some(Ok(request)) => request,
                Some(Err(refusal)) => {
                    let status = refusal.status();
                    let body = format!("{status}\n");
                    stream.write_all(&http::answer(status, &body, false, false))?;
                    return close_cleanly(stream);
                }
                None => return Ok(()),
            };
            if request.expects_continue && (received.len() as u64) < request.body_bytes {
                stream.write_all(http::CONTINUE)?;
            }
            skip_body(stream, &mut received, request.body_bytes)?;
            self.delay(stream)?;
            stream.write_all(&http::answer(
                "200 OK",
                &self.greeting,
                request.head_only,
                request.keep_alive,
            ))?;
            if !request.keep_alive {
                return close_cleanly(stream);
            }
        }
    }

    fn echo(&self, mut stream: &TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let bytes = read_some(stream, &mut buffer)?;
            if bytes == 0 {
                return stream.shutdown(Shutdown::Write);
            }
            self.delay(stream)?;
            stream.write_all(&buffer[..bytes])?;
        }
    }

    /// Waits as long as the options say, unless the connection is reset meanwhile (which is how
    /// [`Connections::abort`] wakes it).
    fn delay(&self, stream: &TcpStream) -> io::Result<()> {
        // A moment that the clock can't express doesn't come.
        let until = Instant::now().checked_add(self.options.delay);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(());
            }
            if is_dead_within(stream, left)? {
                return Err(ErrorKind::ConnectionReset.into());
            }
        }
    }
}

/// Takes the next request head off the front of `received`, reading as needed. `None`: the client
/// has sent FIN instead.
fn next_request(
    stream: &TcpStream,
    received: &mut Vec<u8>,
) -> io::Result<Option<Result<Request, Refusal>>> {
    loop {
        // An empty line before a request is to be ignored (RFC 9112, 2.2).
        let blank = received.iter().take_while(|byte| b"\r\n".contains(byte));
        let blank_bytes = blank.count();
        received.drain(..blank_bytes);
        match http::head_length(received) {
            Ok(Some(bytes)) => {
                let request = http::parse(&received[..bytes]);
                received.drain(..bytes);
                return Ok(Some(request));
            }
            Ok(None) => {
                let used = received.len();
                received.resize(BUFFER_BYTES, 0);
                let result = read_some(stream, &mut received[used..]);
                received.truncate(used + *result.as_ref().unwrap_or(&0));
                if result? == 0 {
                    return Ok(None);
                }
            }
            Err(refusal) => return Ok(Some(Err(refusal))),
        }
    }
}

/// Drops `bytes` of request body: first from `received`, the rest from the socket.
fn skip_body(stream: &TcpStream, received: &mut Vec<u8>, bytes: u64) -> io::Result<()> {
    let buffered = bytes.min(received.len() as u64);
    received.drain(..buffered as usize);
    let skipped = io::copy(&mut stream.take(bytes - buffered), &mut io::sink())?;
    if buffered + skipped < bytes {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Sends FIN and takes what the client still sends: a close with unread bytes would become a RST,
/// and that would destroy an answer the client has not read yet.
fn close_cleanly(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let until = Instant::now() + LINGER;
    let mut buffer = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if read_some(stream, &mut buffer)? == 0 {
            return Ok(());
        }
    }
}

/// Reads whatever comes, then waits until the client is known to be gone.
fn hang(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, HANG_KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, HANG_KEEPALIVE)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    while read_some(stream, &mut buffer)? > 0 {}
    while !is_dead_within(stream, None)? {}
    Ok(())
}

/// Ends the connection with a RST at once, also for a thread that waits in it. (A close with
/// linger 0 would do neither while another thread holds the descriptor.)
fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::connect_unspec(stream)?)
}

/// Waits for `timeout`, or for ever, and not longer than the connection lives in at least one
/// direction. `false` is no promise to have waited the whole time: a signal ends the wait too.
fn is_dead_within(stream: &TcpStream, timeout: Option<Duration>) -> io::Result<bool> {
    // A delay beyond what the kernel's type holds is as good as for ever.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    // No event is asked for: errors and hang-ups are reported anyway.
    let mut entry = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::empty())];
    match rustix::event::poll(&mut entry, timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// `read` that is not disturbed by signals. 0 is the client's FIN.
fn read_some(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// One line on stderr. `eprintln!` would panic where nobody reads it any more.
fn complain(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "dummy backend: {what}");
}

#[cfg(test)]
mod tests;
