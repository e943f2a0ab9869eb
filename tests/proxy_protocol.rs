//! The PROXY protocol through the real binary, in and out: whom a backend is told about, what is passed
//! on and what is not, and who is turned away. Headers are spelled out here, not made by evener.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays client, proxy and backend with plain std sockets"
)]

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::{
    Baseline, End, Evener, RefusingPort, Server, connect, read_to_end_with_deadline,
    read_until_end, reset,
};

/// Every peer of a test is on this machine.
const FROM_HERE: &str = "{ from: [127.0.0.0/8], timeout: 1h }";

/// The client of which the headers tell, and the address that it connected to.
const CLIENT: &str = "192.0.2.1:5000";
const FRONT: &str = "198.51.100.1:443";

/// The two headers that say so.
fn headers() -> [Vec<u8>; 2] {
    [v1(CLIENT, FRONT), v2(CLIENT, FRONT)]
}

fn v1(source: impl ToString, destination: impl ToString) -> Vec<u8> {
    let [(source, from), (destination, to)] =
        [source.to_string(), destination.to_string()].map(|text| {
            let (host, port) = text.rsplit_once(':').unwrap();
            (host.to_string(), port.to_string())
        });
    format!("PROXY TCP4 {source} {destination} {from} {to}\r\n").into_bytes()
}

fn v2(source: impl ToString, destination: impl ToString) -> Vec<u8> {
    let addresses: [SocketAddr; 2] =
        [source.to_string(), destination.to_string()].map(|text| text.parse().unwrap());
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    for address in addresses {
        let IpAddr::V4(ip) = address.ip() else {
            panic!("not IPv4: {address}")
        };
        header.extend(ip.octets());
    }
    for address in addresses {
        header.extend(address.port().to_be_bytes());
    }
    header
}

const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A listener and a pool without health checks, which would be connections too.
fn config(accept: &str, send: &str, backends: &[SocketAddr]) -> String {
    let backends: Vec<String> = backends.iter().map(|b| format!("\"{b}\"")).collect();
    format!(
        "listeners:\n  - {{ name: in, bind: \"127.0.0.1:0\", pool: p, accept_proxy_protocol: {accept} }}\n\
         pools:\n  - {{ name: p, send_proxy_protocol: {send}, health_check: off, backends: [{}] }}\n",
        backends.join(", ")
    )
}

/// evener in front of one server that the test plays itself.
struct Rig {
    evener: Evener,
    server: Server,
    baseline: Baseline,
}

impl Rig {
    fn new(accept: &str, send: &str) -> Rig {
        let server = Server::start();
        let evener = Evener::start(&config(accept, send, &[server.address()]));
        let baseline = evener.baseline();
        Rig {
            evener,
            server,
            baseline,
        }
    }

    /// A client that has sent these bytes, in one segment.
    fn client(&self, bytes: &[u8]) -> TcpStream {
        let mut client = connect(self.evener.address(0));
        client.write_all(bytes).unwrap();
        client
    }

    /// Waits for the `count`th line of a session in the log, and checks how it ended.
    #[track_caller]
    fn ended(&self, reason: &str, count: usize) -> String {
        self.evener.session_ended(reason, count)
    }

    /// As [`Rig::ended`], for a session for which no backend was asked.
    #[track_caller]
    fn ended_unserved(&self, reason: &str, count: usize) -> String {
        let line = self.ended(reason, count);
        assert!(
            line.contains(" -> - ended") && line.contains(" attempts=0"),
            "{line}"
        );
        assert!(self.server.accept_within(Duration::ZERO).is_none());
        line
    }

    /// Nothing may be left behind. Takes a while: evener keeps idle threads for two seconds.
    #[track_caller]
    fn check(&self) {
        self.evener.check_invariants(&self.baseline);
    }
}

/// Bytes that are not all alike, so that a lost, doubled or moved piece shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + n / 251) as u8).collect()
}

