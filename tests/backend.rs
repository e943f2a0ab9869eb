//! The program `backend` from outside: what it says, each fault over real sockets, its exit codes,
//! and that it survives running out of descriptors.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests use plain std sockets, and a panic is how they fail"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use support::{
    DEADLINE, End, Finished, Process, connect, eventually, http_get, is_reset, is_silent_for,
    read_some, read_until_end, reset, run, try_connect,
};

const BACKEND: &str = env!("CARGO_BIN_EXE_backend");

/// Starts `backend 0 FLAGS` and waits until it has said its port.
fn start(flags: &[&str]) -> (Process, SocketAddr) {
    let mut arguments = vec!["0"];
    arguments.extend(flags);
    let process = Process::start(BACKEND, &arguments);
    let line = process.wait_log("Backend Server started on port: ");
    let port: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();
    (process, ([127, 0, 0, 1], port).into())
}

/// Sends `request` and returns what comes back until the end, and how it ended.
fn ask(address: SocketAddr, request: &str) -> (String, End) {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let (bytes, end) = read_until_end(&stream);
    (String::from_utf8(bytes).unwrap(), end)
}

/// One whole answer from a connection that lives on.
fn answer(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    while !text.contains("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0].into());
    }
    let length = text.split_once("Content-Length: ").unwrap().1;
    let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    text + str::from_utf8(&body).unwrap()
}

#[test]
fn it_greets_over_http_1_0_and_1_1() {
    let (_backend, address) = start(&[]);
    let greeting = format!("Hello from Backend Server on port: {}\n", address.port());
    assert_eq!(http_get(address).unwrap(), greeting);

    // 1.0 closes after the answer, 1.1 stays open until it is told to close.
    let (text, end) = ask(address, "GET / HTTP/1.0\r\n\r\n");
    assert!(
        text.ends_with(&format!("Connection: close\r\n\r\n{greeting}")),
        "{text}"
    );
    assert_eq!(end, End::Fin);

    let mut stream = connect(address);
    for _ in 0..3 {
        stream.write_all(b"GET /x HTTP/1.1\r\n\r\n").unwrap();
        let text = answer(&stream);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(
            text.ends_with(&format!("Connection: keep-alive\r\n\r\n{greeting}")),
            "{text}"
        );
    }
    stream
        .write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        .unwrap();
    let (text, end) = read_until_end(&stream);
    assert!(text.ends_with(greeting.as_bytes()));
    assert_eq!(end, End::Fin);
}

#[test]
fn name_bind_and_banner() {
    let (_backend, address) = start(&["--name", "blue"]);
    let greeting = "Hello from Backend Server on port: blue\n";
    assert_eq!(http_get(address).unwrap(), greeting);

    let (_backend, address) = start(&["--bind=::1", "--banner=220 hi", "--close"]);
    let address = SocketAddr::new("::1".parse().unwrap(), address.port());
    assert_eq!(ask(address, ""), ("220 hi\n".into(), End::Fin));
}

