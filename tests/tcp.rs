//! The TCP table of the README, row by row, through the real binary: what a client and a backend
//! see when the other side ends, breaks off, falls silent or reads slowly.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays client and backend with plain std sockets"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{
    Baseline, BlackHole, End, Evener, RefusingPort, Server, connect, eventually, is_reset,
    read_to_end_with_deadline, read_until_end, reset, try_connect,
};

/// evener in front of one server that the test plays itself, without health checks, which would be
/// connections too.
struct Rig {
    evener: Evener,
    server: Server,
    baseline: Baseline,
}

impl Rig {
    fn new() -> Rig {
        Rig::with_timeouts("connect: 5s")
    }

    fn with_timeouts(timeouts: &str) -> Rig {
        let server = Server::start();
        let evener = Evener::start(&config(&[server.address()], "", timeouts));
        let baseline = evener.baseline();
        Rig {
            evener,
            server,
            baseline,
        }
    }

    /// A client's connection and the backend's end of the session.
    fn session(&self) -> (TcpStream, TcpStream) {
        let client = connect(self.evener.address(0));
        (client, self.server.accept())
    }

    /// Waits for the session's line in the log, checks how it ended, and the invariants.
    #[track_caller]
    fn ended(&self, reason: &str) -> String {
        let line = self.evener.wait_log(" ended: ");
        assert!(
            line.contains(&format!(" ended: {reason} ")),
            "expected {reason}: {line}"
        );
        self.evener.check_invariants(&self.baseline);
        line
    }
}

/// A config without health checks over these backends, with one more line for the pool.
fn config(backends: &[SocketAddr], pool: &str, timeouts: &str) -> String {
    let timeouts = format!("timeouts: {{ {timeouts} }}");
    support::config(backends, &["health_check: off", pool], &[&timeouts])
}

/// Bytes that are not all alike, so that a lost, doubled or moved piece shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + n / 251) as u8).collect()
}

fn half_close(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}

/// How long a reader keeps its peer waiting to be called slow; long enough to fill the buffers.
const SLOWNESS: Duration = Duration::from_millis(300);

#[test]
fn a_fin_is_passed_on_and_the_other_direction_lives_on() {
    let rig = Rig::new();
    let (mut client, mut backend) = rig.session();
    client.write_all(b"question").unwrap();
    half_close(&client);
    assert_eq!(read_to_end_with_deadline(&backend).unwrap(), b"question");
    let answer = pattern(200_000);
    backend.write_all(&answer).unwrap();
    half_close(&backend);
    assert_eq!(read_to_end_with_deadline(&client).unwrap(), answer);
    let line = rig.ended("normal --");
    assert!(line.contains("in=8B out=200000B"), "{line}");
}

#[test]
fn the_backend_may_end_first_as_well() {
    let rig = Rig::new();
    let (mut client, mut backend) = rig.session();
    backend.write_all(b"goodbye").unwrap();
    half_close(&backend);
    assert_eq!(read_to_end_with_deadline(&client).unwrap(), b"goodbye");
    let upload = pattern(200_000);
    client.write_all(&upload).unwrap();
    half_close(&client);
    assert_eq!(read_to_end_with_deadline(&backend).unwrap(), upload);
    rig.ended("normal --");
}

#[test]
fn four_megabytes_both_ways_at_once_arrive_whole() {
    let rig = Rig::new();
    for round in 0..10 {
        let (client, backend) = rig.session();
        let data = pattern(4 << 20);
        thread::scope(|scope| {
            for stream in [&client, &backend] {
                let data = &data;
                scope.spawn(move || {
                    (&mut &*stream).write_all(data).unwrap();
                    half_close(stream);
                });
            }
            let other = scope.spawn(|| read_to_end_with_deadline(&backend).unwrap());
            assert!(
                read_to_end_with_deadline(&client).unwrap() == data,
                "round {round}: to the client"
            );
            assert!(
                other.join().unwrap() == data,
                "round {round}: to the backend"
            );
        });
    }
    rig.evener
        .wait_log_count("normal -- listener=in pool=p in=4194304B out=4194304B", 10);
    rig.evener.check_invariants(&rig.baseline);
}

