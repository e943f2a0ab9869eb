//! A new config takes the place of the old one while clients are served: what they see of it, which
//! is nothing, and what becomes of those whose backend or listener is gone.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use support::{
    BlackHole, Dummy, End, Evener, Load, RefusingPort, Server, addresses, config, connect, dummies,
    eventually, fate, is_live, is_silent_for, read_until_end, who_serves,
};

/// Probes that find out soon.
const FAST: &str = "health_check: { interval: 50ms, timeout: 1s, fall: 2, rise: 1 }";
const OFF: &str = "health_check: off";

/// Writes this config, asks for a reload, and waits until it is in force.
#[track_caller]
fn reload(evener: &Evener, config_yaml: &str) -> String {
    reload_as(evener, config_yaml, "config reloaded")
}

/// The same, for a config that is not taken.
#[track_caller]
fn reload_in_vain(evener: &Evener, config_yaml: &str) -> String {
    reload_as(evener, config_yaml, "the new config is not taken")
}

#[track_caller]
fn reload_as(evener: &Evener, config_yaml: &str, outcome: &str) -> String {
    let before = evener.lines_with(outcome).len();
    evener.rewrite_config(config_yaml);
    evener.signal(Signal::HUP);
    evener
        .wait_log_count(outcome, before + 1)
        .swap_remove(before)
}

fn named(dummies: &[&Dummy], names: &[&str]) -> Vec<String> {
    dummies
        .iter()
        .zip(names)
        .map(|(dummy, name)| format!("{{ name: {name}, address: \"{}\" }}", dummy.address()))
        .collect()
}

/// The names of those who answer, in order.
fn answers(address: SocketAddr, count: usize) -> Vec<String> {
    (0..count).map(|_| who_serves(address).unwrap()).collect()
}

#[test]
fn a_backend_that_is_added_serves_as_soon_as_the_reload_is_done() {
    let [a, b, c] = dummies(["a", "b", "c"]);
    let two = config(&addresses(&[a, b])[..], &[FAST], &[]);
    let evener = Evener::start(&two);
    let three = two.replace(
        "    backends:\n",
        &format!(
            "    backends:\n      - {{ name: c, address: \"{}\" }}\n",
            c.address()
        ),
    );
    let line = reload(&evener, &three);
    assert!(line.contains("changes: 1 (generation 2)"), "{line}");
    let change = evener.wait_log("config: + backend");
    assert!(
        change.ends_with(&format!("+ backend c {}", c.address())),
        "{change}"
    );
    assert!(answers(evener.address(0), 3).contains(&"c".to_owned()));
}

#[test]
fn the_rotation_goes_on_where_it_was() {
    let all = dummies(["a", "b", "c"]);
    let text = config(&addresses(&all), &[FAST], &[]);
    let evener = Evener::start(&text);
    let mut seen = Vec::new();
    for round in 0..6 {
        seen.extend(answers(evener.address(0), 1));
        reload(
            &evener,
            &text.replace(FAST, &FAST.replace("50ms", &format!("{}ms", 60 + round))),
        );
    }
    assert_eq!(seen, ["a", "b", "c", "a", "b", "c"]);
}

#[test]
fn sessions_of_a_removed_backend_go_on_until_the_deadline() {
    let (a, b) = (Server::start(), Server::start());
    let rest = ["shutdown: { drain_timeout: 1h }"];
    let evener = Evener::start(&config(&[a.address()], &[OFF], &rest));
    let mut client = connect(evener.address(0));
    let mut served = a.accept();
    is_live(&mut client, &mut served);

    let only_b = config(&[b.address()], &[OFF], &rest);
    reload(&evener, &only_b);
    let line = evener.wait_log("config: - backend");
    assert!(
        line.contains(&format!(
            "- backend {}: 1 session will drain until 2",
            a.address()
        )),
        "{line}"
    );
    is_live(&mut client, &mut served);
    let mut newcomer = connect(evener.address(0));
    let mut newcomer_served = b.accept();
    is_live(&mut newcomer, &mut newcomer_served);

    // Taken out once more, this time with next to no time: only those of that backend are ended.
    let hurry = ["shutdown: { drain_timeout: 10ms }"];
    reload(&evener, &config(&[a.address()], &[OFF], &hurry));
    assert_eq!(read_until_end(&newcomer).1, End::Reset);
    let line = evener.wait_log("ended: backend_removed KD");
    assert!(line.contains(&b.address().to_string()), "{line}");
    evener.wait_log("its time is over: 1 connections aborted");
    // Back in the config in time, the first one stays.
    is_live(&mut client, &mut served);
}

