//! What happens at every limit: clients wait in the backlog, nobody is refused, nothing crashes, and
//! when there is room again they are served.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use support::{
    DEADLINE, Evener, Process, Server, TempDir, addresses, config, connect, dummies, eventually,
    eventually_ok, is_silent_for, who_serves,
};

const OFF: &str = "health_check: off";

/// How long nothing must happen to be called nothing.
const QUIET: Duration = Duration::from_millis(300);

/// No byte, no FIN, no RST: the client waits.
#[track_caller]
fn waits(client: &TcpStream) {
    assert!(is_silent_for(client, QUIET), "something came, or the end");
}

#[test]
fn the_client_beyond_the_limit_waits_and_is_served_when_one_leaves() {
    let server = Server::start();
    let limit = "limits: { max_connections: 3 }";
    let evener = Evener::start(&config(&[server.address()], &[OFF], &[limit]));
    let baseline = evener.baseline();
    evener.wait_log("limits.max_connections allows 3");
    let address = evener.address(0);
    let mut sessions: Vec<(TcpStream, TcpStream)> = (0..3)
        .map(|_| (connect(address), server.accept()))
        .collect();
    let mut fourth = connect(address);
    // What it sends meanwhile is not lost either.
    fourth.write_all(b"patient").unwrap();
    waits(&fourth);
    assert!(server.accept_within(Duration::ZERO).is_none());
    let line = evener.wait_log("is full");
    assert!(
        line.contains("listener in is full at 3 connections; further clients wait in the backlog"),
        "{line}"
    );

    drop(sessions.pop());
    let mut session = server.accept();
    let mut seen = [0; 7];
    session.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"patient");
    drop((fourth, session, sessions));
    let ended = evener.wait_log_count(" ended: ", 4);
    assert!(
        ended.iter().all(|line| line.contains("normal --")),
        "{ended:?}"
    );
    evener.check_invariants(&baseline);
    assert_eq!(evener.lines_with("is full").len(), 1, "once, not each time");
}

#[test]
fn the_longest_waiting_client_is_served_first() {
    let server = Server::start();
    let limit = "limits: { max_connections: 1 }";
    let evener = Evener::start(&config(&[server.address()], &[OFF], &[limit]));
    let address = evener.address(0);
    let first = (connect(address), server.accept());
    let waiting: Vec<TcpStream> = (0..5_u8)
        .map(|number| {
            let mut client = connect(address);
            client.write_all(&[number]).unwrap();
            client
        })
        .collect();
    waits(&waiting[0]);
    drop(first);
    for (number, client) in waiting.into_iter().enumerate() {
        let mut seen = [0];
        let mut session = server.accept();
        session.read_exact(&mut seen).unwrap();
        assert_eq!(usize::from(seen[0]), number);
        drop((client, session));
    }
}

#[test]
fn a_listeners_own_limit_leaves_the_other_listener_alone() {
    let server = Server::start();
    let backend = server.address();
    let evener = Evener::start(&format!(
        "listeners:\n\
         - {{ name: narrow, bind: [\"127.0.0.1:0\", \"127.0.0.2:0\"], pool: p, max_connections: 2 }}\n\
         - {{ name: wide, bind: \"127.0.0.1:0\", pool: p }}\n\
         pools:\n- {{ name: p, health_check: off, backends: [\"{backend}\"] }}\n"
    ));
    let baseline = evener.baseline();
    // One by each of its addresses: they share the limit.
    let mut sessions: Vec<(TcpStream, TcpStream)> = [0, 1]
        .map(|index| (connect(evener.address(index)), server.accept()))
        .into();
    let third = connect(evener.address(0));
    waits(&third);
    evener.wait_log("listener narrow is full at 2 connections");
    for _ in 0..5 {
        sessions.push((connect(evener.address(2)), server.accept()));
    }
    waits(&third);
    sessions.swap_remove(0);
    let its_own = server.accept();
    drop((third, its_own, sessions));
    evener.wait_log_count(" ended: normal --", 8);
    assert!(evener.lines_with("listener wide is full").is_empty());
    evener.check_invariants(&baseline);
}

