//! The harness itself: it has to see what it is there to see, and its helpers do what they say.
//! A check that can't fail checks nothing.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests use plain std sockets, and a panic is how they fail"
)]

mod support;

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use evener::dummy::{Backend, Options};
use rustix::process::Signal;
use support::{
    BlackHole, End, Evener, Process, RefusingPort, Server, TempDir, connect, eventually,
    eventually_ok, http_get, is_reset, is_silent_for, read_some, read_to_end_with_deadline,
    read_until_end, reset, run,
};

/// What a panic of `body` says. The panic message is printed too; that is not a failure.
fn complaint(body: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(body)).expect_err("it should have complained");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

fn shell(script: &str) -> Process {
    Process::start("sh", &["-c", script])
}

#[test]
fn waiting_returns_what_came_and_says_what_did_not() {
    let mut looks = 0;
    let found = eventually("the third look", || {
        looks += 1;
        (looks == 3).then_some("here")
    });
    assert_eq!(found, "here");

    let text = complaint(|| {
        eventually_ok::<(), _>("a miracle", Duration::from_millis(10), || Err("none seen"));
    });
    assert!(
        text.contains("a miracle") && text.contains("none seen"),
        "{text}"
    );
}

#[test]
fn the_log_has_both_streams_and_is_waited_for() {
    let process = shell("echo one; echo two >&2; printf 'no newline'; exec sleep 60");
    process.wait_log("one");
    process.wait_log("two");
    assert_eq!(process.stderr(), ["two"]);
    assert!(process.is_alive());
    process.signal(Signal::TERM);
    assert!(!process.wait_exit().success());
    // Without a newline a line ends with the process.
    assert_eq!(process.wait_log("no new"), "no newline");
}

#[test]
fn waiting_for_a_line_fails_at_once_when_the_process_has_ended() {
    let process = shell("echo first; exit 3");
    assert_eq!(process.wait_exit().code(), Some(3));
    assert_eq!(process.wait_log("first"), "first");
    let text = complaint(|| drop(process.wait_log("second")));
    assert!(
        text.contains("ended before") && text.contains("second"),
        "{text}"
    );
    let text = complaint(|| process.signal(Signal::TERM));
    assert!(text.contains("ended before"), "{text}");
}