#[test]
fn all_backends_may_be_replaced_under_load() {
    let [a, b, c, d] = dummies(["a", "b", "c", "d"]);
    let first = config(&[a.address(), b.address()], &[FAST], &[]);
    let second = config(&[c.address(), d.address()], &[FAST], &[]);
    let evener = Evener::start(&first);
    let baseline = evener.baseline().serving(evener.address(0)).probing(4);
    let load = Load::start(evener.address(0), 4);
    load.wait_for_more(20);
    for round in 0..10 {
        reload(&evener, if round % 2 == 0 { &second } else { &first });
        load.wait_for_more(5);
    }
    let account = load.finish();
    assert_eq!(account.errors, [""; 0]);
    for name in ["a", "b", "c", "d"] {
        assert!(account.of(name) > 0, "{account:?}");
    }
    evener.check_invariants(&baseline);
}

#[test]
fn many_reloads_under_load_cost_nothing_and_leave_nothing() {
    const RELOADS: usize = 200;
    let [a, b, c] = dummies(["a", "b", "c"]);
    let spare = RefusingPort::new();
    let two = config(&[a.address(), b.address()], &[FAST], &[]);
    let three = config(
        &[c.address(), b.address()],
        &[FAST],
        &["timeouts: { idle: 1m }"],
    )
    .replace(
        "pools:",
        &format!(
            "  - {{ name: second, bind: \"{}\", pool: p }}\npools:",
            spare.address()
        ),
    );
    drop(spare);
    let evener = Evener::start(&two);
    let baseline = evener.baseline().serving(evener.address(0)).probing(4);
    let load = Load::start(evener.address(0), 4);
    for round in 0..RELOADS {
        evener.rewrite_config(if round % 2 == 0 { &three } else { &two });
        evener.signal(Signal::HUP);
        if round % 20 == 0 {
            load.wait_for_more(10);
        }
    }
    // Signals that come while one waits to be taken are one signal.
    reload(&evener, &two);
    eventually("the last reload", || {
        let lines = evener.lines_with("config reloaded");
        lines
            .last()?
            .contains("nothing has changed")
            .then_some(())
            .or_else(|| {
                evener.signal(Signal::HUP);
                None
            })
    });
    let account = load.finish();
    assert_eq!(account.errors, [""; 0]);
    assert_eq!(evener.lines_with("is not taken"), [""; 0]);
    evener.check_invariants(&baseline);
}

#[test]
fn a_config_that_is_wrong_changes_nothing_and_the_log_says_why() {
    let [a, b] = dummies(["a", "b"]);
    let text = config(&[a.address()], &[FAST], &[]);
    let evener = Evener::start(&text);
    let line = reload_in_vain(&evener, &text.replace("backends:", "backend:"));
    let expected = "evener.yaml:6:5: unknown key `backend` in pool";
    assert!(line.contains("warn") && line.contains(expected), "{line}");

    // An address that somebody else has: nothing else of that config is taken either.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = config(&[b.address()], &[FAST], &[]).replace(
        "pools:",
        &format!(
            "  - {{ name: second, bind: \"{}\", pool: p }}\npools:",
            taken.local_addr().unwrap()
        ),
    );
    let line = reload_in_vain(&evener, &busy);
    assert!(line.contains("another program listens there"), "{line}");
    let once = "{ address: \"no-such-host.invalid:80\", resolve_interval: off }";
    let unknown = text.replace(&format!("\"{}\"", a.address()), once);
    let line = reload_in_vain(&evener, &unknown);
    assert!(line.contains("can't find the address of backend"), "{line}");
    std::fs::remove_file(evener.config_path()).unwrap();
    evener.signal(Signal::HUP);
    evener.wait_log("can't read the config");
    assert_eq!(answers(evener.address(0), 2), ["a", "a"]);
    let line = reload(&evener, &text);
    assert!(
        line.contains("nothing has changed (generation 2)"),
        "{line}"
    );
}