#[test]
fn a_server_may_speak_first() {
    let rig = Rig::new();
    let (mut client, mut backend) = rig.session();
    backend.write_all(b"220 ready\r\n").unwrap();
    let mut greeting = [0; 11];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
    drop((client, backend));
    rig.ended("normal --");
}

#[test]
fn a_clients_reset_reaches_the_backend_after_what_came_before() {
    let rig = Rig::new();
    let (mut client, backend) = rig.session();
    client.write_all(b"half a").unwrap();
    // Written and then reset at once, it would be lost on the client's own machine.
    let mut seen = [0; 6];
    (&backend).read_exact(&mut seen).unwrap();
    reset(client);
    assert_eq!(read_until_end(&backend), (Vec::new(), End::Reset));
    rig.ended("client_reset CD");
}

#[test]
fn a_backends_reset_reaches_the_client_after_what_came_before() {
    let rig = Rig::new();
    let (mut client, mut backend) = rig.session();
    backend.write_all(b"half an").unwrap();
    let mut seen = [0; 7];
    client.read_exact(&mut seen).unwrap();
    reset(backend);
    assert_eq!(read_until_end(&client), (Vec::new(), End::Reset));
    rig.ended("server_reset SD");
}

#[test]
fn what_a_slow_reader_has_not_read_yet_arrives_before_the_reset() {
    let rig = Rig::new();
    let (client, backend) = rig.session();
    let data = pattern(1_000_000);
    (&backend).write_all(&data).unwrap();
    // All of it has left the backend's machine when it resets.
    eventually("the backend's bytes are out", || {
        evener_sys::tcp_info(&backend)
            .unwrap()
            .is_delivered()
            .then_some(())
    });
    reset(backend);
    let (received, end) = read_until_end(&client);
    assert_eq!((received.len(), end), (data.len(), End::Reset));
    assert!(received == data);
    rig.ended("server_reset SD");
}

#[test]
fn a_reset_is_not_hidden_by_bytes_on_the_way_to_the_one_who_reset() {
    // The backend resets while evener writes to it: the writing thread notices first, and takes the
    // error away from the reading thread.
    let rig = Rig::new();
    for _ in 0..20 {
        let (client, backend) = rig.session();
        client.set_nonblocking(true).unwrap();
        let mut writer = &client;
        let filler = vec![1; 65536];
        while writer.write(&filler).is_ok() {}
        // Reset any earlier, it could still be the connect that fails, which is tried again.
        (&backend).read_exact(&mut [0; 1]).unwrap();
        reset(backend);
        client.set_nonblocking(false).unwrap();
        assert_eq!(read_until_end(&client).1, End::Reset);
    }
    rig.evener.wait_log_count("server_reset SD", 20);
    rig.evener.check_invariants(&rig.baseline);
}

#[test]
fn closing_with_unread_bytes_resets_the_other_side_too() {
    let rig = Rig::new();
    let (client, mut backend) = rig.session();
    backend.write_all(b"never read").unwrap();
    let mut one = [0; 1];
    client.peek(&mut one).unwrap();
    drop(client);
    assert_eq!(read_until_end(&backend).1, End::Reset);
    rig.ended("client_reset CD");
}

#[test]
fn silence_in_both_directions_ends_the_session() {
    let rig = Rig::with_timeouts("idle: 300ms");
    let begin = Instant::now();
    let (client, backend) = rig.session();
    assert_eq!(read_until_end(&client), (Vec::new(), End::Fin));
    assert!(
        begin.elapsed() >= Duration::from_millis(300),
        "too early: {:?}",
        begin.elapsed()
    );
    assert_eq!(read_until_end(&backend), (Vec::new(), End::Fin));
    rig.ended("idle_timeout cD");
}

#[test]
fn a_one_way_download_is_not_idle() {
    let rig = Rig::with_timeouts("idle: 300ms");
    let (client, mut backend) = rig.session();
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed() < Duration::from_millis(1200) {
        backend.write_all(b".").unwrap();
        sent += 1;
        thread::sleep(Duration::from_millis(20));
    }
    half_close(&backend);
    assert_eq!(read_to_end_with_deadline(&client).unwrap().len(), sent);
    half_close(&client);
    rig.ended("normal --");
}

