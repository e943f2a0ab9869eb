//! evener under a service manager: sockets that it inherits, and what it tells.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays the service manager and clients with plain std sockets"
)]

mod support;

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::Signal;
use support::{
    BlackHole, DEADLINE, Dummy, Evener, Server, TempDir, config, connect, http_get,
    read_to_end_with_deadline,
};

/// evener on this address in front of this backend.
fn arguments(listen: SocketAddr, backend: SocketAddr) -> [String; 5] {
    let (listen, backend) = (listen.to_string(), backend.to_string());
    ["--admin".into(), "off".into(), "-l".into(), listen, backend]
}

/// Starts evener as socket activation does: with these descriptors as 3 and 4, and an environment
/// that names its own process id, which only a shell in its place knows beforehand.
fn activated(descriptors: [&OwnedFd; 2], names: &str, arguments: &[String]) -> Evener {
    activated_by(None, descriptors, names, arguments)
}

/// The same, by a service manager that wants to hear of it every 100 ms.
fn activated_by(
    manager: Option<&Manager>,
    descriptors: [&OwnedFd; 2],
    names: &str,
    arguments: &[String],
) -> Evener {
    /// Beyond what this process and the shell use themselves.
    const FREE: i32 = 100;
    let passed = descriptors.map(|descriptor| {
        let passed = fcntl_dupfd_cloexec(descriptor, FREE).unwrap();
        fcntl_setfd(&passed, FdFlags::empty()).unwrap();
        passed
    });
    let [third, fourth] = passed.each_ref().map(AsRawFd::as_raw_fd);
    // `<&100-` moves a descriptor: evener must not have it twice.
    let script = format!(
        "exec 3<&{third}- 4<&{fourth}-; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={names} exec \"$@\""
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash", env!("CARGO_BIN_EXE_evener")]);
    if let Some(manager) = manager {
        command.env("NOTIFY_SOCKET", manager.dir.path().join("notify"));
        command.env("WATCHDOG_USEC", "100000");
    }
    Evener::spawn(command.args(arguments))
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

#[test]
fn an_inherited_socket_loses_no_client_over_a_restart() {
    let backend = Dummy::start("a");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = OwnedFd::from(listener);
    let arguments = arguments(address, backend.address());

    let first = activated([&listener, &null()], "web:null", &arguments);
    assert!(http_get(address).unwrap().contains("Hello"));
    first.signal(Signal::TERM);
    assert_eq!(first.wait_exit().code(), Some(0));

    // Nobody accepts, and nobody is refused: the socket is open, because its owner has it still.
    let mut waiting = connect(address);
    waiting
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let _second = activated([&listener, &null()], "web:null", &arguments);
    let answer = read_to_end_with_deadline(&waiting).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_socket_that_no_listener_uses_is_reported_and_closed() {
    let backend = Dummy::start("a");
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    let unused = OwnedFd::from(unused);
    let any = "127.0.0.1:0".parse().unwrap();
    let evener = activated(
        [&unused, &null()],
        "old:null",
        &arguments(any, backend.address()),
    );
    let line = evener.wait_log("(old)");
    assert!(
        line.contains(" warn ") && line.contains(&address.to_string()),
        "{line}"
    );
    evener.wait_log("null: ");
    // Other tests may hold a copy for a moment, so look at what evener itself has.
    let held = |pid, fd: &str| std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok();
    let socket = held(std::process::id(), &unused.as_raw_fd().to_string()).unwrap();
    let all = std::fs::read_dir(format!("/proc/{}/fd", evener.pid())).unwrap();
    let all = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(
        !all.into_iter()
            .any(|fd| held(evener.pid(), &fd).as_ref() == Some(&socket))
    );
    assert!(http_get(evener.address(0)).is_ok());
}

/// A service manager's end of NOTIFY_SOCKET.
struct Manager {
    dir: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Manager {
        let dir = TempDir::new();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager { dir, socket }
    }

    fn command(&self, backend: SocketAddr) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evener"));
        command.args(arguments("127.0.0.1:0".parse().unwrap(), backend));
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify"));
        command
    }

    fn message(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

#[test]
fn the_manager_learns_that_evener_serves_and_how_long_its_end_may_take() {
    let (manager, backend) = (Manager::new(), Dummy::start("a"));
    let evener = Evener::spawn(&mut manager.command(backend.address()));
    assert!(manager.message().lines().any(|line| line == "READY=1"));
    // It was true when it was said.
    assert!(http_get(evener.address(0)).is_ok());
    evener.signal(Signal::TERM);
    let message = manager.message();
    assert!(
        message.lines().any(|line| line == "STOPPING=1"),
        "{message}"
    );
    // 25 s of drain_timeout and 10 s for the aborts.
    assert!(
        message
            .lines()
            .any(|line| line == "EXTEND_TIMEOUT_USEC=35000000"),
        "{message}"
    );
    assert_eq!(evener.wait_exit().code(), Some(0));
}

#[test]
fn the_manager_learns_when_a_reload_begins_and_ends() {
    let (manager, backend) = (Manager::new(), Dummy::start("a"));
    let evener = Evener::spawn(&mut manager.command(backend.address()));
    assert!(manager.message().starts_with("READY=1"));
    evener.signal(Signal::HUP);
    let message = manager.message();
    assert!(
        message.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{message}"
    );
    assert!(manager.message().starts_with("READY=1"));
}

#[test]
fn the_watchdog_hears_of_evener_again_and_again() {
    let (manager, server) = (Manager::new(), Server::start());
    let evener = Evener::spawn(
        manager
            .command(server.address())
            .env("WATCHDOG_USEC", "100000"),
    );
    // It gives signs of life while it waits for its first probes, too.
    while !manager.message().starts_with("READY=1") {}
    for _ in 0..3 {
        assert_eq!(manager.message(), "WATCHDOG=1");
    }
    assert!(evener.is_alive());
}

#[test]
fn the_watchdog_hears_of_an_evener_that_waits_for_a_probe() {
    let (manager, backend, hole) = (Manager::new(), Dummy::start("a"), BlackHole::new());
    let slow = ["health_check: { interval: 1h, timeout: 2s }"];
    let file = manager.dir.path().join("evener.yaml");
    let write = |backends: &[SocketAddr]| {
        std::fs::write(&file, config(backends, &slow, &["admin: off"])).unwrap();
    };
    write(&[backend.address()]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_evener"));
    command.arg("--config").arg(&file);
    command.env("NOTIFY_SOCKET", manager.dir.path().join("notify"));
    let evener = Evener::spawn(command.env("WATCHDOG_USEC", "100000"));
    // It gives signs of life while it waits for its first probes, too.
    while !manager.message().starts_with("READY=1") {}
    write(&[backend.address(), hole.address()]);
    evener.signal(Signal::HUP);
    while !manager.message().starts_with("RELOADING=1") {}
    // The first probe of the new backend takes two seconds.
    for _ in 0..5 {
        assert_eq!(manager.message(), "WATCHDOG=1");
    }
}

#[test]
fn the_watchdog_hears_nothing_from_an_evener_that_takes_no_clients_any_more() {
    let (manager, backend) = (Manager::new(), Dummy::start("a"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = arguments(listener.local_addr().unwrap(), backend.address());
    let listener = OwnedFd::from(listener);
    let evener = activated_by(Some(&manager), [&listener, &null()], "web:null", &arguments);
    // It gives signs of life while it waits for its first probes, too.
    while !manager.message().starts_with("READY=1") {}
    assert_eq!(manager.message(), "WATCHDOG=1");

    // The socket is not evener's alone: whoever else has it can end it, and evener can't mend that.
    rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
    evener.wait_log("restart evener");
    evener.wait_log("the service manager gets no sign of life any more");
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 4096]).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    let silence = Some(Duration::from_millis(300));
    manager.socket.set_read_timeout(silence).unwrap();
    let heard = manager.socket.recv(&mut [0; 4096]);
    assert_eq!(heard.unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_manager_that_is_gone_is_reported_and_changes_nothing() {
    let (manager, backend) = (Manager::new(), Dummy::start("a"));
    let mut command = manager.command(backend.address());
    drop(manager);
    let evener = Evener::spawn(&mut command);
    evener.wait_log("can't tell the service manager");
    assert!(http_get(evener.address(0)).is_ok());
}
