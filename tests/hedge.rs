//! Hedged connect: what a client gets when a backend does not answer its SYN, and what is counted of the
//! attempt that did not make it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::net::{SocketAddr, TcpStream};

use support::{
    Admin, BlackHole, Evener, RefusingPort, Server, config, connect, eventually, is_live, reset,
};

const ADMIN: &str = "admin: { bind: \"127.0.0.1:0\" }";

/// The pool is asked in this order, and hedges at once.
const POOL: [&str; 4] = [
    "balance: first",
    "health_check: off",
    "outlier_detection: { consecutive_failures: 1, ejection_time: 1h, max_ejection_time: 1h }",
    "hedge_after: 50ms",
];

/// An evener with these backends, so much time for each attempt, and `more` in the pool.
fn start(backends: &[SocketAddr], connect: &str, more: &[&str]) -> (Evener, Admin) {
    let pool: Vec<&str> = POOL.iter().chain(more).copied().collect();
    let timeouts = format!("timeouts: {{ connect: {connect} }}");
    let evener = Evener::start(&config(backends, &pool, &[ADMIN, &timeouts]));
    let admin = Admin::of(&evener);
    (evener, admin)
}

/// Waits until so many sessions hold each of these backends.
#[track_caller]
fn wait_active(admin: &Admin, expected: &[(SocketAddr, u64)]) {
    eventually("the leases", || {
        let active = |address: &SocketAddr| admin.backend(&address.to_string())["active"].as_u64();
        let is_so = |(address, count): &(SocketAddr, u64)| active(address) == Some(*count);
        expected.iter().all(is_so).then_some(())
    });
}

fn failures(admin: &Admin, address: SocketAddr) -> u64 {
    let backend = admin.backend(&address.to_string());
    backend["connect_failures"].as_u64().unwrap()
}

/// The lines of this metric.
#[track_caller]
fn has_metrics(admin: &Admin, lines: &[&str]) {
    let page = admin.get("/metrics").body;
    for line in lines {
        assert!(page.lines().any(|one| one == *line), "no {line} in {page}");
    }
}

#[track_caller]
fn has_all(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
}

#[test]
fn a_client_of_a_backend_that_does_not_answer_gets_the_second_one() {
    let (hole, server) = (BlackHole::new(), Server::start());
    let (evener, admin) = start(&[hole.address(), server.address()], "1h", &[]);
    let mut client = connect(evener.address(0));
    let mut backend = server.accept();
    is_live(&mut client, &mut backend);
    // The attempt that has lost holds nothing.
    wait_active(&admin, &[(hole.address(), 0), (server.address(), 1)]);
    drop((client, backend));
    let line = evener.wait_log("ended: normal");
    let to = format!("-> {}", server.address());
    has_all(&line, &[&to, "attempts=2 hedge_won=second rtt="]);
    wait_active(&admin, &[(hole.address(), 0), (server.address(), 0)]);
    // It is no failure, though one would be enough to eject the backend, and no retry.
    assert_eq!(failures(&admin, hole.address()), 0);
    assert_eq!(admin.backend(&hole.address().to_string())["health"], "up");
    assert_eq!(admin.backend(&hole.address().to_string())["total"], 0);
    has_metrics(
        &admin,
        &[
            "evener_hedged_connects_total{won=\"first\"} 0",
            "evener_hedged_connects_total{won=\"second\"} 1",
            "evener_retries_total 0",
        ],
    );
}

#[test]
fn the_first_backend_wins_if_it_answers_before_the_second() {
    let (first, second) = (BlackHole::new(), BlackHole::new());
    let (evener, admin) = start(&[first.address(), second.address()], "1h", &[]);
    let mut client = connect(evener.address(0));
    wait_active(&admin, &[(first.address(), 1), (second.address(), 1)]);
    let mut backend = first.answer();
    is_live(&mut client, &mut backend);
    wait_active(&admin, &[(first.address(), 1), (second.address(), 0)]);
    drop((client, backend));
    let line = evener.wait_log("ended: normal");
    let to = format!("-> {}", first.address());
    has_all(&line, &[&to, "attempts=2 hedge_won=first rtt="]);
    assert_eq!(failures(&admin, second.address()), 0);
    has_metrics(&admin, &["evener_hedged_connects_total{won=\"first\"} 1"]);
}

