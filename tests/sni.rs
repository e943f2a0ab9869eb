//! Routes by the name in a TLS hello, through the real binary: who gets which pool, what the backend
//! sees of it, and what becomes of clients that say something else, or nothing. Hellos are spelled out
//! here, not made by evener.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays client and backends with plain std sockets"
)]

mod support;

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use support::{
    Admin, Baseline, End, Evener, Server, connect, is_live, is_silent_for, read_some,
    read_until_end, reset,
};

/// A TLS 1.2 hello that asks for this name, with so many bytes of another extension before it.
fn hello(name: Option<&str>, padding: usize) -> Vec<u8> {
    let with_length = |bytes: usize, content: &[u8]| -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - bytes..], content].concat()
    };
    let extension =
        |kind: u16, content: &[u8]| [&kind.to_be_bytes()[..], &with_length(2, content)].concat();
    let mut extensions = extension(21, &vec![0; padding]);
    if let Some(name) = name {
        let entry = [&[0][..], &with_length(2, name.as_bytes())].concat();
        extensions.extend(extension(0, &with_length(2, &entry)));
    }
    let body = [
        b"\x03\x03".as_slice(),
        &[b'r'; 32],
        b"\0\0\x02\x13\x01\x01\0",
        &with_length(2, &extensions),
    ]
    .concat();
    let message = [&[1][..], &with_length(3, &body)].concat();
    [b"\x16\x03\x01", with_length(2, &message).as_slice()].concat()
}

/// evener with a listener in front of servers that the test plays itself.
struct Rig {
    evener: Evener,
    /// Of the pools `a`, `b` and `rest`, in this order.
    servers: [Server; 3],
    baseline: Baseline,
}

const A: usize = 0;
const B: usize = 1;
const REST: usize = 2;

const ROUTES: &str =
    "routes: [{ sni: [a.example, '*.a.example'], pool: a }, { sni: '*.example', pool: b }]";

fn config(listener: &str, servers: &[Server; 3]) -> String {
    let pool = |(name, server): (&str, &Server)| {
        let address = server.address();
        format!("  - {{ name: {name}, health_check: off, backends: [\"{address}\"] }}\n")
    };
    let pools: String = ["a", "b", "rest"]
        .into_iter()
        .zip(servers)
        .map(pool)
        .collect();
    format!(
        "listeners:\n  - {{ name: in, bind: \"127.0.0.1:0\", {listener} }}\npools:\n{pools}\
         admin: {{ bind: \"127.0.0.1:0\" }}\n"
    )
}

impl Rig {
    fn new(listener: &str) -> Rig {
        let servers = [Server::start(), Server::start(), Server::start()];
        let evener = Evener::start(&config(listener, &servers));
        let baseline = evener.baseline();
        Rig {
            evener,
            servers,
            baseline,
        }
    }

    /// With a pool for the rest, and all the time that the test needs.
    fn usual() -> Rig {
        Rig::new(&format!("pool: rest, {ROUTES}, routes_timeout: 1h"))
    }

    /// A client that has sent these bytes.
    fn client(&self, bytes: &[u8]) -> TcpStream {
        let mut client = connect(self.evener.address(0));
        client.write_all(bytes).unwrap();
        client
    }

    /// A session that begins with these bytes reaches this server, which gets them as they are, and goes on.
    #[track_caller]
    fn reaches(&self, server: usize, bytes: &[u8]) {
        let mut client = self.client(bytes);
        let mut backend = self.servers[server].accept();
        assert_eq!(read_exactly(&backend, bytes.len()), bytes);
        is_live(&mut client, &mut backend);
    }

    /// Waits for the `count`th end of a session in the log, and checks how it ended.
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
        for server in &self.servers {
            assert!(server.accept_within(Duration::ZERO).is_none());
        }
        line
    }

    fn check(&self) {
        self.evener.check_invariants(&self.baseline);
    }
}