fn half_close(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Exactly so many bytes; the connection lives on.
#[track_caller]
fn part(mut stream: &TcpStream, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    stream.read_exact(&mut buffer).unwrap();
    buffer
}

/// The question and the answer of a session: each has to arrive whole, and nothing else.
#[track_caller]
fn exchange(client: &TcpStream, backend: &TcpStream, question: &[u8], answer: &[u8]) {
    half_close(client);
    assert!(read_to_end_with_deadline(backend).unwrap() == question);
    (&mut &*backend).write_all(answer).unwrap();
    half_close(backend);
    assert!(read_to_end_with_deadline(client).unwrap() == answer);
}

#[test]
fn a_header_from_a_trusted_proxy_names_the_client_and_is_taken_off() {
    let rig = Rig::new(FROM_HERE, "off");
    for (count, header) in headers().iter().enumerate() {
        // In one segment with the first of the client's bytes.
        let client = rig.client(&[header, &b"question"[..]].concat());
        exchange(&client, &rig.server.accept(), b"question", b"answer");
        let line = rig.ended("normal --", count + 1);
        let peer = client.local_addr().unwrap();
        assert!(line.contains(&format!("session {} {CLIENT} -> ", count + 1)));
        assert!(
            line.contains(&format!(" pool=p via={peer} in=8B out=6B")),
            "{line}"
        );
    }
    rig.check();
}

#[test]
fn a_header_may_come_in_single_bytes() {
    let rig = Rig::new(FROM_HERE, "off");
    for header in headers() {
        let mut client = connect(rig.evener.address(0));
        for byte in header {
            client.write_all(&[byte]).unwrap();
            thread::yield_now();
        }
        client.write_all(b"question").unwrap();
        exchange(&client, &rig.server.accept(), b"question", b"answer");
    }
    let lines = rig.evener.wait_log_count(&format!(" {CLIENT} -> "), 2);
    assert!(lines.iter().all(|line| line.contains(" in=8B out=6B")));
}

#[test]
fn what_is_behind_a_header_arrives_to_the_byte_however_much_it_is() {
    let rig = Rig::new(FROM_HERE, "off");
    for header in headers() {
        for length in [0, 1, 4096 - header.len(), 4096, 65_537, 1 << 20] {
            let data = pattern(length);
            let bytes = [&header[..], &data].concat();
            thread::scope(|scope| {
                let mut client = connect(rig.evener.address(0));
                let writer = scope.spawn(|| {
                    client.write_all(&bytes).unwrap();
                    half_close(&client);
                    client
                });
                let backend = rig.server.accept();
                assert!(
                    read_to_end_with_deadline(&backend).unwrap() == data,
                    "{length}"
                );
                (&backend).write_all(&data).unwrap();
                half_close(&backend);
                let client = writer.join().unwrap();
                assert!(
                    read_to_end_with_deadline(&client).unwrap() == data,
                    "{length}"
                );
            });
        }
    }
}

#[test]
fn a_client_that_ends_right_behind_the_header_is_served() {
    let rig = Rig::new(FROM_HERE, "v2");
    for (count, header) in headers().iter().enumerate() {
        let client = rig.client(header);
        exchange(&client, &rig.server.accept(), &v2(CLIENT, FRONT), b"answer");
        let line = rig.ended("normal --", count + 1);
        assert!(line.contains(" in=0B out=6B"), "{line}");
    }
    rig.check();
}

#[test]
fn a_header_that_names_nobody_leaves_the_peer_as_the_client() {
    let rig = Rig::new(FROM_HERE, "off");
    let nobody = [
        V2_LOCAL,
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0",
    ];
    for (count, header) in nobody.iter().enumerate() {
        let client = rig.client(&[header, &b"question"[..]].concat());
        exchange(&client, &rig.server.accept(), b"question", b"answer");
        let line = rig.ended("normal --", count + 1);
        assert!(line.contains(&format!(" {} -> ", client.local_addr().unwrap())));
        assert!(!line.contains(" via="), "{line}");
    }
}

#[test]
fn a_proxy_is_trusted_by_its_address_on_a_socket_for_both_families_too() {
    let server = Server::start();
    let text = config("{ from: [127.0.0.1] }", "off", &[server.address()]);
    let evener = Evener::start(&text.replace("127.0.0.1:0", ":0"));
    let address = (Ipv4Addr::LOCALHOST, evener.address(0).port()).into();
    let mut client = connect(address);
    client
        .write_all(&[&v1(CLIENT, FRONT)[..], b"question"].concat())
        .unwrap();
    exchange(&client, &server.accept(), b"question", b"answer");
    evener.wait_log(&format!(" {CLIENT} -> "));
}

#[test]
fn from_anybody_else_a_header_is_nothing_but_bytes() {
    let rig = Rig::new("{ from: [192.0.2.0/24, \"::1\"] }", "v1");
    for (count, header) in headers().iter().enumerate() {
        let client = rig.client(&[header, &b"question"[..]].concat());
        let peer = client.local_addr().unwrap();
        let passed_on = [
            &v1(peer, rig.evener.address(0))[..],
            header,
            &b"question"[..],
        ]
        .concat();
        exchange(&client, &rig.server.accept(), &passed_on, b"answer");
        let line = rig.ended("normal --", count + 1);
        assert!(
            line.contains(&format!(" {peer} -> ")) && !line.contains(" via="),
            "{line}"
        );
    }
    // And nobody waits for one: a server may speak first.
    let client = connect(rig.evener.address(0));
    let mut backend = rig.server.accept();
    let header = v1(client.local_addr().unwrap(), rig.evener.address(0));
    assert_eq!(part(&backend, header.len()), header);
    backend.write_all(b"220 welcome").unwrap();
    assert_eq!(part(&client, 11), b"220 welcome");
    exchange(&client, &backend, b"", b"");
    rig.check();
}

#[test]
fn what_begins_otherwise_is_reset_and_no_backend_is_asked() {
    let rig = Rig::new(FROM_HERE, "off");
    let cases = [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "no PROXY header"),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 05000 443\r\n",
            "a wrong port",
        ),
        (
            b"PROXY TCP6 192.0.2.1 192.0.2.2 5000 443\r\n",
            "a wrong address",
        ),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\x7f\0\0\x01",
            "shorter than its addresses",
        ),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            "longer than 4096 bytes",
        ),
    ];
    for (count, (bytes, why)) in cases.into_iter().enumerate() {
        let client = rig.client(bytes);
        assert_eq!(read_until_end(&client), (Vec::new(), End::Reset));
        let line = rig.ended_unserved("bad_proxy_header PR", count + 1);
        assert!(line.contains("warn ") && line.contains(why), "{line}");
    }
    rig.check();
}

