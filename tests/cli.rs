//! The command line and the log, as whoever starts evener sees them: exit codes, messages, what is
//! written and in which form, and that traffic never waits for whoever reads it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use support::{
    Dummy, Evener, Finished, Process, RefusingPort, TempDir, config, eventually, who_serves,
};

const EVENER: &str = env!("CARGO_BIN_EXE_evener");
const OFF: &str = "health_check: off";

/// A config file with this text, and the directory that it lives in.
fn file(text: &str) -> (TempDir, String) {
    let dir = TempDir::new();
    let path = dir.path().join("evener.yaml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_string();
    (dir, path)
}

/// It must have failed with this code, said nothing on stdout, and said why on stderr, not by a panic.
#[track_caller]
fn failed(finished: &Finished, code: i32, why: &str) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert_eq!(finished.stdout, "", "{finished:?}");
    assert!(finished.stderr.starts_with("error: "), "{finished:?}");
    assert!(
        finished.stderr.contains(why),
        "{why:?} is not in {finished:?}"
    );
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
}

#[test]
fn a_valid_config_is_valid() {
    let (_dir, path) = file(&config(&["127.0.0.1:1"], &[], &[]));
    let finished = Evener::command(&["check", &path]);
    assert_eq!(
        (finished.code, finished.stdout, finished.stderr),
        (Some(0), format!("{path} is valid\n"), String::new())
    );
    // What this machine lacks may be there on the one that the config is for.
    let admin = "admin: { bind: \"127.0.0.1:0\", token_file: /nowhere/token }";
    let (_dir, path) = file(&config(&["127.0.0.1:1"], &[], &[admin]));
    let finished = Evener::command(&["check", &path]);
    assert_eq!(finished.code, Some(0));
    let warning = "warning: admin.token_file /nowhere/token: No such file";
    assert!(finished.stderr.starts_with(warning), "{finished:?}");
}

#[test]
fn everything_that_is_wrong_in_a_config_is_shown_in_its_place() {
    let (_dir, path) = file(
        "listeners:\n  - bind: \"127.0.0.1:0\"\n    pool: nope\n\
         pools:\n  - name: p\n    backends: [\"127.0.0.1:1\"]\n    balanse: first\n\
         timeouts: { idle: 10 }\n",
    );
    for arguments in [vec!["check", &path], vec!["--config", &path]] {
        let finished = Evener::command(&arguments);
        failed(&finished, 1, "there is no pool `nope`");
        for (place, line, what) in [
            ("3:11", "    pool: nope", "there is no pool `nope`"),
            ("7:5", "    balanse: first", "did you mean `balance`?"),
            ("8:19", "timeouts: { idle: 10 }", "write `10s` or `10ms`"),
        ] {
            for text in [&format!(" --> {path}:{place}\n"), line, what] {
                assert!(
                    finished.stderr.contains(text),
                    "{text:?} is not in {}",
                    finished.stderr
                );
            }
        }
    }
}

#[test]
fn a_config_that_is_no_text_or_not_there_is_an_error_and_no_panic() {
    let (dir, path) = file("");
    failed(&Evener::command(&["check", &path]), 1, "");
    std::fs::write(&path, b"listeners: \xff\xfe\n").unwrap();
    failed(&Evener::command(&["check", &path]), 1, "UTF-8");
    let nowhere = format!("{path}.not");
    // Of a long path only the beginning is shown.
    let why = format!("can't read the config `{}", &nowhere[..20]);
    for arguments in [["check", &nowhere], ["--config", &nowhere]] {
        let finished = Evener::command(&arguments);
        failed(&finished, 1, &why);
        failed(&finished, 1, "`: No such file");
    }
    let directory = dir.path().to_str().unwrap();
    failed(&Evener::command(&["check", directory]), 1, "directory");
}

#[test]
fn the_printed_config_loads_again_to_the_same() {
    let all = [
        vec!["--print-config"],
        vec!["demo", "--print-config"],
        vec![
            "-l",
            ":80",
            "-l",
            "[::1]:81",
            "-b",
            "first",
            "10.0.0.1:8000=3",
            "db.internal:5432=0",
            "--print-config",
        ],
    ];
    for arguments in all {
        let printed = Evener::command(&arguments);
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let (_dir, path) = file(&printed.stdout);
        assert_eq!(Evener::command(&["check", &path]).code, Some(0));
        let again = Evener::command(&["--config", &path, "--print-config"]);
        assert_eq!(again.stdout, printed.stdout);
    }
}