#[test]
fn a_status_is_answered_instead_of_200() {
    let (_backend, address) = start(&["--status", "503"]);
    let (text, end) = ask(address, "GET / HTTP/1.0\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(text.contains("Hello"), "{text}");
    assert_eq!(end, End::Fin);
}

#[test]
fn proxy_names_the_client_of_the_header() {
    let (_backend, address) = start(&["--name", "blue", "--proxy"]);
    let (answer, _) = ask(
        address,
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\nGET / HTTP/1.0\r\n\r\n",
    );
    let greeting = "Hello from Backend Server on port: blue\nClient: 192.0.2.1:5000\n";
    assert!(answer.ends_with(greeting), "{answer}");
}

#[test]
fn delay_comes_before_every_answer() {
    let (_backend, address) = start(&["--delay", "50ms"]);
    let before = Instant::now();
    let (text, _) = ask(
        address,
        "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(text.matches("Hello").count(), 2, "{text}");
    assert!(before.elapsed() >= Duration::from_millis(100));
}

#[test]
fn echo_reset_close_and_hang() {
    let (_backend, address) = start(&["--echo"]);
    let mut stream = connect(address);
    stream.write_all(b"over and out").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        read_until_end(&stream),
        (b"over and out".to_vec(), End::Fin)
    );

    let (_backend, address) = start(&["--reset"]);
    let read = try_connect(address).and_then(|stream| read_some(&stream, &mut [0]));
    assert!(is_reset(&read), "{read:?}");

    let (_backend, address) = start(&["--close"]);
    assert_eq!(ask(address, "unheard"), (String::new(), End::Fin));

    let (_backend, address) = start(&["--hang"]);
    let mut stream = connect(address);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(is_silent_for(&stream, Duration::from_millis(100)));
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = run(BACKEND, &["--help"]);
    assert_eq!(help.code, Some(0));
    for flag in [
        "PORT", "--bind", "--name", "--banner", "--proxy", "--status", "--delay", "--echo",
        "--reset", "--close", "--hang",
    ] {
        assert!(help.stdout.contains(flag), "{flag} in {}", help.stdout);
    }
    let version = run(BACKEND, &["-V"]);
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn bad_arguments_are_named_with_exit_code_2() {
    let cases: [(&[&str], &str); 11] = [
        (&[], "PORT"),
        (&["http"], "\"http\""),
        (&["65536"], "65536"),
        (&["8000", "8001"], "8001"),
        (&["8000", "--frobnicate"], "--frobnicate"),
        (&["8000", "--bind", "localhost"], "--bind"),
        (&["8000", "--delay", "200"], "--delay"),
        (&["8000", "--delay"], "--delay"),
        (&["8000", "--status", "200"], "400 to 599"),
        (&["8000", "--echo=yes"], "yes"),
        (&["8000", "--echo", "--hang"], "--echo and --hang"),
    ];
    for (arguments, named) in cases {
        let Finished {
            code,
            stdout,
            stderr,
        } = run(BACKEND, arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.starts_with("error: "), "{stderr}");
        assert!(stderr.contains(named), "{named} in {stderr}");
        assert!(stderr.ends_with(", try backend --help\n"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn an_address_it_cannot_listen_on_is_explained_with_exit_code_1() {
    let (_backend, address) = start(&[]);
    let second = run(BACKEND, &[&address.port().to_string()]);
    assert_eq!(second.code, Some(1));
    let expected = format!("error: can't listen on {address}: address in use");
    assert!(second.stderr.starts_with(&expected), "{}", second.stderr);
    assert!(second.stderr.contains(", try "), "{}", second.stderr);

    // TEST-NET-3: no machine has it.
    let elsewhere = run(BACKEND, &["0", "--bind", "203.0.113.1"]);
    assert_eq!(elsewhere.code, Some(1));
    assert!(
        elsewhere.stderr.contains("no network interface"),
        "{}",
        elsewhere.stderr
    );
}

#[test]
fn signals_end_it_with_exit_code_0_whatever_its_connections_do() {
    for signal in [Signal::TERM, Signal::INT] {
        for flags in [&["--delay", "1h"][..], &["--hang"][..]] {
            let (backend, address) = start(flags);
            let mut stream = connect(address);
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            backend.signal(signal);
            assert_eq!(backend.wait_exit().code(), Some(0));
            assert_eq!(read_until_end(&stream), (Vec::new(), End::Reset));
        }
    }
}

/// With the descriptors used up, accept fails for as long as connections wait. The program has to
/// say so once, rest between its attempts, and go on when descriptors are free again.
#[test]
fn it_survives_running_out_of_descriptors() {
    let (backend, address) = start(&[]);
    let baseline = backend.baseline().serving(address);
    set_descriptors_max(&backend, 16);
    let clients: Vec<TcpStream> = (0..32).map(|_| connect(address)).collect();
    backend.wait_log("can't accept: Too many open files");

    // Not a wait for something: the time over which the CPU's share is measured.
    let before = cpu_ticks(&backend);
    std::thread::sleep(Duration::from_millis(500));
    let used = cpu_ticks(&backend) - before;
    assert!(used <= 10, "{used} ticks of 10 ms in half a second: a spin");
    assert_eq!(backend.lines_with("can't accept").len(), 1);

    for client in clients {
        reset(client);
    }
    backend.check_invariants(&baseline);
}

fn set_descriptors_max(process: &Process, max: u64) {
    let pid = Pid::from_raw(process.pid().cast_signed());
    let limit = Rlimit {
        current: Some(max),
        maximum: Some(max),
    };
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

/// CPU time of the process, user and system: fields 14 and 15 of proc_pid_stat(5).
fn cpu_ticks(process: &Process) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let fields = after_name.split(' ').skip(11).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}

/// The dummy keeps to the invariants that it is used to check in others.
#[test]
fn nothing_is_left_of_a_burst_of_connections() {
    for flags in [&[][..], &["--echo"], &["--reset"], &["--close"]] {
        let (backend, address) = start(flags);
        let mut baseline = backend.baseline();
        if flags.is_empty() {
            baseline = baseline.serving(address);
        }
        // Connecting to `--reset` may fail, and so may writing.
        let streams: Vec<TcpStream> = (0..200).filter_map(|_| try_connect(address).ok()).collect();
        for (index, mut stream) in streams.into_iter().enumerate() {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
            if index % 2 == 0 {
                reset(stream);
            }
        }
        backend.check_invariants(&baseline);
    }
}

#[test]
fn it_is_up_again_at_once_on_the_same_port() {
    let (first, address) = start(&["--close"]);
    // Closed by the server first: its port has a connection in TIME_WAIT.
    assert_eq!(ask(address, ""), (String::new(), End::Fin));
    drop(first);
    let port = address.port().to_string();
    let second = Process::start(BACKEND, &[&port]);
    second.wait_log(&format!("Backend Server started on port: {port}"));
    let before = Instant::now();
    eventually("the greeting", || http_get(address).ok());
    assert!(before.elapsed() < DEADLINE);
}
