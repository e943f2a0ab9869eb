//! The two sides around a balancer: clients, and servers that do what a test tells them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{DEADLINE, deadline};

/// Connects, with deadlines on everything, so that no test hangs.
#[track_caller]
pub fn connect(address: SocketAddr) -> TcpStream {
    try_connect(address).unwrap_or_else(|error| panic!("can't connect to {address}: {error}"))
}

/// As [`connect`], where it may fail: if the other side resets at once, that can be seen here
/// already, or only by the first read.
pub fn try_connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, DEADLINE).map(with_deadlines)
}

/// A connection of a client with this address.
#[track_caller]
pub fn connect_from(source: IpAddr, address: SocketAddr) -> TcpStream {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
    let socket = socket.unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(source, 0)).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    with_deadlines(TcpStream::from(socket))
}

fn with_deadlines(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends RST. What was written and is still under way is lost with it.
pub fn reset(stream: TcpStream) {
    // At once, and even where a clone of the stream exists; a close with linger 0 does neither.
    rustix::net::connect_unspec(&stream).unwrap();
}

/// Did the peer send RST? A write after one may see a broken pipe instead.
pub fn is_reset<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(is_reset_error)
}

fn is_reset_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

/// `read` that no signal disturbs: with a timeout set it isn't restarted by the kernel (signal(7)),
/// not even when the whole process is stopped and continued.
pub fn read_some(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Does nothing arrive for so long, neither data nor FIN nor RST?
pub fn is_silent_for(stream: &TcpStream, limit: Duration) -> bool {
    stream.set_read_timeout(Some(limit)).unwrap();
    let result = read_some(stream, &mut [0]);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// How a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer has sent FIN.
    Fin,
    /// The peer has sent RST.
    Reset,
    /// Neither came in time.
    Open,
}

/// Bytes in both directions, through the session.
#[track_caller]
pub fn is_live(client: &mut TcpStream, backend: &mut TcpStream) {
    let mut seen = [0; 4];
    client.write_all(b"ping").unwrap();
    backend.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"ping");
    backend.write_all(b"pong").unwrap();
    client.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"pong");
}

/// Everything that arrives, and how it ended, within [`DEADLINE`].
#[track_caller]
pub fn read_until_end(stream: &TcpStream) -> (Vec<u8>, End) {
    let until = deadline();
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (received, End::Open);
        }
        stream.set_read_timeout(Some(left)).unwrap();
        match read_some(stream, &mut buffer) {
            Ok(0) => return (received, End::Fin),
            Ok(bytes) => received.extend_from_slice(&buffer[..bytes]),
            Err(error) if is_reset_error(&error) => return (received, End::Reset),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("read after {} bytes: {error}", received.len()),
        }
    }
}

/// What a client gets that connects and says nothing. A reset that comes at once, while the client
/// still waits for its connect to return, is a reset like any other.
#[track_caller]
pub fn fate(address: SocketAddr) -> (Vec<u8>, End) {
    match TcpStream::connect_timeout(&address, DEADLINE) {
        Ok(stream) => read_until_end(&stream),
        Err(error) if is_reset_error(&error) => (Vec::new(), End::Reset),
        Err(error) => panic!("can't connect to {address}: {error}"),
    }
}

/// Everything up to the peer's FIN. A RST is an error, and so is a peer that takes longer than
/// [`DEADLINE`].
pub fn read_to_end_with_deadline(stream: &TcpStream) -> io::Result<Vec<u8>> {
    match read_until_end(stream) {
        (received, End::Fin) => Ok(received),
        (_, End::Reset) => Err(ErrorKind::ConnectionReset.into()),
        (received, End::Open) => Err(io::Error::new(
            ErrorKind::TimedOut,
            format!("no end after {DEADLINE:?} and {} bytes", received.len()),
        )),
    }
}

