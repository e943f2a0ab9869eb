//! Backends that fail, disappear, flap and come back, and what their clients notice of it: nothing,
//! as long as one backend is left.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv6Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use evener::dummy::{Behaviour, Options};
use rustix::process::Signal;
use support::{
    BlackHole, Dummy, End, Evener, Load, RefusingPort, Server, addresses, config, connect, dummies,
    eventually, fate, read_until_end, reset, who_serves,
};

/// Probes that notice quickly.
const QUICK: &str = "health_check: { interval: 100ms, timeout: 1s, rise: 2, fall: 2 }";
const OFF: &str = "health_check: off";

/// Clients of a [`Load`].
const CLIENTS: usize = 8;

/// Gets until each of these has answered.
#[track_caller]
fn all_serve(evener: &Evener, names: &[&str]) {
    let mut missing: BTreeSet<&str> = names.iter().copied().collect();
    eventually("an answer of each", || {
        let name = who_serves(evener.address(0)).unwrap();
        missing.remove(name.as_str());
        missing.is_empty().then_some(())
    });
}

#[test]
fn a_backend_that_dies_under_load_costs_no_client_an_error() {
    let mut backends = dummies(["a", "b", "c"]);
    let evener = Evener::start(&config(&addresses(&backends), &[QUICK], &[]));
    let baseline = evener.baseline().serving(evener.address(0)).probing(3);
    let load = Load::start(evener.address(0), CLIENTS);
    load.wait_for_more(100);

    load.between_requests(|| backends[1].stop());
    let at_its_end = load.account().of("b");
    let address = backends[1].address();
    evener.wait_log(&format!("Server {address} is DOWN"));
    load.wait_for_more(100);
    assert_eq!(load.account().of("b"), at_its_end, "it was dead");

    backends[1].restart();
    evener.wait_log(&format!("Server {address} is UP"));
    load.wait_for_more(100);
    let account = load.finish();
    assert_eq!(account.errors, [""; 0]);
    assert!(account.of("b") > at_its_end, "no share for the one back");
    evener.check_invariants(&baseline);
}

#[test]
fn only_what_a_dying_backend_was_working_on_is_lost() {
    // Killed in the middle of everything: at most the one request that each client had under way.
    let mut backends = dummies(["a", "b", "c"]);
    let evener = Evener::start(&config(&addresses(&backends), &[QUICK], &[]));
    let load = Load::start(evener.address(0), CLIENTS);
    load.wait_for_more(100);
    backends[1].stop();
    load.wait_for_more(300);
    let errors = load.finish().errors;
    assert!(errors.len() <= CLIENTS, "{errors:?}");
}

#[test]
fn with_all_backends_down_clients_are_reset_and_nothing_spins() {
    let mut backends = dummies(["a", "b", "c"]);
    let evener = Evener::start(&config(&addresses(&backends), &[QUICK], &[]));
    let baseline = evener.baseline().serving(evener.address(0)).probing(3);
    backends.iter_mut().for_each(Dummy::stop);
    evener.wait_log("0 of 3 up");
    for _ in 0..5 {
        assert_eq!(fate(evener.address(0)), (Vec::new(), End::Reset));
    }
    let lines = evener.wait_log_count("no_backend SC", 5);
    assert!(lines[0].contains("attempts=0"), "{}", lines[0]);

    let before = evener.cpu_time();
    thread::sleep(Duration::from_secs(1));
    let used = evener.cpu_time() - before;
    assert!(
        used < Duration::from_millis(300),
        "{used:?} of CPU in a second"
    );

    backends.iter_mut().for_each(Dummy::restart);
    evener.wait_log_count(" is UP", 3);
    all_serve(&evener, &["a", "b", "c"]);
    evener.check_invariants(&baseline);
}

#[test]
fn a_flapping_backend_costs_no_client_an_error() {
    let mut backends = dummies(["a", "b", "c"]);
    let evener = Evener::start(&config(&addresses(&backends), &[QUICK], &[]));
    let baseline = evener.baseline().serving(evener.address(0)).probing(3);
    let load = Load::start(evener.address(0), 4);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        load.between_requests(|| backends[1].stop());
        thread::sleep(Duration::from_millis(300));
        backends[1].restart();
        thread::sleep(Duration::from_millis(300));
    }
    let account = load.finish();
    assert_eq!(account.errors, [""; 0]);
    all_serve(&evener, &["a", "b", "c"]);
    evener.check_invariants(&baseline);
}