#[test]
fn the_limit_of_the_process_counts_all_listeners_together() {
    let server = Server::start();
    let backend = server.address();
    let evener = Evener::start(&format!(
        "listeners:\n\
         - {{ name: one, bind: \"127.0.0.1:0\", pool: p }}\n\
         - {{ name: two, bind: \"127.0.0.1:0\", pool: p }}\n\
         pools:\n- {{ name: p, health_check: off, backends: [\"{backend}\"] }}\n\
         limits: {{ max_connections: 3 }}\n"
    ));
    let baseline = evener.baseline();
    let mut sessions: Vec<(TcpStream, TcpStream)> = [0, 0, 1]
        .map(|index| (connect(evener.address(index)), server.accept()))
        .into();
    let waiting = [connect(evener.address(0)), connect(evener.address(1))];
    waiting.iter().for_each(waits);
    assert!(server.accept_within(Duration::ZERO).is_none());
    // One leaves, one gets in, whichever; the other waits on.
    drop(sessions.pop());
    let fourth = server.accept();
    assert!(server.accept_within(QUIET).is_none());
    drop(sessions.pop());
    let fifth = server.accept();
    drop((waiting, fourth, fifth, sessions));
    evener.wait_log_count(" ended: normal --", 5);
    evener.check_invariants(&baseline);
}

#[test]
fn a_full_balancer_still_ends_when_told_to() {
    let server = Server::start();
    let rest = [
        "limits: { max_connections: 1 }",
        "shutdown: { drain_timeout: 1h }",
    ];
    let evener = Evener::start(&config(&[server.address()], &[OFF], &rest));
    let session = (connect(evener.address(0)), server.accept());
    let waiting = connect(evener.address(0));
    waits(&waiting);
    evener.signal(rustix::process::Signal::TERM);
    evener.wait_log("draining 1 connections");
    // Nobody will serve it any more, and it is told so.
    assert_eq!(support::read_until_end(&waiting).1, support::End::Reset);
    drop(session);
    assert_eq!(evener.wait_exit().code(), Some(0));
}

#[test]
fn when_descriptors_run_out_everyone_is_served_in_turn() {
    let backends = dummies(["a", "b", "c"]);
    let evener = Evener::start(&config(&addresses(&backends), &[OFF], &[]));
    let address = evener.address(0);
    let baseline = evener.baseline().serving(address);
    lower(&evener, Resource::Nofile, 64);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..200)
            .map(|_| scope.spawn(|| who_serves(address)))
            .collect();
        for client in clients {
            client.join().unwrap().unwrap();
        }
    });
    // Again, now that it knows.
    for _ in 0..20 {
        who_serves(address).unwrap();
    }
    evener.check_invariants(&baseline);
}

#[test]
fn a_limit_in_force_at_the_start_is_announced_and_kept() {
    let server = Server::start();
    let dir = TempDir::new();
    let path = dir.path().join("evener.yaml");
    std::fs::write(&path, config(&[server.address()], &[OFF], &["admin: off"])).unwrap();
    let script = "ulimit -n 300; exec \"$0\" --config \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_evener")]);
    let evener = Evener::spawn(command.arg(&path));
    let baseline = evener.baseline();
    let line = evener.wait_log("room for ");
    assert!(line.contains("(bound by RLIMIT_NOFILE = 300;"), "{line}");
    let room = announced_room(&evener);
    assert!((20..150).contains(&room), "{line}");

    let sessions: Vec<_> = (0..room)
        .map(|_| (connect(evener.address(0)), server.accept()))
        .collect();
    let beyond: Vec<TcpStream> = (0..10).map(|_| connect(evener.address(0))).collect();
    waits(&beyond[9]);
    assert!(server.accept_within(Duration::ZERO).is_none());
    drop(sessions);
    let served: Vec<TcpStream> = beyond.iter().map(|_| server.accept()).collect();
    drop((beyond, served));
    evener.wait_log_count(" ended: normal --", room + 10);
    assert!(evener.lines_with("can't accept").is_empty());
    evener.check_invariants(&baseline);
}

