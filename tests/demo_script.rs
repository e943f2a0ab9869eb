//! `scripts/demo` tells its whole story: no client sees an error while a backend is killed, the
//! balancer notices, and the backend gets its share again.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests use plain std sockets, and a panic is how they fail"
)]

mod support;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Process, RefusingPort, eventually_ok};

/// The health check takes a few seconds to notice a death and a few to believe in a recovery.
const STORY_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_demo_tells_its_story() {
    let has = |tool| {
        let mut command = Command::new(tool);
        command.arg("--version").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !has("bash") || !has("curl") {
        eprintln!("skipped: scripts/demo needs bash and curl");
        return;
    }
    // Held to the end, so that no connection of another test gets one of them for its own end.
    let held: Vec<RefusingPort> = (0..3).map(|_| RefusingPort::new()).collect();
    let ports: Vec<String> = held
        .iter()
        .map(|free| free.address().port().to_string())
        .collect();
    let listen = port_for_every_address();
    let bin = Path::new(env!("CARGO_BIN_EXE_evener")).parent().unwrap();
    let demo = Process::spawn(
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo"))
            .env("DEMO_PACE", "0")
            .env("DEMO_PORTS", ports.join(" "))
            .env("DEMO_LISTEN", listen.to_string())
            .env("DEMO_BIN", bin),
    );
    let status = eventually_ok("the end of the demo", STORY_LIMIT, || {
        demo.exit_status().ok_or("it runs")
    });
    assert!(status.success(), "{status}");
    demo.wait_log(&format!("Server 127.0.0.1:{} is DOWN", ports[1]));
    demo.wait_log(&format!("Server 127.0.0.1:{} is UP", ports[1]));
    demo.wait_log(&format!(
        "4   Hello from Backend Server on port: {}",
        ports[1]
    ));
}

/// A port that is free on every address of the machine. Below those that the kernel gives to
/// outgoing connections (32768 and up, unless somebody has changed it): one of them, in TIME_WAIT on
/// any address, would be in the way.
fn port_for_every_address() -> u16 {
    let first = std::process::id() % 10_000;
    (0..10_000)
        .map(|n| 20_000 + ((first + n) % 10_000) as u16)
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .expect("one port of ten thousand is free")
}