#[test]
fn half_closed_silence_ends_after_its_own_timeout() {
    let rig = Rig::with_timeouts("half_close: 300ms");
    let (client, backend) = rig.session();
    half_close(&client);
    assert_eq!(read_until_end(&backend), (Vec::new(), End::Fin));
    let begin = Instant::now();
    assert_eq!(read_until_end(&client), (Vec::new(), End::Fin));
    assert!(
        begin.elapsed() >= Duration::from_millis(200),
        "too early: {:?}",
        begin.elapsed()
    );
    rig.ended("half_close_timeout sD");
}

#[test]
fn a_slow_reader_is_not_cut_off_by_the_half_close_timeout() {
    // Everything, the FIN too, is in the kernel's buffers, and evener itself moves no byte any more.
    let rig = Rig::with_timeouts("half_close: 400ms");
    let (mut client, backend) = rig.session();
    // A small window, or the client's own kernel would take everything at once.
    rustix::net::sockopt::set_socket_recv_buffer_size(&client, 64 << 10).unwrap();
    let data = pattern(2 << 20);
    thread::scope(|scope| {
        scope.spawn(|| {
            (&backend).write_all(&data).unwrap();
            half_close(&backend);
        });
        let mut received = Vec::new();
        let mut piece = vec![0; 128 << 10];
        while received.len() < data.len() {
            thread::sleep(SLOWNESS / 3);
            let bytes = client.read(&mut piece).unwrap();
            assert!(bytes > 0, "cut off after {} bytes", received.len());
            received.extend_from_slice(&piece[..bytes]);
        }
        assert!(received == data);
        assert_eq!(read_until_end(&client), (Vec::new(), End::Fin));
    });
    half_close(&client);
    rig.ended("normal --");
}

#[test]
fn a_reader_that_has_stopped_is_reset_after_the_timeout() {
    let rig = Rig::with_timeouts("idle: 300ms");
    let (client, mut backend) = rig.session();
    // Writes until nothing more fits anywhere, which has to come, since evener's memory is bounded;
    // then it blocks, until evener gives the session up.
    let filler = vec![1; 65536];
    let mut sent = 0;
    let end = loop {
        match backend.write(&filler) {
            Ok(bytes) => sent += bytes,
            Err(error) => break error,
        }
        assert!(sent < 64 << 20, "{sent} bytes and still no end");
    };
    assert!(is_reset::<()>(&Err(end)));
    drop(client);
    rig.ended("idle_timeout cD");
}

#[test]
fn an_urgent_byte_truncates_nothing_either_way() {
    let rig = Rig::new();
    let (client, backend) = rig.session();
    for (from, to) in [(&client, &backend), (&backend, &client)] {
        let send = |bytes: &[u8], flags| rustix::net::send(from, bytes, flags).unwrap();
        send(b"AB", rustix::net::SendFlags::empty());
        send(b"!", rustix::net::SendFlags::OOB);
        send(b"CD", rustix::net::SendFlags::empty());
        half_close(from);
        assert_eq!(read_to_end_with_deadline(to).unwrap(), b"AB!CD");
    }
    rig.ended("normal --");
}

#[test]
fn small_segments_to_a_reader_that_stops_and_resumes_arrive_whole() {
    let rig = Rig::new();
    let (client, backend) = rig.session();
    let data = pattern(400_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rest = &data[..];
            let mut size = 1;
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(size.min(rest.len()));
                (&client).write_all(piece).unwrap();
                rest = more;
                size = size % 1448 + 97;
            }
            half_close(&client);
        });
        thread::sleep(SLOWNESS);
        assert!(read_to_end_with_deadline(&backend).unwrap() == data);
    });
    half_close(&backend);
    rig.ended("normal --");
}

#[test]
fn a_client_that_leaves_while_evener_connects_is_given_up_at_once() {
    let by_reset: fn(TcpStream) = reset;
    let by_close: fn(TcpStream) = drop;
    for leave in [by_reset, by_close] {
        let hole = BlackHole::new();
        let evener = Evener::start(&config(&[hole.address()], "", "connect: 1h"));
        let baseline = evener.baseline();
        let client = connect(evener.address(0));
        let port = format!(":{}", hole.address().port());
        eventually("a thread that connects", || {
            let names = evener.thread_names();
            let connects = |name: &String| name.starts_with('c') && name.ends_with(&port);
            names.iter().any(connects).then_some(())
        });
        leave(client);
        let line = evener.wait_log(" ended: ");
        assert!(line.contains("client_closed_while_connecting CC"), "{line}");
        evener.check_invariants(&baseline);
    }
}