#[test]
fn a_header_that_takes_too_long_is_reset() {
    let rig = Rig::new("{ from: [127.0.0.1], timeout: 200ms }", "off");
    let beginnings = [
        &b""[..],
        b"PROXY TCP4 192.0.2.1 ",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    ];
    for (count, beginning) in beginnings.into_iter().enumerate() {
        let mut client = connect(rig.evener.address(0));
        // On a busy machine even this may come too late.
        let _ = client.write_all(beginning);
        assert_eq!(read_until_end(&client), (Vec::new(), End::Reset));
        rig.ended_unserved("proxy_header_timeout cR", count + 1);
    }
    rig.check();
}

#[test]
fn a_header_that_dribbles_in_gains_no_time_by_it() {
    let rig = Rig::new("{ from: [127.0.0.1], timeout: 300ms }", "off");
    let mut client = connect(rig.evener.address(0));
    // At this pace the 107 bytes that a line may have would last for ten seconds.
    let line = [&b"PROXY UNKNOWN "[..], &[b'x'; 90]].concat();
    let dribbled = line.iter().take_while(|byte| {
        thread::sleep(Duration::from_millis(100));
        client.write_all(&[**byte]).is_ok()
    });
    assert!(dribbled.count() < line.len(), "it waits on");
    rig.ended_unserved("proxy_header_timeout cR", 1);
}

#[test]
fn a_client_that_leaves_before_its_header_is_complete_ends_the_session_at_once() {
    let by_reset: fn(TcpStream) = reset;
    let by_close: fn(TcpStream) = drop;
    let rig = Rig::new(FROM_HERE, "off");
    let ways = [by_reset, by_close].map(|leave| [(leave, &b""[..]), (leave, b"PROXY TCP4 ")]);
    for (count, (leave, beginning)) in ways.concat().into_iter().enumerate() {
        leave(rig.client(beginning));
        let line = rig.ended_unserved("client_closed_before_proxy_header CR", count + 1);
        assert!(line.contains("info "), "{line}");
    }
    rig.check();
}

