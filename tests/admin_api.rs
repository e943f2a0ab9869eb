//! The table of the admin API in docs/operating.md is what evener serves: the same paths and methods, each
//! with the token or without it, each status provoked; and a 405 names the methods that the path takes.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what can't be read fails the test, as it should"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;

use evener::api::PATHS;
use rustix::process::Signal;
use support::{Admin, Dummy, End, Evener, TempDir, config, connect, eventually, read_until_end};

const TOKEN: &str = "0123456789abcdef";
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"];

/// One row of the table.
struct Row {
    needs_token: bool,
    statuses: BTreeSet<u16>,
}

/// The rows, by method and path.
fn table() -> BTreeMap<(String, String), Row> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md");
    let page = fs::read_to_string(file).unwrap();
    let (_, section) = page.split_once("\n## The admin API\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter(|line| line.contains(" | `/"));
    let rows = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, method, path, _, _, token, statuses, _] = cells[..] else {
            panic!("not six columns: {row}");
        };
        let needs_token = match token {
            "yes" => true,
            "no" => false,
            other => panic!("a token: {other}?"),
        };
        let statuses = statuses.split(", ").map(|one| one.parse().unwrap());
        let row = Row {
            needs_token,
            statuses: statuses.collect(),
        };
        ((method.to_owned(), path.trim_matches('`').to_owned()), row)
    });
    rows.collect()
}

/// An answer: its status and the value of `Allow`.
type Answer = (u16, Option<String>);

/// Asks with these headers besides `Host`.
fn ask(admin: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = connect(admin);
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {admin}\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let answer = support::read_to_end_with_deadline(&stream).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let mut lines = answer.lines().take_while(|line| !line.is_empty());
    let allow = lines.find_map(|line| line.strip_prefix("Allow: "));
    (status, allow.map(String::from))
}

/// The path with things that are there, but for a session.
fn real(path: &str) -> String {
    path.replace("POOL", "p")
        .replace("BACKEND", "a")
        .replace("ID", "0")
}

