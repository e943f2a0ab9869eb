//! Backends with a limit, and the queue before them: nobody is above the limit, who waits is served in
//! the order in which they came, and nobody waits in vain.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;
use support::{
    Admin, End, Evener, Server, config, connect, dummies, eventually, fate, is_live, read_some,
    read_until_end, reset, who_serves,
};

const ADMIN: &str = "admin: { bind: \"127.0.0.1:0\" }";
const FAST: &str = "health_check: { interval: 50ms, timeout: 1s, fall: 1, rise: 1 }";
const UNPROBED: &str = "health_check: off";

/// A backend that may have so many sessions.
fn limited(address: impl std::fmt::Display, limits: &str) -> String {
    format!("{{ address: \"{address}\", {limits} }}")
}

/// How many wait.
fn waiting(admin: &Admin) -> u64 {
    let status = admin.status();
    status["pools"][0]["queue"]["length"].as_u64().unwrap()
}

fn wait_for_queue(admin: &Admin, length: u64) {
    eventually("so many wait", || (waiting(admin) == length).then_some(()));
}

/// Clients that come one after the other, each of which waits.
fn waiting_clients(evener: &Evener, admin: &Admin, count: u64) -> Vec<TcpStream> {
    let before = waiting(admin);
    let one = |number| {
        let mut client = connect(evener.address(0));
        client.write_all(format!("{number}").as_bytes()).unwrap();
        wait_for_queue(admin, before + number);
        client
    };
    (1..=count).map(one).collect()
}

/// The first byte that comes from a client.
fn first_byte(backend: &TcpStream) -> char {
    let mut byte = [0; 1];
    read_some(backend, &mut byte).unwrap();
    byte[0].into()
}

#[test]
fn who_waits_is_served_in_the_order_in_which_they_came() {
    let server = Server::start();
    let backends = [limited(server.address(), "max_connections: 1")];
    let evener = Evener::start(&config(&backends, &[UNPROBED], &[ADMIN]));
    let admin = Admin::of(&evener);
    let mut first = connect(evener.address(0));
    let mut served = server.accept();
    is_live(&mut first, &mut served);
    let clients = waiting_clients(&evener, &admin, 4);
    assert!(server.accept_within(Duration::from_millis(100)).is_none());
    let explained = admin.get("/api/v1/explain?pool=p").json();
    assert_eq!(explained["backends"][0]["why"], "full: 1 sessions of 1");
    assert_eq!(explained["backends"][0]["can_serve"], false);
    assert_eq!(
        explained["otherwise"],
        "it waits until one has room, behind 4 others"
    );
    let mut client = first;
    for (expected, next) in ('1'..='4').zip(clients) {
        drop((served, client));
        served = server.accept();
        assert_eq!(first_byte(&served), expected);
        client = next;
    }
    drop((served, client));
    let line = evener.wait_log("session 3 ");
    assert!(line.contains(" queue="), "{line}");
    eventually("all have ended", || {
        (admin.backend(&server.address().to_string())["active"] == 0).then_some(())
    });
    let metrics = admin.get("/metrics").body;
    assert!(metrics.contains("evener_queue_wait_seconds_count 4\n"));
    assert!(metrics.contains("evener_pool_queue_length{pool=\"p\"} 0\n"));
}

#[test]
fn a_client_that_leaves_the_queue_is_forgotten_and_the_next_is_served() {
    let server = Server::start();
    let backends = [limited(server.address(), "max_connections: 1")];
    let evener = Evener::start(&config(&backends, &[UNPROBED], &[ADMIN]));
    let admin = Admin::of(&evener);
    let first = connect(evener.address(0));
    let served = server.accept();
    let mut clients = waiting_clients(&evener, &admin, 3);
    // One with a reset, one in order; it has spoken, and its FIN is the end of its question.
    reset(clients.remove(0));
    evener.wait_log("client_closed_while_queued CQ");
    wait_for_queue(&admin, 2);
    clients[0].shutdown(std::net::Shutdown::Write).unwrap();
    drop((first, served));
    let served = server.accept();
    assert_eq!(first_byte(&served), '2', "half closed is not gone");
    drop((served, clients.remove(0)));
    let served = server.accept();
    assert_eq!(first_byte(&served), '3');
    drop((served, clients));
    // A FIN and nothing before it is a client that has left.
    let _holds = connect(evener.address(0));
    let _held = server.accept();
    drop(connect(evener.address(0)));
    let line = evener.wait_log("session 6 ");
    assert!(line.contains("client_closed_while_queued CQ"), "{line}");
    wait_for_queue(&admin, 0);
}