#[test]
fn a_program_can_be_run_to_its_end() {
    let finished = run("sh", &["-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(finished.code, Some(7));
    assert_eq!(
        (finished.stdout.as_str(), finished.stderr.as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn a_dropped_process_is_dead_and_a_dropped_directory_is_gone() {
    let process = shell("exec sleep 60");
    let proc = format!("/proc/{}", process.pid());
    drop(process);
    assert!(!std::fs::exists(&proc).unwrap());

    let dir = TempDir::new();
    let path = dir.path().to_path_buf();
    std::fs::write(path.join("file"), "x").unwrap();
    drop(dir);
    assert!(!path.exists());
}

/// Each invariant, broken on purpose.
#[test]
fn the_invariants_are_seen_to_break() {
    let backend = Process::start(env!("CARGO_BIN_EXE_backend"), &["0", "--hang"]);
    let line = backend.wait_log("started on port: ");
    let port: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();
    let idle = backend.baseline();
    assert_eq!(backend.broken_invariant(&idle), Ok(()));

    let client = connect(([127, 0, 0, 1], port).into());
    // The descriptor comes first; whoever has the thread has both.
    eventually("a complaint about threads", || {
        let why = backend.broken_invariant(&idle).err()?;
        why.contains("threads").then_some(())
    });

    // Its own baseline forgives what the connection holds, but not the wait for a close.
    let busy = backend.baseline();
    assert_eq!(backend.broken_invariant(&busy), Ok(()));
    client.shutdown(Shutdown::Write).unwrap();
    let why = eventually("CLOSE_WAIT", || backend.broken_invariant(&busy).err());
    assert!(why.contains("CLOSE_WAIT"), "{why}");

    reset(client);
    backend.check_invariants(&idle);

    let nobody = RefusingPort::new();
    let deaf = idle.clone().serving(nobody.address());
    let why = backend.broken_service(&deaf).unwrap_err();
    assert!(why.contains("doesn't serve"), "{why}");

    backend.signal(Signal::TERM);
    backend.wait_exit();
    let why = backend.broken_invariant(&idle).unwrap_err();
    assert!(why.contains("has ended"), "{why}");

    let panicky = shell("echo \"thread 'x' panicked at y\" >&2; exec sleep 60");
    panicky.wait_log("panicked");
    let why = panicky.broken_invariant(&panicky.baseline()).unwrap_err();
    assert!(why.contains("a panic"), "{why}");
}

#[test]
fn a_server_hands_over_its_connections_and_comes_back() {
    let server = Server::start();
    let address = server.address();
    assert!(server.accept_within(Duration::from_millis(20)).is_none());
    let mut client = connect(address);
    let mut accepted = server.accept();
    assert!(is_silent_for(&accepted, Duration::from_millis(20)));
    client.write_all(b"hi").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end_with_deadline(&accepted).unwrap(), b"hi");
    accepted.write_all(b"ho").unwrap();
    drop(accepted);
    assert_eq!(read_until_end(&client), (b"ho".to_vec(), End::Fin));

    drop(server);
    let server = Server::start_at(address);
    let _client = connect(address);
    server.accept();
}

#[test]
fn a_reset_is_told_from_a_fin_and_loses_nothing_before_it() {
    let server = Server::start();
    let client = connect(server.address());
    let mut accepted = server.accept();
    accepted.write_all(b"last words").unwrap();
    // The client's kernel has them; only then the RST can't overtake them.
    eventually("the words", || {
        (client.peek(&mut [0; 16]).unwrap() == 10).then_some(())
    });
    reset(accepted);
    assert_eq!(
        read_until_end(&client),
        (b"last words".to_vec(), End::Reset)
    );

    let client = connect(server.address());
    reset(server.accept());
    assert!(is_reset(&read_some(&client, &mut [0])));
    let client = connect(server.address());
    drop(server.accept());
    assert!(!is_reset(&read_some(&client, &mut [0])));
}

#[test]
fn http_get_gives_the_body_of_a_whole_answer_only() {
    let backend = Backend::start(Options::default()).unwrap();
    let body = http_get(backend.address()).unwrap();
    assert!(body.starts_with("Hello from"), "{body}");

    let server = Server::start();
    for answer in [
        "",
        "HTTP/1.1 503 Busy\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
    ] {
        std::thread::scope(|scope| {
            let get = scope.spawn(|| http_get(server.address()));
            let mut accepted = server.accept();
            accepted.write_all(answer.as_bytes()).unwrap();
            accepted.shutdown(Shutdown::Write).unwrap();
            let error = get.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{answer:?}");
        });
    }
}

#[test]
fn one_address_refuses_and_another_is_silent() {
    let limit = Duration::from_millis(300);
    let refusing = RefusingPort::new();
    let error = TcpStream::connect_timeout(&refusing.address(), limit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let silent = BlackHole::new();
    let error = TcpStream::connect_timeout(&silent.address(), limit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

/// The balancer itself under the harness: two addresses in order, a session counted in the log,
/// the invariants, a clean end.
#[test]
fn evener_is_started_watched_and_ended() {
    let backend = Backend::start(Options::default()).unwrap();
    let evener = Evener::start(&format!(
        "listeners:
  - {{ name: web, bind: ['127.0.0.1:0', '127.0.0.1:0'], pool: web }}
pools:
  - name: web
    health_check: off
    backends: ['{}']
",
        backend.address()
    ));
    let (one, two) = (evener.address(0), evener.address(1));
    assert_ne!(one, two);
    let baseline = evener.baseline().serving(two);
    assert!(http_get(one).unwrap().starts_with("Hello from"));
    evener.wait_log("session 1 ");
    evener.check_invariants(&baseline);
    evener.signal(Signal::TERM);
    assert_eq!(evener.wait_exit().code(), Some(0));

    let version = Evener::command(&["--version"]);
    assert_eq!(version.code, Some(0));
}
