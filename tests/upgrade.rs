//! A new evener takes over from a running one on SIGUSR2, and no client notices.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::cell::Cell;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{
    Dummy, Evener, Load, RefusingPort, Server, TempDir, config, connect, dummies, eventually,
    is_live, try_connect, who_serves,
};

const TAKEN_OVER: &str = " serves now, and this one drains";

/// A process that is nobody's child any more, and must not outlive its test.
struct Successor {
    id: Pid,
    /// It has ended, and its id may be another's.
    is_over: Cell<bool>,
}

impl Successor {
    /// Sends SIGUSR2 and waits until the new process has taken over.
    fn of(evener: &Evener) -> Successor {
        evener.signal(Signal::USR2);
        Successor::named_in(&evener.wait_log(TAKEN_OVER))
    }

    /// The one that this line of the log speaks of.
    fn named_in(line: &str) -> Successor {
        let (_, rest) = line.split_once("process ").unwrap();
        let id = rest.split(' ').next().unwrap().parse().unwrap();
        Successor {
            id: Pid::from_raw(id).unwrap(),
            is_over: Cell::new(false),
        }
    }

    fn is_there(&self) -> bool {
        // One that has ended and was not waited for is a zombie: its parent may be anybody.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id.as_raw_nonzero()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.id, signal).unwrap();
    }

    fn wait_end(&self) {
        eventually("the end of the new process", || {
            (!self.is_there()).then_some(())
        });
        self.is_over.set(true);
    }

    fn stop(&self) {
        self.signal(Signal::TERM);
        self.wait_end();
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.is_over.get() && self.is_there() {
            let _ = kill_process(self.id, Signal::KILL);
        }
    }
}

