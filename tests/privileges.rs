//! What is left of root's powers, and what is out of reach: as /proc tells of each thread, and as a try
//! shows. As root, the real thing; as anybody else, that evener says why it can't be.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients with plain std sockets"
)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use support::{Dummy, Evener, TempDir, eventually, http_get, who_serves};

/// Somebody who owns nothing. By number: that is the same everywhere.
const NOBODY: u32 = 65534;

/// A config over one dummy, with more lines.
fn config(dummy: &Dummy, more: &str) -> String {
    format!(
        "listeners: [{{ bind: \"127.0.0.1:0\" }}]\npools: [{{ backends: [\"{}\"] }}]\n{more}\n",
        dummy.address()
    )
}

/// Starts evener with this config, which takes root; others see it refused.
fn start_as_root(config: &str) -> Option<Evener> {
    if geteuid().is_root() {
        return Some(Evener::start(config));
    }
    let dir = TempDir::new();
    let file = dir.path().join("evener.yaml");
    fs::write(&file, config).unwrap();
    let ended = Evener::command(&["--config", file.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended
            .stderr
            .contains("start evener as root, or as that user")
    );
    None
}

/// What /proc says under this word of each thread of the process.
fn of_each_thread(evener: &Evener, word: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", evener.pid())).unwrap();
    // A thread may end meanwhile.
    let texts =
        tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok());
    let line = |text: String| {
        let mut lines = text
            .lines()
            .filter_map(|line| line.strip_prefix(word)?.strip_prefix(':'));
        lines
            .next()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    texts.map(line).collect()
}

fn assert_each_thread(evener: &Evener, word: &str, expected: &str) {
    let found = of_each_thread(evener, word);
    assert!(found.len() > 5, "{found:?}");
    assert!(
        found.iter().all(|found| found == expected),
        "{word}: {found:?}"
    );
}

#[test]
fn nothing_of_root_is_left_in_any_thread_and_clients_are_served() {
    let (dummy, dir) = (Dummy::start("a"), TempDir::new());
    let socket = dir.path().join("web.sock");
    let listeners = format!("[\"127.0.0.1:0\", \"unix:{}\"]", socket.display());
    let text = config(&dummy, &format!("user: {NOBODY}\ngroup: {NOBODY}"));
    let text = text.replace("\"127.0.0.1:0\"", &listeners);
    let Some(evener) = start_as_root(&text) else {
        return;
    };
    evener.wait_log("runs as user 65534 (uid 65534, gid 65534) from now on");
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    UnixStream::connect(&socket).unwrap();

    let all_four = [
        NOBODY.to_string(),
        NOBODY.to_string(),
        NOBODY.to_string(),
        NOBODY.to_string(),
    ];
    assert_each_thread(&evener, "Uid", &all_four.join(" "));
    assert_each_thread(&evener, "Gid", &all_four.join(" "));
    assert_each_thread(&evener, "Groups", "");
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_each_thread(&evener, set, "0000000000000000");
    }
    assert_each_thread(&evener, "NoNewPrivs", "1");
    // Its socket is its own, so that it can still be told another mode.
    assert_eq!(fs::metadata(&socket).unwrap().uid(), NOBODY);

    // A directory in which nobody may make a socket.
    let other = dir.path().join("other.sock").display().to_string();
    evener.rewrite_config(&text.replace(&socket.display().to_string(), &other));
    evener.signal(Signal::HUP);
    evener.wait_log("the new config is not taken");
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    evener.rewrite_config(&text.replace(
        "backends: [",
        "backends: [{ address: \"127.0.0.1:9\", weight: 0 }, ",
    ));
    evener.signal(Signal::HUP);
    evener.wait_log("config reloaded, changes: 1");
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    evener.signal(Signal::TERM);
    assert_eq!(evener.wait_exit().code(), Some(0));
}

#[test]
fn speaking_from_foreign_addresses_is_the_one_privilege_that_may_stay() {
    let dummy = Dummy::start("a");
    let more = format!("user: {NOBODY}\ngroup: {NOBODY}");
    let text = config(&dummy, &more).replace("] }]", "], socket: { transparent: true } }]");
    let Some(evener) = start_as_root(&text) else {
        return;
    };
    evener.wait_log("with CAP_NET_RAW for `transparent`");
    let of_process = fs::read_to_string(format!("/proc/{}/status", evener.pid())).unwrap();
    assert!(
        of_process.contains("\nCapEff:\t0000000000002000\n"),
        "{of_process}"
    );
    // Its own address is one that the client's may be.
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
}