#[test]
fn a_refused_connect_goes_to_the_next_backend_at_once() {
    let (dead, alive) = (RefusingPort::new(), Server::start());
    let evener = Evener::start(&config(
        &[dead.address(), alive.address()],
        "",
        "connect: 5s",
    ));
    let mut client = connect(evener.address(0));
    let mut backend = alive.accept();
    client.write_all(b"nothing lost").unwrap();
    half_close(&client);
    assert_eq!(
        read_to_end_with_deadline(&backend).unwrap(),
        b"nothing lost"
    );
    backend.write_all(b"answer").unwrap();
    drop(backend);
    assert_eq!(read_to_end_with_deadline(&client).unwrap(), b"answer");
    let line = evener.wait_log(" ended: ");
    assert!(line.contains("attempts=2"), "{line}");
}

#[test]
fn a_black_hole_costs_one_connect_timeout_and_no_client() {
    let (hole, alive) = (BlackHole::new(), Server::start());
    let evener = Evener::start(&config(
        &[hole.address(), alive.address()],
        "",
        "connect: 200ms",
    ));
    let _client = connect(evener.address(0));
    let _backend = alive.accept();
}

#[test]
fn with_no_backend_left_a_client_gets_what_when_down_says() {
    for (when_down, end) in [("reset", End::Reset), ("close", End::Fin)] {
        let dead = RefusingPort::new();
        let pool = format!("when_down: {when_down}");
        let evener = Evener::start(&config(&[dead.address()], &pool, "connect: 5s"));
        let baseline = evener.baseline();
        // The reset may come while the client is still connecting.
        let Ok(mut client) = try_connect(evener.address(0)) else {
            assert_eq!(end, End::Reset);
            continue;
        };
        // Either way nothing may be left to guess: no byte comes, and the end is the one asked for.
        let _ = client.write_all(b"a question that nobody reads");
        assert_eq!(
            read_until_end(&client),
            (Vec::new(), end),
            "when_down: {when_down}"
        );
        let line = evener.wait_log(" ended: ");
        assert!(
            line.contains("connect_refused SC") && line.contains("attempts=3"),
            "{line}"
        );
        drop(client);
        evener.check_invariants(&baseline);
    }
}

#[test]
fn two_small_writes_are_not_held_back() {
    // With Nagle's algorithm anywhere on the way, the second of two small writes waits for the
    // acknowledgement of the first, up to 40 ms. A hundred times over, that shows on any machine.
    let rig = Rig::new();
    let (mut client, backend) = rig.session();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut pair = [0; 2];
            while (&backend).read_exact(&mut pair).is_ok() {
                (&backend).write_all(b"y").unwrap();
            }
        });
        let begin = Instant::now();
        for _ in 0..100 {
            client.write_all(b"a").unwrap();
            client.write_all(b"b").unwrap();
            client.read_exact(&mut [0; 1]).unwrap();
        }
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "100 exchanges took {:?}",
            begin.elapsed()
        );
        half_close(&client);
    });
    drop((client, backend));
    rig.ended("normal --");
}

/// The process is stopped for longer than the idle timeout, and the client is not.
#[test]
fn a_stop_of_the_process_is_not_silence_of_the_client() {
    let rig = Rig::with_timeouts("idle: 600ms");
    let sessions: Vec<_> = (0..20).map(|_| rig.session()).collect();
    rig.evener.signal(Signal::STOP);
    let resume_at = Instant::now() + Duration::from_millis(1500);
    let mut sent = 0;
    while Instant::now() < resume_at {
        for (client, _) in &sessions {
            (&mut &*client).write_all(b".").unwrap();
        }
        sent += 1;
        thread::sleep(Duration::from_millis(100));
    }
    rig.evener.signal(Signal::CONT);
    for (client, backend) in &sessions {
        half_close(client);
        assert_eq!(read_to_end_with_deadline(backend).unwrap().len(), sent);
    }
    assert_eq!(rig.evener.lines_with(" ended: idle_timeout ").len(), 0);
}
