//! How evener ends: in order, at a deadline, at once; and how it starts again afterwards.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{
    BlackHole, Dummy, End, Evener, Process, RefusingPort, Server, TempDir, config, connect,
    eventually, is_live, read_until_end, who_serves,
};

const OFF: &str = "health_check: off";

/// How much later than due something may be on a machine that is busy with other things.
const SLACK: Duration = Duration::from_millis(500);

/// evener without health checks in front of one server, with this `shutdown:` section.
fn in_front_of(backend: SocketAddr, shutdown: &str) -> Evener {
    Evener::start(&text(backend, shutdown))
}

/// The same on a port that is nobody else's when evener has left it.
fn at(port: &RefusingPort, backend: SocketAddr, shutdown: &str) -> Evener {
    let text = text(backend, shutdown);
    Evener::start(&text.replace("127.0.0.1:0", &port.address().to_string()))
}

fn text(backend: SocketAddr, shutdown: &str) -> String {
    let shutdown = format!("shutdown: {{ {shutdown} }}");
    let rest = [shutdown.as_str(), "timeouts: { connect: 1h }"];
    config(&[backend], &[OFF], &rest)
}

/// A client's connection and the backend's end of the session.
fn session(evener: &Evener, server: &Server) -> (TcpStream, TcpStream) {
    (connect(evener.address(0)), server.accept())
}

/// Sends SIGTERM and waits until evener has begun to drain.
#[track_caller]
fn terminate(evener: &Evener) -> String {
    evener.signal(Signal::TERM);
    evener.wait_log("draining ")
}

/// From one line of the log to another, by the clock of the one who wrote them: this process may be
/// slow to notice.
fn between(first: &str, second: &str) -> Duration {
    let time = |line: &str| humantime::parse_rfc3339(line.split(' ').next().unwrap()).unwrap();
    time(second).duration_since(time(first)).unwrap()
}

/// It must have ended with this code, and nothing in it may have panicked.
#[track_caller]
fn ended(evener: &Evener, code: i32) {
    assert_eq!(evener.wait_exit().code(), Some(code));
    assert_eq!(evener.stderr(), [""; 0]);
}

#[test]
fn with_nothing_to_do_it_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start();
        let evener = in_front_of(server.address(), "drain_timeout: 1h");
        let begin = Instant::now();
        evener.signal(signal);
        ended(&evener, 0);
        assert!(
            begin.elapsed() < 2 * SLACK,
            "{signal:?}: {:?}",
            begin.elapsed()
        );
        evener.wait_log("draining 0 connections, until ");
        evener.wait_log(" stopped");
    }
}