#[test]
fn a_wrong_command_line_is_2_and_says_what_to_write() {
    for (arguments, why) in [
        (vec!["--bogus"], "unknown option `--bogus`"),
        (vec!["--lisen", ":1"], "did you mean `--listen`?"),
        (vec!["-x"], "unknown option `-x`"),
        (vec!["frobnicate"], "`frobnicate`"),
        (vec!["stauts"], "did you mean `status`?"),
        (vec!["check"], "`check` needs a file"),
        (vec!["check", "a", "b"], "given twice"),
        (vec!["--config"], "--config has no value"),
        (vec!["--listen"], "--listen has no value"),
        (vec!["--listen", "nowhere"], "--listen"),
        (
            vec!["--balance", "fastest"],
            "--balance `fastest` is not known",
        ),
        (vec!["127.0.0.1:99999"], "no valid port"),
        (vec!["127.0.0.1:80=heavy"], "weight"),
        (vec!["127.0.0.1:80=257"], "weight"),
        (vec!["demo", "db:80"], "`demo` starts its backends itself"),
        (vec!["--guide"], "--guide is the tour of the demo"),
        (
            vec!["--config", "f", "127.0.0.1:80"],
            "can't be given together",
        ),
        (vec!["--config", "f", "--config", "g"], "given twice"),
        (vec!["127.0.0.1:80", "127.0.0.1:80"], "127.0.0.1:80"),
        (vec![""], ""),
    ] {
        let finished = Evener::command(&arguments);
        failed(&finished, 2, why);
        assert!(
            finished.stderr.ends_with("try `evener --help`\n"),
            "{arguments:?}: {}",
            finished.stderr
        );
    }
}

#[test]
fn an_admin_address_that_everybody_reaches_needs_a_token() {
    let why = "lets other machines in without a token";
    failed(&Evener::command(&["--admin", "0.0.0.0:9900"]), 2, why);
    let text = config(&["127.0.0.1:1"], &[], &["admin: { bind: ':9900' }"]);
    let (_dir, path) = file(&text);
    failed(&Evener::command(&["check", &path]), 1, why);
    let (_dir, path) = file(&text.replace("':9900'", "':9900', token_file: t"));
    assert_eq!(Evener::command(&["check", &path]).code, Some(0));
}