/// Waits for the end of the old process. Not `wait_exit`: the new one has its output still.
fn ended(evener: &Evener) {
    let status = eventually("the end of the old process", || evener.exit_status());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn no_client_is_refused_or_reset_while_a_new_process_takes_over() {
    let (dummy, port) = (Dummy::start("a"), RefusingPort::new());
    let text = config(&[dummy.address()], &[], &["log: { connections: false }"]);
    let evener = Evener::start(&text.replace("127.0.0.1:0", &port.address().to_string()));
    let load = Load::start(port.address(), 8);
    load.wait_for_more(100);

    let first = Successor::of(&evener);
    ended(&evener);
    // From here on it can only be the new one who answers.
    load.wait_for_more(200);
    // And again, from the new one.
    first.signal(Signal::USR2);
    let lines = evener.wait_log_count(TAKEN_OVER, 2);
    let second = Successor::named_in(&lines[1]);
    first.wait_end();
    load.wait_for_more(200);

    let account = load.finish();
    assert_eq!(account.errors, [""; 0], "of {} clients", account.answers());
    second.stop();
}

#[test]
fn a_listener_that_refuses_clients_goes_on_refusing_them() {
    let (dead, port) = (RefusingPort::new(), RefusingPort::new());
    let text = config(&[dead.address()], &["when_down: refuse"], &[]);
    let evener = Evener::start(&text.replace("127.0.0.1:0", &port.address().to_string()));
    evener.wait_log("refuses clients");
    let new = Successor::of(&evener);
    ended(&evener);
    evener.wait_log_count("refuses clients", 2);
    let error = try_connect(port.address()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let is_alarm = |line: &String| line.contains("an inherited socket");
    assert!(!evener.log().iter().any(is_alarm), "a false alarm");
    new.stop();
}

#[test]
fn a_live_session_stays_with_the_old_process_and_a_new_one_goes_to_the_new() {
    let (server, port) = (Server::start(), RefusingPort::new());
    let text = config(&[server.address()], &["health_check: off"], &[]);
    let evener = Evener::start(&text.replace("127.0.0.1:0", &port.address().to_string()));
    let (mut client, mut backend) = (connect(port.address()), server.accept());
    let new = Successor::of(&evener);
    evener.wait_log("draining 1 connections");

    let (mut second, mut second_backend) = (connect(port.address()), server.accept());
    let mut seen = [0; 4];
    for (client, backend) in [
        (&mut client, &mut backend),
        (&mut second, &mut second_backend),
    ] {
        client.write_all(b"ping").unwrap();
        backend.read_exact(&mut seen).unwrap();
        backend.write_all(b"pong").unwrap();
        client.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"pong");
    }
    assert!(evener.is_alive());
    drop((client, backend));
    ended(&evener);
    assert!(new.is_there());
    drop((second, second_backend));
    new.stop();
}

/// The status, by the admin server at this address.
fn status(address: SocketAddr) -> Value {
    let mut stream = connect(address);
    let request = format!("GET /api/v1/status HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

/// What kind of line of the log it is: its first words, without the numbers.
fn shape(line: &str) -> String {
    let (_, text) = line.split_once("info  ").unwrap();
    let words = text.split(' ').map(|word| {
        let is_number = word.starts_with(|first: char| first.is_ascii_digit());
        if is_number { "N" } else { word }
    });
    words.take(4).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_upgrade_is_seen_as_the_page_for_operators_says() {
    let (server, port, admin) = (Server::start(), RefusingPort::new(), RefusingPort::new());
    let address = admin.address();
    let section = format!("admin: {{ bind: \"{address}\" }}");
    drop(admin);
    let text = config(&[server.address()], &["health_check: off"], &[&section]);
    let evener = Evener::start(&text.replace("127.0.0.1:0", &port.address().to_string()));
    let (mut client, mut backend) = (connect(port.address()), server.accept());
    let new = Successor::of(&evener);
    evener.wait_log("draining 1 connections");

    // The status is the new one's, and knows nothing of the session that the old one serves.
    let status = status(address);
    assert_eq!(status["pid"], new.id.as_raw_nonzero().get());
    assert_eq!(status["connections"]["active"], 0);
    is_live(&mut client, &mut backend);
    // Its thread is to be found by name.
    let threads = fs::read_dir(format!("/proc/{}/task", evener.pid())).unwrap();
    let mut names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")));
    assert!(names.any(|name| name.is_ok_and(|name| name.starts_with("c1>"))));
    drop((client, backend));
    ended(&evener);

    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page
        .split_once("### What you see during an upgrade")
        .unwrap();
    let told = section.lines().filter(|line| line.starts_with("info  "));
    let told: Vec<String> = told.map(shape).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    let log = evener.log();
    let mut seen = log.iter().filter(|line| line.contains("info  "));
    for line in told {
        let found = seen.any(|seen| shape(seen) == line);
        assert!(
            found,
            "{line:?} is not there, or not in this order: {log:#?}"
        );
    }
    new.stop();
}

#[test]
fn the_first_signal_after_an_upgrade_cuts_no_session_short() {
    let (server, port) = (Server::start(), RefusingPort::new());
    let text = config(&[server.address()], &["health_check: off"], &[]);
    let evener = Evener::start(&text.replace("127.0.0.1:0", &port.address().to_string()));
    let (mut client, mut backend) = (connect(port.address()), server.accept());
    let new = Successor::of(&evener);
    evener.wait_log("draining 1 connections");
    // As when a service manager stops every process of the service.
    evener.signal(Signal::TERM);
    new.stop();
    is_live(&mut client, &mut backend);
    drop((client, backend));
    ended(&evener);
}

#[test]
fn a_new_process_that_fails_changes_nothing_and_says_why() {
    let (dummy, port) = (Dummy::start("a"), RefusingPort::new());
    let good = config(&[dummy.address()], &[], &[]);
    let good = good.replace("127.0.0.1:0", &port.address().to_string());
    let evener = Evener::start(&good);
    evener.rewrite_config("pools: [{ nonsense: 1 }]");
    evener.signal(Signal::USR2);
    let line = evener.wait_log("did not take over");
    assert!(
        line.contains(" warn ") && line.contains("exit status: 1"),
        "{line}"
    );
    evener.wait_log("unknown key `nonsense`");
    assert_eq!(who_serves(port.address()).unwrap(), "a");

    // Once it is right, it is done.
    evener.rewrite_config(&good);
    let new = Successor::of(&evener);
    ended(&evener);
    assert_eq!(who_serves(port.address()).unwrap(), "a");
    new.stop();
}

/// Whether evener is ready, by the admin server at this address.
fn is_ready(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}

#[test]
fn whoever_asks_whether_evener_is_ready_hears_yes_all_through_an_upgrade() {
    let (dummy, port, admin) = (Dummy::start("a"), RefusingPort::new(), RefusingPort::new());
    let section = format!("admin: {{ bind: \"{}\" }}", admin.address());
    let text = config(&[dummy.address()], &[], &[&section]);
    let text = text.replace("127.0.0.1:0", &port.address().to_string());
    let (address, asked) = (admin.address(), port.address());
    drop((port, admin));
    let evener = Evener::start(&text);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answers = Vec::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                answers.push(is_ready(address));
            }
            answers
        });
        let successor = Successor::of(&evener);
        ended(&evener);
        assert_eq!(who_serves(asked).unwrap(), "a");
        assert!(is_ready(address).unwrap(), "the new one has the address");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let answers = asking.join().unwrap();
        drop(successor);
        answers
    });
    let bad: Vec<_> = answers
        .iter()
        .filter(|answer| !matches!(answer, Ok(true)))
        .collect();
    assert!(
        bad.is_empty(),
        "{} of {}: {bad:?}",
        bad.len(),
        answers.len()
    );
}