#[test]
fn listeners_come_and_go_and_their_sessions_stay() {
    let (a, b) = (Server::start(), Server::start());
    let port = RefusingPort::new();
    let moved = RefusingPort::new();
    let listening = |bind: SocketAddr, backend: &Server| {
        config(&[backend.address()], &[OFF], &[]).replace(
            "pools:",
            &format!("  - {{ name: other, bind: \"{bind}\", pool: p }}\npools:"),
        )
    };
    let (at_port, at_moved) = (port.address(), moved.address());
    let evener = Evener::start(&config(&[a.address()], &[OFF], &[]));
    drop((port, moved));
    reload(&evener, &listening(at_port, &a));
    evener.wait_log("config: + listener other");
    assert_eq!(evener.address(1), at_port);
    let mut client = connect(at_port);
    let mut served = a.accept();
    is_live(&mut client, &mut served);

    reload(&evener, &listening(at_moved, &b));
    evener.wait_log(&format!(
        "config: ~ listener other bind {at_port} → {at_moved}"
    ));
    let mut newcomer = connect(at_moved);
    is_live(&mut newcomer, &mut b.accept());
    assert!(std::net::TcpStream::connect(at_port).is_err());

    reload(&evener, &config(&[b.address()], &[OFF], &[]));
    let line = evener.wait_log("config: - listener other");
    assert!(line.ends_with(": its 2 sessions go on"), "{line}");
    is_live(&mut client, &mut served);
    // Nobody holds the address any more.
    TcpListener::bind(at_moved).unwrap();
}

#[test]
fn an_address_may_pass_to_another_listener_without_a_gap() {
    let [a, b] = dummies(["a", "b"]);
    let port = RefusingPort::new();
    let text = |first: &str, second: &str| {
        format!(
            "listeners:\n  - {{ name: {first}, bind: \"{}\", pool: one }}\n\
             pools:\n  - {{ name: one, {FAST}, backends: [\"{}\"] }}\n  - {{ name: two, {FAST}, backends: [\"{}\"] }}\n",
            port.address(),
            a.address(),
            b.address()
        )
        .replace("pool: one", second)
    };
    let (before, after) = (text("x", "pool: one"), text("y", "pool: two"));
    let address = port.address();
    drop(port);
    let evener = Evener::start(&before);
    let load = Load::start(address, 2);
    load.wait_for_more(10);
    reload(&evener, &after);
    load.wait_for_more(10);
    assert_eq!(answers(address, 3), ["b"; 3]);
    let account = load.finish();
    assert_eq!(account.errors, [""; 0]);
    // The thread tells whose it is.
    eventually("the name of the listener's thread", || {
        let names = evener.thread_names();
        names.contains(&"listen y".to_owned()).then_some(())
    });
}

#[test]
fn an_address_that_overlaps_with_an_open_one_is_refused_with_the_way_out() {
    let a = Server::start();
    let port = RefusingPort::new();
    let at = |bind: &str| config(&[a.address()], &[OFF], &[]).replace("127.0.0.1:0", bind);
    let (number, one) = (port.address().port(), port.address().to_string());
    drop(port);
    let evener = Evener::start(&at(&one));
    let line = reload_in_vain(&evener, &at(&format!("0.0.0.0:{number}")));
    assert!(line.contains("evener itself listens on"), "{line}");
    let mut client = connect(evener.address(0));
    is_live(&mut client, &mut a.accept());
}

#[test]
fn health_is_kept_and_a_pool_may_stop_and_begin_to_be_probed() {
    let [a, b] = dummies(["a", "b"]);
    let dead = RefusingPort::new();
    let backends = [a.address(), dead.address()];
    // No probe but the first comes within this test.
    let rare = "health_check: { interval: 1h, timeout: 1s }";
    let probed = config(&backends, &[rare, "retries: 0"], &[]);
    let evener = Evener::start(&probed);
    evener.wait_log("is DOWN");
    assert_eq!(answers(evener.address(0), 4), ["a"; 4]);
    // Still down after a reload, though nobody has probed it again.
    reload(
        &evener,
        &config(
            &[a.address(), dead.address(), b.address()],
            &[rare, "retries: 0"],
            &[],
        ),
    );
    let served = answers(evener.address(0), 4);
    assert!(
        served.iter().all(|name| name == "a" || name == "b"),
        "{served:?}"
    );

    // Without a health check every backend counts as up.
    reload(&evener, &config(&backends, &[OFF, "retries: 0"], &[]));
    let fates: Vec<End> = (0..4).map(|_| fate(evener.address(0)).1).collect();
    assert!(fates.contains(&End::Reset), "{fates:?}");
    // And with one again, a probe decides first.
    reload(&evener, &probed);
    evener.wait_log_count("is DOWN", 2);
    eventually("a alone", || {
        let served: Vec<_> = (0..4).map(|_| who_serves(evener.address(0))).collect();
        served
            .iter()
            .all(|name| name.as_deref().ok() == Some("a"))
            .then_some(())
    });
}