/// An evener with pool `p`, backend `a` and these further lines, and its admin address.
fn start(backend: &Dummy, rest: &[&str]) -> (Evener, SocketAddr) {
    let backends = [format!("{{ name: a, address: \"{}\" }}", backend.address())];
    let pool = ["health_check: { interval: 50ms, timeout: 1s, fall: 1, rise: 1 }"];
    let evener = Evener::start(&config(&backends, &pool, rest));
    let admin = evener.address_after("admin server at http://", 0);
    (evener, admin)
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn the_page_has_every_path_with_its_methods_and_no_other() {
    let told: BTreeSet<(String, String)> = table().into_keys().collect();
    let real = PATHS.iter().flat_map(|(path, methods)| {
        let methods = methods.split(", ").filter(|method| *method != "HEAD");
        methods.map(|method| (method.to_owned(), (*path).to_owned()))
    });
    assert_eq!(told, real.collect());
}

#[test]
fn a_path_takes_its_methods_and_refuses_all_others_by_naming_them() {
    let backend = Dummy::start("a");
    let (_evener, admin) = start(&backend, &["admin: { bind: \"127.0.0.1:0\" }"]);
    for (path, methods) in PATHS {
        for method in METHODS {
            let (status, allow) = ask(admin, method, &real(path), JSON, "");
            let is_allowed = methods.split(", ").any(|one| one == method);
            assert_eq!(status == 405, !is_allowed, "{method} {path}: {status}");
            let expected = (!is_allowed).then(|| methods.to_owned());
            assert_eq!(allow, expected, "{method} {path}");
        }
    }
    for method in METHODS {
        assert_eq!(ask(admin, method, "/nowhere", JSON, ""), (404, None));
    }
}

#[test]
fn the_token_is_asked_for_where_the_page_says_so() {
    let dir = TempDir::new();
    let file = dir.path().join("token");
    fs::write(&file, TOKEN).unwrap();
    let section = format!(
        "admin: {{ bind: \"127.0.0.1:0\", token_file: \"{}\" }}",
        file.display()
    );
    let backend = Dummy::start("a");
    let (_evener, admin) = start(&backend, &[&section]);
    let with_token = format!("{JSON}Authorization: Bearer {TOKEN}\r\n");
    for ((method, path), row) in table() {
        let (without, _) = ask(admin, &method, &real(&path), JSON, "");
        assert_eq!(without == 401, row.needs_token, "{method} {path}");
        let (with, _) = ask(admin, &method, &real(&path), &with_token, "");
        assert_ne!(with, 401, "{method} {path}");
    }
    // A method that nobody has tells a stranger nothing.
    assert_eq!(ask(admin, "PUT", "/", JSON, "").0, 401);
}

/// Requests that get each status of a row, but for the 503 of changes.
#[rustfmt::skip] // A table is read by the row.
const PROVOKED: [(&str, &str, &str, &str, u16); 29] = [
    ("GET", "/", "", "", 200),
    ("GET", "/healthz", "", "", 200),
    ("GET", "/readyz", "", "", 200),
    ("GET", "/metrics", "", "", 200),
    ("GET", "/api/v1/status", "", "", 200),
    ("GET", "/api/v1/connections", "", "", 200),
    ("DELETE", "/api/v1/connections/ID", "x", "", 400),
    ("DELETE", "/api/v1/connections/ID", "999999", "", 404),
    ("GET", "/api/v1/explain", "?pool=p", "", 200),
    ("GET", "/api/v1/explain", "?client=me", "", 400),
    ("GET", "/api/v1/explain", "?pool=q", "", 404),
    ("GET", "/api/v1/explain", "?listener=q&sni=n", "", 404),
    ("GET", "/api/v1/explain", "?listener=in&sni=n&client=192.0.2.7", "", 200),
    ("GET", "/api/v1/pools/POOL/backends/BACKEND", "p a", "", 200),
    ("GET", "/api/v1/pools/POOL/backends/BACKEND", "p b", "", 404),
    ("POST", "/api/v1/pools/POOL/backends/BACKEND", "p a", "{\"weight\": 3, \"state\": \"ready\"}", 200),
    ("POST", "/api/v1/pools/POOL/backends/BACKEND", "p a", "{\"state\": \"drain\", \"close\": {\"rate\": \"1/s\", \"idle_for\": \"1h\"}}", 200),
    ("POST", "/api/v1/pools/POOL/backends/BACKEND", "p b", "{\"weight\": 3}", 404),
    ("POST", "/api/v1/pools/POOL/backends/BACKEND", "p a", "{}", 422),
    ("POST", "/api/v1/pools/POOL/rebalance", "p", "{\"rate\": \"1/s\", \"idle_for\": \"1h\"}", 200),
    ("POST", "/api/v1/pools/POOL/rebalance", "q", "{\"rate\": \"1/s\"}", 404),
    ("POST", "/api/v1/pools/POOL/rebalance", "p", "{}", 422),
    ("DELETE", "/api/v1/pools/POOL/rebalance", "p", "", 200),
    ("DELETE", "/api/v1/pools/POOL/rebalance", "q", "", 404),
    ("POST", "/api/v1/reload", "?dry_run=true", "", 200),
    ("POST", "/api/v1/reload", "", "", 200),
    ("POST", "/api/v1/reload", "?dry_run=maybe", "", 400),
    ("POST", "/api/v1/pools/POOL/backends/BACKEND", "p a", "{\"state\": \"ready\"}", 200),
    ("GET", "/readyz", "", "", 200),
];

/// The path with the names, or the parameters, of a provoked request.
fn filled(path: &str, with: &str) -> String {
    if with.is_empty() || with.starts_with('?') {
        return format!("{path}{with}");
    }
    let mut names = with.split(' ');
    let segments = path.split('/').map(|segment| match segment {
        "POOL" | "BACKEND" | "ID" => names.next().unwrap(),
        other => other,
    });
    segments.collect::<Vec<_>>().join("/")
}

#[test]
fn each_status_on_the_page_can_be_had_and_no_other() {
    let mut backend = Dummy::start("a");
    let rest = [
        "admin: { bind: \"127.0.0.1:0\" }",
        "shutdown: { pre_stop_delay: 1h }",
    ];
    let (evener, admin) = start(&backend, &rest);
    let mut seen: BTreeMap<(String, String), BTreeSet<u16>> = BTreeMap::new();
    let mut note = |method: &str, path: &str, status| {
        let row = (method.to_owned(), path.to_owned());
        seen.entry(row).or_default().insert(status);
    };
    for (method, path, with, body, expected) in PROVOKED {
        let (status, _) = ask(admin, method, &filled(path, with), JSON, body);
        assert_eq!(status, expected, "{method} {path} {with} {body}");
        note(method, path, status);
    }
    // A session that is there, a config that is wrong.
    let session = connect(evener.address(0));
    let sessions = || Admin::of(&evener).get("/api/v1/connections").json();
    let id = eventually("the session", || {
        sessions()["connections"][0]["id"].as_u64()
    });
    let path = filled("/api/v1/connections/ID", &id.to_string());
    let (status, _) = ask(admin, "DELETE", &path, JSON, "");
    note("DELETE", "/api/v1/connections/ID", status);
    assert_eq!(read_until_end(&session).1, End::Reset);
    evener.rewrite_config("nonsense: 1");
    let (status, _) = ask(admin, "POST", "/api/v1/reload", JSON, "");
    note("POST", "/api/v1/reload", status);
    // Nobody to serve, and then, with somebody, a drain.
    let is_ready = || ask(admin, "GET", "/readyz", "", "").0 == 200;
    backend.stop();
    eventually("not ready", || (!is_ready()).then_some(()));
    note("GET", "/readyz", 503);
    backend.restart();
    eventually("ready", || is_ready().then_some(()));
    evener.signal(Signal::TERM);
    eventually("draining", || (!is_ready()).then_some(()));

    for (row, Row { statuses, .. }) in table() {
        let seen = seen.get(&row).cloned().unwrap_or_default();
        assert!(seen.is_subset(&statuses), "{row:?}: {seen:?}");
        // A change that comes too late is nothing that a test can time.
        let may_miss = |status: &u16| *status == 503 && row.0 != "GET";
        let mut missing = statuses.difference(&seen);
        assert!(missing.all(may_miss), "{row:?}: only {seen:?}");
    }
}