#[test]
fn a_session_that_waits_for_its_header_ends_with_the_drain() {
    let server = Server::start();
    let text = config(FROM_HERE, "off", &[server.address()]);
    let evener = Evener::start(&format!("{text}shutdown: {{ drain_timeout: 0s }}\n"));
    let mut client = connect(evener.address(0));
    client.write_all(b"PROXY ").unwrap();
    support::eventually("a thread that waits for a header", || {
        let names = evener.thread_names();
        names.iter().any(|name| name == "c1 header").then_some(())
    });
    evener.signal(Signal::TERM);
    assert_eq!(read_until_end(&client), (Vec::new(), End::Reset));
    assert_eq!(evener.wait_exit().code(), Some(0));
    evener.wait_log(" ended: shutdown KD ");
}

#[test]
fn a_backend_is_told_the_client_and_the_address_that_it_connected_to() {
    for (send, header) in [
        ("v1", v1 as fn(SocketAddr, SocketAddr) -> Vec<u8>),
        ("v2", v2),
    ] {
        let rig = Rig::new("off", send);
        let client = rig.client(b"question");
        let header = header(client.local_addr().unwrap(), rig.evener.address(0));
        let expected = [&header[..], b"question"].concat();
        exchange(&client, &rig.server.accept(), &expected, b"answer");
        // The header is not the client's.
        let line = rig.ended("normal --", 1);
        assert!(line.contains(" in=8B out=6B"), "{line}");
    }
}

#[test]
fn a_header_is_passed_on_in_either_version() {
    for (send, expected) in ["v1", "v2"].iter().zip(headers()) {
        let rig = Rig::new(FROM_HERE, send);
        for header in headers() {
            let client = rig.client(&[&header[..], b"question"].concat());
            let expected = [&expected[..], b"question"].concat();
            exchange(&client, &rig.server.accept(), &expected, b"answer");
        }
    }
}

#[test]
fn addresses_of_two_families_go_out_as_ipv6_as_haproxy_does() {
    let incoming = b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 5000 443\r\n";
    let rig = Rig::new(FROM_HERE, "v1");
    let client = rig.client(incoming);
    exchange(&client, &rig.server.accept(), incoming, b"answer");
    let line = rig.ended("normal --", 1);
    assert!(line.contains(&format!(" {CLIENT} -> ")), "{line}");

    let rig = Rig::new(FROM_HERE, "v2");
    let client = rig.client(incoming);
    half_close(&client);
    let header = read_to_end_with_deadline(&rig.server.accept()).unwrap();
    assert_eq!((header.len(), &header[13..14]), (52, &[0x21][..]));
    assert_eq!(
        header[16..32],
        [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1]].concat()
    );
}

#[test]
fn a_header_that_names_nobody_is_replaced_by_what_is_known() {
    let rig = Rig::new(FROM_HERE, "v2");
    for nobody in [V2_LOCAL, b"PROXY UNKNOWN\r\n"] {
        let client = rig.client(nobody);
        let known = v2(client.local_addr().unwrap(), rig.evener.address(0));
        exchange(&client, &rig.server.accept(), &known, b"answer");
    }
}

#[test]
fn a_server_that_speaks_first_has_the_header_before_the_client_says_anything() {
    for (accept, header) in [("off", Vec::new()), (FROM_HERE, v1(CLIENT, FRONT))] {
        let rig = Rig::new(accept, "v2");
        let client = rig.client(&header);
        let mut backend = rig.server.accept();
        assert_eq!(&part(&backend, 28)[..12], b"\r\n\r\n\0\r\nQUIT\n");
        backend.write_all(b"220 welcome").unwrap();
        assert_eq!(part(&client, 11), b"220 welcome");
        (&client).write_all(b"EHLO").unwrap();
        exchange(&client, &backend, b"EHLO", b"250");
    }
}

