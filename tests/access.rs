//! Who is let in at a listener, over real sockets: access rules in their order, limits for each
//! client address, and that every kind of session gives its place back.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;
use support::{
    DEADLINE, Dummy, End, Evener, RefusingPort, Server, eventually, is_live, is_reset,
    read_until_end, reset,
};

/// A config of one listener with these keys, and one pool.
fn config(bind: &str, keys: &str, backend: SocketAddr, rest: &str) -> String {
    format!(
        "listeners:\n  - {{ name: in, bind: \"{bind}\", {keys} }}\n\
         pools:\n  - {{ health_check: off, backends: [\"{backend}\"] }}\n{rest}\n"
    )
}

/// Connects from this address.
fn connect_from(source: impl Into<IpAddr>, to: SocketAddr) -> TcpStream {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(source.into(), 0)).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

const fn client(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}

/// Is a client from this address served? Refused ones are reset; anything else fails the test.
fn is_served(source: impl Into<IpAddr>, to: SocketAddr) -> bool {
    is_answered(connect_from(source, to), "")
}

/// The same, for a client of which a proxy says this.
fn is_answered(mut stream: TcpStream, header: &str) -> bool {
    // A client that is refused may see it while it writes; the kernel says it once.
    if let Err(error) = stream.write_all(format!("{header}GET / HTTP/1.0\r\n\r\n").as_bytes()) {
        assert!(is_reset::<()>(&Err(error)));
        return false;
    }
    let (bytes, end) = read_until_end(&stream);
    match end {
        End::Fin => assert!(!bytes.is_empty(), "an empty answer"),
        End::Reset => assert_eq!(bytes, b"", "an answer that broke off"),
        End::Open => panic!("neither served nor refused: {bytes:?}"),
    }
    end == End::Fin
}

#[test]
fn the_first_rule_that_matches_decides() {
    let backend = Dummy::start("a");
    let rules =
        "access: { rules: [deny 127.0.0.2, allow 127.0.0.0/29, deny 127.0.0.0/8, 'deny ::1'] }";
    // One socket for both families: IPv4 clients arrive there wrapped in IPv6.
    let evener = Evener::start(&config(":0", rules, backend.address(), ""));
    let baseline = evener.baseline();
    let v4 = SocketAddr::new(client(1).into(), evener.address(0).port());
    assert!(is_served(client(1), v4));
    assert!(!is_served(client(2), v4));
    assert!(is_served(client(7), v4));
    assert!(!is_served(client(8), v4));
    let v6 = SocketAddr::new(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), v4.port());
    assert!(!is_served(v6.ip(), v6));
    // Three were refused: one line at once, none for the others.
    let line = evener.wait_log("refused 1 client: denied (access), the last one 127.0.0.2:");
    assert!(line.contains("info  listener in"), "{line}");
    assert_eq!(evener.lines_with(" refused ").len(), 1);
    evener.wait_log_count("ended: normal", 2);
    assert_eq!(
        evener.lines_with("session ").len(),
        2,
        "the refused have no record"
    );
    evener.check_invariants(&baseline);
}

#[test]
fn an_ipv6_client_can_be_the_only_one_let_in() {
    let backend = Dummy::start("a");
    let rules = "access: { default: deny, rules: ['allow ::1'] }";
    let rest = "log: { level: debug }";
    let evener = Evener::start(&config("[::1]:0", rules, backend.address(), rest));
    let to = evener.address(0);
    assert!(is_served(to.ip(), to));

    let rules = "access: { default: deny, rules: ['allow 127.0.0.3'] }";
    let evener = Evener::start(&config(":0", rules, backend.address(), rest));
    let port = evener.address(0).port();
    assert!(!is_served(to.ip(), SocketAddr::new(to.ip(), port)));
    assert!(!is_served(client(1), (client(1), port).into()));
    assert!(is_served(client(3), (client(1), port).into()));
    evener.wait_log("client [::1]:");
    let line = evener.wait_log("client 127.0.0.1:");
    assert!(line.contains("refused: denied listener=in"), "{line}");
}

/// A client that is let in, and the backend's end of its session.
#[track_caller]
fn session(source: Ipv4Addr, to: SocketAddr, server: &Server) -> (TcpStream, TcpStream) {
    let client = connect_from(source, to);
    live(client, server.accept())
}