#[test]
fn the_retries_of_a_dead_backend_are_shared_out_evenly() {
    // Before the probes know, every third client runs into the dead one; its neighbour must not get
    // them all.
    let mut backends = dummies(["a", "b", "c"]);
    let evener = Evener::start(&config(&addresses(&backends), &[OFF], &[]));
    backends[0].stop();
    let names: Vec<String> = (0..60)
        .map(|_| who_serves(evener.address(0)).unwrap())
        .collect();
    let of_b = names.iter().filter(|name| *name == "b").count();
    assert_eq!(of_b, 30, "{names:?}");
}

#[test]
fn a_backend_that_accepts_and_resets_is_not_asked_again() {
    // Whether it acted on the connection, nobody can tell; so its reset goes to the client.
    let server = Server::start();
    let other = Dummy::start("other");
    let backends = [server.address(), other.address()];
    let log = "log: { level: debug }";
    let evener = Evener::start(&config(&backends, &["balance: first", OFF], &[log]));
    let baseline = evener.baseline();
    let client = connect(evener.address(0));
    let session = server.accept();
    // From here on the session has its backend; earlier it would be a connect that failed.
    evener.wait_log(" started listener=in");
    reset(session);
    assert_eq!(read_until_end(&client), (Vec::new(), End::Reset));
    let line = evener.wait_log(" ended: ");
    assert!(
        line.contains("server_reset SD") && line.contains("in=0B out=0B"),
        "{line}"
    );
    assert!(line.contains("attempts=1"), "{line}");
    drop(client);
    evener.check_invariants(&baseline);
}

#[test]
fn a_backend_that_resets_at_once_gives_clients_a_reset_and_never_an_empty_answer() {
    let evil = Dummy::behaving(Behaviour::Reset);
    let evener = Evener::start(&config(&[evil.address()], &[OFF], &[]));
    let baseline = evener.baseline();
    for _ in 0..20 {
        assert_eq!(fate(evener.address(0)), (Vec::new(), End::Reset));
    }
    // The reset may come before evener has seen the connection come about: then it is a failed
    // connect, and tried again.
    for line in evener.wait_log_count(" ended: ", 20) {
        assert!(
            line.contains("server_reset SD") || line.contains("connect_refused SC"),
            "{line}"
        );
    }
    evener.check_invariants(&baseline);
}

#[test]
fn when_every_attempt_is_refused_the_log_says_how_many_there_were() {
    let dead = [
        RefusingPort::new(),
        RefusingPort::new(),
        RefusingPort::new(),
    ];
    let dead = dead.each_ref().map(RefusingPort::address);
    let mut last = None;
    for (retries, attempts) in [(0, 1), (1, 2), (2, 3), (7, 8)] {
        let retries = format!("retries: {retries}");
        let debug = "log: { level: debug }";
        let evener = Evener::start(&config(&dead, &[OFF, &retries], &[debug]));
        let baseline = evener.baseline();
        assert_eq!(fate(evener.address(0)), (Vec::new(), End::Reset));
        let line = evener.wait_log(" ended: ");
        let counted = format!(" attempts={attempts} failed=");
        assert!(
            line.contains("connect_refused SC") && line.contains(&counted),
            "{retries}: {line}"
        );
        assert_eq!(line.matches("(connection refused)").count(), attempts);
        let failures = evener.lines_with("can't connect to");
        assert_eq!(failures.len(), attempts);
        // Others first: no backend a second time before each had its turn.
        let tried: BTreeSet<&str> = failures
            .iter()
            .take(3)
            .filter_map(|line| line.split("can't connect to ").nth(1)?.split(' ').next())
            .collect();
        assert_eq!(tried.len(), attempts.min(3), "{failures:?}");
        last = Some((evener, baseline));
    }
    let (evener, baseline) = last.unwrap();
    evener.check_invariants(&baseline);
}

#[test]
fn no_retries_means_that_the_second_backend_is_not_tried() {
    let (dead, alive) = (RefusingPort::new(), Dummy::start("alive"));
    let backends = [dead.address(), alive.address()];
    let evener = Evener::start(&config(
        &backends,
        &["balance: first", OFF, "retries: 0"],
        &[],
    ));
    assert_eq!(fate(evener.address(0)), (Vec::new(), End::Reset));
    evener.wait_log("connect_refused SC");
}