#[test]
fn a_health_check_that_is_turned_on_takes_nobody_out_before_its_first_probe() {
    let [a, b] = dummies(["a", "b"]);
    let backends = [a.address(), b.address()];
    let unprobed = config(&backends, &[OFF], &[]);
    let probed = config(&backends, &[FAST], &[]);
    let evener = Evener::start(&unprobed);
    let load = Load::start(evener.address(0), 4);
    for _ in 0..20 {
        reload(&evener, &probed);
        load.wait_for_more(10);
        reload(&evener, &unprobed);
    }
    let account = load.finish();
    assert_eq!(account.errors, [""; 0], "of {} clients", account.answers());
}

#[test]
fn a_reload_that_leaves_a_pool_to_its_backups_or_to_nobody_says_so() {
    let [a, b] = dummies(["a", "b"]);
    let dead = RefusingPort::new();
    let dead = format!("{{ name: dead, address: \"{}\" }}", dead.address());
    let primary = format!("{{ name: a, address: \"{}\" }}", a.address());
    let backup = format!("{{ name: b, address: \"{}\", backup: true }}", b.address());
    let evener = Evener::start(&config(&[&primary, &dead, &backup], &[FAST], &[]));
    evener.wait_log("DOWN");
    reload(&evener, &config(&[&dead, &backup], &[FAST], &[]));
    evener.wait_log("pool p: no primary is up, its backups serve");
    reload(&evener, &config(&[&primary, &backup], &[FAST], &[]));
    evener.wait_log("pool p is served by its primaries again");
    reload(&evener, &config(&[&dead], &[FAST], &[]));
    evener.wait_log("pool p: nobody can serve");
}

#[test]
fn a_pool_that_recovers_while_a_reload_waits_refuses_nobody_any_more() {
    let mut a = Dummy::start("a");
    let hole = BlackHole::new();
    let slow = "health_check: { interval: 50ms, timeout: 30s, fall: 1, rise: 1 }";
    let with = |backends: &[String]| config(backends, &[slow, "when_down: refuse"], &[]);
    let primary = format!("{{ name: a, address: \"{}\" }}", a.address());
    let hole = format!("{{ name: hole, address: \"{}\" }}", hole.address());
    let evener = Evener::start(&with(std::slice::from_ref(&primary)));
    a.stop();
    eventually("a refusal", || TcpStream::connect(evener.address(0)).err());
    // The reload waits for the first probe of the new backend, for half a minute.
    evener.rewrite_config(&with(&[primary, hole]));
    evener.signal(Signal::HUP);
    eventually("that probe", || {
        let names = evener.thread_names();
        names.iter().any(|name| name == "probe hole").then_some(())
    });
    a.restart();
    eventually("service", || who_serves(evener.address(0)).ok());
    assert_eq!(evener.lines_with("config reloaded"), [""; 0]);
}

#[test]
fn limits_timeouts_and_the_log_follow_the_new_config() {
    let a = Server::start();
    let one = [
        "limits: { max_connections: 1 }",
        "log: { connections: false }",
    ];
    let evener = Evener::start(&config(&[a.address()], &[OFF], &one));
    let mut first = connect(evener.address(0));
    let mut first_served = a.accept();
    let waiting = connect(evener.address(0));
    assert!(a.accept_within(Duration::from_millis(100)).is_none());
    let two = ["limits: { max_connections: 2 }", "log: { format: json }"];
    reload(&evener, &config(&[a.address()], &[OFF], &two));
    evener.wait_log("\"change\":\"~ limits.max_connections 1 → 2\"");
    drop(a.accept());
    drop(waiting);
    evener.wait_log("\"event\":\"session_ended\"");
    is_live(&mut first, &mut first_served);
    // A shorter timeout counts for sessions that run, too.
    assert!(is_silent_for(&first, Duration::from_millis(50)));
    let idle = ["timeouts: { idle: 50ms }"];
    reload(&evener, &config(&[a.address()], &[OFF], &idle));
    assert_eq!(read_until_end(&first).1, End::Fin);
    evener.wait_log("ended: idle_timeout");
}