#[test]
fn a_new_version_takes_over_without_being_root() {
    let (dummy, port) = (Dummy::start("a"), support::RefusingPort::new());
    let text = config(&dummy, &format!("user: {NOBODY}\ngroup: {NOBODY}"));
    let text = text.replace("127.0.0.1:0", &port.address().to_string());
    let Some(evener) = start_as_root(&text) else {
        return;
    };
    evener.signal(Signal::USR2);
    let line = evener.wait_log("serves now, and this one drains");
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "process").unwrap() + 1;
    let new = Pid::from_raw(words[at].parse().unwrap()).unwrap();
    assert_eq!(
        eventually("the end of the old process", || evener.exit_status()).code(),
        Some(0)
    );
    assert_eq!(who_serves(port.address()).unwrap(), "a");
    let status = fs::read_to_string(format!("/proc/{}/status", new.as_raw_nonzero())).unwrap();
    kill_process(new, Signal::TERM).unwrap();
    assert!(
        status.contains("\nUid:\t65534\t65534\t65534\t65534\n"),
        "{status}"
    );
    eventually("the end of the new process", || {
        let gone = !PathBuf::from(format!("/proc/{}/exe", new.as_raw_nonzero())).exists();
        gone.then_some(())
    });
}

#[test]
fn who_is_not_root_stays_who_it_is() {
    let (dummy, dir) = (Dummy::start("a"), TempDir::new());
    let program = dir.path().join("evener");
    fs::copy(env!("CARGO_BIN_EXE_evener"), &program).unwrap();
    let file = dir.path().join("evener.yaml");
    // As one who may do nothing to be somebody else; for root that takes a step down first.
    let command = || {
        let mut command = Command::new(&program);
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.arg("--config").arg(&file);
        command
    };
    let me = if geteuid().is_root() {
        NOBODY
    } else {
        geteuid().as_raw()
    };

    fs::write(&file, config(&dummy, "admin: off\nuser: 1\ngroup: 1")).unwrap();
    let refused = command().output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr),
        "error: can't become user 1: Operation not permitted (os error 1); \
         start evener as root, or as that user, or leave out `user`\n"
    );

    let group = rustix::process::getegid().as_raw();
    let group = if geteuid().is_root() { NOBODY } else { group };
    let own = format!("admin: off\nuser: {me}\ngroup: {group}");
    fs::write(&file, config(&dummy, &own)).unwrap();
    let evener = Evener::spawn(&mut command());
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    assert!(evener.lines_with("runs as user").is_empty());
}

#[test]
fn an_unknown_user_is_refused_before_anything_is_served() {
    let (dummy, dir) = (Dummy::start("a"), TempDir::new());
    let file = dir.path().join("evener.yaml");
    for (user, message) in [
        (
            "user: nobody-of-that-name",
            "user nobody-of-that-name: there is no such user",
        ),
        (
            "user: root\ngroup: no-such-group",
            "group no-such-group: there is no such group",
        ),
        ("user: 4123456", "user 4123456 is not in the user database"),
    ] {
        fs::write(&file, config(&dummy, &format!("admin: off\n{user}"))).unwrap();
        let ended = Evener::command(&["--config", file.to_str().unwrap()]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
        assert!(!ended.stdout.contains("Load Balancer started"));
    }
}

#[test]
fn the_sandbox_holds_in_every_thread_and_reloads_go_on() {
    let (dummy, outside) = (Dummy::start("a"), TempDir::new());
    let token = outside.path().join("token");
    fs::write(&token, "a-token-of-enough-length").unwrap();
    fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    let text = config(
        &dummy,
        "sandbox: required\nadmin: { bind: \"127.0.0.1:0\" }",
    );
    let evener = Evener::start(&text);
    evener
        .wait_log("sandbox: files and system calls that evener does not need are out of its reach");
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    assert_each_thread(&evener, "Seccomp", "2");
    assert_each_thread(&evener, "NoNewPrivs", "1");

    // No program: not even its own.
    evener.signal(Signal::USR2);
    evener.wait_log("the sandbox lets evener start no program; restart it");
    // No file that was not within its reach when it started.
    let line = format!(
        "admin: {{ bind: \"127.0.0.1:0\", token_file: {} }}",
        token.display()
    );
    let more = text.replace("admin: { bind: \"127.0.0.1:0\" }", &line);
    evener.rewrite_config(&more);
    evener.signal(Signal::HUP);
    let refused = evener.wait_log("the new config is not taken");
    assert!(refused.contains("Permission denied"), "{refused}");
    // But what it needs: its config, host names, /proc.
    evener.rewrite_config(&text.replace(
        "backends: [",
        "backends: [{ address: \"localhost:9\", weight: 0 }, ",
    ));
    evener.signal(Signal::HUP);
    evener.wait_log("config reloaded, changes: 1");
    assert_eq!(evener.lines_with("does not resolve"), [""; 0]);
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    let address = evener.address_after("admin server at http://", 0);
    http_get(address).unwrap();
    evener.signal(Signal::TERM);
    assert_eq!(evener.wait_exit().code(), Some(0));
}

#[test]
fn no_new_privileges_is_not_a_matter_of_the_config() {
    let dummy = Dummy::start("a");
    let evener = Evener::start(&config(&dummy, ""));
    assert_each_thread(&evener, "NoNewPrivs", "1");
    assert_each_thread(&evener, "Seccomp", &own_seccomp());
}

/// The mode of this process, which a container may have set.
fn own_seccomp() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    line.unwrap().trim().to_string()
}