fn read_exactly(stream: &TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match read_some(stream, &mut bytes[filled..]).unwrap() {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    bytes
}

#[test]
fn a_name_leads_to_its_pool_and_the_backend_gets_the_hello_as_it_came() {
    let rig = Rig::usual();
    for (name, server) in [
        ("a.example", A),
        ("A.Example.", A),
        ("x.a.example", A),
        ("y.x.a.example", A),
        ("b.example", B),
        ("z.b.example", B),
        ("example", REST),
        ("a.example.org", REST),
        ("192.0.2.1", REST),
        ("\u{431}.example", REST),
        ("a b.example", REST),
    ] {
        rig.reaches(server, &hello(Some(name), 0));
    }
    // With early data behind it, and long.
    let early = [hello(Some("a.example"), 0), vec![7; 3000]].concat();
    rig.reaches(A, &early);
    rig.reaches(A, &hello(Some("a.example"), 15_000));
    rig.check();
}

#[test]
fn clients_that_ask_for_nobody_get_the_listeners_own_pool() {
    let rig = Rig::usual();
    rig.reaches(REST, &hello(None, 0));
    rig.reaches(REST, b"GET / HTTP/1.1\r\n\r\n");
    rig.reaches(REST, b"\0\0\0\x08\x04\xd2\x16\x2f");
    // A hello that breaks off into something else.
    let begun = [&hello(Some("a.example"), 0)[..9], b""].concat();
    rig.reaches(
        REST,
        &[
            b"\x16\x03\x01\0\x04".as_slice(),
            &begun[5..],
            b"\x15\x03\x01\0\x02\x01\0",
        ]
        .concat(),
    );
    // One in which nothing came within what is looked at.
    rig.reaches(REST, &hello(Some("a.example"), 17_000));
    rig.check();
}

#[test]
fn a_hello_may_come_in_any_pieces() {
    let rig = Rig::usual();
    let whole = hello(Some("x.a.example"), 0);
    // A byte to a record, too.
    let records: Vec<u8> = whole[5..]
        .iter()
        .flat_map(|byte| [0x16, 3, 1, 0, 1, *byte])
        .collect();
    for bytes in [whole, records] {
        for piece in [1, 7, 100] {
            let mut client = rig.client(&[]);
            client.set_nodelay(true).unwrap();
            for piece in bytes.chunks(piece) {
                client.write_all(piece).unwrap();
            }
            let mut backend = rig.servers[A].accept();
            assert_eq!(read_exactly(&backend, bytes.len()), bytes);
            is_live(&mut client, &mut backend);
        }
    }
    rig.check();
}

#[test]
fn waiting_for_the_rest_of_a_hello_costs_nothing() {
    let rig = Rig::usual();
    let whole = hello(Some("a.example"), 0);
    let clients: Vec<TcpStream> = (0..20).map(|_| rig.client(&whole[..30])).collect();
    support::eventually("everybody waits", || {
        let waiting = rig.evener.thread_names();
        let waiting = waiting
            .iter()
            .filter(|name| name.ends_with(" hello"))
            .count();
        (waiting == clients.len()).then_some(())
    });
    // Twenty threads that spin would use two processors for all of this time.
    let before = rig.evener.cpu_time();
    assert!(is_silent_for(&clients[0], Duration::from_millis(500)));
    let used = rig.evener.cpu_time() - before;
    assert!(used < Duration::from_millis(100), "{used:?}");
    for mut client in clients {
        client.write_all(&whole[30..]).unwrap();
        let backend = rig.servers[A].accept();
        assert_eq!(read_exactly(&backend, whole.len()), whole);
    }
    rig.check();
}

#[test]
fn without_a_pool_for_the_rest_the_rest_is_reset() {
    let rig = Rig::new(&format!("{ROUTES}, routes_timeout: 1h"));
    rig.reaches(B, &hello(Some("b.example"), 0));
    let before = rig.evener.wait_log_count(" ended: ", 1).len();
    for (count, (bytes, detail, sni)) in [
        (
            hello(Some("c.org"), 0),
            "its name has no route",
            " sni=c.org ",
        ),
        (
            hello(Some("x \n\"y"), 0),
            "its name has no route",
            " sni=x\\x20\\n\\\"y ",
        ),
        (hello(None, 0), "its TLS hello has no name", ""),
        (
            b"SSH-2.0-OpenSSH\r\n".to_vec(),
            "it does not begin with a TLS hello",
            "",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let client = rig.client(&bytes);
        assert_eq!(read_until_end(&client).1, End::Reset);
        let line = rig.ended_unserved("no_route", before + count + 1);
        assert!(line.contains(" PR listener=in pool=- "), "{line}");
        assert!(
            line.contains(&format!("detail=\"{detail}\"")) && line.contains(sni),
            "{line}"
        );
    }
    rig.check();
}

#[test]
fn time_is_bounded_and_silence_means_that_the_server_speaks_first() {
    let rig = Rig::new(&format!("pool: rest, {ROUTES}, routes_timeout: 100ms"));
    let slow = rig.client(&hello(Some("a.example"), 0)[..40]);
    assert_eq!(read_until_end(&slow).1, End::Reset);
    let line = rig.ended_unserved("hello_timeout", 1);
    assert!(line.contains(" cR listener=in pool=- "), "{line}");

    let mut silent = rig.client(&[]);
    let mut backend = rig.servers[REST].accept();
    backend.write_all(b"220 hello\r\n").unwrap();
    assert_eq!(read_exactly(&silent, 11), b"220 hello\r\n");
    is_live(&mut silent, &mut backend);
    drop((silent, backend));
    rig.check();
}

#[test]
fn a_client_that_leaves_before_its_hello_is_complete_costs_no_backend() {
    let rig = Rig::usual();
    let begun = &hello(Some("a.example"), 0)[..40];
    let mut count = 0;
    for bytes in [&[][..], begun] {
        let client = rig.client(bytes);
        client.shutdown(Shutdown::Write).unwrap();
        count += 1;
        let line = rig.ended_unserved("client_closed_before_hello", count);
        assert!(line.contains(" CR "), "{line}");
        reset(rig.client(bytes));
        count += 1;
        rig.ended_unserved("client_closed_before_hello", count);
    }
    // Who says with the hello that this was all is served.
    let whole = hello(Some("a.example"), 0);
    let client = rig.client(&whole);
    client.shutdown(Shutdown::Write).unwrap();
    let mut backend = rig.servers[A].accept();
    assert_eq!(read_until_end(&backend), (whole, End::Fin));
    backend.write_all(b"bye").unwrap();
    drop(backend);
    assert_eq!(read_until_end(&client), (b"bye".to_vec(), End::Fin));
    rig.ended("normal", count + 1);
    rig.check();
}

#[test]
fn a_shutdown_does_not_wait_for_a_hello() {
    let rig = Rig::usual();
    let waiting = rig.client(&hello(Some("a.example"), 0)[..40]);
    support::eventually("the session waits", || {
        let names = rig.evener.thread_names();
        names
            .iter()
            .any(|name| name.ends_with(" hello"))
            .then_some(())
    });
    rig.evener.signal(Signal::TERM);
    rig.evener.wait_log("draining 1 connection");
    rig.evener.signal(Signal::TERM);
    assert_eq!(read_until_end(&waiting).1, End::Reset);
    rig.evener.wait_exit();
    rig.ended_unserved("shutdown", 1);
}

#[test]
fn a_proxy_header_comes_first_in_and_out() {
    let servers = [Server::start(), Server::start(), Server::start()];
    let listener = format!(
        "pool: rest, {ROUTES}, routes_timeout: 1h, accept_proxy_protocol: {{ from: [127.0.0.0/8], timeout: 1h }}"
    );
    let config =
        config(&listener, &servers).replace("name: a,", "name: a, send_proxy_protocol: v1,");
    let evener = Evener::start(&config);
    let baseline = evener.baseline();
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\n";
    let whole = hello(Some("a.example"), 0);
    // In one segment, and in pieces that end in either.
    for at in [
        header.len() + whole.len(),
        10,
        header.len(),
        header.len() + 9,
    ] {
        let all = [header.as_slice(), &whole].concat();
        let mut client = connect(evener.address(0));
        client.set_nodelay(true).unwrap();
        client.write_all(&all[..at]).unwrap();
        client.write_all(&all[at..]).unwrap();
        let mut backend = servers[A].accept();
        assert_eq!(read_exactly(&backend, all.len()), all);
        is_live(&mut client, &mut backend);
    }
    let line = evener.wait_log(" ended: ");
    assert!(
        line.contains(" 192.0.2.1:5000 -> ") && line.contains(" pool=a sni=a.example via="),
        "{line}"
    );
    evener.check_invariants(&baseline);
}

#[test]
fn the_route_is_told_in_the_log_the_connections_and_the_metrics() {
    let rig = Rig::usual();
    let admin = Admin::of(&rig.evener);
    let client = rig.client(&hello(Some("X.a.example"), 0));
    let backend = rig.servers[A].accept();
    let connections = admin.get("/api/v1/connections").json();
    let connection = &connections["connections"][0];
    assert_eq!(
        (&connection["pool"], &connection["sni"]),
        (&"a".into(), &"X.a.example".into())
    );
    drop(client);
    read_until_end(&backend);
    drop(backend);
    let line = rig.ended("normal", 1);
    assert!(
        line.contains(" listener=in pool=a sni=X.a.example "),
        "{line}"
    );
    rig.reaches(REST, &hello(None, 0));
    rig.reaches(REST, &hello(Some("nobody.org"), 0));
    rig.reaches(REST, b"HELO");
    for (sni, pool, next) in [
        ("y.a.example", "a", A),
        ("nobody.org", "rest", REST),
        ("B.example.", "b", B),
    ] {
        let path = format!("/api/v1/explain?listener=in&sni={sni}");
        let answer = admin.get(&path).json();
        assert_eq!(answer["pool"], pool, "{answer}");
        let address = rig.servers[next].address().to_string();
        assert_eq!(answer["next"], address, "{answer}");
    }
    assert_eq!(admin.get("/api/v1/explain?listener=x&sni=a").status, 404);
    let metrics = admin.get("/metrics").body;
    for (pool, sni, count) in [
        ("a", "known", 1),
        ("b", "known", 0),
        ("rest", "unknown", 1),
        ("rest", "none", 1),
        ("rest", "no_tls", 1),
    ] {
        let series = format!(
            "evener_listener_routes_total{{listener=\"in\",pool=\"{pool}\",sni=\"{sni}\"}} {count}"
        );
        assert!(metrics.contains(&series), "{series}\n{metrics}");
    }
}

#[test]
fn a_reload_changes_the_routes_and_touches_no_session() {
    let rig = Rig::usual();
    let admin = Admin::of(&rig.evener);
    let whole = hello(Some("b.example"), 0);
    let mut client = rig.client(&whole);
    let mut backend = rig.servers[B].accept();
    read_exactly(&backend, whole.len());

    let listener = format!("pool: rest, {ROUTES}, routes_timeout: 1h");
    let moved = config(
        &listener.replace("'*.example', pool: b", "[b.example], pool: rest"),
        &rig.servers,
    );
    rig.evener.rewrite_config(&moved);
    let plan = admin.post("/api/v1/reload?dry_run=true", "");
    assert!(
        plan.body
            .contains("~ listener in routes [{sni: [a.example, *.a.example], pool: a}"),
        "{}",
        plan.body
    );
    assert_eq!(admin.post("/api/v1/reload", "").status, 200);
    is_live(&mut client, &mut backend);
    rig.reaches(REST, &whole);
    rig.reaches(A, &hello(Some("a.example"), 0));
    drop((client, backend));

    rig.evener.rewrite_config(&config("pool: a", &rig.servers));
    assert_eq!(admin.post("/api/v1/reload", "").status, 200);
    rig.reaches(A, &whole);
    assert!(
        !admin
            .get("/metrics")
            .body
            .contains("evener_listener_routes_total{")
    );
    rig.check();
}

#[test]
fn a_listener_refuses_when_every_pool_that_it_leads_to_says_so() {
    let mut a = support::Dummy::start("a");
    let pool = |name: &str, backend: std::net::SocketAddr| {
        format!(
            "  - {{ name: {name}, when_down: refuse, backends: [\"{backend}\"], \
             health_check: {{ interval: 50ms, timeout: 10s, rise: 1, fall: 1 }} }}\n"
        )
    };
    let nobody = support::RefusingPort::new();
    let evener = Evener::start(&format!(
        "listeners:\n  - {{ name: in, bind: \"127.0.0.1:0\", pool: b, routes: [{{ sni: a.example, pool: a }}] }}\n\
         pools:\n{}{}",
        pool("a", a.address()),
        pool("b", nobody.address())
    ));
    // One of the two is there, so clients may come.
    evener.wait_log(&format!("Server {} is DOWN", nobody.address()));
    assert!(support::try_connect(evener.address(0)).is_ok());
    a.stop();
    evener.wait_log(&format!("Server {} is DOWN", a.address()));
    support::eventually("nobody is let in", || {
        let refused = support::try_connect(evener.address(0)).err()?.kind();
        (refused == std::io::ErrorKind::ConnectionRefused).then_some(())
    });
    a.restart();
    evener.wait_log_count(&format!("Server {} is UP", a.address()), 1);
    support::eventually("clients may come again", || {
        support::try_connect(evener.address(0)).ok()
    });
}
