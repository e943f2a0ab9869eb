//! A backend to which real connections fail is taken out at once, comes back, and is never blamed for a
//! fault of this machine.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use support::{Admin, Evener, Load, addresses, config, dummies, eventually, who_serves};

const ADMIN: &str = "admin: { bind: \"127.0.0.1:0\" }";
const UNPROBED: &str = "health_check: off";
/// So seldom that no probe comes after the first.
const SELDOM: &str = "health_check: { interval: 1h }";
const SHORT: &str = "outlier_detection: { ejection_time: 300ms }";
const LONG: &str = "outlier_detection: { ejection_time: 4m }";

/// Asks until the log has the line.
fn ask_until(evener: &Evener, line: &str) -> String {
    eventually(line, || {
        who_serves(evener.address(0)).unwrap();
        evener.lines_with(line).pop()
    })
}

#[test]
fn a_dead_backend_is_out_after_three_clients_and_back_when_its_time_is_over() {
    let mut backends = dummies(["a", "b"]);
    let evener = Evener::start(&config(&addresses(&backends), &[UNPROBED, SHORT], &[ADMIN]));
    let admin = Admin::of(&evener);
    backends[0].stop();
    let (dead, name) = (backends[0].address(), backends[0].address().to_string());
    let line = ask_until(&evener, "is EJECTED");
    assert!(
        line.contains(&format!("warn  Server {dead} is EJECTED for 300ms (pool p; 3 connections in a row failed: connection refused; 1 of 2 up)")),
        "{line}"
    );
    backends[0].restart();
    let line = evener.wait_log(&format!("Server {dead} is UP after an ejection"));
    assert!(line.contains("its time is over; 2 of 2 up"), "{line}");
    ask_until(&evener, &format!("-> {dead} ended: normal"));
    let backend = admin.backend(&name);
    assert_eq!(
        (&backend["health"], &backend["ejections"]),
        (&"up".into(), &Value::from(1))
    );
    assert!(backend["connect_failures"].as_u64() >= Some(3));
    let metrics = admin.get("/metrics").body;
    assert!(
        metrics.contains("evener_backend_ejections_total{"),
        "{metrics}"
    );
}

#[test]
fn each_ejection_lasts_longer() {
    let mut backends = dummies(["a", "b"]);
    let evener = Evener::start(&config(&addresses(&backends), &[UNPROBED, SHORT], &[]));
    backends[0].stop();
    ask_until(&evener, "is EJECTED for 300ms");
    ask_until(&evener, "is EJECTED for 600ms");
    ask_until(&evener, "is EJECTED for 900ms");
}

#[test]
fn a_good_probe_ends_an_ejection() {
    let mut backends = dummies(["a", "b"]);
    let check = "health_check: { interval: 400ms, timeout: 300ms, fall: 100 }";
    let evener = Evener::start(&config(&addresses(&backends), &[check, LONG], &[ADMIN]));
    let admin = Admin::of(&evener);
    let name = backends[0].address().to_string();
    backends[0].stop();
    ask_until(&evener, "is EJECTED for 4m");
    let explained = admin.get("/api/v1/explain?pool=p").json();
    let why = explained["backends"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("ejected since "), "{why}");
    assert_eq!(admin.backend(&name)["takes_sessions"], false);
    backends[0].restart();
    evener.wait_log("is UP after an ejection (pool p; a probe has found it well; 2 of 2 up)");
}

#[test]
fn no_more_than_the_share_is_ejected_and_never_the_last_one() {
    let mut backends = dummies(["a", "b", "c"]);
    let evener = Evener::start(&config(&addresses(&backends), &[SELDOM, LONG], &[ADMIN]));
    let admin = Admin::of(&evener);
    backends[0].stop();
    backends[1].stop();
    // Two retries are enough to get by two dead ones, which is all that keeps the clients served.
    for _ in 0..40 {
        assert_eq!(who_serves(evener.address(0)).unwrap(), "c");
    }
    let ejected = || {
        let status = admin.status();
        let backends = status["pools"][0]["backends"].as_array().unwrap().clone();
        backends
            .iter()
            .filter(|one| one["health"] == "ejected")
            .count()
    };
    assert_eq!(ejected(), 1);
    assert_eq!(evener.lines_with("is EJECTED").len(), 1);
}

