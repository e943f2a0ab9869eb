//! Each balancing policy, seen from the clients' side: through real sessions, who is served by whom.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use support::{Dummy, Evener, Server, addresses, config, connect, dummies, eventually, who_serves};

const POLICIES: [&str; 8] = [
    "round_robin",
    "weighted_round_robin",
    "least_connections",
    "power_of_two",
    "random",
    "source_hash",
    "maglev",
    "first",
];

/// evener over these backends with these weights, without health checks, which would be connections too,
/// and with nobody ejected: the policy is all there is.
fn balance(policy: &str, backends: &[(SocketAddr, u32)]) -> Evener {
    let backends: Vec<String> = backends
        .iter()
        .map(|(address, weight)| format!("{{ address: \"{address}\", weight: {weight} }}"))
        .collect();
    let policy = format!("balance: {policy}");
    Evener::start(&config(
        &backends,
        &[&policy, "health_check: off", "outlier_detection: off"],
        &[],
    ))
}

/// The names of those who served so many clients, one after the other.
fn served(evener: &Evener, clients: usize) -> Vec<String> {
    let address = evener.address(0);
    (0..clients).map(|_| who_serves(address).unwrap()).collect()
}

fn shares(served: &[String]) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    for name in served {
        *shares.entry(name.as_str()).or_default() += 1;
    }
    shares
}

