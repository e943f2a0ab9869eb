//! A backend that has recovered gets its share little by little, whatever the policy; at the start, and
//! where nobody else is left, it gets all of it at once.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::net::{SocketAddr, TcpStream};

use support::{
    Admin, Dummy, Evener, Server, config, connect, dummies, eventually, who_serves, who_serves_from,
};

const ADMIN: &str = "admin: { bind: \"127.0.0.1:0\" }";
const FAST: &str = "health_check: { interval: 30ms, timeout: 1s, fall: 1, rise: 1 }";
/// So long that next to nothing of the share has come by the end of a test.
const SLOW: &str = "slow_start: 10h";
const POLICIES: [&str; 7] = [
    "round_robin",
    "least_connections",
    "power_of_two",
    "random",
    "first",
    "source_hash",
    "maglev",
];

fn start(backends: &[SocketAddr], policy: &str, slow_start: &str) -> Evener {
    let balance = format!("balance: {policy}");
    let pool = [FAST, slow_start, &balance, "outlier_detection: off"];
    Evener::start(&config(backends, &pool, &[ADMIN]))
}

/// Takes it down and up again.
fn recover(dummy: &mut Dummy, evener: &Evener) {
    let address = dummy.address();
    dummy.stop();
    evener.wait_log(&format!("Server {address} is DOWN"));
    dummy.restart();
    evener.wait_log(&format!("Server {address} is UP"));
}

/// How many of so many clients, each from an address of its own, this one serves.
fn share_of(name: &str, evener: &Evener, clients: u8) -> usize {
    let served = |n: u8| who_serves_from([127, 0, 1, n].into(), evener.address(0));
    (1..=clients).filter(|n| served(*n) == name).count()
}

#[test]
fn who_has_recovered_gets_next_to_nothing_at_first() {
    for policy in POLICIES {
        let mut backends = dummies(["a", "b", "c"]);
        let addresses = support::addresses(&backends);
        let evener = start(&addresses, policy, SLOW);
        let before = share_of("a", &evener, 60);
        assert!(before > 5, "{policy}: {before} of 60 at the start");
        recover(&mut backends[0], &evener);
        let after = share_of("a", &evener, 60);
        assert!(after <= 2, "{policy}: {after} of 60 after a recovery");
        let explained = Admin::of(&evener)
            .get("/api/v1/explain?pool=p&client=127.0.1.1")
            .json();
        let why = explained["backends"][0]["why"].as_str().unwrap();
        assert!(
            why.ends_with("starts slowly: 0 % of its share for now"),
            "{policy}: {why}"
        );
    }
}

#[test]
fn its_whole_share_is_there_in_the_end() {
    for policy in POLICIES {
        let mut backends = dummies(["a", "b"]);
        let addresses = support::addresses(&backends);
        let evener = start(&addresses, policy, "slow_start: 200ms");
        let before = share_of("a", &evener, 40);
        recover(&mut backends[0], &evener);
        eventually("its whole share", || {
            let after = share_of("a", &evener, 40);
            (after + 12 >= before && after > 0).then_some(())
        });
    }
}

#[test]
fn least_connections_does_not_give_it_everything() {
    let (mut back, busy) = (Dummy::start("back"), Server::start());
    let evener = start(&[back.address(), busy.address()], "least_connections", SLOW);
    let admin = Admin::of(&evener);
    back.stop();
    evener.wait_log("is DOWN");
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..5 {
        held.push(connect(evener.address(0)));
        held.push(busy.accept());
    }
    back.restart();
    evener.wait_log("is UP");
    // It has no session and the other has five: without a slow start all of these would be its.
    for _ in 0..20 {
        held.push(connect(evener.address(0)));
    }
    let active = |address: SocketAddr| {
        admin.backend(&address.to_string())["active"]
            .as_u64()
            .unwrap()
    };
    eventually("all are served", || {
        (active(back.address()) + active(busy.address()) == 25).then_some(())
    });
    assert!(active(back.address()) <= 2, "{}", active(back.address()));
}

#[test]
fn the_last_one_left_serves_all() {
    for policy in POLICIES {
        let mut backends = dummies(["a", "b"]);
        let addresses = support::addresses(&backends);
        let evener = start(&addresses, policy, SLOW);
        recover(&mut backends[0], &evener);
        backends[1].stop();
        evener.wait_log(&format!("Server {} is DOWN", backends[1].address()));
        for _ in 0..10 {
            assert_eq!(who_serves(evener.address(0)).unwrap(), "a", "{policy}");
        }
    }
}
