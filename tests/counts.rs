//! What is counted comes back to 0 when it is over, and nothing is lost from a count: not by attempts that
//! fail, and not by reloads while sessions count. And what can't go on waits, and does not spin.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use support::{
    Admin, Dummy, Evener, Load, RefusingPort, addresses, config, connect, dummies, eventually,
    is_silent_for, who_serves,
};

const OFF: &str = "health_check: off";
const ADMIN: &str = "admin: { bind: \"127.0.0.1:0\" }";

/// Waits until no backend of these names holds a session.
#[track_caller]
fn nobody_is_held(admin: &Admin, names: &[&str]) {
    eventually("every session to be given back", || {
        let is_free = |name: &&str| admin.backend(name)["active"] == 0;
        names.iter().all(is_free).then_some(())
    });
}

/// A dummy as a backend that is called so.
fn named(name: &str, dummy: &Dummy, weight: usize) -> String {
    let address = dummy.address();
    format!("{{ name: {name}, address: \"{address}\", weight: {weight} }}")
}

#[test]
fn a_backend_that_did_not_answer_holds_no_session() {
    let dead = RefusingPort::new();
    let [a] = dummies(["a"]);
    let backends = [
        format!("{{ name: dead, address: \"{}\" }}", dead.address()),
        named("a", &a, 1),
    ];
    let evener = Evener::start(&config(&backends, &[OFF], &[ADMIN]));
    let admin = Admin::of(&evener);
    for _ in 0..6 {
        assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    }
    assert_eq!(admin.backend("dead")["connect_failures"], 3);
    nobody_is_held(&admin, &["a", "dead"]);
}

#[test]
fn no_session_is_lost_from_the_count_by_reloads() {
    const RELOADS: usize = 40;
    let all = dummies(["a", "b"]);
    let weighing = |weight| {
        let backends = [named("a", &all[0], weight), named("b", &all[1], 1)];
        config(&backends, &[OFF], &[ADMIN])
    };
    let evener = Evener::start(&weighing(1));
    let admin = Admin::of(&evener);
    let load = Load::start(evener.address(0), 4);
    for round in 1..=RELOADS {
        evener.rewrite_config(&weighing(1 + round % 2));
        evener.signal(Signal::HUP);
        evener.wait_log_count("config reloaded", round);
        load.wait_for_more(5);
    }
    let account = load.finish();
    assert_eq!(account.errors, [""; 0]);
    nobody_is_held(&admin, &["a", "b"]);
    for name in ["a", "b"] {
        assert_eq!(
            admin.backend(name)["total"],
            account.of(name),
            "sessions of {name}"
        );
    }
    assert_eq!(admin.status()["listeners"][0]["total"], account.answers());
}

#[test]
fn a_listener_without_descriptors_waits_and_does_not_spin() {
    let backends = dummies(["a"]);
    let evener = Evener::start(&config(&addresses(&backends), &[OFF], &[]));
    let pid = Pid::from_raw(evener.pid().cast_signed());
    // No number is left for a new descriptor, not even for the one that is kept for this moment.
    let none = Rlimit {
        current: Some(3),
        ..getrlimit(Resource::Nofile)
    };
    let before = prlimit(pid, Resource::Nofile, none).unwrap();
    let client = connect(evener.address(0));
    evener.wait_log("raise ulimit -n");

    let used_before = evener.cpu_time();
    assert!(is_silent_for(&client, Duration::from_secs(1)));
    let used = evener.cpu_time() - used_before;
    assert!(
        used < Duration::from_millis(300),
        "{used:?} of CPU in a second"
    );

    prlimit(pid, Resource::Nofile, before).unwrap();
    drop(client);
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
}