/// The body of `GET /` on a connection of its own. Anything but a complete answer with status 200
/// is an error.
pub fn http_get(address: SocketAddr) -> io::Result<String> {
    let mut stream = try_connect(address)?;
    stream.write_all(
        format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let answer = read_to_end_with_deadline(&stream)?;
    let answer = String::from_utf8_lossy(&answer);
    let wrong = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("{what}: {answer:?}"));
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| wrong("no complete head"))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(wrong("not 200"));
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    if length.is_some_and(|length| length != body.len()) {
        return Err(wrong("truncated"));
    }
    Ok(body.to_string())
}

/// A server that hands every connection to the test and does nothing with it. A probe of the health
/// check is a connection too: switch it off in the config, or expect probes.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    acceptor: Option<JoinHandle<()>>,
    streams: Receiver<TcpStream>,
}

impl Server {
    /// On a free port of 127.0.0.1.
    pub fn start() -> Server {
        Server::start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// On a given address: for a server that comes back.
    #[track_caller]
    pub fn start_at(address: SocketAddr) -> Server {
        let listener = TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("can't listen on {address}: {error}"));
        // std's backlog of 128 overflows in a burst, and that costs those clients seconds.
        rustix::net::listen(&listener, 4096).unwrap();
        let listener = Arc::new(listener);
        let (sender, streams) = unbounded();
        let acceptor = std::thread::spawn({
            let listener = Arc::clone(&listener);
            move || {
                loop {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            // Fails only when the server is being dropped.
                            let _ = sender.send(with_deadlines(stream));
                        }
                        Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                        // Shut down, or something that the test will notice by its deadline.
                        Err(_) => return,
                    }
                }
            }
        });
        Server {
            address: listener.local_addr().unwrap(),
            listener,
            acceptor: Some(acceptor),
            streams,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, waiting for it up to [`DEADLINE`].
    #[track_caller]
    pub fn accept(&self) -> TcpStream {
        self.accept_within(DEADLINE)
            .unwrap_or_else(|| panic!("no connection to {} in {DEADLINE:?}", self.address))
    }

    /// The next connection, or `None` if there is none for so long.
    pub fn accept_within(&self, limit: Duration) -> Option<TcpStream> {
        self.streams.recv_timeout(limit).ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// An address that refuses connections, and that nobody else is given meanwhile: bound, but not
/// listening. A server that knows the address can listen on it, leave, and come back.
#[derive(Debug)]
pub struct RefusingPort {
    address: SocketAddr,
    _socket: OwnedFd,
}

impl RefusingPort {
    /// On a free port of 127.0.0.1.
    pub fn new() -> RefusingPort {
        let (socket, address) = bound_socket();
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
        RefusingPort {
            address,
            _socket: socket,
        }
    }

    /// Where connections are refused.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// An address at which connecting takes for ever: its backlog is full, so the kernel drops every
/// further SYN, as a firewall would.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    listener: OwnedFd,
    fillers: Vec<TcpStream>,
}

impl BlackHole {
    /// On a free port of 127.0.0.1.
    pub fn new() -> BlackHole {
        let (listener, address) = bound_socket();
        rustix::net::listen(&listener, 0).unwrap();
        let mut fillers = Vec::new();
        // A backlog of 0 still takes one; the loop ends when a connect gets no answer.
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            fillers.push(stream);
        }
        BlackHole {
            address,
            listener,
            fillers,
        }
    }

    /// Where nothing is answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers after all: takes the connections that fill its backlog, and gives the next one. Its SYN
    /// comes again a second after the first one, and then later and later.
    pub fn answer(&self) -> TcpStream {
        loop {
            let (socket, _peer) = rustix::net::acceptfrom(&self.listener).unwrap();
            let stream = with_deadlines(TcpStream::from(socket));
            let peer = stream.peer_addr().unwrap();
            let is_filler = |one: &TcpStream| one.local_addr().unwrap() == peer;
            if !self.fillers.iter().any(is_filler) {
                return stream;
            }
        }
    }
}

/// A socket bound to a free port of 127.0.0.1.
fn bound_socket() -> (OwnedFd, SocketAddr) {
    let family = AddressFamily::INET;
    let socket =
        rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = rustix::net::getsockname(&socket).unwrap();
    (socket, address.try_into().unwrap())
}
