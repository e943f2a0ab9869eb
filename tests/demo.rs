//! `evener demo`: the tour tells what happens while it happens, and the terminal stops and starts
//! backends.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test takes a port with a plain std socket"
)]

mod support;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::Command;

use rustix::process::Signal;
use support::{Evener, RefusingPort, TempDir};

/// A demo over three ports that nobody else takes, with these lines typed at its terminal.
fn demo(ports: &[RefusingPort; 3], options: &[&str], typed: &str) -> Evener {
    let dir = TempDir::new();
    let terminal = dir.path().join("terminal");
    fs::write(&terminal, typed).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_evener"));
    command.args(["demo", "--admin", "off", "-l", "127.0.0.1:0"]);
    command
        .args(options)
        .args(addresses(ports).map(|one| one.to_string()));
    Evener::spawn_reading(&mut command, File::open(&terminal).unwrap().into())
}

fn addresses(ports: &[RefusingPort; 3]) -> [SocketAddr; 3] {
    [ports[0].address(), ports[1].address(), ports[2].address()]
}

fn three_ports() -> [RefusingPort; 3] {
    [
        RefusingPort::new(),
        RefusingPort::new(),
        RefusingPort::new(),
    ]
}

#[test]
fn the_tour_tells_the_truth() {
    let ports = three_ports();
    let mut addresses = addresses(&ports);
    addresses.sort_unstable();
    let demo = demo(&ports, &["--guide"], "");
    for scene in [
        "--- 1. Nothing happens ---",
        "--- 2. A client connects, and says nothing ---",
        "--- 3. It asks, and is answered ---",
        "--- 4. It has left ---",
        "--- 5. Six clients ---",
        "--- 6. A backend dies ---",
        "--- 7. The health thread has noticed ---",
        "--- 8. It is back ---",
        "That was the tour.",
    ] {
        demo.wait_log(scene);
    }
    // What it points to in the log stands before it.
    let log = demo.log();
    let line = |text: &str| log.iter().position(|line| line.contains(text)).unwrap();
    let victim = addresses[1];
    let ended = line("session 1 ");
    assert!(line("--- 3.") < ended && ended < line("--- 4."));
    assert!(line(&format!("attempts=2 failed={victim}")) < line("--- 6."));
    assert!(line(&format!("Server {victim} is DOWN")) < line("--- 7."));
    assert!(line(&format!("Server {victim} is UP")) < line("--- 8."));
    // Each of the three has answered two of six.
    let served = &log[line("They were answered by: ")];
    for address in addresses {
        assert_eq!(
            served.matches(&address.port().to_string()).count(),
            2,
            "{served}"
        );
    }
    // The threads of a session were seen under the names that ps shows.
    let names = &log[line("--- 2.")..line("--- 3.")];
    for sign in ["c1>", "c1<"] {
        assert!(names.iter().any(
            |line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())
                && line.contains(sign)
        ));
    }
    demo.signal(Signal::INT);
    assert_eq!(demo.wait_exit().code(), Some(0));
}

#[test]
fn a_port_and_enter_stops_a_backend_and_starts_it_again() {
    let ports = three_ports();
    let port = ports[2].address().port();
    let demo = demo(&ports, &[], &format!("what?\n{port}\n{port}\n"));
    demo.wait_log("or guide, and Enter)");
    demo.wait_log(&format!(
        "(backend {port} stopped; the next health checks will notice)"
    ));
    demo.wait_log(&format!("(backend {port} started again)"));
    assert!(demo.is_alive());
}

#[test]
fn a_port_that_is_taken_is_named_and_so_is_the_way_round() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Evener::command(&["demo", "--admin", "off", "-l", "127.0.0.1:0", &address]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended
            .stderr
            .contains(&format!("can't start its backend on {address}")),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("evener demo 127.0.0.1:9001"),
        "{}",
        ended.stderr
    );
}