#[test]
fn a_live_session_goes_on_and_nobody_new_gets_in() {
    let (server, port) = (Server::start(), RefusingPort::new());
    let evener = at(&port, server.address(), "drain_timeout: 1h");
    let (mut client, mut backend) = session(&evener, &server);
    let line = terminate(&evener);
    assert!(line.contains("draining 1 connections"), "{line}");
    eventually("new clients are refused", || {
        let refused = TcpStream::connect(evener.address(0)).err()?;
        (refused.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    is_live(&mut client, &mut backend);
    // A long transfer as well, begun when the drain had.
    let megabyte = vec![7; 1 << 20];
    thread::scope(|scope| {
        scope.spawn(|| {
            (&backend).write_all(&megabyte).unwrap();
        });
        let mut received = vec![0; 1 << 20];
        client.read_exact(&mut received).unwrap();
        assert!(received == megabyte);
    });
    is_live(&mut client, &mut backend);
    assert!(evener.is_alive(), "it must wait for the session");
    drop((client, backend));
    ended(&evener, 0);
    evener.wait_log("ended: normal --");
    assert!(evener.lines_with("aborted").is_empty());
}

#[test]
fn what_is_left_at_the_deadline_is_reset() {
    let server = Server::start();
    let evener = in_front_of(server.address(), "drain_timeout: 500ms");
    let (mut client, mut backend) = session(&evener, &server);
    is_live(&mut client, &mut backend);
    let begin = Instant::now();
    let draining = terminate(&evener);
    assert_eq!(read_until_end(&client), (Vec::new(), End::Reset));
    assert_eq!(read_until_end(&backend), (Vec::new(), End::Reset));
    ended(&evener, 0);
    let took = begin.elapsed();
    assert!(
        took >= Duration::from_millis(500) && took < Duration::from_millis(500) + 2 * SLACK,
        "{took:?}"
    );
    let aborted = evener.wait_log("the drain's time is over: 1 connections aborted");
    let took = between(&draining, &aborted);
    assert!(
        took >= Duration::from_millis(499) && took < Duration::from_millis(500) + SLACK,
        "{took:?}"
    );
    let line = evener.wait_log(" ended: ");
    assert!(
        line.contains("shutdown KD") && line.contains("in=4B out=4B"),
        "{line}"
    );
}

#[test]
fn a_second_signal_ends_it_at_once_with_130() {
    let pairs = [
        (Signal::TERM, Signal::INT),
        (Signal::INT, Signal::INT),
        (Signal::TERM, Signal::TERM),
    ];
    for (first, second) in pairs {
        let server = Server::start();
        let evener = in_front_of(server.address(), "drain_timeout: 1h");
        let (client, _backend) = session(&evener, &server);
        evener.signal(first);
        evener.wait_log("draining 1 connections");
        let begin = Instant::now();
        evener.signal(second);
        ended(&evener, 130);
        assert!(
            begin.elapsed() < 2 * SLACK,
            "{second:?}: {:?}",
            begin.elapsed()
        );
        assert_eq!(read_until_end(&client), (Vec::new(), End::Reset));
        evener.wait_log("second signal: 1 connections aborted");
        evener.wait_log("shutdown KD");
    }
}

#[test]
fn a_second_signal_cuts_the_pre_stop_delay_short() {
    let server = Server::start();
    let evener = in_front_of(server.address(), "pre_stop_delay: 1h, drain_timeout: 1h");
    terminate(&evener);
    let begin = Instant::now();
    evener.signal(Signal::TERM);
    ended(&evener, 130);
    assert!(begin.elapsed() < 2 * SLACK, "{:?}", begin.elapsed());
}

#[test]
fn during_the_pre_stop_delay_clients_are_still_served() {
    // For a balancer in front that has to notice first.
    let delay = Duration::from_secs(2);
    let (backend, port) = (Dummy::start("a"), RefusingPort::new());
    let shutdown = "pre_stop_delay: 2s, drain_timeout: 10s";
    let evener = at(&port, backend.address(), shutdown);
    let begin = Instant::now();
    terminate(&evener);
    while begin.elapsed() < delay / 2 {
        assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    }
    ended(&evener, 0);
    let took = begin.elapsed();
    assert!(took >= delay && took < delay + 2 * SLACK, "{took:?}");
    assert!(TcpStream::connect(evener.address(0)).is_err());
}

#[test]
fn a_signal_before_the_first_health_round_is_over_ends_the_start() {
    let hole = BlackHole::new();
    let dir = TempDir::new();
    let path = dir.path().join("evener.yaml");
    let check = "health_check: { interval: 2h, timeout: 1h }";
    std::fs::write(&path, config(&[hole.address()], &[check], &["admin: off"])).unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let arguments = ["--config", path.to_str().unwrap()];
        let process = Process::start(env!("CARGO_BIN_EXE_evener"), &arguments);
        process.wait_log("Starting health check...");
        let begin = Instant::now();
        process.signal(signal);
        assert_eq!(process.wait_exit().code(), Some(0));
        assert!(begin.elapsed() < 2 * SLACK, "{:?}", begin.elapsed());
        assert_eq!(process.stderr(), [""; 0]);
        assert!(process.lines_with("Load Balancer started").is_empty());
    }
}

#[test]
fn a_session_that_still_connects_does_not_hold_up_the_end() {
    let hole = BlackHole::new();
    let evener = in_front_of(hole.address(), "drain_timeout: 500ms");
    let client = connect(evener.address(0));
    eventually("the session", || {
        let mut names = evener.thread_names().into_iter();
        names.find(|name| name.starts_with("c1>"))
    });
    let begin = Instant::now();
    terminate(&evener);
    assert_eq!(read_until_end(&client), (Vec::new(), End::Reset));
    ended(&evener, 0);
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(500) + 2 * SLACK, "{took:?}");
    evener.wait_log("shutdown KD");
}

#[test]
fn a_reader_that_has_stopped_does_not_hold_up_the_end() {
    let server = Server::start();
    let evener = in_front_of(server.address(), "drain_timeout: 500ms");
    let (client, backend) = session(&evener, &server);
    // Until everything on the way is full, and evener's thread is stuck in a write.
    backend.set_nonblocking(true).unwrap();
    let filler = vec![1; 1 << 16];
    let mut writer = &backend;
    eventually("the sender is stuck", || match writer.write(&filler) {
        Ok(_) => None,
        Err(_) => {
            thread::sleep(Duration::from_millis(50));
            writer.write(&filler).is_err().then_some(())
        }
    });
    let begin = Instant::now();
    terminate(&evener);
    ended(&evener, 0);
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(500) + 2 * SLACK, "{took:?}");
    backend.set_nonblocking(false).unwrap();
    assert_eq!(read_until_end(&backend).1, End::Reset);
    evener.wait_log("shutdown KD");
    drop(client);
}