#[test]
fn a_black_holed_backend_holds_up_nobody_elses_health() {
    let hole = BlackHole::new();
    let good = dummies(["a", "b"]);
    let mut backends = vec![hole.address()];
    backends.extend(addresses(&good));
    let begin = Instant::now();
    let check = "health_check: { interval: 2s, timeout: 1s }";
    let evener = Evener::start(&config(&backends, &[check], &["log: { level: debug }"]));
    let opened = begin.elapsed();
    // It opens when the first round is in or has timed out; half a second is for a busy machine.
    assert!(opened < Duration::from_millis(2500), "{opened:?}");
    for backend in &good {
        let up = evener.wait_log(&format!("Server {} is UP", backend.address()));
        assert!(up.contains("1 probe: connected"), "{up}");
    }
    let hole = hole.address();
    evener.wait_log(&format!(
        "Server {hole} is DOWN (pool p; 1 probe: timed out"
    ));
    let changes = evener.lines_with("Server 127.0.0.1");
    assert!(
        changes[2].contains(" is DOWN"),
        "the good come first: {changes:?}"
    );
    all_serve(&evener, &["a", "b"]);
    // Never tried for a client: the first probe has decided.
    assert!(evener.lines_with("can't connect to").is_empty());
}

#[test]
fn rise_and_fall_are_counted_as_the_log_says() {
    let mut backends = dummies(["a", "b"]);
    let check = "health_check: { interval: 50ms, timeout: 1s, rise: 3, fall: 4 }";
    let evener = Evener::start(&config(&addresses(&backends), &[check], &[]));
    let address = backends[0].address();
    backends[0].stop();
    let down = evener.wait_log(" is DOWN");
    assert!(
        down.ends_with(&format!(
            "Server {address} is DOWN (pool p; 4 probes in a row: connection refused; 1 of 2 up)"
        )),
        "{down}"
    );
    backends[0].restart();
    let up = evener.wait_log(" is UP");
    assert!(
        up.ends_with(&format!(
            "Server {address} is UP (pool p; 3 probes in a row: connected; 2 of 2 up)"
        )),
        "{up}"
    );
}

#[test]
fn fewer_failures_than_fall_change_nothing() {
    // The probes that find it dead are far too few for a fall of 100.
    let mut backend = Dummy::start("a");
    let check = "health_check: { interval: 20ms, timeout: 1s, rise: 1, fall: 100 }";
    let evener = Evener::start(&config(&[backend.address()], &[check], &[]));
    backend.stop();
    thread::sleep(Duration::from_millis(300));
    backend.restart();
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    assert!(evener.lines_with(" is DOWN").is_empty());
}

#[test]
fn a_probe_ends_with_a_fin_and_takes_what_the_server_says() {
    // A reset instead would be a line in the log of many a server, every two seconds.
    let server = Server::start();
    let evener = Evener::start(&config(&[server.address()], &[QUICK], &[]));
    for _ in 0..5 {
        let mut probe = server.accept();
        probe.write_all(b"220 a banner\r\n").unwrap();
        assert_eq!(read_until_end(&probe), (Vec::new(), End::Fin));
    }
    assert!(evener.is_alive());
}

#[test]
fn who_is_drained_in_maintenance_or_of_weight_0_gets_no_client() {
    let backends = dummies(["ready", "drained", "weightless"]);
    let [ready, drained, weightless] = backends.each_ref().map(Dummy::address);
    let maintained = Server::start();
    let lines = [
        format!("{{ address: \"{ready}\" }}"),
        format!("{{ address: \"{drained}\", state: drain }}"),
        format!("{{ address: \"{weightless}\", weight: 0 }}"),
        format!(
            "{{ address: \"{}\", state: maintenance }}",
            maintained.address()
        ),
    ];
    for policy in [
        "round_robin",
        "least_connections",
        "power_of_two",
        "random",
        "first",
    ] {
        let policy = format!("balance: {policy}");
        let debug = "log: { level: debug }";
        let evener = Evener::start(&config(&lines, &[&policy, QUICK], &[debug]));
        for _ in 0..12 {
            assert_eq!(who_serves(evener.address(0)).unwrap(), "ready", "{policy}");
        }
        // Probed are all but the one in maintenance.
        let up = evener.wait_log_count(" is UP", 3);
        assert!(
            !up.iter()
                .any(|line| line.contains(&maintained.address().to_string()))
        );
    }
    assert!(maintained.accept_within(Duration::ZERO).is_none());
}

#[test]
fn with_only_drained_backends_there_is_none_to_take_a_client() {
    let backend = Dummy::start("a");
    let drained = format!("{{ address: \"{}\", state: drain }}", backend.address());
    let evener = Evener::start(&config(&[drained], &[OFF], &[]));
    assert_eq!(fate(evener.address(0)), (Vec::new(), End::Reset));
    evener.wait_log("no_backend SC");
}

