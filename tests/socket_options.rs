//! What the config tells sockets, read back from the live sockets of the real binary, or seen by who is at
//! their other end; and what an option that can't be had says at the start and at a reload.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays client and backends with plain std sockets"
)]

mod support;

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use support::{
    Admin, Evener, Server, TempDir, connect, eventually, is_live, is_silent_for, read_until_end,
    try_connect,
};

/// All that can be read back, on both sides, with other numbers on each.
const OF_LISTENER: &str = "socket: { keepalive: { idle: 31s, interval: 7s, count: 4 }, user_timeout: 21s, \
                           receive_buffer: 96k, send_buffer: 64k, nodelay: false, interface: lo }";
const OF_POOL: &str = "socket: { keepalive: { idle: 32s, interval: 8s, count: 5 }, user_timeout: 22s, \
                       receive_buffer: 80k, send_buffer: 48k, nodelay: false, interface: lo }";

fn config(listener: &str, pool: &str, backends: &[SocketAddr]) -> String {
    let backends: Vec<String> = backends.iter().map(|b| format!("\"{b}\"")).collect();
    format!(
        "listeners:\n  - {{ name: in, bind: \"127.0.0.1:0\", {listener} }}\n\
         pools:\n  - {{ name: p, health_check: off, {pool}, backends: [{}] }}\n\
         admin: {{ bind: \"127.0.0.1:0\" }}\n",
        backends.join(", ")
    )
}

/// A session whose peers the test plays.
struct Session {
    client: TcpStream,
    backend: TcpStream,
}

fn session(evener: &Evener, server: &Server) -> Session {
    let mut client = connect(evener.address(0));
    let mut backend = server.accept();
    is_live(&mut client, &mut backend);
    Session { client, backend }
}

/// evener's socket at the other end of this one, borrowed from the live process.
fn other_end(evener: &Evener, ours: &TcpStream) -> OwnedFd {
    let pid = Pid::from_raw(i32::try_from(evener.pid()).unwrap()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", evener.pid())).unwrap();
    let ends = |ours: &TcpStream| (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
    let is_other_end = |theirs: &TcpStream| {
        let peer = theirs.peer_addr().ok();
        let (from, to) = ends(ours);
        peer == Some(from) && theirs.local_addr().ok() == Some(to)
    };
    let found = descriptors
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok())
        .map(TcpStream::from)
        .find(is_other_end);
    found.unwrap().into()
}

/// What is read back of one socket.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    keepalive: Option<(u64, u64, u32)>,
    user_timeout_ms: u32,
    /// Twice what was asked for, as the kernel has it.
    receive_buffer: usize,
    send_buffer: usize,
    nodelay: bool,
}

fn told(socket: &OwnedFd) -> Told {
    let keepalive = sockopt::socket_keepalive(socket).unwrap().then(|| {
        (
            sockopt::tcp_keepidle(socket).unwrap().as_secs(),
            sockopt::tcp_keepintvl(socket).unwrap().as_secs(),
            sockopt::tcp_keepcnt(socket).unwrap(),
        )
    });
    Told {
        keepalive,
        user_timeout_ms: sockopt::tcp_user_timeout(socket).unwrap(),
        receive_buffer: sockopt::socket_recv_buffer_size(socket).unwrap(),
        send_buffer: sockopt::socket_send_buffer_size(socket).unwrap(),
        nodelay: sockopt::tcp_nodelay(socket).unwrap(),
    }
}

impl Session {
    /// Of the socket to the client.
    fn told_of_client(&self, evener: &Evener) -> Told {
        told(&other_end(evener, &self.client))
    }

    /// Of the socket to the backend, when the kernel watches over it or is not to.
    fn told_of_backend(&self, evener: &Evener, keepalive: bool) -> Told {
        // That begins when the session has lived for a while.
        eventually("keepalive is as it was asked for", || {
            let told = told(&other_end(evener, &self.backend));
            (told.keepalive.is_some() == keepalive).then_some(told)
        })
    }
}

/// A listener and a pool that say nothing of their sockets.
const UNSAID: &str = "max_connections: off";
const UNSAID_POOL: &str = "retries: 0";

const ALL_OF_LISTENER: Told = Told {
    keepalive: Some((31, 7, 4)),
    user_timeout_ms: 21_000,
    receive_buffer: 2 * 96 * 1024,
    send_buffer: 2 * 64 * 1024,
    nodelay: false,
};

