//! The same client gets the same backend, over real sockets: whatever else happens, in every process
//! with the same backends, and only those move who must.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::{
    Admin, Dummy, Evener, Server, config, connect, connect_from, dummies, eventually,
    read_to_end_with_deadline,
};

const POLICIES: [&str; 2] = ["source_hash", "maglev"];
const ADMIN: &str = "admin: { bind: \"127.0.0.1:0\" }";
const UNPROBED: &str = "health_check: off";
const FAST: &str = "health_check: { interval: 50ms, timeout: 1s, fall: 1, rise: 1 }";

/// Who serves whom.
type Homes = BTreeMap<IpAddr, String>;

fn balance(policy: &str) -> String {
    format!("balance: {policy}")
}

fn named(backends: &[Dummy], names: &[&str]) -> Vec<String> {
    let pairs = backends.iter().zip(names);
    pairs
        .map(|(backend, name)| format!("{{ name: {name}, address: \"{}\" }}", backend.address()))
        .collect()
}

/// Clients of this machine that differ by their address.
fn neighbours() -> impl Iterator<Item = IpAddr> {
    (1..=60).map(|number| Ipv4Addr::new(127, 0, 0, number).into())
}

/// A thousand clients, IPv4 and IPv6.
fn anybody() -> impl Iterator<Item = IpAddr> {
    let v4 = (0..500_u32).map(|n| Ipv4Addr::from_bits(0xc612_0000 + n * 7).into());
    let v6 = (0..500_u128).map(|n| Ipv6Addr::from_bits((0x2001_0db8 << 96) + n * 3).into());
    v4.chain(v6)
}

/// The name of the backend that greets a client with this address.
fn who_serves_from(source: IpAddr, evener: &Evener) -> String {
    greeting(connect_from(source, evener.address(0)))
}