#[test]
fn several_listeners_and_pools_keep_apart() {
    let backends = dummies(["a", "b", "c"]);
    let [a, b, c] = backends.each_ref().map(Dummy::address);
    let evener = Evener::start(&format!(
        "listeners:\n\
         - {{ name: one, bind: \"127.0.0.1:0\", pool: first }}\n\
         - {{ name: two, bind: [\"127.0.0.1:0\", \"127.0.0.2:0\"], pool: second }}\n\
         pools:\n\
         - {{ name: first, backends: [\"{a}\"] }}\n\
         - {{ name: second, backends: [\"{b}\", \"{c}\"] }}\n"
    ));
    let served = |index| who_serves(evener.address(index)).unwrap();
    assert_eq!([served(0), served(0)], ["a", "a"]);
    // Two addresses, one pool: one rotation.
    assert_eq!([served(1), served(2), served(2)], ["b", "c", "b"]);
    assert!(evener.address(2).ip().to_string().starts_with("127.0.0.2"));
    evener.wait_log_count("listener=two pool=second", 3);
}

#[test]
fn ipv6_on_both_sides() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("SKIPPED: this machine has no ::1");
        return;
    }
    // Not a Dummy, whose port is reserved on 127.0.0.1.
    let backend = evener::dummy::Backend::start(Options {
        bind: Ipv6Addr::LOCALHOST.into(),
        name: Some("six".into()),
        ..Options::default()
    })
    .unwrap();
    let address = backend.address();
    let text = config(&[address], &[QUICK], &[]).replace("127.0.0.1:0", "[::1]:0");
    let evener = Evener::start(&text);
    assert!(evener.address(0).is_ipv6());
    assert_eq!(who_serves(evener.address(0)).unwrap(), "six");
    let line = evener.wait_log(" ended: ");
    assert!(
        line.contains(&format!("-> {address} ended: normal --")),
        "{line}"
    );
    assert!(line.contains(" [::1]:"), "{line}");
}

#[test]
fn a_listener_on_every_address_takes_both_families() {
    let backend = Dummy::start("a");
    let text = config(&[backend.address()], &[OFF], &[]).replace("127.0.0.1:0", ":0");
    let evener = Evener::start(&text);
    let port = evener.address(0).port();
    assert_eq!(who_serves(([127, 0, 0, 1], port).into()).unwrap(), "a");
    let line = evener.wait_log(" ended: ");
    assert!(
        line.contains(" 127.0.0.1:"),
        "an IPv4 client is shown as one: {line}"
    );
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        assert_eq!(who_serves((Ipv6Addr::LOCALHOST, port).into()).unwrap(), "a");
    }
}

#[test]
fn a_backend_may_be_a_host_name() {
    // Where localhost is ::1 as well, nobody listens there: that is one backend that is down.
    let backend = Dummy::start("a");
    let name = format!("localhost:{}", backend.address().port());
    let evener = Evener::start(&config(&[&name], &[QUICK], &[]));
    for _ in 0..4 {
        assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    }
}

#[test]
fn a_host_name_that_nobody_knows_is_an_error_at_the_start_if_it_is_asked_for_only_then() {
    let once = "{ address: \"no-such-host.invalid:80\", resolve_interval: off }";
    let dir = support::TempDir::new();
    let path = dir.path().join("evener.yaml");
    let text = config(&[once], &[QUICK], &["admin: off"]);
    std::fs::write(&path, text).unwrap();
    let finished = Evener::command(&["--config", path.to_str().unwrap()]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished
            .stderr
            .contains("error: can't find the address of backend no-such-host.invalid:80"),
        "{finished:?}"
    );
}

#[test]
fn a_frozen_backend_is_found_out_by_its_clients_only() {
    // A process that is stopped still has its connections accepted by the kernel, so a TCP probe
    // passes: this is what a probe that sends and expects is for. When it goes on, so does the session.
    let frozen = support::Process::start(env!("CARGO_BIN_EXE_backend"), &["0", "--name", "frozen"]);
    let port = frozen
        .wait_log("Backend Server started on port: ")
        .rsplit(' ')
        .next()
        .unwrap()
        .to_string();
    let evener = Evener::start(&config(&[format!("127.0.0.1:{port}")], &[QUICK], &[]));
    frozen.signal(Signal::STOP);
    thread::scope(|scope| {
        let client = scope.spawn(|| who_serves(evener.address(0)).unwrap());
        thread::sleep(Duration::from_millis(500));
        assert!(!client.is_finished());
        frozen.signal(Signal::CONT);
        assert_eq!(client.join().unwrap(), "frozen");
    });
    assert!(evener.lines_with(" is DOWN").is_empty());
}
