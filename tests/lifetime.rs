//! Sessions that end from outside: because they have lived long enough, or because their backend went down.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Dummy, End, Evener, Server, config, connect, is_live, read_until_end};

const UNPROBED: &str = "health_check: off";

#[test]
fn a_session_that_has_lived_long_enough_ends_in_order() {
    let server = Server::start();
    let rest = ["timeouts: { max_lifetime: 600ms }"];
    let evener = Evener::start(&config(&[server.address()], &[UNPROBED], &rest));
    let begin = Instant::now();
    let mut client = connect(evener.address(0));
    let mut backend = server.accept();
    is_live(&mut client, &mut backend);
    assert_eq!(read_until_end(&client).1, End::Fin);
    assert_eq!(read_until_end(&backend).1, End::Fin);
    // Between nine tenths of it and all of it: never before.
    assert!(begin.elapsed() >= Duration::from_millis(540));
    let line = evener.wait_log("ended: max_lifetime PD");
    assert!(line.contains("in=4B out=4B"), "{line}");
}

#[test]
fn an_old_session_in_which_bytes_are_on_their_way_has_until_the_end_of_its_time() {
    let server = Server::start();
    let rest = ["timeouts: { max_lifetime: 2s }"];
    let evener = Evener::start(&config(&[server.address()], &[UNPROBED], &rest));
    let client = connect(evener.address(0));
    let mut backend = server.accept();
    // The client reads nothing, so there is always something left to deliver.
    backend
        .set_write_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let broken = loop {
        if let Err(error) = backend.write_all(&[0; 65_536]) {
            break error;
        }
    };
    assert!(support::is_reset::<()>(&Err(broken)));
    evener.wait_log("ended: max_lifetime PD");
    let mut rest = Vec::new();
    let end = (&client).read_to_end(&mut rest);
    assert!(support::is_reset(&end), "{end:?}");
}

#[test]
fn sessions_that_began_together_do_not_end_together() {
    let server = Server::start();
    let rest = ["timeouts: { max_lifetime: 3s }"];
    let evener = Evener::start(&config(&[server.address()], &[UNPROBED], &rest));
    let clients: Vec<TcpStream> = (0..30).map(|_| connect(evener.address(0))).collect();
    let lines = evener.wait_log_count("ended: max_lifetime PD", 30);
    let lived = |line: &String| -> f64 {
        let (_, rest) = line.split_once(" total=").unwrap();
        rest.split_once("ms").unwrap().0.parse().unwrap()
    };
    let (first, last) = (lived(&lines[0]), lived(&lines[29]));
    assert!(first >= 2700.0, "{first}");
    assert!(last - first >= 50.0, "{first} to {last}");
    drop(clients);
}

#[test]
fn a_reload_puts_an_end_to_sessions_that_are_older_than_it_allows() {
    let server = Server::start();
    let text = |lifetime: &str| {
        let timeouts = format!("timeouts: {{ max_lifetime: {lifetime} }}");
        config(&[server.address()], &[UNPROBED], &[&timeouts])
    };
    let evener = Evener::start(&text("off"));
    let mut client = connect(evener.address(0));
    is_live(&mut client, &mut server.accept());
    evener.rewrite_config(&text("10ms"));
    evener.signal(Signal::HUP);
    assert_eq!(read_until_end(&client).1, End::Fin);
    evener.wait_log("ended: max_lifetime PD");
}

#[test]
fn the_sessions_of_a_backend_that_goes_down_end_if_the_pool_says_so() {
    for on_down in ["keep", "close"] {
        let server = Server::start();
        // Its probes fail while its connections live: they ask another port.
        let mut probed = Dummy::start("probed");
        let (port, on_down_is) = (probed.address().port(), format!("on_down: {on_down}"));
        let check = format!(
            "health_check: {{ interval: 50ms, timeout: 1s, fall: 1, rise: 1, port: {port} }}"
        );
        let text = config(&[server.address()], &[&check, &on_down_is], &[]);
        let evener = Evener::start(&text);
        let mut client = connect(evener.address(0));
        let mut backend = server.accept();
        is_live(&mut client, &mut backend);
        probed.stop();
        evener.wait_log("is DOWN");
        if on_down == "keep" {
            is_live(&mut client, &mut backend);
            continue;
        }
        assert_eq!(read_until_end(&client).1, End::Reset);
        assert_eq!(read_until_end(&backend).1, End::Reset);
        evener.wait_log("ended: backend_down DD");
        // Those that come when it is up again are none of the dead.
        probed.restart();
        evener.wait_log("is UP");
        is_live(&mut connect(evener.address(0)), &mut server.accept());
    }
}

#[test]
fn while_evener_drains_they_end_as_well() {
    let server = Server::start();
    let mut probed = Dummy::start("probed");
    let check = format!(
        "health_check: {{ interval: 50ms, timeout: 1s, fall: 1, rise: 1, port: {} }}",
        probed.address().port()
    );
    let rest = ["shutdown: { drain_timeout: off }"];
    let pool = [check.as_str(), "on_down: close"];
    let evener = Evener::start(&config(&[server.address()], &pool, &rest));
    let (mut client, mut backend) = (connect(evener.address(0)), server.accept());
    is_live(&mut client, &mut backend);
    evener.signal(Signal::TERM);
    evener.wait_log("draining 1 connections");
    probed.stop();
    assert_eq!(read_until_end(&client).1, End::Reset);
    assert_eq!(evener.wait_exit().code(), Some(0));
}