#[test]
fn help_and_version_go_to_stdout() {
    for flag in ["--help", "-h"] {
        let finished = Evener::command(&[flag]);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        for word in [
            "USAGE",
            "--listen",
            "--balance",
            "--config",
            "--print-config",
            "EXIT CODES",
            "demo",
            "check FILE",
            "status",
            "reload [--dry-run]",
            "--token-file",
        ] {
            assert!(finished.stdout.contains(word), "{word}");
        }
        let widest = finished.stdout.lines().map(str::len).max();
        assert!(widest <= Some(80), "{widest:?} columns");
    }
    for flag in ["--version", "-V"] {
        let finished = Evener::command(&[flag]);
        let version = format!("evener {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((finished.code, finished.stdout), (Some(0), version));
    }
}

#[test]
fn whoever_does_not_read_the_messages_changes_no_exit_code() {
    // /dev/full takes nothing: each write to it is an error.
    let status = |arguments: &[&str]| {
        let full = || File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(EVENER);
        let status = command.args(arguments).stdout(full()).stderr(full());
        status.status().unwrap().code()
    };
    assert_eq!(status(&["--help"]), Some(0));
    assert_eq!(status(&["--version"]), Some(0));
    assert_eq!(status(&["--print-config"]), Some(0));
    assert_eq!(status(&["--bogus"]), Some(2));
    assert_eq!(status(&["check", "/nowhere"]), Some(1));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    assert_eq!(status(&["-l", &taken, "127.0.0.1:9"]), Some(1));
}

#[test]
fn a_log_that_takes_nothing_does_not_end_the_balancer() {
    // A full disk, or `evener | head`.
    let backend = Dummy::start("a");
    let port = RefusingPort::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(EVENER);
    command.args(["--admin", "off", "-l", &port.address().to_string()]);
    command.arg(backend.address().to_string()).stdout(full);
    let mut child = Killed(command.spawn().unwrap());
    eventually("it serves", || who_serves(port.address()).ok());
    for _ in 0..20 {
        assert_eq!(who_serves(port.address()).unwrap(), "a");
    }
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let status = eventually("its end", || child.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

/// A process that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_json_line_parses_and_a_sessions_line_has_every_field() {
    let mut backends = support::dummies(["a", "b"]);
    let named: Vec<String> = ["first", "second"]
        .iter()
        .zip(&backends)
        .map(|(name, backend)| format!("{{ name: {name}, address: \"{}\" }}", backend.address()))
        .collect();
    let check = "health_check: { interval: 50ms, timeout: 1s, fall: 1, rise: 1 }";
    let log = "log: { format: json, level: debug }";
    let (_dir, path) = file(&config(&named, &[check], &[log, "admin: off"]));
    let evener = Process::start(EVENER, &["--config", &path]);
    let line: Value = serde_json::from_str(&evener.wait_log("\"listening\"")).unwrap();
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    who_serves(address).unwrap();
    who_serves(address).unwrap();
    // A backend that stops earlier resets what is not quite over.
    evener.wait_log_count("session_ended", 2);
    backends.iter_mut().for_each(Dummy::stop);
    evener.wait_log_count("\"health\":\"down\"", 2);
    support::fate(address);
    evener.wait_log_count("session_ended", 3);
    evener.signal(Signal::TERM);
    assert_eq!(evener.wait_exit().code(), Some(0));

    let lines = evener.stdout();
    let events: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for event in &events {
        for key in ["time", "level", "event", "message"] {
            assert!(event[key].is_string(), "{key}: {event}");
        }
        assert!(humantime::parse_rfc3339(event["time"].as_str().unwrap()).is_ok());
        let level = event["level"].as_str().unwrap();
        assert!(
            ["error", "warn", "info", "debug"].contains(&level),
            "{event}"
        );
    }
    let of = |name: &str| -> Vec<&Value> { events.iter().filter(|e| e["event"] == name).collect() };
    for name in [
        "room",
        "health_check_starting",
        "listening",
        "health_changed",
        "session_started",
        "session_ended",
        "draining",
        "stopped",
    ] {
        assert!(!of(name).is_empty(), "no {name} in {lines:?}");
    }

    let ended = of("session_ended");
    let expected = [
        "time",
        "level",
        "event",
        "message",
        "id",
        "listener",
        "pool",
        "client",
        "via",
        "backend",
        "address",
        "bytes_in",
        "bytes_out",
        "connect_ms",
        "queue_ms",
        "duration_ms",
        "attempts",
        "failures",
        "hedge_won",
        "reason",
        "code",
        "detail",
        "client_rtt_ms",
        "server_rtt_ms",
        "sni",
        "client_retransmits",
        "server_retransmits",
        "cpu_ms",
    ];
    for session in &ended {
        let mut keys: Vec<&str> = session
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        keys.sort_unstable();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(keys, expected);
    }
    let first = ended.iter().find(|session| session["id"] == 1).unwrap();
    assert_eq!(
        (&first["listener"], &first["pool"]),
        (&"in".into(), &"p".into())
    );
    assert_eq!(first["backend"], "first");
    assert_eq!(first["address"], backends[0].address().to_string());
    assert!(
        first["client"]
            .as_str()
            .unwrap()
            .parse::<SocketAddr>()
            .is_ok()
    );
    assert_eq!(
        (&first["reason"], &first["code"]),
        (&"normal".into(), &"--".into())
    );
    assert_eq!(first["attempts"], 1);
    assert_eq!(first["failures"], serde_json::json!([]));
    assert!(first["bytes_in"].as_u64() > Some(0) && first["bytes_out"].as_u64() > Some(0));
    assert!(first["connect_ms"].is_number());
    assert!(first["duration_ms"].as_f64() >= first["connect_ms"].as_f64());
    let refused = ended.iter().find(|session| session["id"] == 3).unwrap();
    assert_eq!(
        (&refused["reason"], &refused["code"]),
        (&"no_backend".into(), &"SC".into())
    );
    for key in ["backend", "address", "connect_ms"] {
        assert!(refused[key].is_null(), "{refused}");
    }
}

/// What evener with this `log:` section writes in a short life with one good session, one session
/// that had to be tried again, and a backend that is down.
fn a_short_life(log: &str) -> Vec<String> {
    let good = Dummy::start("a");
    let (dead, port) = (RefusingPort::new(), RefusingPort::new());
    let backends = [dead.address(), good.address()];
    let check = "health_check: { interval: 1h, timeout: 1s }";
    // Nothing says when it listens at some levels, so its port is known before.
    let text = format!(
        "listeners:\n- {{ name: in, bind: \"{}\", pool: p }}\n- {{ name: raw, bind: \"127.0.0.1:0\", pool: q }}\n\
         pools:\n- {{ name: p, {check}, backends: [\"{}\", \"{}\"] }}\n\
         - {{ name: q, {OFF}, backends: [\"{}\"] }}\nlog: {{ {log} }}\nadmin: off\n",
        port.address(),
        backends[0],
        backends[1],
        backends[1],
    );
    let (_dir, path) = file(&text);
    let process = Process::start(EVENER, &["--config", &path]);
    eventually("it serves", || who_serves(port.address()).ok());
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit().code(), Some(0));
    assert_eq!(process.stderr(), [""; 0]);
    process.log()
}

#[test]
fn the_level_decides_what_is_written() {
    let has = |log: &[String], fragment: &str| log.iter().any(|line| line.contains(fragment));
    let at = |level: &str| a_short_life(&format!("level: {level}"));

    let debug = at("debug");
    for fragment in [
        " started listener=in",
        " is UP",
        " is DOWN",
        " ended: ",
        "stopped",
    ] {
        assert!(has(&debug, fragment), "{fragment}: {debug:?}");
    }
    let info = at("info");
    for fragment in [
        "Load Balancer started on",
        " is DOWN",
        " ended: ",
        "room for",
    ] {
        assert!(has(&info, fragment), "{fragment}: {info:?}");
    }
    // A backend that is up from the first probe on is no news.
    assert!(
        !has(&info, " is UP") && !has(&info, " started listener="),
        "{info:?}"
    );

    // A client that was turned away is worth a warning, and so is a backend that is down.
    let warn = at("warn");
    assert!(!warn.is_empty() && has(&warn, " is DOWN"), "{warn:?}");
    assert!(
        !has(&warn, ": normal ") && !has(&warn, "room for"),
        "{warn:?}"
    );
    assert_eq!(at("error"), [""; 0]);
}

#[test]
fn session_lines_can_be_left_out() {
    let log = a_short_life("connections: false, level: debug");
    assert!(
        !log.iter().any(|line| line.contains("session 1 ")),
        "{log:?}"
    );
    assert!(log.iter().any(|line| line.contains("is DOWN")), "{log:?}");
    assert!(log.iter().any(|line| line.ends_with("stopped")), "{log:?}");
}

#[test]
fn traffic_does_not_wait_for_whoever_reads_the_log() {
    // Each session runs into many dead backends before the good one, so that it writes many lines;
    // nobody reads them, and they are more than the pipe and evener's own queue hold.
    const SESSIONS: usize = 2_000;
    const DEAD: usize = 20;
    const LINES: usize = SESSIONS * (DEAD + 2);
    let good = Dummy::start("a");
    let dead: Vec<RefusingPort> = (0..DEAD).map(|_| RefusingPort::new()).collect();
    let mut backends: Vec<SocketAddr> = dead.iter().map(RefusingPort::address).collect();
    backends.push(good.address());
    let text = config(
        &backends,
        &[
            "balance: first",
            "retries: 20",
            OFF,
            "outlier_detection: off",
        ],
        &["log: { level: debug }", "admin: off"],
    );
    let (_dir, path) = file(&text);
    let mut command = Command::new(EVENER);
    command.args(["--config", &path]).stdout(Stdio::piped());
    let mut child = Killed(command.spawn().unwrap());
    let mut log = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let address = loop {
        let line = log.next().unwrap().unwrap();
        if let Some(address) = line.strip_prefix("Load Balancer started on ") {
            break address.parse().unwrap();
        }
    };

    for _ in 0..SESSIONS {
        assert_eq!(who_serves(address).unwrap(), "a");
    }
    // Now somebody reads again, and is told what there was no room for: nothing is lost unsaid.
    let (told, is_told) = crossbeam_channel::unbounded();
    let reader = std::thread::spawn(move || {
        let (mut written, mut dropped) = (0, 0);
        for line in log {
            let line = line.unwrap();
            if let Some((head, _)) = line.split_once(" log lines were dropped") {
                dropped += head.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
                told.send(()).unwrap();
            } else if line.contains("session ") {
                written += 1;
            }
        }
        (written, dropped)
    });
    let pid = rustix::process::Pid::from_child(&child.0);
    is_told.recv_timeout(support::DEADLINE).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let status = eventually("its end", || child.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    let (written, dropped) = reader.join().unwrap();
    assert!(dropped > 1000, "{written} written, {dropped} dropped");
    assert_eq!(written + dropped, LINES);
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let backend = Dummy::start("a");
    let evener = Evener::start(&config(&[backend.address()], &[OFF], &[]));
    for _ in 0..50 {
        who_serves(evener.address(0)).unwrap();
    }
    evener.signal(Signal::TERM);
    evener.wait_exit();
    assert_eq!(evener.lines_with(" ended: normal --").len(), 50);
    let last = evener.log().pop().unwrap();
    assert!(last.ends_with(" stopped"), "{last}");
}

#[test]
fn a_named_pipe_is_read_but_not_waited_for() {
    let (dir, path) = file(&config(&[Dummy::start("a").address()], &[], &[]));
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    // Nobody writes there: to wait for somebody would be for ever.
    let empty = Evener::command(&["check", pipe.to_str().unwrap()]);
    assert_eq!(empty.code, Some(1));
    assert!(empty.stderr.contains("the config is empty"), "{empty:?}");
    // What a shell's `<(…)` is.
    let command = format!("{EVENER} check <(cat {path})");
    let mut shell = Command::new("bash");
    let checked = shell.args(["-c", &command]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}