/// Clients that all come at the same moment and stay, on so many servers of these weights: how many
/// sessions each server got. The invariants are checked once the last client has left, if asked for:
/// that takes two seconds.
fn burst(policy: &str, weights: &[u32], clients: usize, check: bool) -> Vec<usize> {
    let servers: Vec<Server> = weights.iter().map(|_| Server::start()).collect();
    let backends: Vec<(SocketAddr, u32)> = servers
        .iter()
        .map(Server::address)
        .zip(weights.iter().copied())
        .collect();
    let evener = balance(policy, &backends);
    let baseline = evener.baseline();
    let address = evener.address(0);
    let held: Vec<TcpStream> = thread::scope(|scope| {
        let connecting: Vec<_> = (0..clients)
            .map(|_| scope.spawn(|| connect(address)))
            .collect();
        connecting
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let mut sessions: Vec<Vec<TcpStream>> = servers.iter().map(|_| Vec::new()).collect();
    eventually("every client has its backend", || {
        for (server, sessions) in servers.iter().zip(&mut sessions) {
            while let Some(session) = server.accept_within(Duration::ZERO) {
                sessions.push(session);
            }
        }
        (sessions.iter().map(Vec::len).sum::<usize>() == clients).then_some(())
    });
    let counts = sessions.iter().map(Vec::len).collect();
    drop((held, sessions));
    evener.wait_log_count(" ended: ", clients);
    if check {
        evener.check_invariants(&baseline);
    }
    counts
}

#[test]
fn round_robin_takes_turns() {
    let backends = dummies(["a", "b", "c"]);
    let all: Vec<_> = addresses(&backends).into_iter().map(|a| (a, 1)).collect();
    let evener = balance("round_robin", &all);
    assert_eq!(served(&evener, 7), ["a", "b", "c", "a", "b", "c", "a"]);
}

#[test]
fn weights_are_interleaved_not_bunched() {
    // Three turns of a for one of b and one of c, and never a a a b c.
    let backends = dummies(["a", "b", "c"]);
    let all: Vec<_> = addresses(&backends).into_iter().zip([3, 1, 1]).collect();
    for policy in ["round_robin", "weighted_round_robin"] {
        let evener = balance(policy, &all);
        assert_eq!(
            served(&evener, 10),
            ["a", "b", "a", "c", "a", "a", "b", "a", "c", "a"],
            "{policy}"
        );
    }
}

#[test]
fn a_burst_lands_evenly_on_the_least_connections() {
    // Who reads the counts and adds one later sends a burst to one backend; here it is one step.
    for round in 1..=5 {
        let counts = burst("least_connections", &[1, 1, 1], 30, round == 5);
        assert_eq!(counts, [10, 10, 10], "round {round}");
    }
}

#[test]
fn least_connections_heeds_the_weights() {
    assert_eq!(burst("least_connections", &[2, 1], 30, false), [20, 10]);
    assert_eq!(
        burst("least_connections", &[3, 2, 1], 30, false),
        [15, 10, 5]
    );
}

#[test]
fn least_connections_avoids_the_busy_one() {
    let busy = Server::start();
    let mut idle = Dummy::start("idle");
    let evener = balance(
        "least_connections",
        &[(busy.address(), 1), (idle.address(), 1)],
    );
    // Ten sessions, many more than the one or two that may be about to end on the other.
    idle.stop();
    let held: Vec<(TcpStream, TcpStream)> = (0..10)
        .map(|_| (connect(evener.address(0)), busy.accept()))
        .collect();
    idle.restart();
    assert!(served(&evener, 20).iter().all(|name| name == "idle"));
    drop(held);
}

#[test]
fn first_stays_with_the_first_that_answers() {
    let mut backends = dummies(["a", "b", "c"]);
    let all: Vec<_> = addresses(&backends).into_iter().map(|a| (a, 1)).collect();
    let evener = balance("first", &all);
    assert!(served(&evener, 10).iter().all(|name| name == "a"));
    backends[0].stop();
    assert!(served(&evener, 10).iter().all(|name| name == "b"));
    backends[0].restart();
    assert!(served(&evener, 10).iter().all(|name| name == "a"));
}

#[test]
fn random_and_power_of_two_spread() {
    let backends = dummies(["a", "b", "c"]);
    let all: Vec<_> = addresses(&backends).into_iter().map(|a| (a, 1)).collect();
    for policy in ["random", "power_of_two"] {
        let evener = balance(policy, &all);
        let served = served(&evener, 300);
        let shares = shares(&served);
        // 100 each is expected; 50 or less is six standard deviations away.
        assert!(
            shares.len() == 3 && shares.values().all(|share| *share > 50),
            "{policy}: {shares:?}"
        );
        assert!(
            served.windows(2).any(|pair| pair[0] == pair[1]),
            "{policy} takes turns"
        );
    }
}

#[test]
fn random_heeds_the_weights() {
    let backends = dummies(["a", "b"]);
    let all: Vec<_> = addresses(&backends).into_iter().zip([4, 1]).collect();
    let served = served(&balance("random", &all), 300);
    let a = shares(&served)["a"];
    // 240 are expected, give or take 7.
    assert!((195..285).contains(&a), "{a} of 300");
}

#[test]
fn power_of_two_keeps_a_burst_level() {
    // The better of two random ones: not exact, but nobody is left out or flooded.
    let counts = burst("power_of_two", &[1, 1, 1], 60, true);
    assert!(
        counts.iter().all(|count| (10..=30).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn every_policy_is_known_by_its_name_and_serves() {
    let backends = dummies(["a", "b"]);
    for policy in POLICIES {
        let arguments = [
            "-l",
            "127.0.0.1:0",
            "--admin",
            "off",
            "--balance",
            policy,
            &backends[0].address().to_string(),
            &backends[1].address().to_string(),
        ];
        let evener = Evener::without_config(&arguments);
        who_serves(evener.address(0)).unwrap_or_else(|error| panic!("{policy}: {error}"));
        // As sure in the config, and it says so itself.
        let all: Vec<_> = addresses(&backends).into_iter().map(|a| (a, 1)).collect();
        who_serves(balance(policy, &all).address(0)).unwrap();
        let printed = Evener::command(&["--balance", policy, "--print-config"]);
        assert!(
            printed.stdout.contains(&format!("balance: {policy}\n")),
            "{}",
            printed.stdout
        );
    }
}