#[test]
fn too_many_and_too_long_end_with_a_reset() {
    let server = Server::start();
    let limits = "max_connections: 1, max_queue: 1";
    let backends = [limited(server.address(), limits)];
    let evener = Evener::start(&config(
        &backends,
        &[UNPROBED],
        &[ADMIN, "timeouts: { queue: 700ms }"],
    ));
    let admin = Admin::of(&evener);
    let mut first = connect(evener.address(0));
    let mut served = server.accept();
    let waits = waiting_clients(&evener, &admin, 1);
    let (_, end) = fate(evener.address(0));
    assert_eq!(end, End::Reset);
    let line = evener.wait_log("queue_full PQ");
    assert!(line.contains(" warn  session 3 "), "{line}");
    assert_eq!(read_until_end(&waits[0]).1, End::Reset);
    let line = evener.wait_log("queue_timeout sQ");
    assert!(line.contains(" queue=7"), "{line}");
    is_live(&mut first, &mut served);
}

#[test]
fn a_full_backend_is_passed_over_while_another_has_room() {
    for policy in [
        "round_robin",
        "least_connections",
        "power_of_two",
        "random",
        "first",
    ] {
        let (small, large) = (Server::start(), Server::start());
        let backends = [
            limited(small.address(), "max_connections: 2"),
            limited(large.address(), "weight: 1"),
        ];
        let balance = format!("balance: {policy}");
        let evener = Evener::start(&config(&backends, &[UNPROBED, &balance], &[ADMIN]));
        let admin = Admin::of(&evener);
        let clients: Vec<TcpStream> = (0..12).map(|_| connect(evener.address(0))).collect();
        let active = |server: &Server| {
            let backend = admin.backend(&server.address().to_string());
            backend["active"].as_u64().unwrap()
        };
        eventually("all are served", || {
            (active(&small) + active(&large) == 12).then_some(())
        });
        assert!(active(&small) <= 2, "{policy}");
        assert_eq!(waiting(&admin), 0);
        drop(clients);
    }
}

#[test]
fn the_limit_holds_under_a_flood_and_everybody_is_served() {
    let [a, b] = dummies(["a", "b"]);
    let backends = [
        limited(a.address(), "max_connections: 2"),
        limited(b.address(), "max_connections: 1"),
    ];
    let rest = [ADMIN, "timeouts: { queue: 60s }"];
    let evener = Evener::start(&config(&backends, &[FAST], &rest));
    let admin = Admin::of(&evener);
    let address = evener.address(0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| scope.spawn(move || (0..20).filter(|_| who_serves(address).is_ok()).count()))
            .collect();
        while !clients.iter().all(|client| client.is_finished()) {
            let status = admin.status();
            let backends = status["pools"][0]["backends"].as_array().unwrap();
            assert!(backends[0]["active"].as_u64().unwrap() <= 2);
            assert!(backends[1]["active"].as_u64().unwrap() <= 1);
        }
        let served: usize = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum();
        assert_eq!(served, 16 * 20);
    });
}

#[test]
fn a_retry_waits_for_a_full_backend_rather_than_fail() {
    let server = Server::start();
    let refusing = support::RefusingPort::new();
    let backends = [
        limited(refusing.address(), "weight: 1"),
        limited(server.address(), "max_connections: 1"),
    ];
    let evener = Evener::start(&config(&backends, &[UNPROBED, "balance: first"], &[ADMIN]));
    let admin = Admin::of(&evener);
    let first = connect(evener.address(0));
    let served = server.accept();
    let mut second = connect(evener.address(0));
    wait_for_queue(&admin, 1);
    drop((first, served));
    is_live(&mut second, &mut server.accept());
}