#[test]
fn a_hundred_sessions_at_the_deadline_all_end_with_a_report() {
    let server = Server::start();
    let evener = in_front_of(server.address(), "drain_timeout: 300ms");
    let sessions: Vec<_> = (0..100).map(|_| session(&evener, &server)).collect();
    let line = terminate(&evener);
    assert!(line.contains("draining 100 connections"), "{line}");
    ended(&evener, 0);
    assert_eq!(evener.lines_with("shutdown KD").len(), 100);
    for (client, backend) in &sessions {
        assert_eq!(read_until_end(client).1, End::Reset);
        assert_eq!(read_until_end(backend).1, End::Reset);
    }
}

#[test]
fn a_port_in_use_is_an_error_that_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let finished = Evener::command(&["-l", &address, "--admin", "off", "127.0.0.1:9"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let message = format!("error: can't listen on {address}: ");
    assert!(finished.stderr.starts_with(&message), "{finished:?}");
    assert!(finished.stderr.contains("another program listens there"));
    assert!(!finished.stdout.contains("started on"), "{finished:?}");
}

#[test]
fn an_address_of_another_machine_is_an_error_that_says_so() {
    // TEST-NET-1 of RFC 5737: nobody has it.
    let finished = Evener::command(&["-l", "192.0.2.1:80", "--admin", "off", "127.0.0.1:9"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished.stderr.contains("no interface of this machine"),
        "{finished:?}"
    );
}

#[test]
fn killed_it_starts_again_at_once_on_the_same_port() {
    let (backend, port) = (Dummy::start("a"), RefusingPort::new());
    let evener = at(&port, backend.address(), "drain_timeout: 1h");
    let address = evener.address(0);
    // Connections of every age: ended ones, and live ones that die with it.
    for _ in 0..10 {
        who_serves(address).unwrap();
    }
    let _live: Vec<TcpStream> = (0..10).map(|_| connect(address)).collect();
    evener.wait_log_count(" ended: ", 10);
    evener.signal(Signal::KILL);
    evener.wait_exit();
    let again = at(&port, backend.address(), "drain_timeout: 1h");
    assert_eq!(again.address(0), address);
    assert_eq!(who_serves(address).unwrap(), "a");
}

#[test]
fn stopped_and_continued_it_goes_on_as_before() {
    // A suspended machine, or kill -STOP: sessions that live keep living, backends stay up.
    let server = Server::start();
    let evener = in_front_of(server.address(), "drain_timeout: 1h");
    let baseline = evener.baseline();
    let (mut client, mut backend) = session(&evener, &server);
    evener.signal(Signal::STOP);
    client.write_all(b"early").unwrap();
    thread::sleep(Duration::from_millis(300));
    evener.signal(Signal::CONT);
    backend.read_exact(&mut [0; 5]).unwrap();
    is_live(&mut client, &mut backend);
    drop((client, backend));
    evener.wait_log("ended: normal --");
    evener.check_invariants(&baseline);
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    // The second address is taken: the first must not have been opened to anybody.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = RefusingPort::new();
    let finished = Evener::command(&[
        "-l",
        &free.address().to_string(),
        "-l",
        &taken.local_addr().unwrap().to_string(),
        "--admin",
        "off",
        "127.0.0.1:9",
    ]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(finished.stdout, "", "it fails before it starts anything");
}