#[test]
fn when_neither_answers_both_have_failed_and_the_next_one_is_tried() {
    let (first, second, server) = (BlackHole::new(), BlackHole::new(), Server::start());
    let all = [first.address(), second.address(), server.address()];
    let (evener, admin) = start(&all, "300ms", &["retries: 1"]);
    let mut client = connect(evener.address(0));
    let mut backend = server.accept();
    is_live(&mut client, &mut backend);
    drop((client, backend));
    let line = evener.wait_log("ended: normal");
    let (first, second) = (first.address(), second.address());
    let failed = format!("attempts=3 failed={first}(timed out),{second}(timed out) rtt=");
    has_all(&line, &[&failed]);
    assert_eq!((failures(&admin, first), failures(&admin, second)), (1, 1));
    evener.wait_log(&format!("Server {first} is EJECTED"));
    has_metrics(
        &admin,
        &[
            "evener_hedged_connects_total{won=\"first\"} 0",
            "evener_hedged_connects_total{won=\"second\"} 0",
            "evener_retries_total 1",
        ],
    );
}

#[test]
fn when_both_refuse_both_have_failed() {
    for retries in ["retries: 0", "retries: 1"] {
        let (hole, refusing, server) = (BlackHole::new(), RefusingPort::new(), Server::start());
        let (first, second) = (hole.address(), refusing.address());
        let (evener, admin) = start(&[first, second, server.address()], "1h", &[retries]);
        let mut client = connect(evener.address(0));
        eventually("the failure of the second", || {
            (failures(&admin, second) == 1).then_some(())
        });
        // The first is still waited for; from now on it refuses, when its SYN comes again.
        wait_active(&admin, &[(first, 1), (second, 0)]);
        drop(hole);
        let failed = format!("failed={second}(connection refused),{first}(connection refused)");
        let line = if retries == "retries: 0" {
            let line = evener.wait_log("ended: connect_refused");
            has_all(&line, &["attempts=2 "]);
            line
        } else {
            is_live(&mut client, &mut server.accept());
            drop(client);
            let line = evener.wait_log("ended: normal");
            has_all(&line, &["attempts=3 "]);
            line
        };
        has_all(&line, &[&failed]);
        assert!(!line.contains("hedge_won"), "{line}");
        assert_eq!((failures(&admin, first), failures(&admin, second)), (1, 1));
        wait_active(&admin, &[(first, 0), (second, 0), (server.address(), 0)]);
    }
}

#[test]
fn a_client_that_leaves_ends_both_attempts() {
    let by_reset: fn(TcpStream) = reset;
    let by_fin: fn(TcpStream) = drop;
    for leave in [by_reset, by_fin] {
        let (first, second) = (BlackHole::new(), BlackHole::new());
        let (evener, admin) = start(&[first.address(), second.address()], "1h", &[]);
        let baseline = evener.baseline();
        let client = connect(evener.address(0));
        wait_active(&admin, &[(first.address(), 1), (second.address(), 1)]);
        leave(client);
        let line = evener.wait_log("ended: client_closed_while_connecting");
        has_all(&line, &["attempts=2 rtt="]);
        wait_active(&admin, &[(first.address(), 0), (second.address(), 0)]);
        let (first, second) = (first.address(), second.address());
        assert_eq!((failures(&admin, first), failures(&admin, second)), (0, 0));
        evener.check_invariants(&baseline);
    }
}

#[test]
fn a_backend_that_is_full_is_no_second_one() {
    let (hole, server) = (BlackHole::new(), Server::start());
    let text = format!(
        "listeners: [{{ bind: '127.0.0.1:0' }}]\npools:\n  - {}\n    backends: ['{}', {{ address: '{}', max_connections: 1 }}]\n\
         timeouts: {{ connect: 300ms, queue: 1h }}\n{ADMIN}\n",
        POOL.join("\n    ")
            .replace("consecutive_failures: 1", "consecutive_failures: 100"),
        hole.address(),
        server.address()
    );
    let evener = Evener::start(&text);
    let admin = Admin::of(&evener);
    let mut client = connect(evener.address(0));
    let mut backend = server.accept();
    is_live(&mut client, &mut backend);
    let mut other = connect(evener.address(0));
    // It has had no second attempt when the first has timed out; then it waits in the queue.
    eventually("the end of the attempt", || {
        (failures(&admin, hole.address()) == 1).then_some(())
    });
    assert_eq!(admin.backend(&server.address().to_string())["active"], 1);
    drop((client, backend));
    is_live(&mut other, &mut server.accept());
    drop(other);
    let ends = evener.wait_log_count("ended: normal", 2);
    has_all(&ends[0], &["attempts=2 hedge_won=second"]);
    has_all(&ends[1], &["failed="]);
    assert!(!ends[1].contains("hedge_won"), "{}", ends[1]);
}

#[test]
fn a_backend_alone_is_waited_for() {
    let hole = BlackHole::new();
    let (evener, admin) = start(&[hole.address()], "300ms", &["retries: 0"]);
    let _client = connect(evener.address(0));
    let line = evener.wait_log("ended: connect_timeout");
    has_all(&line, &["attempts=1 failed="]);
    assert_eq!(failures(&admin, hole.address()), 1);
}