#[test]
fn who_is_ejected_is_let_in_when_the_last_other_one_is_drained() {
    let mut backends = dummies(["a", "b"]);
    let evener = Evener::start(&config(&addresses(&backends), &[SELDOM, LONG], &[ADMIN]));
    let admin = Admin::of(&evener);
    backends[0].stop();
    ask_until(&evener, "is EJECTED");
    backends[0].restart();
    let path = format!("/api/v1/pools/p/backends/{}", backends[1].address());
    assert_eq!(admin.post(&path, "{\"state\": \"drain\"}").status, 200);
    let line = evener.wait_log("is UP after an ejection");
    assert!(line.contains("nobody else can serve"), "{line}");
    eventually("a client of a", || who_serves(evener.address(0)).ok());
}

#[test]
fn a_success_in_between_starts_the_count_again() {
    let mut backends = dummies(["a", "b"]);
    let evener = Evener::start(&config(&addresses(&backends), &[UNPROBED, LONG], &[ADMIN]));
    let admin = Admin::of(&evener);
    let name = backends[0].address().to_string();
    for round in 1..=4 {
        backends[0].stop();
        eventually("two more failures", || {
            who_serves(evener.address(0)).unwrap();
            (admin.backend(&name)["connect_failures"] == 2 * round).then_some(())
        });
        backends[0].restart();
        let before = admin.backend(&name)["total"].as_u64().unwrap();
        eventually("a success", || {
            who_serves(evener.address(0)).unwrap();
            (admin.backend(&name)["total"].as_u64().unwrap() > before).then_some(())
        });
    }
    assert_eq!(evener.lines_with("is EJECTED"), [""; 0]);
}

#[test]
fn a_reload_keeps_an_ejection_until_it_is_switched_off() {
    let mut backends = dummies(["a", "b"]);
    let text = |rules: &str| config(&addresses(&backends), &[UNPROBED, rules], &[ADMIN]);
    let (on, off) = (text(LONG), text("outlier_detection: off"));
    let evener = Evener::start(&on);
    let admin = Admin::of(&evener);
    let name = backends[0].address().to_string();
    backends[0].stop();
    ask_until(&evener, "is EJECTED for 4m");
    evener.rewrite_config(&on.replace("4m", "3m"));
    evener.signal(Signal::HUP);
    evener.wait_log("generation 2");
    assert_eq!(admin.backend(&name)["health"], "ejected");
    evener.rewrite_config(&off);
    evener.signal(Signal::HUP);
    evener.wait_log("generation 3");
    eventually("it is in again", || {
        (admin.backend(&name)["health"] == "up").then_some(())
    });
    for _ in 0..20 {
        assert_eq!(who_serves(evener.address(0)).unwrap(), "b");
    }
    assert_eq!(evener.lines_with("is EJECTED").len(), 1);
}

#[test]
fn killing_a_backend_under_load_costs_a_few_retries_and_no_client_an_error() {
    let mut backends = dummies(["a", "b", "c"]);
    let evener = Evener::start(&config(&addresses(&backends), &[SELDOM, LONG], &[ADMIN]));
    let admin = Admin::of(&evener);
    let name = backends[0].address().to_string();
    let load = Load::start(evener.address(0), 4);
    load.between_requests(|| backends[0].stop());
    evener.wait_log("is EJECTED");
    let failures = admin.backend(&name)["connect_failures"].as_u64().unwrap();
    load.wait_for_more(200);
    let account = load.finish();
    assert_eq!(account.errors, [""; 0]);
    // Those that had picked it before it was out: one for each client, at most.
    assert!(failures <= 3 + 4, "{failures}");
    let later = admin.backend(&name)["connect_failures"].as_u64().unwrap();
    assert!(later <= 3 + 4, "{later}");
}
