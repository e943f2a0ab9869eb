//! Who serves when the primaries of a pool are down: backups, everybody in panic, or anybody at all.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::collections::BTreeSet;

use rustix::process::Signal;
use support::{
    Admin, Dummy, End, Evener, Load, Server, config, connect, dummies, eventually, fate, is_live,
    who_serves,
};

const FAST: &str = "health_check: { interval: 50ms, timeout: 1s, fall: 1, rise: 1 }";
const ADMIN: &str = "admin: { bind: \"127.0.0.1:0\" }";

fn primary(dummy: &Dummy) -> String {
    format!("{{ address: \"{}\" }}", dummy.address())
}

fn backup(dummy: &Dummy) -> String {
    format!("{{ address: \"{}\", backup: true }}", dummy.address())
}

/// Who answers in so many requests.
fn those_who_serve(evener: &Evener, requests: usize) -> BTreeSet<String> {
    (0..requests)
        .map(|_| who_serves(evener.address(0)).unwrap())
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| name.to_string()).collect()
}

#[test]
fn backups_serve_while_no_primary_is_up_and_no_longer() {
    let [mut a, mut b, c, d] = dummies(["a", "b", "c", "d"]);
    let backends = [primary(&a), backup(&c), primary(&b), backup(&d)];
    let evener = Evener::start(&config(&backends, &[FAST], &[ADMIN]));
    let admin = Admin::of(&evener);
    assert_eq!(those_who_serve(&evener, 4), set(&["a", "b"]));
    let explained = admin.get("/api/v1/explain?pool=p").json();
    assert_eq!(
        explained["backends"][1]["why"],
        "a backup, and others are up"
    );

    let load = Load::start(evener.address(0), 2);
    load.between_requests(|| a.stop());
    evener.wait_log("1 probe: connection refused; 3 of 4 up");
    assert_eq!(those_who_serve(&evener, 4), set(&["b"]));
    load.between_requests(|| b.stop());
    let line = evener.wait_log("no primary is up, its backups serve");
    assert!(line.contains("warn  pool p"), "{line}");
    assert_eq!(those_who_serve(&evener, 4), set(&["c", "d"]));
    assert_eq!(admin.status()["pools"][0]["mode"], "backups");

    a.restart();
    evener.wait_log("pool p is served by its primaries again");
    assert_eq!(those_who_serve(&evener, 4), set(&["a"]));
    // Between the two, a client may meet a primary that has just died: it is retried, and no backup is
    // in the rotation yet. With no retry left it would be reset; nobody was.
    let account = load.finish();
    assert_eq!(account.errors.len(), 0, "{account:?}");
}

#[test]
fn a_drained_primary_is_replaced_by_backups_too() {
    let [a, b] = dummies(["a", "b"]);
    let named = format!("{{ name: a, address: \"{}\" }}", a.address());
    let evener = Evener::start(&config(&[named, backup(&b)], &[FAST], &[ADMIN]));
    let admin = Admin::of(&evener);
    assert_eq!(those_who_serve(&evener, 3), set(&["a"]));
    admin.post("/api/v1/pools/p/backends/a", "{\"state\": \"drain\"}");
    assert_eq!(those_who_serve(&evener, 3), set(&["b"]));
    admin.post("/api/v1/pools/p/backends/a", "{\"state\": \"ready\"}");
    assert_eq!(those_who_serve(&evener, 3), set(&["a"]));
}

#[test]
fn below_the_threshold_health_is_ignored() {
    let [a, mut b, mut c] = dummies(["a", "b", "c"]);
    let pool = [FAST, "panic_threshold: 50%", "retries: 3"];
    let backends = [primary(&a), primary(&b), primary(&c)];
    let evener = Evener::start(&config(&backends, &pool, &[ADMIN]));
    b.stop();
    evener.wait_log("2 of 3 up");
    assert_eq!(those_who_serve(&evener, 4), set(&["a", "c"]));
    c.stop();
    evener.wait_log("pool p is in panic");
    let admin = Admin::of(&evener);
    assert_eq!(admin.status()["pools"][0]["mode"], "panic");
    // All are asked again, those that are down too; the retry finds the one that lives.
    let failures = |admin: &Admin| -> u64 {
        let status = admin.status();
        let backends = status["pools"][0]["backends"].as_array().unwrap().clone();
        let failures = backends.iter().map(|one| one["connect_failures"].as_u64());
        failures.map(Option::unwrap).sum()
    };
    let before = failures(&admin);
    assert_eq!(those_who_serve(&evener, 6), set(&["a"]));
    assert!(failures(&admin) > before);
    b.restart();
    evener.wait_log("pool p is served by its primaries again");
}