#[test]
fn when_threads_are_refused_clients_wait_and_are_served_later() {
    // The limit on a user's threads does not hold for root, so evener runs as somebody else; and only
    // root can be somebody else, one who runs nothing but this.
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can run evener as a user of its own");
        return;
    }
    const THREADS: usize = 200;
    // Nobody else's, not even that of another run of this test.
    let somebody = 100_000 + std::process::id();
    let server = Server::start();
    // Another program of the same user, with a thread for each of its connections, takes them all.
    let mut command = Command::new(env!("CARGO_BIN_EXE_backend"));
    let hog = Process::spawn(command.arg("0").uid(somebody).gid(somebody));
    let line = hog.wait_log("Backend Server started on port: ");
    let port: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();

    let mut command = Command::new("sh");
    command.uid(somebody).gid(somebody);
    // Bash says -u, dash says -p.
    let limit = format!("ulimit -u {THREADS} 2>/dev/null || ulimit -p {THREADS}");
    let script = format!("{limit}; exec \"$0\" -l 127.0.0.1:0 --admin off \"$1\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_evener")]);
    let evener = Evener::spawn(command.arg(server.address().to_string()));
    // The health check's own connection.
    drop(server.accept());
    let baseline = evener.baseline().probing(1);
    let line = evener.wait_log("room for ");
    assert!(line.contains("(bound by RLIMIT_NPROC = 200;"), "{line}");
    let taken: Vec<TcpStream> = (0..THREADS)
        .map(|_| connect(([127, 0, 0, 1], port).into()))
        .collect();
    eventually("the other program has its threads", || {
        (hog.thread_names().len() >= THREADS).then_some(())
    });

    let address = evener.address(0);
    let mut clients: BTreeMap<u8, TcpStream> = (0..20)
        .map(|number| {
            let mut client = connect(address);
            client.write_all(&[number]).unwrap();
            (number, client)
        })
        .collect();
    evener.wait_log("waits for a thread, which the system refuses");
    waits(&clients[&19]);
    drop(taken);
    // All get their turn now. Probes come in between and bring no byte.
    while !clients.is_empty() {
        let mut session = server.accept();
        let mut number = [0];
        if session.read(&mut number).is_ok_and(|bytes| bytes == 1) {
            session.write_all(b"served").unwrap();
            let mut client = clients.remove(&number[0]).unwrap();
            client.read_exact(&mut [0; 6]).unwrap();
        }
    }
    evener.wait_log_count(" ended: normal --", 20);
    evener.check_invariants(&baseline);
    assert_eq!(evener.stderr(), [""; 0]);
}

#[test]
fn thousands_of_idle_sessions_all_live() {
    const WANTED: usize = 8_000;
    let server = Server::start();
    let evener = Evener::start(&config(
        &[server.address()],
        &[OFF],
        &["log: { connections: false }"],
    ));
    let baseline = evener.baseline();
    // In this process, each session is two descriptors as well: the client's and the backend's.
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let own = limit.maximum.map_or(WANTED, |most| {
        usize::try_from(most)
            .unwrap_or(usize::MAX)
            .saturating_sub(1000)
            / 2
    });
    let room = announced_room(&evener);
    let count = WANTED.min(own).min(room);
    if count < WANTED {
        eprintln!("only {count} sessions: evener has room for {room}, this test for {own}");
    }

    let address = evener.address(0);
    // A source address has some 28,000 ports; a few addresses leave some for the other tests.
    let (mut clients, mut sessions) = (Vec::new(), Vec::new());
    while sessions.len() < count {
        let source = [127, 0, 0, 10 + (clients.len() % 4) as u8].into();
        clients.push(connect_from(source, address));
        // A few hundred at a time, so that no backlog overflows: that would be another test.
        if clients.len() % 200 == 0 || clients.len() == count {
            sessions.extend((sessions.len()..clients.len()).map(|_| server.accept()));
        }
    }

    // All at once: each says its number, gets it back from whichever backend's end is its own.
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&(number as u32).to_be_bytes()).unwrap();
    }
    for session in &mut sessions {
        let mut number = [0; 4];
        session.read_exact(&mut number).unwrap();
        session.write_all(&number).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(u32::from_be_bytes(answer), number as u32);
    }

    drop((clients, sessions));
    // Thousands of threads end one by one, which takes its time where others want the CPU as well.
    eventually_ok("the end of the threads", 3 * DEADLINE, || {
        evener.broken_invariant(&baseline)
    });
    evener.check_invariants(&baseline);
    // And it can take as many again.
    let client = connect(address);
    let session = server.accept();
    drop((client, session));
    assert_eq!(evener.stderr(), [""; 0]);
}

/// What evener has said that it has room for.
fn announced_room(evener: &Evener) -> usize {
    let line = evener.wait_log("room for ");
    let number = line.split("room for ").nth(1).unwrap().split(' ').next();
    number.unwrap().parse().unwrap()
}

/// Lowers a limit of a running process.
fn lower(evener: &Evener, resource: Resource, limit: u64) {
    let pid = Pid::from_raw(evener.pid().cast_signed());
    let limit = Rlimit {
        current: Some(limit),
        maximum: Some(limit),
    };
    prlimit(pid, resource, limit).unwrap();
}

/// Connects from this source address.
fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((source, 0))).unwrap();
    eventually("a connection", || {
        rustix::net::connect(&socket, &address).ok()
    });
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}