/// Both ends, when bytes go both ways: what breaks off before may be an attempt to connect, not yet a
/// session.
fn live(mut client: TcpStream, mut backend: TcpStream) -> (TcpStream, TcpStream) {
    is_live(&mut client, &mut backend);
    (client, backend)
}

/// A client that is not.
#[track_caller]
fn assert_refused(source: Ipv4Addr, to: SocketAddr) {
    let client = connect_from(source, to);
    assert_eq!(
        read_until_end(&client),
        (Vec::new(), End::Reset),
        "{source}"
    );
}

#[test]
fn each_address_has_its_own_number_of_sessions() {
    let server = Server::start();
    let keys = "max_connections_per_ip: 2";
    let evener = Evener::start(&config("127.0.0.1:0", keys, server.address(), ""));
    let to = evener.address(0);
    let first = session(client(1), to, &server);
    let _second = session(client(1), to, &server);
    assert_refused(client(1), to);
    let _other = [
        session(client(2), to, &server),
        session(client(2), to, &server),
    ];
    assert_refused(client(2), to);
    evener.wait_log("refused 1 client: ip_limit (max_connections_per_ip), the last one 127.0.0.1:");

    // The place of the one that ends is free for the next, and only that one.
    drop(first);
    evener.wait_log("session 1 ");
    let _third = enters(client(1), to, &server);
    assert_refused(client(1), to);
}

/// A client that is let in as soon as the session before it has given its place back: that is the
/// last thing that a session does, after its record.
#[track_caller]
fn enters(source: Ipv4Addr, to: SocketAddr, server: &Server) -> (TcpStream, TcpStream) {
    eventually("a place for the next client", || {
        let client = connect_from(source, to);
        let mut byte = [0];
        client.set_nonblocking(true).unwrap();
        loop {
            match (&client).read(&mut byte) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => return None,
            }
            if let Some(backend) = server.accept_within(Duration::from_millis(5)) {
                client.set_nonblocking(false).unwrap();
                return Some(live(client, backend));
            }
        }
    })
}

#[test]
fn every_kind_of_session_gives_its_place_back() {
    let server = Server::start();
    let keys = "max_connections_per_ip: 1";
    let rest = "timeouts: { idle: 100ms }";
    let evener = Evener::start(&config("127.0.0.1:0", keys, server.address(), rest));
    let baseline = evener.baseline();
    let to = evener.address(0);
    let next = || enters(client(1), to, &server);

    drop(next());
    evener.wait_log("ended: normal");
    let (from, _backend) = next();
    reset(from);
    evener.wait_log("ended: client_reset");
    let (_from, backend) = next();
    reset(backend);
    evener.wait_log("ended: server_reset");
    let _silent = next();
    evener.wait_log("ended: idle_timeout");

    // Nobody takes these.
    let refusing = RefusingPort::new();
    let none = config("127.0.0.1:0", keys, refusing.address(), "");
    let other = Evener::start(&none);
    for sessions in 1..=3 {
        eventually("a session without a backend", || {
            drop(connect_from(client(1), other.address(0)));
            let ended = other.lines_with("ended: c").len();
            (ended >= sessions).then_some(())
        });
    }
    drop(next());
    evener.check_invariants(&baseline);
}

#[test]
fn a_rate_of_one_a_minute_lets_one_of_each_address_in() {
    let server = Server::start();
    let keys = "connection_rate_per_ip: 1/m";
    let evener = Evener::start(&config("127.0.0.1:0", keys, server.address(), ""));
    let to = evener.address(0);
    drop(session(client(1), to, &server));
    for _ in 0..3 {
        assert_refused(client(1), to);
    }
    let _other = session(client(2), to, &server);
    assert_refused(client(2), to);
    evener.wait_log("refused 1 client: rate (connection_rate_per_ip)");
}