#[test]
fn a_pool_that_holds_serves_its_clients_when_a_backend_comes() {
    let [mut a] = dummies(["a"]);
    let backends = [a.address()];
    a.stop();
    let rest = [ADMIN, "timeouts: { queue: 60s }"];
    let evener = Evener::start(&config(&backends, &[FAST, "when_down: hold"], &rest));
    let admin = Admin::of(&evener);
    let address = evener.address(0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..5)
            .map(|_| scope.spawn(move || who_serves(address)))
            .collect();
        wait_for_queue(&admin, 5);
        assert!(clients.iter().all(|client| !client.is_finished()));
        a.restart();
        for client in clients {
            assert_eq!(client.join().unwrap().unwrap(), "a");
        }
    });
}

#[test]
fn a_pool_that_holds_in_vain_says_that_there_was_no_backend() {
    let [mut a] = dummies(["a"]);
    let backends = [a.address()];
    a.stop();
    let rest = ["timeouts: { queue: 100ms }"];
    let evener = Evener::start(&config(&backends, &[FAST, "when_down: hold"], &rest));
    assert_eq!(fate(evener.address(0)).1, End::Reset);
    evener.wait_log("warn  pool p: nobody can serve");
    let line = evener.wait_log("no_backend SC");
    assert!(line.contains(" queue=1"), "{line}");
}

#[test]
fn the_wait_is_no_part_of_the_time_to_connect() {
    let server = Server::start();
    let backends = [limited(server.address(), "max_connections: 1")];
    let evener = Evener::start(&config(&backends, &[UNPROBED], &[ADMIN]));
    let admin = Admin::of(&evener);
    let first = connect(evener.address(0));
    let served = server.accept();
    let second = waiting_clients(&evener, &admin, 1);
    drop((first, served));
    drop((server.accept(), second));
    let line = evener.wait_log("session 2 ");
    let milliseconds = |field: &str| -> f64 {
        let mut words = line.split(' ');
        let value = words.find_map(|word| word.strip_prefix(field)?.strip_suffix("ms"));
        value.unwrap().parse().unwrap()
    };
    // Both are parts of the whole. With the wait in it, `connect=` would make their sum longer than that, since
    // the client had to wait until the status was asked, and that was longer than the rest of its life.
    let parts = milliseconds("connect=") + milliseconds("queue=");
    assert!(parts <= milliseconds("total="), "{line}");
}

#[test]
fn a_reload_reaches_those_who_wait() {
    let (old, new) = (Server::start(), Server::start());
    let text = |server: &Server, limits: &str| {
        let backends = [limited(server.address(), limits)];
        config(&backends, &[UNPROBED], &[ADMIN, "timeouts: { queue: 60s }"])
    };
    let evener = Evener::start(&text(&old, "max_connections: 1"));
    let admin = Admin::of(&evener);
    let mut first = connect(evener.address(0));
    let mut served = old.accept();
    let clients = waiting_clients(&evener, &admin, 3);
    // More room: one more is served at once.
    evener.rewrite_config(&text(&old, "max_connections: 2"));
    evener.signal(Signal::HUP);
    assert_eq!(first_byte(&old.accept()), '1');
    wait_for_queue(&admin, 2);
    // Another backend: it serves all who still wait, of which none has to come again.
    evener.rewrite_config(&text(&new, "max_connections: 9"));
    evener.signal(Signal::HUP);
    for expected in ['2', '3'] {
        assert_eq!(first_byte(&new.accept()), expected);
    }
    is_live(&mut first, &mut served);
    drop(clients);
}

#[test]
fn who_waits_through_a_reload_is_served_as_the_new_config_says() {
    let server = Server::start();
    let backends = [limited(server.address(), "max_connections: 1")];
    let evener = Evener::start(&config(&backends, &[UNPROBED], &[ADMIN]));
    let admin = Admin::of(&evener);
    let first = connect(evener.address(0));
    let served = server.accept();
    let waiting = waiting_clients(&evener, &admin, 1);
    let with_header = [UNPROBED, "send_proxy_protocol: v1"];
    evener.rewrite_config(&config(&backends, &with_header, &[ADMIN]));
    assert_eq!(admin.post("/api/v1/reload", "").status, 200);
    drop((first, served));
    // A backend that was told to expect a header has to get one from everybody.
    assert_eq!(first_byte(&server.accept()), 'P');
    drop(waiting);
}