#[test]
fn a_limit_of_a_listener_follows_the_new_config() {
    let a = Server::start();
    let text = config(&[a.address()], &[OFF], &[]);
    let limited = |n: u32| text.replace("pool: p }", &format!("pool: p, max_connections: {n} }}"));
    let evener = Evener::start(&limited(1));
    let mut first = connect(evener.address(0));
    let mut first_served = a.accept();
    let mut second = connect(evener.address(0));
    evener.wait_log("is full at 1 connections");
    reload(&evener, &text);
    is_live(&mut second, &mut a.accept());
    // Lowered below what is inside: nobody is thrown out, and nobody comes in.
    reload(&evener, &limited(1));
    is_live(&mut first, &mut first_served);
    let third = connect(evener.address(0));
    assert!(a.accept_within(Duration::from_millis(100)).is_none());
    drop((first, first_served, third));
}

#[test]
fn drained_by_the_config_a_backend_keeps_its_sessions_and_gets_no_more() {
    let (a, b) = (Server::start(), Server::start());
    let with = |state: &str| {
        let first = format!("{{ address: \"{}\", state: {state} }}", a.address());
        config(&[first, b.address().to_string()], &[OFF], &[])
    };
    let evener = Evener::start(&with("ready"));
    let mut client = connect(evener.address(0));
    let mut served = a.accept();
    for state in ["drain", "maintenance"] {
        reload(&evener, &with(state));
        for _ in 0..3 {
            let mut other = connect(evener.address(0));
            is_live(&mut other, &mut b.accept());
        }
        is_live(&mut client, &mut served);
    }
    reload(&evener, &with("ready"));
    let _others = [connect(evener.address(0)), connect(evener.address(0))];
    drop(a.accept());
}

#[test]
fn who_is_accepted_before_a_reload_and_says_who_he_is_after_it_gets_who_serves_by_then() {
    let (a, b) = (Server::start(), Server::start());
    let with = |first: &str| {
        let first = format!("{{ address: \"{}\", {first} }}", a.address());
        config(&[first, b.address().to_string()], &[OFF], &[]).replace(
            "pool: p }",
            "pool: p, accept_proxy_protocol: { from: [127.0.0.1], timeout: 30s } }",
        )
    };
    let evener = Evener::start(&with("weight: 2"));
    let mut clients: Vec<_> = (0..4).map(|_| connect(evener.address(0))).collect();
    eventually("four sessions wait for their header", || {
        let names = evener.thread_names();
        let waiting = names.iter().filter(|name| name.ends_with(" header"));
        (waiting.count() == clients.len()).then_some(())
    });
    reload(&evener, &with("weight: 1"));
    reload(&evener, &with("state: drain"));
    for client in &mut clients {
        let header = b"PROXY TCP4 198.51.100.7 203.0.113.1 5000 443\r\n";
        client.write_all(header).unwrap();
        is_live(client, &mut b.accept());
    }
}

#[test]
fn a_termination_during_a_reload_is_not_lost() {
    let a = Dummy::start("a");
    let black_hole = support::BlackHole::new();
    let slow = "health_check: { interval: 1h, timeout: 30s }";
    let evener = Evener::start(&config(&[a.address()], &[slow], &[]));
    // The reload waits for the first probe of the new backend, for half a minute.
    evener.rewrite_config(&config(&[a.address(), black_hole.address()], &[slow], &[]));
    evener.signal(Signal::HUP);
    eventually("the probe", || {
        let names = evener.thread_names();
        names
            .iter()
            .any(|name| name.starts_with("probe"))
            .then_some(())
    });
    assert_eq!(answers(evener.address(0), 1), ["a"], "served meanwhile");
    evener.signal(Signal::TERM);
    assert_eq!(evener.wait_exit().code(), Some(0));
    assert_eq!(evener.stderr(), [""; 0]);
}

#[test]
fn names_of_backends_tell_them_apart_when_there_are_several_pools() {
    let [a, b] = dummies(["a", "b"]);
    let pools = |second: &str| {
        format!(
            "listeners:\n  - {{ name: in, bind: \"127.0.0.1:0\", pool: one }}\npools:\n\
             \x20 - {{ name: one, {OFF}, backends: [{}] }}\n  - {{ name: two, {OFF}, backends: [{second}] }}\n",
            named(&[&a], &["x"])[0]
        )
    };
    let plain = named(&[&b], &["x"])[0].clone();
    let evener = Evener::start(&pools(&plain));
    reload(&evener, &pools(&plain.replace(" }", ", weight: 3 }")));
    evener.wait_log("config: ~ backend two/x weight 1 → 3");
}