#[test]
fn a_unix_socket_of_the_admin_server_passes_to_the_new_process() {
    let (dummy, port) = (Dummy::start("a"), RefusingPort::new());
    let dir = TempDir::new();
    let path = dir.path().join("admin.sock");
    let section = format!("admin: {{ bind: \"unix:{}\" }}", path.display());
    let text = config(&[dummy.address()], &[], &[&section]);
    let text = text.replace("127.0.0.1:0", &port.address().to_string());
    drop(port);
    let evener = Evener::start(&text);
    let successor = Successor::of(&evener);
    ended(&evener);
    let address = format!("unix:{}", path.display());
    let status = Evener::command(&["status", "--json", "--admin", &address]);
    let id = successor.id.as_raw_nonzero();
    assert!(
        status.stdout.contains(&format!("\"pid\":{id}")),
        "{status:?}"
    );
}

#[test]
fn what_was_asked_for_at_run_time_passes_to_the_new_process() {
    let [a, b] = dummies(["a", "b"]);
    let port = RefusingPort::new();
    let dir = TempDir::new();
    let at = format!("unix:{}", dir.path().join("admin.sock").display());
    let section = format!("admin: {{ bind: \"{at}\" }}");
    let named =
        |name: &str, dummy: &Dummy| format!("{{ name: {name}, address: \"{}\" }}", dummy.address());
    let text = config(&[named("a", &a), named("b", &b)], &[], &[&section]);
    let text = text.replace("127.0.0.1:0", &port.address().to_string());
    drop(port);
    let evener = Evener::start(&text);
    let ask = |words: &[&str]| {
        let answer = Evener::command(&[words, &["--admin", &at]].concat());
        assert_eq!(answer.code, Some(0), "{answer:?}");
        answer.stdout
    };
    ask(&["drain", "a"]);
    ask(&["weight", "b", "7"]);
    // The config says something new of this one by the time of the upgrade.
    evener.rewrite_config(&text.replace("name: b,", "name: b, weight: 3,"));
    let new = Successor::of(&evener);
    ended(&evener);
    evener.wait_log("(pool p): state drain, as asked for at run time");
    evener.wait_log("backend b (pool p): weight 7 was asked for at run time and is over");
    let status = ask(&["status"]);
    assert!(status.contains("drain (ready)"), "{status}");
    let address = evener.address(0);
    for _ in 0..3 {
        assert_eq!(who_serves(address).unwrap(), "b");
    }
    // And so on, from one to the next.
    new.signal(Signal::USR2);
    let next = eventually("the next one", || {
        let lines = evener.lines_with(TAKEN_OVER);
        lines.get(1).map(|line| Successor::named_in(line))
    });
    new.wait_end();
    assert!(ask(&["status"]).contains("drain (ready)"));
    ask(&["ready", "a"]);
    next.stop();
}

#[test]
fn a_change_that_is_asked_for_while_a_new_process_starts_is_not_lost() {
    let (dummy, port, dir) = (Dummy::start("a"), RefusingPort::new(), TempDir::new());
    let (program, go) = (dir.path().join("evener"), dir.path().join("go"));
    symlink(env!("CARGO_BIN_EXE_evener"), &program).unwrap();
    let at = format!("unix:{}", dir.path().join("admin.sock").display());
    let section = format!("admin: {{ bind: \"{at}\" }}");
    let text = config(&[dummy.address()], &["health_check: off"], &[&section]);
    let text = text.replace("127.0.0.1:0", &port.address().to_string());
    let file = dir.path().join("evener.yaml");
    fs::write(&file, &text).unwrap();
    let mut command = Command::new(&program);
    let evener = Evener::spawn(command.arg("--config").arg(&file));
    evener.wait_log("admin server at");
    slow_version(&program, &go);
    evener.signal(Signal::USR2);
    evener.wait_log("was started and is to take over");

    // An order is answered: by a refusal, because the new one will not hear of it.
    let asked = std::thread::spawn({
        let at = at.clone();
        move || Evener::command(&["drain", "p/x", "--admin", &at])
    });
    // The new one reads the config once more, whatever it has found there.
    evener.signal(Signal::HUP);
    let new = {
        fs::write(&go, "").unwrap();
        Successor::named_in(&evener.wait_log(TAKEN_OVER))
    };
    let answer = asked.join().unwrap();
    assert_eq!(answer.code, Some(1), "{answer:?}");
    evener.wait_log("reloaded");
    ended(&evener);
    let status = Evener::command(&["status", "--admin", &at]);
    assert!(status.stdout.contains("generation 2"), "{status:?}");
    new.stop();
}

