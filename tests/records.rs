//! What the log says of sessions, while they live and at their end: progress, round-trip times,
//! retransmits and processor time, and HAProxy's `tcplog` form.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;

use rustix::process::Signal;
use serde_json::Value;
use support::{
    Dummy, Evener, RefusingPort, Server, addresses, config, connect, dummies, eventually, fate,
    http_get, read_until_end,
};

const OFF: &str = "health_check: off";

/// The value of `key=` in a line.
fn field<'l>(line: &'l str, key: &str) -> &'l str {
    let (_, rest) = line
        .split_once(key)
        .unwrap_or_else(|| panic!("no {key} in {line}"));
    rest.split(' ').next().unwrap()
}

/// A number of milliseconds, as it is written in a line.
fn ms(text: &str) -> f64 {
    text.trim_end_matches("ms")
        .parse()
        .unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn a_record_has_the_round_trip_times_and_the_processor_time() {
    let backends = dummies(["a"]);
    let evener = Evener::start(&config(&addresses(&backends), &[OFF], &[]));
    http_get(evener.address(0)).unwrap();
    let line = evener.wait_log("ended: normal");
    let (client, server) = field(&line, " rtt=").split_once('/').unwrap();
    for rtt in [client, server.strip_suffix("ms").unwrap()] {
        assert!(
            (0.0..1000.0).contains(&rtt.parse::<f64>().unwrap()),
            "{line}"
        );
    }
    let (client, server) = field(&line, " retransmits=").split_once('/').unwrap();
    let _: (u32, u32) = (client.parse().unwrap(), server.parse().unwrap());
    let cpu = ms(field(&line, " cpu="));
    assert!(
        cpu > 0.0 && cpu < ms(field(&line, " total=")) * 2.0,
        "{line}"
    );
}

#[test]
fn the_processor_time_is_that_of_both_threads() {
    // Both ways carry so much, one after the other, that each thread has to work; and the session's
    // thread has worked for another session before.
    const BYTES: usize = 8 << 20;
    let server = Server::start();
    let rest = ["performance: { relay: copy }", "log: { format: json }"];
    let evener = Evener::start(&config(&[server.address()], &[OFF], &rest));
    let carry = |there: usize, back: usize| {
        let client = connect(evener.address(0));
        let backend = server.accept();
        std::thread::scope(|scope| {
            for (from, to, bytes) in [(&client, &backend, there), (&backend, &client, back)] {
                scope.spawn(move || {
                    let mut from = from;
                    from.write_all(&vec![7; bytes]).unwrap();
                    from.shutdown(Shutdown::Write).unwrap();
                });
                scope.spawn(move || assert_eq!(read_until_end(to).0.len(), bytes));
            }
        });
    };
    carry(BYTES, BYTES);
    evener.wait_log("session_ended");
    carry(1, 1);
    let lines = evener.wait_log_count("session_ended", 2);
    let records: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let cpu = |index: usize| records[index]["cpu_ms"].as_f64().unwrap();
    assert!(cpu(0) > cpu(1), "{lines:?}");
    for key in ["client_rtt_ms", "server_rtt_ms"] {
        assert!(records[0][key].as_f64().unwrap() > 0.0, "{lines:?}");
    }
    for key in ["client_retransmits", "server_retransmits"] {
        assert!(records[0][key].is_u64(), "{lines:?}");
    }
}

#[test]
fn what_is_not_known_is_null() {
    let refusing = RefusingPort::new();
    let rest = ["log: { format: json }"];
    let evener = Evener::start(&config(&[refusing.address()], &[OFF], &rest));
    fate(evener.address(0));
    let record: Value = serde_json::from_str(&evener.wait_log("session_ended")).unwrap();
    assert_eq!(record["reason"], "connect_refused");
    for key in ["server_rtt_ms", "server_retransmits"] {
        assert_eq!(record.get(key), Some(&Value::Null), "{record}");
    }
    assert!(record["cpu_ms"].is_f64(), "{record}");
}

#[test]
fn a_record_that_is_written_for_its_failure_alone_is_not_measured() {
    let refusing = RefusingPort::new();
    let with = |log: &str| config(&[refusing.address()], &[OFF], &[log]);
    let evener = Evener::start(&with("log: { level: info }"));
    evener.rewrite_config(&with("log: { level: warn }"));
    evener.signal(Signal::HUP);
    // The new level hides the line that would say so.
    let line = eventually("a record that is not measured", || {
        fate(evener.address(0));
        let mut lines = evener.lines_with("ended: connect_refused");
        lines.retain(|line| line.contains("cpu=-"));
        lines.pop()
    });
    assert!(line.ends_with(" rtt=-/-ms retransmits=-/- cpu=-"), "{line}");
}

#[test]
fn a_long_session_is_told_about_while_it_lives() {
    let server = Server::start();
    let rest = ["log: { progress_interval: 100ms }"];
    let evener = Evener::start(&config(&[server.address()], &[OFF], &rest));
    let mut client = connect(evener.address(0));
    let mut backend = server.accept();
    client.write_all(b"question").unwrap();
    backend.read_exact(&mut [0; 8]).unwrap();
    backend.write_all(b"answer").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();

    let what = format!(
        "session 1 {} -> {} goes on: in=8B out=6B age=",
        client.local_addr().unwrap(),
        server.address()
    );
    // In the second line, all the bytes have been there for an interval.
    let lines = evener.wait_log_count(&what, 2);
    assert!(lines[1].contains(" info  "), "{lines:?}");
    let seconds = |key: &str| {
        field(&lines[1], key)
            .trim_end_matches('s')
            .parse::<f64>()
            .unwrap()
    };
    assert!(
        seconds(" idle=") > 0.0 && seconds(" age=") >= seconds(" idle="),
        "{lines:?}"
    );

    drop((client, backend));
    evener.wait_log("ended: ");
    // The end of a later session shows that nothing more is said of this one.
    drop((connect(evener.address(0)), server.accept()));
    evener.wait_log_count("ended: ", 2);
    let lines = evener.lines_with("session 1 ");
    assert!(lines.last().unwrap().contains("ended: "), "{lines:?}");
}

#[test]
fn the_interval_of_progress_can_be_reloaded() {
    let server = Server::start();
    let with = |log: &str| config(&[server.address()], &[OFF], &[log]);
    let evener = Evener::start(&with("log: { level: info }"));
    let _session = (connect(evener.address(0)), server.accept());
    evener.rewrite_config(&with("log: { progress_interval: 100ms, format: json }"));
    evener.signal(Signal::HUP);
    let line = evener.wait_log("session_progress");
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&event["id"], &event["bytes_in"]), (&1.into(), &0.into()));
    assert!(event["age_ms"].as_u64() >= event["idle_ms"].as_u64());
}

