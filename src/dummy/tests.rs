//! The dummy as a library, over real sockets. The program around it is tested in `tests/backend.rs`.

#![allow(
    clippy::disallowed_methods,
    reason = "the tests talk to the dummy through plain std sockets"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::connection::read_some;
use super::{Backend, Behaviour, Options, SWEEP_MIN};

/// Longest wait of a test for anything.
const DEADLINE: Duration = Duration::from_secs(10);

fn start(options: Options) -> Backend {
    Backend::start(options).unwrap()
}

fn with(behaviour: Behaviour) -> Backend {
    start(Options {
        behaviour,
        ..Options::default()
    })
}

fn connect(backend: &Backend) -> TcpStream {
    let stream = TcpStream::connect(backend.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn send(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

/// Everything up to the FIN.
fn rest(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Exactly `bytes` bytes; the connection lives on.
fn part(mut stream: &TcpStream, bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    stream.read_exact(&mut buffer).unwrap();
    String::from_utf8(buffer).unwrap()
}

fn assert_reset(stream: &TcpStream) {
    let error = read_some(stream, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

fn ask(backend: &Backend, request: &str) -> String {
    let stream = connect(backend);
    send(&stream, request);
    rest(&stream)
}

#[test]
fn it_greets_with_its_real_port_or_its_name() {
    let backend = start(Options::default());
    let answer = ask(&backend, "GET / HTTP/1.0\r\n\r\n");
    let port = backend.address().port();
    assert!(
        answer.ends_with(&format!(
            "\r\n\r\nHello from Backend Server on port: {port}\n"
        )),
        "{answer:?}"
    );

    let backend = start(Options {
        name: Some("a".into()),
        ..Options::default()
    });
    let answer = ask(&backend, "GET / HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("on port: a\n"), "{answer:?}");
}

#[test]
fn it_serves_ipv6() {
    let backend = start(Options {
        bind: std::net::Ipv6Addr::LOCALHOST.into(),
        ..Options::default()
    });
    assert!(ask(&backend, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn requests_sent_ahead_are_answered_in_turn_and_bodies_are_skipped() {
    let backend = start(Options::default());
    let answers = ask(
        &backend,
        "POST /1 HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n\
         \r\nHEAD /2 HTTP/1.1\r\n\r\n\
         GET /3 HTTP/1.1\r\nConnection: close\r\n\r\n\
         GET /4 HTTP/1.1\r\n\r\n",
    );
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert_eq!(answers.matches("Hello from").count(), 2, "{answers}");
    assert_eq!(answers.matches("Connection: close").count(), 1, "{answers}");
}

#[test]
fn a_body_larger_than_any_buffer_is_skipped_too() {
    let backend = start(Options::default());
    let body = "x".repeat(1_000_000);
    let answer = ask(
        &backend,
        &format!(
            "PUT / HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    assert!(answer.contains("Hello from"), "{answer}");
}

#[test]
fn a_client_that_asks_is_told_to_continue() {
    let backend = start(Options::default());
    let stream = connect(&backend);
    send(
        &stream,
        "PUT / HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(part(&stream, 25), "HTTP/1.1 100 Continue\r\n\r\n");
    send(&stream, "hi");
    assert!(rest(&stream).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn what_it_cannot_answer_is_refused_and_the_refusal_arrives() {
    let backend = start(Options::default());
    let cases = [
        ("nonsense\r\n\r\n".to_string(), "400"),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            "411",
        ),
        // Far more than is read before the refusal: it must not be lost to a RST.
        (
            format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(200_000)),
            "431",
        ),
    ];
    for (request, code) in cases {
        let answer = ask(&backend, &request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code} ")),
            "{answer:?}"
        );
        assert!(answer.contains("Connection: close"), "{answer:?}");
    }
}

#[test]
fn the_banner_comes_first() {
    let backend = start(Options {
        banner: Some("220 ready".into()),
        behaviour: Behaviour::Echo,
        ..Options::default()
    });
    let stream = connect(&backend);
    assert_eq!(part(&stream, 10), "220 ready\n");
    send(&stream, "x");
    assert_eq!(part(&stream, 1), "x");
}

#[test]
fn with_a_proxy_header_it_names_the_client_and_without_one_it_resets() {
    let backend = start(Options {
        proxy_header: true,
        banner: Some("hi".into()),
        name: Some("a".into()),
        ..Options::default()
    });
    let four =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x01\xc0\0\x02\x02\x13\x88\x01\xbb\x04\0\0";
    let six = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"[..],
        &[0; 15],
        &[1],
        &[0; 15],
        &[2, 0, 80, 0, 81],
    ];
    for (header, client) in [
        (
            &b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n"[..],
            "192.0.2.1:5000",
        ),
        (
            b"PROXY TCP6 2001:db8::1 ::1 5000 443\r\n",
            "[2001:db8::1]:5000",
        ),
        (b"PROXY UNKNOWN\r\n", "UNKNOWN"),
        (four, "192.0.2.1:5000"),
        (&six.concat(), "[::1]:80"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "LOCAL"),
    ] {
        let mut stream = connect(&backend);
        stream.write_all(header).unwrap();
        send(&stream, "GET / HTTP/1.0\r\n\r\n");
        let answer = rest(&stream);
        let expected = format!("Hello from Backend Server on port: a\nClient: {client}\n");
        assert!(
            answer.starts_with("hi\nHTTP/1.1 200") && answer.ends_with(&expected),
            "{answer}"
        );
    }
    for wrong in [
        "GET / HTTP/1.0\r\n\r\n",
        "PROXY TCP4 nowhere\r\n",
        &"PROXY UNKNOWNx".repeat(10),
    ] {
        let stream = connect(&backend);
        send(&stream, wrong);
        assert_reset(&stream);
    }
}

#[test]
fn the_answer_waits_for_the_delay() {
    let delay = Duration::from_millis(100);
    let backend = start(Options {
        delay,
        ..Options::default()
    });
    let before = Instant::now();
    ask(&backend, "GET / HTTP/1.0\r\n\r\n");
    assert!(before.elapsed() >= delay);
}

#[test]
fn echo_returns_everything_and_then_the_fin() {
    let backend = with(Behaviour::Echo);
    let stream = connect(&backend);
    let text = "0123456789".repeat(1000);
    send(&stream, &text);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&stream), text);
}

#[test]
fn reset_sends_rst() {
    let backend = with(Behaviour::Reset);
    // It can be faster than the client's own connect.
    let result = TcpStream::connect(backend.address()).and_then(|stream| {
        stream.set_read_timeout(Some(DEADLINE))?;
        read_some(&stream, &mut [0])
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn close_sends_fin_also_to_a_client_that_was_talking() {
    let backend = with(Behaviour::Close);
    let stream = connect(&backend);
    send(&stream, "GET / HTTP/1.1\r\n\r\n");
    assert_eq!(rest(&stream), "");
}

#[test]
fn hang_neither_answers_nor_closes() {
    let backend = with(Behaviour::Hang);
    let stream = connect(&backend);
    send(&stream, "GET / HTTP/1.1\r\n\r\n");
    stream.shutdown(Shutdown::Write).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let error = read_some(&stream, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// Whatever a connection's thread waits in, dropping the backend wakes and joins it.
#[test]
fn a_drop_aborts_every_connection_at_once_and_frees_the_port() {
    let hour = Duration::from_hours(1);
    let for_ever = Duration::MAX;
    for (behaviour, delay, request) in [
        (Behaviour::Http, Duration::ZERO, ""),
        (Behaviour::Http, Duration::ZERO, "GET / HT"),
        (Behaviour::Http, hour, "GET / HTTP/1.1\r\n\r\n"),
        (Behaviour::Echo, hour, "x"),
        (Behaviour::Reset, hour, ""),
        (Behaviour::Close, for_ever, ""),
        (Behaviour::Hang, Duration::ZERO, "x"),
    ] {
        let backend = start(Options {
            behaviour,
            delay,
            banner: Some("hi".into()),
            ..Options::default()
        });
        let address = backend.address();
        let streams: Vec<TcpStream> = (0..3).map(|_| connect(&backend)).collect();
        for stream in &streams {
            assert_eq!(part(stream, 3), "hi\n");
            send(stream, request);
        }
        let before = Instant::now();
        drop(backend);
        assert!(before.elapsed() < DEADLINE, "{behaviour:?}");
        for stream in &streams {
            assert_reset(stream);
        }
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        start(Options {
            port: address.port(),
            ..Options::default()
        });
    }
}

/// A hung connection whose client sent FIN first waits in another place.
#[test]
fn a_drop_also_ends_a_hung_and_half_closed_connection() {
    let backend = with(Behaviour::Hang);
    let stream = connect(&backend);
    stream.shutdown(Shutdown::Write).unwrap();
    drop(backend);
    assert_reset(&stream);
}

#[test]
fn a_port_in_use_is_an_error() {
    let one = start(Options::default());
    let error = Backend::start(Options {
        port: one.address().port(),
        ..Options::default()
    })
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

/// Ended connections are forgotten, and one that is open all the while is not.
#[test]
fn thousands_of_connections_come_and_go_beside_one_that_stays() {
    let backend = with(Behaviour::Echo);
    let stays = connect(&backend);
    for _ in 0..20 * SWEEP_MIN {
        let stream = connect(&backend);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&stream), "");
    }
    send(&stays, "x");
    assert_eq!(part(&stays, 1), "x");
}
