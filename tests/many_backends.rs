//! Ten thousand backends with HTTP health checks, probed by a bounded number of threads: each gets its
//! turn, none is forgotten, and if a slow machine can't keep up, the log says so.
//!
//! One server on 0.0.0.0 is all of them, on as many addresses of 127.0.0.0/8. It counts the probes of
//! each address; nothing here looks at a clock but the deadline.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays the servers with plain std sockets"
)]

mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use support::{Admin, Evener, Server, connect, eventually_ok};

const BACKENDS: usize = 10_000;

/// How long the test may take on a machine that others use too. Ten rounds at the configured rate take
/// 20 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// Serves all addresses with a few threads that do one thing after the other: it is to be fast, so that
/// what is measured is evener.
struct Servers {
    port: u16,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

struct State {
    listener: TcpListener,
    probes: Vec<AtomicU32>,
    is_over: AtomicBool,
}

impl Servers {
    fn start() -> Servers {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        rustix::net::listen(&listener, 4096).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            listener,
            probes: (0..BACKENDS).map(|_| AtomicU32::new(0)).collect(),
            is_over: AtomicBool::new(false),
        });
        let worker = |_| {
            let state = Arc::clone(&state);
            thread::spawn(move || state.serve())
        };
        let threads = (0..8).map(worker).collect();
        Servers {
            port,
            state,
            threads,
        }
    }

    fn address(&self, index: usize) -> SocketAddr {
        let [_, _, high, low] = u32::try_from(index).unwrap().to_be_bytes();
        (Ipv4Addr::new(127, 1, high, low), self.port).into()
    }

    /// The fewest and the most probes that a backend had.
    fn counts(&self) -> (u32, u32) {
        let counts = || self.state.probes.iter().map(|count| count.load(Relaxed));
        (counts().min().unwrap(), counts().max().unwrap())
    }
}

impl State {
    fn serve(&self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.is_over.load(Relaxed) {
                return;
            }
            let _ = self.answer(stream);
        }
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut head = [0; 1024];
        let bytes = stream.read(&mut head)?;
        if !head[..bytes].ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        if let IpAddr::V4(ip) = stream.local_addr()?.ip() {
            let [_, _, high, low] = ip.octets();
            let index = usize::from(u16::from_be_bytes([high, low]));
            self.probes[index].fetch_add(1, Relaxed);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.state.is_over.store(true, Relaxed);
        let _ = rustix::net::shutdown(&self.state.listener, rustix::net::Shutdown::Both);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[test]
fn ten_thousand_backends_are_probed_in_turn_by_few_threads() {
    let servers = Servers::start();
    let mut config = String::from(
        "listeners: [{ bind: \"127.0.0.1:0\" }]\nadmin: { bind: \"127.0.0.1:0\" }\npools:\n  - health_check: \
         { type: http, interval: 2s, timeout: 8s }\n    backends:\n",
    );
    for index in 0..BACKENDS {
        let _ = writeln!(config, "      - \"{}\"", servers.address(index));
    }
    let begin = Instant::now();
    let evener = Evener::start(&config);
    let until_open = begin.elapsed();
    connect(evener.address(0));
    let mut most_threads = 0;
    eventually_ok("six probes of each backend", PATIENCE, || {
        most_threads = most_threads.max(evener.thread_names().len());
        let (fewest, most) = servers.counts();
        match fewest >= 6 {
            true => Ok(()),
            false => Err(format!("{fewest} to {most}")),
        }
    });
    let (fewest, most) = servers.counts();
    // What a person wants to know of a machine: `cargo test --test many_backends -- --nocapture`.
    let (needed, cpu) = (begin.elapsed(), evener.cpu_time());
    println!(
        "open after {until_open:?}, {fewest} to {most} probes of each after {needed:?}, {cpu:?} of CPU"
    );
    let metrics = Admin::of(&evener).get("/metrics").body;
    for line in metrics
        .lines()
        .filter(|line| line.starts_with("evener_health_check_delay"))
    {
        println!("{line}");
    }
    // In turn: who was early can be ahead by its jitter and by one turn, and nobody by more.
    assert!(most <= fewest + 3, "{fewest} to {most}");
    // 96 at once; but a thread whose probe has just ended may not have come to park yet.
    assert!(most_threads < 3 * 96, "{most_threads} threads");
    assert_eq!(evener.lines_with("is DOWN"), [""; 0]);
}

#[test]
fn servers_that_do_not_answer_make_probes_late_and_the_log_says_so() {
    // Each costs a thread for 300 ms: 96 threads ask 320 of them in a second, and 1,600 are asked for.
    let silent = Server::start_at((Ipv4Addr::UNSPECIFIED, 0).into());
    let servers = Servers::start();
    let mut config = String::from(
        "listeners: [{ bind: \"127.0.0.1:0\" }]\nadmin: { bind: \"127.0.0.1:0\" }\npools:\n  - health_check: \
         { type: http, interval: 100ms, timeout: 300ms }\n    backends:\n",
    );
    for low in 1..=160 {
        let _ = writeln!(
            config,
            "      - \"127.2.0.{low}:{}\"",
            silent.address().port()
        );
    }
    let good = servers.address(0);
    let _ = writeln!(config, "      - {{ name: good, address: \"{good}\" }}");
    let evener = Evener::start(&config);
    let line = evener.wait_log("health checks can't keep up");
    assert!(
        line.contains("with 96 at once; raise interval, or lower timeout"),
        "{line}"
    );
    // The one that answers still has its turn.
    let before = servers.state.probes[0].load(Relaxed);
    eventually_ok("ten more probes of the good one", PATIENCE, || {
        match servers.state.probes[0].load(Relaxed) >= before + 10 {
            true => Ok(()),
            false => Err("fewer"),
        }
    });
    assert_eq!(Admin::of(&evener).backend("good")["health"], "up");
    // Ten rounds of some 600 ms are less than the 10 s for which the log is spared.
    let lines = evener.lines_with("can't keep up").len();
    assert!(lines <= 3, "{lines} lines");
}