/// A `tcplog` line, taken apart as log parsers do (Logstash's HAPROXYTCP, `halog`): by its spaces.
#[derive(Debug)]
struct Tcplog {
    program: String,
    client: String,
    frontend: String,
    server: String,
    times: Vec<i64>,
    bytes: u64,
    state: String,
    counts: Vec<u64>,
    retries: String,
    queues: String,
}

fn parse(line: &str) -> Tcplog {
    let numbers = |text: &str| -> Vec<i64> {
        text.split('/')
            .map(|n| n.parse().unwrap_or_else(|_| panic!("{text} in {line}")))
            .collect()
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let [
        month,
        day,
        clock,
        _host,
        program,
        client,
        date,
        frontend,
        server,
        times,
        bytes,
        state,
        counts,
        queues,
    ] = words[..]
    else {
        panic!("{} words in {line}", words.len());
    };
    assert!(
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".contains(month),
        "{line}"
    );
    assert!((1..=31).contains(&day.parse::<u32>().unwrap()), "{line}");
    assert_eq!((clock.len(), clock.matches(':').count()), (8, 2), "{line}");
    let date = date
        .strip_prefix('[')
        .and_then(|date| date.strip_suffix(']'))
        .unwrap();
    let (date, millis) = date.rsplit_once('.').unwrap();
    assert_eq!(
        (date.len(), millis.len()),
        ("06/Feb/2009:12:12:51".len(), 3),
        "{line}"
    );
    let (counts, retries) = counts.rsplit_once('/').unwrap();
    Tcplog {
        program: program.into(),
        client: client.into(),
        frontend: frontend.into(),
        server: server.into(),
        times: numbers(times),
        bytes: bytes.parse().unwrap(),
        state: state.into(),
        counts: numbers(counts)
            .into_iter()
            .map(|n| n.try_into().unwrap())
            .collect(),
        retries: retries.into(),
        queues: queues.into(),
    }
}

#[test]
fn tcplog_lines_are_haproxys() {
    let good = Dummy::start("a");
    let refusing = RefusingPort::new();
    let backends = [
        format!("{{ name: bad, address: \"{}\" }}", refusing.address()),
        format!("{{ name: a b, address: \"{}\" }}", good.address()),
    ];
    let evener = Evener::start(&config(
        &backends,
        &[OFF, "balance: first"],
        &["log: { format: tcplog }"],
    ));
    let mut client = connect(evener.address(0));
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let (answer, _) = read_until_end(&client);
    let from = client.local_addr().unwrap().to_string();
    drop(client);
    let line = parse(&evener.wait_log(" p/a_b "));
    assert_eq!(line.program, format!("evener[{}]:", evener.pid()));
    assert_eq!(line.client, from);
    assert_eq!(
        (line.frontend.as_str(), line.server.as_str()),
        ("in", "p/a_b")
    );
    let [waited, connect, total] = line.times[..] else {
        panic!("{line:?}");
    };
    assert!(waited == 0 && connect >= 0 && total >= connect, "{line:?}");
    assert_eq!(
        (line.bytes, line.state.as_str()),
        (answer.len() as u64, "--")
    );
    assert_eq!(
        (line.counts, line.retries.as_str()),
        (vec![1, 1, 0, 0], "+1")
    );
    assert_eq!(line.queues, "0/0");
    // Anything else is a level and a sentence behind the same words.
    let started = evener.wait_log("Load Balancer started on ");
    let words: Vec<&str> = started.split_whitespace().collect();
    assert_eq!(
        (words[4], words[5]),
        (format!("evener[{}]:", evener.pid()).as_str(), "info")
    );
}

#[test]
fn tcplog_says_how_a_session_failed() {
    let refusing = RefusingPort::new();
    let backend = format!("{{ name: bad, address: \"{}\" }}", refusing.address());
    let rest = ["log: { format: tcplog }"];
    let evener = Evener::start(&config(&[backend], &[OFF, "retries: 1"], &rest));
    fate(evener.address(0));
    let line = parse(&evener.wait_log(" p/bad "));
    assert_eq!((line.times[0], line.times[1]), (0, -1), "{line:?}");
    assert_eq!(
        (line.bytes, line.state.as_str(), line.retries.as_str()),
        (0, "SC", "1")
    );
}
