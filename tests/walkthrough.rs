//! The walk-through of the README with the real programs: three backends and a balancer from the
//! command line, one backend killed and started again, and nobody notices but the log.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays the clients with plain std sockets"
)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use rustix::process::Signal;
use support::{DEADLINE, Evener, Process, RefusingPort, TempDir, http_get};

/// Starts `backend PORT` and waits until it listens.
fn start_backend(port: u16) -> Process {
    let process = Process::start(env!("CARGO_BIN_EXE_backend"), &[&port.to_string()]);
    process.wait_log(&format!("Backend Server started on port: {port}"));
    process
}

/// `curl`: the port in the greeting.
fn get(address: SocketAddr) -> u16 {
    let body = http_get(address).unwrap();
    let port = body.strip_prefix("Hello from Backend Server on port: ");
    port.and_then(|port| port.strip_suffix('\n')?.parse().ok())
        .unwrap_or_else(|| panic!("not the greeting: {body:?}"))
}

/// How many of so many gets each backend answered.
fn shares(address: SocketAddr, gets: usize) -> BTreeMap<u16, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..gets {
        *shares.entry(get(address)).or_default() += 1;
    }
    shares
}

#[test]
fn three_backends_one_is_killed_and_comes_back_and_no_client_notices() {
    // The ports stay reserved while a backend is away, or another test could be given one.
    let ports = [
        RefusingPort::new(),
        RefusingPort::new(),
        RefusingPort::new(),
    ];
    let [b0, b1, b2] = ports.each_ref().map(|port| port.address());
    let [p0, p1, p2] = [b0, b1, b2].map(|address| address.port());
    let _first = start_backend(p0);
    let second = start_backend(p1);
    let _third = start_backend(p2);
    let backends = [b0, b1, b2].map(|address| address.to_string());
    let mut arguments = vec!["-l", "127.0.0.1:0", "--admin", "off"];
    arguments.extend(backends.iter().map(String::as_str));
    let evener = Evener::without_config(&arguments);
    let address = evener.address(0);
    let baseline = evener.baseline().serving(address);

    // The two lines that whoever started it waits for, alone on their lines.
    let log = evener.log();
    assert!(log.contains(&"Starting health check...".into()), "{log:?}");
    assert!(
        log.contains(&format!("Load Balancer started on {address}")),
        "{log:?}"
    );

    assert_eq!([(); 4].map(|()| get(address)), [p0, p1, p2, p0]);

    second.signal(Signal::KILL);
    second.wait_exit();
    let killed = Instant::now();
    let down = format!("Server {b1} is DOWN");
    let mut meanwhile = BTreeMap::new();
    while evener.lines_with(&down).is_empty() {
        assert!(killed.elapsed() < DEADLINE, "not DOWN after {DEADLINE:?}");
        // Each must be answered, though evener doesn't know yet.
        *meanwhile.entry(get(address)).or_insert(0_usize) += 1;
    }
    assert_eq!(meanwhile.get(&p1), None, "it was dead");
    let (left, right) = (meanwhile[&p0], meanwhile[&p2]);
    assert!(
        left.abs_diff(right) <= 2,
        "the neighbour bore more: {meanwhile:?}"
    );
    // No hole where it was, either: turn and turn about.
    assert_eq!(shares(address, 40), BTreeMap::from([(p0, 20), (p2, 20)]));

    let _second = start_backend(p1);
    evener.wait_log(&format!("Server {b1} is UP"));
    assert_eq!(
        shares(address, 30),
        BTreeMap::from([(p0, 10), (p1, 10), (p2, 10)])
    );
    assert_eq!(
        evener.lines_with(" is DOWN").len() + evener.lines_with(" is UP").len(),
        2,
        "one goes and comes back, the others stay"
    );

    evener.check_invariants(&baseline);
    evener.signal(Signal::TERM);
    assert_eq!(evener.wait_exit().code(), Some(0));
}

#[test]
fn without_arguments_it_is_port_8080_over_8000_to_8002() {
    let printed = Evener::command(&["--print-config"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    assert!(
        printed.stdout.contains("bind: \":8080\""),
        "{}",
        printed.stdout
    );
    let backends: Vec<&str> = printed
        .stdout
        .lines()
        .filter_map(|line| line.split_once("address: \"")?.1.split('"').next())
        .collect();
    assert_eq!(
        backends,
        ["127.0.0.1:8000", "127.0.0.1:8001", "127.0.0.1:8002"]
    );
}

#[test]
fn the_demo_balances_over_the_same_and_its_config_can_be_kept() {
    let demo = Evener::command(&["demo", "--print-config"]);
    assert_eq!((demo.code, demo.stderr.as_str()), (Some(0), ""));
    assert_eq!(demo.stdout, Evener::command(&["--print-config"]).stdout);
    let dir = TempDir::new();
    let path = dir.path().join("kept.yaml");
    std::fs::write(&path, demo.stdout).unwrap();
    let check = Evener::command(&["check", path.to_str().unwrap()]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
}