#[test]
fn a_burst_of_a_second_is_let_in_at_once() {
    // 600 a minute are 10 in a second; the test is over in less than the 100 ms of the next only on a
    // good day, so it counts for the whole time: never more than the burst and what has flowed in.
    let server = Server::start();
    let keys = "connection_rate_per_ip: 600/m";
    let evener = Evener::start(&config("127.0.0.1:0", keys, server.address(), ""));
    let to = evener.address(0);
    let begin = Instant::now();
    let first: Vec<_> = (0..10).map(|_| session(client(1), to, &server)).collect();
    assert_eq!(first.len(), 10);
    let mut more: Vec<TcpStream> = (0..50).map(|_| connect_from(client(1), to)).collect();
    let mut served = 0;
    let mut refused = 0;
    eventually("the fate of each", || {
        while server.accept_within(Duration::ZERO).is_some() {
            served += 1;
        }
        more.retain(|client| {
            client.set_nonblocking(true).unwrap();
            let mut byte = [0];
            let is_refused = match (&*client).read(&mut byte) {
                Err(error) => error.kind() != ErrorKind::WouldBlock,
                Ok(_) => false,
            };
            refused += usize::from(is_refused);
            !is_refused
        });
        (served + refused >= 50).then_some(())
    });
    let flowed = begin.elapsed().as_millis() / 100 + 1;
    assert!(
        served as u128 <= flowed,
        "{served} in {:?}",
        begin.elapsed()
    );
}

#[test]
fn a_header_that_comes_late_gives_its_client_no_more_than_its_rate() {
    let backend = Dummy::start("a");
    let keys = "connection_rate_per_ip: 600/m, \
                accept_proxy_protocol: { from: [127.0.0.1], timeout: 1m }";
    let evener = Evener::start(&config("127.0.0.1:0", keys, backend.address(), ""));
    let header = "PROXY TCP4 198.51.100.7 203.0.113.1 5000 443\r\n";
    let connect = || connect_from(client(1), evener.address(0));
    let begin = Instant::now();
    let late: Vec<TcpStream> = (0..10).map(|_| connect()).collect();
    let mut served = 0;
    // Time passes: the bucket holds ten, and ten flow in each second.
    eventually("25 answers", || {
        served += u32::from(is_answered(connect(), header));
        (served >= 25).then_some(())
    });
    for stream in late {
        served += u32::from(is_answered(stream, header));
        for _ in 0..15 {
            served += u32::from(is_answered(connect(), header));
        }
    }
    let allowed = 10 + begin.elapsed().as_millis() / 100 + 1;
    assert!(u128::from(served) <= allowed, "{served} of {allowed}");
}

#[test]
fn a_reload_keeps_the_counts_and_changes_the_limit() {
    let server = Server::start();
    let with = |keys: &str| config("127.0.0.1:0", keys, server.address(), "");
    let evener = Evener::start(&with("max_connections_per_ip: 1"));
    let to = evener.address(0);
    let _first = session(client(1), to, &server);
    assert_refused(client(1), to);
    evener.rewrite_config(&with(
        "max_connections_per_ip: 2, access: { rules: [deny 127.0.0.2] }",
    ));
    evener.signal(Signal::HUP);
    evener.wait_log("config reloaded");
    assert_refused(client(2), to);
    let _second = session(client(1), to, &server);
    assert_refused(client(1), to);
}

#[test]
fn behind_a_proxy_the_rules_are_for_the_client_that_its_header_names() {
    let backend = Server::start();
    let keys = "access: { rules: [deny 192.0.2.0/24, allow 198.51.100.0/24], default: deny }, \
                max_connections_per_ip: 1, accept_proxy_protocol: { from: [127.0.0.1] }";
    let evener = Evener::start(&config("127.0.0.1:0", keys, backend.address(), ""));
    let send = |source: &str| {
        let mut stream = connect_from(client(1), evener.address(0));
        let header = format!("PROXY TCP4 {source} 203.0.113.1 5000 443\r\n");
        stream.write_all(header.as_bytes()).unwrap();
        stream
    };
    let first = send("198.51.100.7");
    let served = backend.accept();
    // The same proxy, and other clients: one that is denied, one that has its one session already.
    for refused in ["192.0.2.1", "198.51.100.7"] {
        assert_eq!(read_until_end(&send(refused)).1, End::Reset);
    }
    evener.wait_log_count("ended: refused PR", 2);
    let line = evener.wait_log("denied (access)");
    assert!(line.contains("192.0.2.1:5000"), "{line}");
    let other = send("198.51.100.8");
    drop(backend.accept());
    drop((first, served, other));
    // The proxy itself is no client: whom its header does not name is judged by the default.
    // It writes nothing: a write that met the reset would take the error, and leave an end for the read.
    let direct = connect_from(client(2), evener.address(0));
    assert_eq!(read_until_end(&direct).1, End::Reset);
    eventually("the place to be free again", || {
        let again = send("198.51.100.7");
        backend.accept_within(Duration::from_millis(100))?;
        drop(again);
        Some(())
    });
}