#[test]
fn rather_than_nobody_anybody_serves() {
    // Its probe port is wrong for all the checker knows: it is down, and yet it would serve.
    let server = Server::start();
    let mut dummy = Dummy::start("a");
    let backends = [primary(&dummy)];
    let open = config(&backends, &[FAST, "when_down: fail_open"], &[]);
    let evener = Evener::start(&open);
    dummy.stop();
    evener.wait_log("nobody is up, and all serve all the same (when_down: fail_open)");
    // It is asked, and refuses: the client is reset as by when_down: reset.
    assert_eq!(fate(evener.address(0)).1, End::Reset);
    evener.wait_log("ended: connect_refused SC");
    dummy.restart();
    eventually("service", || who_serves(evener.address(0)).ok());
    drop(server);
}

#[test]
fn a_reload_makes_a_primary_of_a_backup_and_the_other_way_round() {
    let (a, b) = (Server::start(), Server::start());
    let with = |backup_of_a: bool| {
        let entry = |server: &Server, backup: bool| {
            format!("{{ address: \"{}\", backup: {backup} }}", server.address())
        };
        config(
            &[entry(&a, backup_of_a), entry(&b, !backup_of_a)],
            &["health_check: off"],
            &[],
        )
    };
    let evener = Evener::start(&with(false));
    let mut client = connect(evener.address(0));
    let mut served = a.accept();
    evener.rewrite_config(&with(true));
    evener.signal(Signal::HUP);
    evener.wait_log("config reloaded, changes: 2");
    is_live(&mut client, &mut served);
    let mut newcomer = connect(evener.address(0));
    is_live(&mut newcomer, &mut b.accept());
}

/// How a client fares that only connects.
fn connects(evener: &Evener) -> Option<std::io::ErrorKind> {
    support::try_connect(evener.address(0))
        .err()
        .map(|error| error.kind())
}

#[test]
fn a_pool_that_refuses_has_no_open_door_while_nobody_is_up() {
    let [mut a] = dummies(["a"]);
    a.stop();
    let text = |when_down: &str| config(&[a.address()], &[FAST, when_down], &[ADMIN]);
    let (refuse, reset) = (text("when_down: refuse"), text("when_down: reset"));
    let evener = Evener::start(&refuse);
    let admin = Admin::of(&evener);
    let refused = Some(std::io::ErrorKind::ConnectionRefused);
    let address = evener.address(0);
    let line = evener.wait_log("listener in refuses clients at ");
    assert!(
        line.ends_with(&format!("at {address}: pool p has no backend")),
        "{line}"
    );
    assert_eq!(connects(&evener), refused);
    assert_eq!(admin.status()["listeners"][0]["state"], "refusing");

    a.restart();
    evener.wait_log(&format!("listener in is open again at {address}"));
    assert_eq!(who_serves(address).unwrap(), "a");
    assert_eq!(admin.status()["listeners"][0]["state"], "open");
    // Live sessions are none of its business.
    let mut client = connect(address);
    std::io::Write::write_all(&mut client, b"GET / HTTP/1.0\r\n").unwrap();
    let drain = |state: &str| {
        let body = format!("{{\"state\": \"{state}\"}}");
        admin.post(&format!("/api/v1/pools/p/backends/{}", a.address()), &body);
    };
    drain("drain");
    evener.wait_log_count("listener in refuses clients at ", 2);
    assert_eq!(connects(&evener), refused);
    std::io::Write::write_all(&mut client, b"\r\n").unwrap();
    let (answer, end) = support::read_until_end(&client);
    assert!(
        String::from_utf8_lossy(&answer).contains("Hello from"),
        "{end:?}"
    );
    drop(client);

    // A reload that has no need of the door leaves it as it is; one that changes its mind opens it.
    evener.signal(Signal::HUP);
    evener.wait_log("generation 2");
    assert_eq!(connects(&evener), refused);
    evener.rewrite_config(&reset);
    evener.signal(Signal::HUP);
    evener.wait_log_count("listener in is open again", 2);
    assert_eq!(fate(address).1, End::Reset);
    evener.rewrite_config(&refuse);
    evener.signal(Signal::HUP);
    evener.wait_log_count("listener in refuses clients at ", 3);
    drain("ready");
    evener.wait_log_count("listener in is open again", 3);
    assert_eq!(who_serves(address).unwrap(), "a");
    evener.signal(Signal::TERM);
    assert_eq!(evener.wait_exit().code(), Some(0));
}