#[test]
fn live_sockets_have_what_the_config_says() {
    let server = Server::start();
    let evener = Evener::start(&config(OF_LISTENER, OF_POOL, &[server.address()]));
    let baseline = evener.baseline();
    let session = session(&evener, &server);
    assert_eq!(session.told_of_client(&evener), ALL_OF_LISTENER);
    let expected = Told {
        keepalive: Some((32, 8, 5)),
        user_timeout_ms: 22_000,
        receive_buffer: 2 * 80 * 1024,
        send_buffer: 2 * 48 * 1024,
        nodelay: false,
    };
    assert_eq!(session.told_of_backend(&evener, true), expected);
    drop(session);
    evener.check_invariants(&baseline);
}

#[test]
fn sockets_of_which_nothing_is_said_have_the_defaults() {
    let server = Server::start();
    let evener = Evener::start(&config(UNSAID, UNSAID_POOL, &[server.address()]));
    let session = session(&evener, &server);
    let (client, backend) = (
        session.told_of_client(&evener),
        session.told_of_backend(&evener, true),
    );
    for told in [client, backend] {
        assert_eq!((told.keepalive, told.nodelay), (Some((60, 10, 6)), true));
        assert_eq!(told.user_timeout_ms, 0);
    }
}

#[test]
fn a_reload_tells_the_listening_socket_and_later_connections_other_options() {
    let server = Server::start();
    let evener = Evener::start(&config(UNSAID, UNSAID_POOL, &[server.address()]));
    let admin = Admin::of(&evener);
    let mut early = session(&evener, &server);
    let before = early.told_of_client(&evener);
    let reload = |listener: &str, pool: &str| {
        evener.rewrite_config(&config(listener, pool, &[server.address()]));
        let answer = admin.post("/api/v1/reload", "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    };

    let changes = reload(OF_LISTENER, OF_POOL);
    assert!(
        changes.contains("~ listener in socket.user_timeout off → 21s"),
        "{changes}"
    );
    let later = session(&evener, &server);
    assert_eq!(later.told_of_client(&evener), ALL_OF_LISTENER);
    assert_eq!(later.told_of_backend(&evener, true).user_timeout_ms, 22_000);

    // Back to what the kernel does by itself: buffers that grow, too.
    reload(UNSAID, UNSAID_POOL);
    let latest = session(&evener, &server);
    assert_eq!(latest.told_of_client(&evener), before);

    reload("socket: { keepalive: off }", "socket: { keepalive: off }");
    let unwatched = session(&evener, &server);
    assert_eq!(unwatched.told_of_client(&evener).keepalive, None);
    let backend = unwatched.told_of_backend(&evener, false);
    assert_eq!(backend.keepalive, None);
    is_live(&mut early.client, &mut early.backend);
}

#[test]
fn connections_to_backends_come_from_the_source() {
    let server = Server::start();
    let evener = Evener::start(&config(
        UNSAID,
        "socket: { source: 127.0.0.7 }",
        &[server.address()],
    ));
    let session = session(&evener, &server);
    let from = session.backend.peer_addr().unwrap();
    assert_eq!(from.ip(), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7)));
}

/// The first of two ports that the system gives out and that nobody has: not a listener, nor a connection
/// that was accepted there and is over for less than a minute. Those get ports of the lower half.
fn two_free_ports() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let last: u16 = range.split_whitespace().nth(1).unwrap().parse().unwrap();
    let is_free = |port: u16| {
        let (family, kind) = (
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
        );
        let socket = rustix::net::socket(family, kind, None).unwrap();
        // Without SO_REUSEADDR, so that whoever has the port is in the way.
        rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).is_ok()
    };
    let start = last - 2 - u16::try_from(std::process::id() % 4000).unwrap();
    (0..4000)
        .map(|down| start - down)
        .find(|first| is_free(*first) && is_free(first + 1))
        .unwrap()
}

#[test]
fn a_source_without_ports_left_is_no_fault_of_the_backend() {
    let servers = [Server::start(), Server::start()];
    let addresses = servers.each_ref().map(Server::address);
    let first = two_free_ports();
    let pool = format!(
        "balance: first, socket: {{ source: \"127.0.0.7:{first}-{}\" }}",
        first + 1
    );
    let evener = Evener::start(&config(UNSAID, &pool, &addresses));
    let admin = Admin::of(&evener);

    let mut clients = vec![connect(evener.address(0))];
    let backend = servers[0].accept();
    let port = backend.peer_addr().unwrap().port();
    assert!(port == first || port == first + 1, "{port}");
    // Two ports towards each of two backends: four sessions, or fewer if a program has taken a port since.
    let line = eventually("no port is left", || {
        clients.extend(try_connect(evener.address(0)));
        evener.lines_with(" ended: resources RC ").pop()
    });
    assert!(clients.len() <= 6, "{} sessions", clients.len());
    assert!(line.contains("(Cannot assign requested address"), "{line}");
    for backend in admin.status()["pools"][0]["backends"].as_array().unwrap() {
        assert_eq!(backend["connect_failures"], 0, "{backend}");
        assert_eq!(backend["health"], "up", "{backend}");
    }
    // A port that was given back serves again; the side that closes first keeps it for a minute, so that
    // has to be the backend.
    let client = clients.remove(0);
    drop(backend);
    read_until_end(&client);
    drop(client);
    eventually("a session with the port that was given back", || {
        let client = try_connect(evener.address(0)).ok()?;
        servers[0]
            .accept_within(Duration::from_millis(200))
            .map(|_| client)
    });
}