#[test]
fn only_the_backend_that_answers_gets_the_header() {
    let (dead, alive) = (RefusingPort::new(), Server::start());
    let evener = Evener::start(&config("off", "v1", &[dead.address(), alive.address()]));
    let mut client = connect(evener.address(0));
    client.write_all(b"question").unwrap();
    let header = v1(client.local_addr().unwrap(), evener.address(0));
    let expected = [&header[..], b"question"].concat();
    exchange(&client, &alive.accept(), &expected, b"answer");
    let line = evener.wait_log(" ended: ");
    assert!(line.contains(" attempts=2 "), "{line}");
}

#[test]
fn a_backend_that_does_not_like_the_header_resets_as_always() {
    let rig = Rig::new("off", "v2");
    let client = connect(rig.evener.address(0));
    let backend = rig.server.accept();
    part(&backend, 28);
    reset(backend);
    assert_eq!(read_until_end(&client), (Vec::new(), End::Reset));
    let line = rig.ended("server_reset SD", 1);
    assert!(line.contains(" in=0B out=0B"), "{line}");
    rig.check();
}

#[test]
fn a_probe_says_that_it_is_for_nobody() {
    for (send, header) in [
        ("off", &b""[..]),
        ("v1", b"PROXY UNKNOWN\r\n"),
        ("v2", V2_LOCAL),
    ] {
        let server = Server::start();
        let text = config("off", send, &[server.address()]);
        let _evener = Evener::start(&text.replace("health_check: off", "health_check: {}"));
        assert_eq!(read_to_end_with_deadline(&server.accept()).unwrap(), header);
    }
}

#[test]
fn through_a_chain_of_two_the_first_client_stays_known() {
    for (between, last) in [("v1", "v2"), ("v2", "v1"), ("v2", "v2")] {
        let second = Rig::new(FROM_HERE, last);
        let first = Evener::start(&config(FROM_HERE, between, &[second.evener.address(0)]));
        let [one, two] = headers();
        let expected = if last == "v1" { &one } else { &two };
        let data = pattern(300_000);
        let mut client = connect(first.address(0));
        client.write_all(&one).unwrap();
        let backend = second.server.accept();
        thread::scope(|scope| {
            scope.spawn(|| {
                (&client).write_all(&data).unwrap();
                half_close(&client);
            });
            let received = read_to_end_with_deadline(&backend).unwrap();
            assert!(received == [&expected[..], &data].concat());
        });
        (&backend).write_all(b"answer").unwrap();
        drop(backend);
        assert_eq!(read_to_end_with_deadline(&client).unwrap(), b"answer");
        for evener in [&first, &second.evener] {
            let line = evener.wait_log(" ended: normal -- ");
            assert!(line.contains(&format!(" {CLIENT} -> ")), "{line}");
            assert!(line.contains(" in=300000B out=6B"), "{line}");
        }
    }
}

#[test]
fn a_reload_turns_both_on_and_off_for_those_who_come_after_it() {
    let rig = Rig::new("off", "off");
    let off = config("off", "off", &[rig.server.address()]);
    let on = config(FROM_HERE, "v1", &[rig.server.address()]);
    let early = rig.client(b"early");
    let early_backend = rig.server.accept();
    let reload = |text: &str, count: usize| {
        rig.evener.rewrite_config(text);
        rig.evener.signal(Signal::HUP);
        rig.evener.wait_log_count("config reloaded", count);
    };
    reload(&on, 1);
    let change = rig.evener.wait_log("send_proxy_protocol");
    assert!(
        change.ends_with("~ pool p send_proxy_protocol off → v1"),
        "{change}"
    );
    let client = rig.client(&[&v2(CLIENT, FRONT)[..], b"question"].concat());
    let expected = [&v1(CLIENT, FRONT)[..], b"question"].concat();
    exchange(&client, &rig.server.accept(), &expected, b"answer");
    exchange(&early, &early_backend, b"early", b"answer");
    reload(&off, 2);
    let client = rig.client(b"question");
    exchange(&client, &rig.server.accept(), b"question", b"answer");
    rig.check();
}

#[test]
fn believing_everybody_is_warned_of() {
    let server = Server::start();
    let evener = Evener::start(&config("{ from: [0.0.0.0/0] }", "off", &[server.address()]));
    evener.wait_log("accept_proxy_protocol from 0.0.0.0/0 lets every client claim any address");
}