#[test]
fn what_is_started_is_the_program_that_is_there_now() {
    let (dummy, port, dir) = (Dummy::start("a"), RefusingPort::new(), TempDir::new());
    let link = dir.path().join("evener");
    symlink(env!("CARGO_BIN_EXE_evener"), &link).unwrap();
    let addresses = [port.address().to_string(), dummy.address().to_string()];
    let mut command = Command::new(&link);
    let evener = Evener::spawn(command.args(["--admin", "off", "-l"]).args(&addresses));

    let newer = dir.path().join("evener-2");
    fs::copy(env!("CARGO_BIN_EXE_evener"), &newer).unwrap();
    fs::remove_file(&link).unwrap();
    symlink(&newer, &link).unwrap();
    let new = Successor::of(&evener);
    let program = fs::read_link(format!("/proc/{}/exe", new.id.as_raw_nonzero())).unwrap();
    assert_eq!(program, Path::new(&newer));
    ended(&evener);
    assert_eq!(who_serves(port.address()).unwrap(), "a");
    new.stop();
}

/// A new version that takes its time: at `link` stands a program that waits for the file `go`, and then
/// does as the real one.
fn slow_version(link: &Path, go: &Path) {
    let text = format!(
        "#!/bin/sh\nwhile [ ! -e {} ]; do sleep 0.01; done\nexec {} \"$@\"\n",
        go.display(),
        env!("CARGO_BIN_EXE_evener")
    );
    fs::remove_file(link).unwrap();
    fs::write(link, text).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(link, executable).unwrap();
}

#[test]
fn a_stop_before_the_new_process_serves_stops_both() {
    let (dummy, port, dir) = (Dummy::start("a"), RefusingPort::new(), TempDir::new());
    let (program, go) = (dir.path().join("evener"), dir.path().join("go"));
    symlink(env!("CARGO_BIN_EXE_evener"), &program).unwrap();
    let addresses = [port.address().to_string(), dummy.address().to_string()];
    let mut command = Command::new(&program);
    let evener = Evener::spawn(command.args(["--admin", "off", "-l"]).args(&addresses));
    slow_version(&program, &go);

    evener.signal(Signal::USR2);
    let new = Successor::named_in(&evener.wait_log("was started and is to take over"));
    evener.signal(Signal::TERM);
    ended(&evener);
    fs::write(&go, "").unwrap();
    new.wait_end();
    assert!(who_serves(port.address()).is_err());
}

#[test]
fn a_stop_before_the_new_process_serves_stops_both_while_sessions_drain() {
    let (server, port, dir) = (Server::start(), RefusingPort::new(), TempDir::new());
    let (program, go) = (dir.path().join("evener"), dir.path().join("go"));
    symlink(env!("CARGO_BIN_EXE_evener"), &program).unwrap();
    let text = config(&[server.address()], &["health_check: off"], &["admin: off"]);
    let text = text.replace("127.0.0.1:0", &port.address().to_string());
    let file = dir.path().join("evener.yaml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(&program);
    let evener = Evener::spawn(command.arg("--config").arg(&file));
    slow_version(&program, &go);
    let (mut client, mut backend) = (connect(port.address()), server.accept());
    is_live(&mut client, &mut backend);

    evener.signal(Signal::USR2);
    let new = Successor::named_in(&evener.wait_log("was started and is to take over"));
    evener.signal(Signal::TERM);
    evener.wait_log("draining 1 connections");
    // Now it is ready, and nobody wants it any more.
    fs::write(&go, "").unwrap();
    new.wait_end();
    is_live(&mut client, &mut backend);
    drop((client, backend));
    ended(&evener);
    assert!(TcpStream::connect(port.address()).is_err());
}