/// Asks, and gives the name in the greeting.
fn greeting(mut stream: TcpStream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let answer = String::from_utf8(read_to_end_with_deadline(&stream).unwrap()).unwrap();
    let name = answer.trim_end().rsplit(' ').next();
    name.unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn homes(evener: &Evener) -> Homes {
    let home = |client| (client, who_serves_from(client, evener));
    neighbours().map(home).collect()
}

/// Whose a client would be, as evener says.
fn told(admin: Admin, client: IpAddr) -> String {
    let told = admin
        .get(&format!("/api/v1/explain?client={client}"))
        .json();
    assert_eq!(told["depends_on_client"], false);
    told["next"].as_str().unwrap().to_owned()
}

/// The clients whose backend is not the same in both.
fn moved(before: &Homes, after: &Homes) -> Vec<IpAddr> {
    let pairs = before.iter().zip(after.values());
    let moved = pairs.filter(|((_, before), after)| before != after);
    moved.map(|((client, _), _)| *client).collect()
}

/// The clients of one backend.
fn clients_of(name: &str, homes: &Homes) -> Vec<IpAddr> {
    let own = homes.iter().filter(|(_, home)| *home == name);
    own.map(|(client, _)| *client).collect()
}

#[test]
fn a_client_stays_where_it_is() {
    let backends = dummies(["a", "b", "c"]);
    for policy in POLICIES {
        let lines = [&*balance(policy), UNPROBED];
        let text = config(&named(&backends, &["a", "b", "c"]), &lines, &[ADMIN]);
        let evener = Evener::start(&text);
        let first = homes(&evener);
        for name in ["a", "b", "c"] {
            assert!(!clients_of(name, &first).is_empty(), "{policy}: {first:?}");
        }
        assert_eq!(first, homes(&evener), "{policy}: a second time");
        let admin = Admin::of(&evener);
        for (client, home) in &first {
            assert_eq!(&told(admin, *client), home, "{policy}: {client}");
        }
        // Another line of the pool has changed, so it is another pool.
        evener.rewrite_config(
            &text.replace("health_check: off", "health_check: off\n    retries: 5"),
        );
        evener.signal(Signal::HUP);
        evener.wait_log("config reloaded");
        assert_eq!(first, homes(&evener), "{policy}: after a reload");
        drop(evener);
        assert_eq!(
            first,
            homes(&Evener::start(&text)),
            "{policy}: in a new process"
        );
    }
}

#[test]
fn only_the_clients_of_a_dead_backend_move_and_they_come_back() {
    for policy in POLICIES {
        let mut backends = dummies(["a", "b", "c"]);
        let names = named(&backends, &["a", "b", "c"]);
        let evener = Evener::start(&config(&names, &[&balance(policy), FAST], &[]));
        // What nobody probes is found dead by each client anew.
        let unaware = Evener::start(&config(&names, &[&balance(policy), UNPROBED], &[]));
        let before = homes(&evener);
        assert_eq!(before, homes(&unaware));
        backends[1].stop();
        evener.wait_log("is DOWN");
        let without = homes(&evener);
        assert_eq!(
            moved(&before, &without),
            clients_of("b", &before),
            "{policy}"
        );
        assert!(clients_of("b", &without).is_empty());
        assert_eq!(
            without,
            homes(&unaware),
            "{policy}: a retry goes where b's clients go"
        );
        backends[1].restart();
        evener.wait_log("is UP");
        assert_eq!(before, homes(&evener), "{policy}: they come back");
    }
}

#[test]
fn who_is_drained_or_of_weight_0_gets_nobody() {
    let backends = dummies(["a", "b", "c"]);
    for policy in POLICIES {
        let names = named(&backends, &["a", "b", "c"]);
        let evener = Evener::start(&config(&names, &[&balance(policy), UNPROBED], &[ADMIN]));
        let admin = Admin::of(&evener);
        let before = homes(&evener);
        let change = |body: &str| {
            let answer = admin.post("/api/v1/pools/p/backends/b", body);
            assert_eq!(answer.status, 200, "{answer:?}");
            homes(&evener)
        };
        let drained = change(r#"{"state": "drain"}"#);
        assert_eq!(
            moved(&before, &drained),
            clients_of("b", &before),
            "{policy}"
        );
        assert_eq!(before, change(r#"{"state": "ready"}"#), "{policy}");
        let weightless = change(r#"{"weight": 0}"#);
        assert!(clients_of("b", &weightless).is_empty(), "{policy}");
        assert_eq!(before, change(r#"{"weight": 1}"#), "{policy}");
        // Nearly all are its own now.
        let heavy = change(r#"{"weight": 256}"#);
        assert!(clients_of("b", &heavy).len() > 50, "{policy}: {heavy:?}");
    }
}

/// An evener that is only asked: nobody connects to these addresses.
fn asked(policy: &str, backends: &[String]) -> (Evener, Admin) {
    let evener = Evener::start(&config(backends, &[&balance(policy), UNPROBED], &[ADMIN]));
    let admin = Admin::of(&evener);
    (evener, admin)
}

fn told_homes(admin: Admin) -> Homes {
    anybody()
        .map(|client| (client, told(admin, client)))
        .collect()
}

#[test]
fn two_processes_agree_whatever_the_order_of_their_lists() {
    let backend = |n: u32| {
        let weight = n % 3 + 1;
        format!("{{ name: b{n}, address: \"192.0.2.{n}:80\", weight: {weight} }}")
    };
    for policy in POLICIES {
        let here: Vec<String> = (1..=10).map(backend).collect();
        let there: Vec<String> = [7, 2, 10, 1, 5, 3, 9, 8, 4, 6].map(backend).into();
        let (_one, one) = asked(policy, &here);
        let (_other, other) = asked(policy, &there);
        assert_eq!(told_homes(one), told_homes(other), "{policy}");
    }
}

#[test]
fn a_backend_that_leaves_the_config_or_comes_moves_few() {
    let backend = |n: u32| format!("{{ name: b{n}, address: \"192.0.2.{n}:80\" }}");
    for (policy, others) in [("source_hash", 0), ("maglev", 20)] {
        let ten: Vec<String> = (1..=10).map(backend).collect();
        let (evener, admin) = asked(policy, &ten);
        let before = told_homes(admin);
        let lines = [&*balance(policy), UNPROBED];
        let reload = |backends: &[String]| {
            let done = evener.lines_with("config reloaded").len();
            evener.rewrite_config(&config(backends, &lines, &[ADMIN]));
            evener.signal(Signal::HUP);
            evener.wait_log_count("config reloaded", done + 1);
            told_homes(Admin::of(&evener))
        };
        let nine = reload(&ten[1..]);
        // A tenth, and with maglev at most 2 % of the others.
        let own = clients_of("b1", &before);
        let gone = moved(&before, &nine);
        assert!(own.iter().all(|client| gone.contains(client)), "{policy}");
        assert!(
            gone.len() <= own.len() + others,
            "{policy}: {} of {}",
            gone.len(),
            own.len()
        );
        assert!((70..=130).contains(&own.len()), "{policy}: {}", own.len());
        // And when it comes, as many move the other way.
        assert_eq!(reload(&ten), before, "{policy}");
    }
}

/// Worked out by another program from what the documentation of `policy::balance::hashing`, `source_hash`
/// and `maglev` says: an answer that changes would move every client at an upgrade.
#[test]
fn the_answers_are_those_of_another_implementation() {
    let backends = [
        "{ name: a, address: \"192.0.2.1:80\" }",
        "{ name: b, address: \"192.0.2.2:80\", weight: 2 }",
        "{ name: c, address: \"192.0.2.3:8080\" }",
        "{ name: d, address: \"[2001:db8::4]:80\", weight: 3 }",
    ]
    .map(String::from);
    let expected = [
        ("127.0.0.1", "c", "b"),
        ("192.0.2.7", "b", "c"),
        ("198.51.100.1", "d", "d"),
        ("203.0.113.255", "a", "a"),
        ("10.0.0.1", "d", "a"),
        ("10.0.0.2", "d", "a"),
        ("10.0.0.3", "b", "c"),
        ("172.16.0.1", "d", "c"),
        ("2001:db8::1", "b", "d"),
        ("2001:db8::2", "d", "d"),
        ("fe80::1", "d", "d"),
        ("::1", "d", "c"),
        ("::ffff:10.0.0.1", "d", "a"),
    ];
    for (place, policy) in POLICIES.into_iter().enumerate() {
        let (_evener, admin) = asked(policy, &backends);
        for (client, by_hash, by_table) in expected {
            let home = told(admin, client.parse().unwrap());
            assert_eq!(home, [by_hash, by_table][place], "{policy}: {client}");
        }
    }
}

#[test]
fn the_client_is_whom_the_proxy_names_and_a_prefix_is_one_client() {
    let backends = dummies(["a", "b", "c"]);
    for (policy, prefix) in [("source_hash", 64), ("maglev", 64), ("maglev", 128)] {
        let text = config(
            &named(&backends, &["a", "b", "c"]),
            &[
                &balance(policy),
                &format!("hash_ipv6_prefix: {prefix}"),
                UNPROBED,
            ],
            &[ADMIN],
        );
        let accept = "pool: p, accept_proxy_protocol: { from: [127.0.0.0/8], timeout: 1h } }";
        let evener = Evener::start(&text.replace("pool: p }", accept));
        let admin = Admin::of(&evener);
        let serves = |client: &str, family: &str, front: &str| {
            let mut stream = connect(evener.address(0));
            let header = format!("PROXY {family} {client} {front} 5000 80\r\n");
            stream.write_all(header.as_bytes()).unwrap();
            let name = greeting(stream);
            assert_eq!(
                name,
                told(admin, client.parse().unwrap()),
                "{policy}: {client}"
            );
            name
        };
        let mut seen: Vec<String> = (0..60)
            .map(|n| serves(&format!("192.0.2.{n}"), "TCP4", "198.51.100.1"))
            .collect();
        let mut one_network: Vec<String> = (1..=30)
            .map(|n| serves(&format!("2001:db8:0:7::{n}"), "TCP6", "2001:db8::80"))
            .collect();
        for names in [&mut seen, &mut one_network] {
            names.sort();
            names.dedup();
        }
        assert_eq!(seen.len(), 3, "{policy}");
        assert_eq!(
            one_network.len() == 1,
            prefix == 64,
            "{policy}: {one_network:?}"
        );
    }
}

/// How many of 30 sessions that one client holds each of three servers has, fewest first. The client
/// opens them all at once, or waits with each until the last one has its server.
fn held_by_one_client(policy: &str, factor: &str, at_once: bool) -> Vec<usize> {
    let servers: Vec<Server> = (0..3).map(|_| Server::start()).collect();
    let addresses: Vec<SocketAddr> = servers.iter().map(Server::address).collect();
    let factor = format!("hash_balance_factor: {factor}");
    let lines = [&*balance(policy), &factor, UNPROBED];
    let evener = Evener::start(&config(&addresses, &lines, &[]));
    let address = evener.address(0);
    let mut sessions: Vec<Vec<TcpStream>> = servers.iter().map(|_| Vec::new()).collect();
    let mut wait_for = |count| {
        eventually("every client has its server", || {
            for (server, sessions) in servers.iter().zip(&mut sessions) {
                sessions.extend(server.accept_within(Duration::ZERO));
            }
            (sessions.iter().map(Vec::len).sum::<usize>() == count).then_some(())
        });
    };
    let clients: Vec<TcpStream> = match at_once {
        true => thread::scope(|scope| {
            let connecting: Vec<_> = (0..30).map(|_| scope.spawn(|| connect(address))).collect();
            let clients = connecting.into_iter().map(|client| client.join().unwrap());
            clients.collect()
        }),
        false => (1..=30)
            .map(|count| {
                let client = connect(address);
                wait_for(count);
                client
            })
            .collect(),
    };
    wait_for(clients.len());
    let mut counts: Vec<usize> = sessions.iter().map(Vec::len).collect();
    counts.sort();
    counts
}

#[test]
fn a_bound_shares_one_clients_sessions_out() {
    for policy in POLICIES {
        assert_eq!(
            held_by_one_client(policy, "off", true),
            [0, 0, 30],
            "{policy}"
        );
        // A burst, and still exact: who has looked at a count that has moved looks again.
        assert_eq!(
            held_by_one_client(policy, "100%", true),
            [10, 10, 10],
            "{policy}"
        );
        // At most 1.5 times its share: the first two of the client's order have room for all.
        assert_eq!(
            held_by_one_client(policy, "150%", false),
            [0, 15, 15],
            "{policy}"
        );
    }
}

#[test]
fn without_a_client_explain_says_what_it_depends_on() {
    let backends = dummies(["a", "b"]);
    for policy in POLICIES {
        let names = named(&backends, &["a", "b"]);
        let evener = Evener::start(&config(&names, &[&balance(policy), UNPROBED], &[ADMIN]));
        let admin = Admin::of(&evener);
        let told = admin.get("/api/v1/explain").json();
        assert_eq!(
            (&told["next"], &told["depends_on_client"]),
            (&Value::Null, &true.into())
        );
        assert_eq!(
            told["backends"][0]["why"],
            "it depends on the client's address"
        );
        let told = admin.get("/api/v1/explain?client=192.0.2.7").json();
        let mut why = [0, 1].map(|index| told["backends"][index]["why"].as_str().unwrap());
        why.sort();
        assert_eq!(
            why,
            [
                "comes after 1 others for this client",
                "the first for this client"
            ]
        );
        let at = evener
            .address_after("admin server at http://", 0)
            .to_string();
        let shown = |arguments: &[&str]| {
            Evener::command(&[&["explain", "p", "--admin", &at], arguments].concat()).stdout
        };
        assert!(shown(&[]).contains("would get this or that: add --client IP"));
        let next = told["next"].as_str().unwrap();
        let line = format!("the next client 192.0.2.7 would get {next}\n");
        assert!(shown(&["--client", "192.0.2.7"]).contains(&line));
        // With one left, there is nothing to depend on.
        admin.post("/api/v1/pools/p/backends/a", r#"{"state": "drain"}"#);
        assert_eq!(admin.get("/api/v1/explain").json()["next"], "b");
    }
}