#[test]
fn a_client_that_says_nothing_is_not_accepted_yet() {
    let server = Server::start();
    let evener = Evener::start(&config(
        "socket: { defer_accept: 1h }",
        "retries: 0",
        &[server.address()],
    ));
    let admin = Admin::of(&evener);
    let mut client = connect(evener.address(0));
    assert!(is_silent_for(&client, Duration::from_millis(200)));
    assert_eq!(admin.status()["listeners"][0]["total"], 0);
    client.write_all(b"hello").unwrap();
    let mut backend = server.accept();
    support::read_some(&backend, &mut [0; 5]).unwrap();
    is_live(&mut client, &mut backend);
    assert_eq!(admin.status()["listeners"][0]["total"], 1);
}

/// Clients that a full evener lets wait: the kernel completes the handshake of so many, and lets the SYN of
/// others go unanswered.
#[test]
fn no_more_clients_wait_than_the_backlog_holds() {
    let server = Server::start();
    let listener = "max_connections: 1, socket: { backlog: 3 }";
    let evener = Evener::start(&config(listener, "retries: 0", &[server.address()]));
    let _inside = session(&evener, &server);
    let patience = Duration::from_millis(300);
    let mut waiting = Vec::new();
    while let Ok(client) = TcpStream::connect_timeout(&evener.address(0), patience) {
        waiting.push(client);
        assert!(waiting.len() < 10, "nothing bounds the backlog");
    }
    // Linux lets in one more than it is told.
    assert!(waiting.len() <= 4, "{} wait", waiting.len());
}

#[test]
fn what_can_not_be_had_names_the_key_and_what_to_try() {
    let backend: SocketAddr = ([127, 0, 0, 1], 9).into();
    for (listener, pool, expected) in [
        (
            "socket: { interface: nosuch0 }",
            "retries: 0",
            ["listener in: socket.interface: No such device", "`ip link`"],
        ),
        (
            "retries",
            "socket: { interface: nosuch0 }",
            ["pool p: socket.interface: No such device", "`ip link`"],
        ),
        (
            "retries",
            "socket: { source: 192.0.2.77 }",
            [
                "pool p: socket.source: Cannot assign requested address",
                "`ip address`",
            ],
        ),
        (
            "retries",
            "socket: { source: \"127.0.0.7:1000-1010\" }",
            [
                "pool p: socket.source: the system gives out ports ",
                "net.ipv4.ip_local_port_range",
            ],
        ),
        (
            "socket: { receive_buffer: 64M }",
            "retries: 0",
            [
                "listener in: socket.receive_buffer: the system allows ",
                "net.core.rmem_max",
            ],
        ),
        (
            "retries",
            "socket: { send_buffer: 64M }",
            [
                "pool p: socket.send_buffer: the system allows ",
                "net.core.wmem_max",
            ],
        ),
    ] {
        let listener = if listener == "retries" {
            "max_connections: off"
        } else {
            listener
        };
        let dir = TempDir::new();
        let file = dir.path().join("evener.yaml");
        fs::write(&file, config(listener, pool, &[backend])).unwrap();
        let finished = Evener::command(&["--config", file.to_str().unwrap()]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let refused = finished.stderr;
        for part in expected {
            assert!(refused.contains(part), "expected {part}: {refused}");
        }
        assert!(refused.contains("error: "), "{refused}");
    }
}

#[test]
fn a_reload_with_an_option_that_can_not_be_had_changes_nothing() {
    let server = Server::start();
    let evener = Evener::start(&config(UNSAID, UNSAID_POOL, &[server.address()]));
    let admin = Admin::of(&evener);
    evener.rewrite_config(&config(
        "socket: { user_timeout: 9s, interface: nosuch0 }",
        "retries: 0",
        &[server.address()],
    ));
    let answer = admin.post("/api/v1/reload", "");
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert!(
        answer
            .body
            .contains("listener in: socket.interface: No such device"),
        "{}",
        answer.body
    );
    let session = session(&evener, &server);
    assert_eq!(session.told_of_client(&evener).user_timeout_ms, 0);
}
