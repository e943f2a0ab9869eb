//! Unix sockets on both sides: what a client and a backend see is what they would see over TCP, as far as
//! a unix socket has it; and what becomes of the file.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use support::{Admin, DEADLINE, Evener, RefusingPort, TempDir, eventually};

/// A stream socket of either family, with deadlines on everything.
#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn with_deadlines(self) -> Socket {
        match &self {
            Socket::Tcp(stream) => {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.set_write_timeout(Some(DEADLINE)).unwrap();
            }
            Socket::Unix(stream) => {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.set_write_timeout(Some(DEADLINE)).unwrap();
            }
        }
        self
    }

    fn end_writing(&self) {
        match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }

    fn again(&self) -> Socket {
        match self {
            Socket::Tcp(stream) => Socket::Tcp(stream.try_clone().unwrap()),
            Socket::Unix(stream) => Socket::Unix(stream.try_clone().unwrap()),
        }
    }

    /// All that arrives, and whether it ended in order.
    fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let end = self.read_to_end(&mut bytes).map(drop);
        (bytes, end)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A backend of either family.
enum Server {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Server {
    fn unix(path: &Path) -> Server {
        Server::Unix(UnixListener::bind(path).unwrap(), path.into())
    }

    fn tcp() -> Server {
        Server::Tcp(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn address(&self) -> String {
        match self {
            Server::Tcp(listener) => listener.local_addr().unwrap().to_string(),
            Server::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    fn accept(&self) -> Socket {
        match self {
            Server::Tcp(listener) => Socket::Tcp(listener.accept().unwrap().0),
            Server::Unix(listener, _) => Socket::Unix(listener.accept().unwrap().0),
        }
        .with_deadlines()
    }
}

/// An evener, its only backend, and how to reach it.
struct Rig {
    evener: Evener,
    server: Server,
    dir: TempDir,
    by_path: bool,
}

const OFF: &str = "health_check: off";

impl Rig {
    fn new(client_by_path: bool, server_by_path: bool) -> Rig {
        Rig::with(client_by_path, server_by_path, OFF, "")
    }

    fn with(client_by_path: bool, server_by_path: bool, pool: &str, listener: &str) -> Rig {
        let dir = TempDir::new();
        let server = match server_by_path {
            true => Server::unix(&dir.path().join("app")),
            false => Server::tcp(),
        };
        let bind = match client_by_path {
            true => format!("unix:{}", dir.path().join("in").display()),
            false => "127.0.0.1:0".to_owned(),
        };
        let text = config(&bind, listener, pool, &[server.address()]);
        let evener = Evener::start(&text);
        Rig {
            evener,
            server,
            dir,
            by_path: client_by_path,
        }
    }

    fn connect(&self) -> Socket {
        let socket = match self.by_path {
            true => Socket::Unix(UnixStream::connect(self.dir.path().join("in")).unwrap()),
            false => Socket::Tcp(TcpStream::connect(self.evener.address(0)).unwrap()),
        };
        socket.with_deadlines()
    }

    fn pair(&self) -> (Socket, Socket) {
        (self.connect(), self.server.accept())
    }
}

fn config(bind: &str, listener: &str, pool: &str, backends: &[String]) -> String {
    let backends: Vec<String> = backends.iter().map(|one| format!("\"{one}\"")).collect();
    format!(
        "listeners:\n  - {{ name: in, bind: \"{bind}\", pool: p{listener} }}\npools:\n  - name: p\n    {pool}\n    \
         backends: [{}]\n",
        backends.join(", ")
    )
}

/// The combinations with at least one unix socket: the client's side, the backend's.
const COMBINATIONS: [(bool, bool); 3] = [(true, true), (true, false), (false, true)];

#[test]
fn bytes_and_ends_go_both_ways() {
    for (client, server) in COMBINATIONS {
        let rig = Rig::new(client, server);
        let (mut client, mut server) = rig.pair();
        client.write_all(b"question").unwrap();
        client.end_writing();
        assert_eq!(server.rest().0, b"question");
        // The client has ended, and the way back lives on.
        server.write_all(b"answer, ").unwrap();
        let mut first = [0; 8];
        client.read_exact(&mut first).unwrap();
        server.write_all(b"in parts").unwrap();
        drop(server);
        let (rest, end) = client.rest();
        assert!(end.is_ok(), "{end:?}");
        assert_eq!((&first, &*rest), (b"answer, ", &b"in parts"[..]));
        let line = rig.evener.wait_log(" in=8B");
        assert!(line.contains("normal") && line.contains("unix:"), "{line}");
    }
}

#[test]
fn what_comes_in_bulk_arrives_whole_both_ways_at_once() {
    const BYTES: usize = 16 << 20;
    let sent: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    for (client, server) in COMBINATIONS {
        let rig = Rig::new(client, server);
        let (mut client, mut server) = rig.pair();
        let (mut to_server, mut to_client) = (client.again(), server.again());
        thread::scope(|scope| {
            scope.spawn(|| {
                to_server.write_all(&sent).unwrap();
                to_server.end_writing();
            });
            scope.spawn(|| {
                to_client.write_all(&sent).unwrap();
                to_client.end_writing();
            });
            let received = scope.spawn(|| server.rest().0);
            assert!(client.rest().0 == sent);
            assert!(received.join().unwrap() == sent);
        });
    }
}

#[test]
fn a_client_that_asks_and_leaves_at_once_is_heard() {
    // Over TCP that is a FIN; a unix socket that is closed hangs up both ways.
    for (client, server) in COMBINATIONS {
        let rig = Rig::new(client, server);
        let mut client = rig.connect();
        client.write_all(b"note this").unwrap();
        drop(client);
        assert_eq!(rig.server.accept().rest().0, b"note this");
    }
}

/// The peer has closed with bytes unread: TCP sends a reset for that, a unix socket an error.
fn is_broken_off(end: &io::Result<()>) -> bool {
    end.as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn whoever_leaves_bytes_unread_breaks_the_stream_off_for_the_other_side() {
    for (client, server) in COMBINATIONS {
        let rig = Rig::new(client, server);
        let (mut client, mut server) = rig.pair();
        client.write_all(b"ping").unwrap();
        server.read_exact(&mut [0; 4]).unwrap();
        client.write_all(b"never read").unwrap();
        unread(&server);
        server.write_all(b"before it").unwrap();
        drop(server);
        let (bytes, end) = client.rest();
        assert_eq!(bytes, b"before it");
        let line = rig.evener.wait_log(" out=9B");
        assert!(line.contains("server_reset"), "{line}");
        // evener itself can't reset a unix socket: its client sees the end.
        assert!(is_broken_off(&end) || rig.by_path && end.is_ok(), "{end:?}");

        let (client, mut server) = rig.pair();
        server.write_all(b"never read").unwrap();
        unread(&client);
        drop(client);
        let (_, end) = server.rest();
        let lines = rig.evener.wait_log_count("session 2 ", 1);
        assert!(lines[0].contains("client_reset"), "{lines:?}");
        let is_unix = matches!(server, Socket::Unix(_));
        assert!(is_broken_off(&end) || is_unix && end.is_ok(), "{end:?}");
    }
}

/// Waits until something has arrived that nobody has read.
fn unread(socket: &Socket) {
    let waiting = || match socket {
        Socket::Tcp(stream) => rustix::io::ioctl_fionread(stream).unwrap(),
        Socket::Unix(stream) => rustix::io::ioctl_fionread(stream).unwrap(),
    };
    eventually("bytes", || (waiting() > 0).then_some(()));
}

#[test]
fn a_backend_that_does_not_answer_costs_no_client_an_error() {
    let dir = TempDir::new();
    let (missing, dead) = (dir.path().join("missing"), dir.path().join("dead"));
    drop(UnixListener::bind(&dead).unwrap());
    let alive = Server::unix(&dir.path().join("alive"));
    let backends = [&missing, &dead].map(|path| format!("unix:{}", path.display()));
    let all = [&backends[..], &[alive.address()]].concat();
    let evener = Evener::start(&config("127.0.0.1:0", "", OFF, &all));
    for _ in 0..3 {
        let mut client = TcpStream::connect(evener.address(0)).unwrap();
        client.write_all(b"?").unwrap();
        alive.accept().read_exact(&mut [0]).unwrap();
    }
    evener.wait_log(&format!("unix:{}(No such file", missing.display()));
    evener.wait_log(&format!("unix:{}(connection refused)", dead.display()));
}

#[test]
fn a_full_backlog_is_waited_for() {
    let dir = TempDir::new();
    let path = dir.path().join("app");
    let address = rustix::net::SocketAddrUnix::new(&path).unwrap();
    let family = rustix::net::AddressFamily::UNIX;
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let backlog_of_one = UnixStream::connect(&path).unwrap();
    let rest = "timeouts: { connect: 200ms }\n";
    let text = config(
        "127.0.0.1:0",
        "",
        OFF,
        &[format!("unix:{}", path.display())],
    );
    let evener = Evener::start(&(text.clone() + rest));
    let mut client = Socket::Tcp(TcpStream::connect(evener.address(0)).unwrap()).with_deadlines();
    assert!(is_broken_off(&client.rest().1));
    let line = evener.wait_log("connect_timeout");
    assert!(line.contains("timed out"), "{line}");

    // With more patience, the client is served as soon as there is room.
    let evener = Evener::start(&text);
    let mut client = Socket::Tcp(TcpStream::connect(evener.address(0)).unwrap()).with_deadlines();
    client.write_all(b"?").unwrap();
    eventually("the session's thread, connecting", || {
        let names = evener.thread_names();
        names
            .iter()
            .any(|name| name.starts_with("c1>"))
            .then_some(())
    });
    let listener = UnixListener::from(socket);
    drop(listener.accept().unwrap());
    let mut served = listener.accept().unwrap().0;
    served.read_exact(&mut [0]).unwrap();
    drop(backlog_of_one);
}

#[test]
fn probes_find_out_whether_somebody_listens() {
    let dir = TempDir::new();
    let path = dir.path().join("app");
    let pool = "health_check: { interval: 50ms, timeout: 1s, rise: 1, fall: 1 }";
    let text = config(
        "127.0.0.1:0",
        "",
        pool,
        &[format!("unix:{}", path.display())],
    );
    let evener = Evener::start(&(text + "admin: { bind: \"127.0.0.1:0\" }\n"));
    let down = evener.wait_log(&format!("Server unix:{} is DOWN", path.display()));
    assert!(down.contains("No such file"), "{down}");
    let _listener = UnixListener::bind(&path).unwrap();
    evener.wait_log(&format!("Server unix:{} is UP", path.display()));
    let name = format!("unix:{}", path.display());
    assert_eq!(Admin::of(&evener).backend(&name)["address"], *name);
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[test]
fn the_file_has_its_mode_and_goes_with_the_listener() {
    let rig = Rig::new(true, true);
    let path = rig.dir.path().join("in");
    assert_eq!(mode(&path), 0o660);
    let inode = fs::metadata(&path).unwrap().ino();

    // A reload changes the mode of the socket that is there.
    let text = fs::read_to_string(rig.evener.config_path()).unwrap();
    let more = text.replace("pool: p }", "pool: p, mode: 0666 }");
    reload(&rig.evener, &more);
    assert_eq!(
        (mode(&path), fs::metadata(&path).unwrap().ino()),
        (0o666, inode)
    );

    // Another one moves it: sessions stay, and the file is where it is said to be.
    let (mut client, mut server) = rig.pair();
    let moved = rig.dir.path().join("moved");
    let text = more.replace(&*path.to_string_lossy(), &moved.to_string_lossy());
    reload(&rig.evener, &text);
    assert!(!is_socket(&path) && is_socket(&moved));
    client.write_all(b"ping").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    drop((client, server));
    let client = UnixStream::connect(&moved).unwrap();
    drop((rig.server.accept(), client));

    rig.evener.signal(Signal::TERM);
    assert_eq!(rig.evener.wait_exit().code(), Some(0));
    assert!(!is_socket(&moved));
}

fn reload(evener: &Evener, text: &str) {
    let before = evener.lines_with("config reloaded").len();
    evener.rewrite_config(text);
    evener.signal(Signal::HUP);
    evener.wait_log_count("config reloaded", before + 1);
}

#[test]
fn a_dead_file_is_replaced_and_nothing_else_is() {
    let dir = TempDir::new();
    let path = dir.path().join("in");
    let server = Server::tcp();
    let bind = format!("unix:{}", path.display());
    let text = config(&bind, "", OFF, &[server.address()]);
    drop(UnixListener::bind(&path).unwrap());
    let evener = Evener::start(&text);
    UnixStream::connect(&path).unwrap();
    drop(evener);

    let refused = |why: &str| {
        let file = dir.path().join("evener.yaml");
        fs::write(&file, format!("{text}admin: off\n")).unwrap();
        let finished = Evener::command(&["--config", file.to_str().unwrap()]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(why), "{finished:?}");
    };
    // Killed as it was, it has left its file behind.
    fs::remove_file(&path).unwrap();
    let living = UnixListener::bind(&path).unwrap();
    refused("another program listens there");
    drop(living);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    refused("a file that is no socket is there");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn rules_and_limits_by_address_are_not_for_clients_without_one() {
    let limits = ", access: { default: deny, rules: [] }, max_connections_per_ip: 1, \
                  connection_rate_per_ip: 1/m";
    let rig = Rig::with(true, false, OFF, limits);
    let pairs: Vec<_> = (0..3).map(|_| rig.pair()).collect();
    for (mut client, mut server) in pairs {
        client.write_all(b"?").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_proxy_header_names_a_client_and_says_so_when_it_can_not() {
    // To a backend, for a client without an address (the specification, 2.1 and 2.2).
    let v2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00";
    for (version, expected) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", v2)] {
        let pool = format!("{OFF}\n    send_proxy_protocol: {version}");
        let rig = Rig::with(true, true, &pool, "");
        let (_client, mut server) = rig.pair();
        let mut header = vec![0; expected.len()];
        server.read_exact(&mut header).unwrap();
        assert_eq!(header, expected);
    }
    // From a proxy at our socket, and on to a unix socket.
    let pool = format!("{OFF}\n    send_proxy_protocol: v1");
    let rig = Rig::with(
        true,
        true,
        &pool,
        ", accept_proxy_protocol: { from: [unix] }",
    );
    let mut client = rig.connect();
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n";
    client.write_all(header).unwrap();
    let mut server = rig.server.accept();
    let mut passed_on = vec![0; header.len()];
    server.read_exact(&mut passed_on).unwrap();
    assert_eq!(passed_on, header);
    drop((client, server));
    let line = rig.evener.wait_log("192.0.2.1:5000");
    assert!(line.contains("via=unix:"), "{line}");
}

#[test]
fn a_new_process_takes_the_socket_over_and_its_file_stays() {
    let rig = Rig::new(true, true);
    let path = rig.dir.path().join("in");
    let (mut client, mut server) = rig.pair();
    rig.evener.signal(Signal::USR2);
    let line = rig.evener.wait_log(" serves now, and this one drains");
    let (_, rest) = line.split_once("process ").unwrap();
    let successor: i32 = rest.split(' ').next().unwrap().parse().unwrap();
    let successor = Pid::from_raw(successor).unwrap();
    // The session stays with the old one, and new ones go to the new one.
    client.write_all(b"?").unwrap();
    server.read_exact(&mut [0]).unwrap();
    drop((client, server));
    eventually("the end of the old process", || rig.evener.exit_status());
    assert!(is_socket(&path));
    let (mut client, mut server) = rig.pair();
    client.write_all(b"?").unwrap();
    server.read_exact(&mut [0]).unwrap();
    kill_process(successor, Signal::TERM).unwrap();
    drop((client, server));
    eventually("the end of the new process", || {
        UnixStream::connect(&path).is_err().then_some(())
    });
}

#[test]
fn one_listener_may_have_addresses_of_both_kinds() {
    let port = RefusingPort::new();
    let dir = TempDir::new();
    let path = dir.path().join("in");
    let server = Server::tcp();
    let text = config("X", "", OFF, &[server.address()]);
    let both = format!("[\"{}\", \"unix:{}\"]", port.address(), path.display());
    let _evener = Evener::start(&text.replace("\"X\"", &both));
    let by_path = || UnixStream::connect(&path).ok();
    let answered = |mut client: Socket| {
        client.write_all(b"?").unwrap();
        server.accept().read_exact(&mut [0]).unwrap();
    };
    answered(Socket::Tcp(TcpStream::connect(port.address()).unwrap()));
    answered(Socket::Unix(eventually("the second address", by_path)));
}

#[test]
fn a_path_that_the_system_has_no_room_for_is_told_at_its_place() {
    let dir = TempDir::new();
    let file = dir.path().join("evener.yaml");
    let long = format!("unix:/{}", "x".repeat(107));
    fs::write(&file, config("127.0.0.1:0", "", OFF, &[long])).unwrap();
    let finished = Evener::command(&["check", file.to_str().unwrap()]);
    assert_eq!(finished.code, Some(1));
    for part in [
        "is longer than 107 bytes",
        "evener.yaml:6:",
        "choose a shorter path",
    ] {
        assert!(
            finished.stderr.contains(part),
            "{part}: {}",
            finished.stderr
        );
    }
    let fits = format!("unix:/{}", "x".repeat(106));
    fs::write(&file, config("127.0.0.1:0", "", OFF, &[fits])).unwrap();
    assert_eq!(
        Evener::command(&["check", file.to_str().unwrap()]).code,
        Some(0)
    );
}
