//! The status page as a browser gets it from a running evener. What it does there is shown by
//! `scripts/acceptance --only status-page`, in a real one.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays a browser with a plain std socket"
)]

mod support;

use std::fs;
use std::io::Write;

use support::{
    Admin, Dummy, Evener, TempDir, config, connect, eventually, read_to_end_with_deadline,
    who_serves,
};

const TOKEN: &str = "correct-horse-battery";

/// Head and body of the answer to a request with these lines.
fn ask(evener: &Evener, request: &str) -> (String, String) {
    let admin = evener.address_after("admin server at http://", 0);
    let mut stream = connect(admin);
    write!(stream, "{request} HTTP/1.1\r\nHost: {admin}\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_to_end_with_deadline(&stream).unwrap()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn the_page_comes_without_a_token_but_what_it_shows_does_not() {
    let dir = TempDir::new();
    let file = dir.path().join("token");
    fs::write(&file, TOKEN).unwrap();
    let dummy = Dummy::start("a");
    let admin = format!(
        "admin: {{ bind: \"127.0.0.1:0\", token_file: \"{}\" }}",
        file.display()
    );
    let backend = format!("{{ name: secret-name, address: \"{}\" }}", dummy.address());
    let evener = Evener::start(&config(&[backend], &[], &[&admin]));

    let (head, page) = ask(&evener, "GET /");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/html; charset=utf-8"));
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(!page.contains("secret-name") && !page.contains(TOKEN));

    let (head, body) = ask(&evener, "GET /api/v1/status");
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert!(!body.contains("secret-name"), "{body}");
}

#[test]
fn the_policy_of_the_page_allows_nothing_but_itself() {
    let dummy = Dummy::start("a");
    let backends = [dummy.address()];
    let evener = Evener::start(&config(
        &backends,
        &[],
        &["admin: { bind: \"127.0.0.1:0\" }"],
    ));
    let (head, _) = ask(&evener, "HEAD /");
    let policies: Vec<&str> = head
        .lines()
        .filter_map(|line| line.strip_prefix("Content-Security-Policy: "))
        .collect();
    let [policy] = policies[..] else {
        panic!("one policy, please: {head}");
    };
    let rules: Vec<&str> = policy.split("; ").collect();
    for rule in [
        "default-src 'none'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(rules.contains(&rule), "{rule} in {policy}");
    }
    for kind in ["script-src 'sha256-", "style-src 'sha256-"] {
        assert!(rules.iter().any(|rule| rule.starts_with(kind)), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
}

#[test]
fn the_status_has_the_mean_time_to_connect_once_there_is_one() {
    let dummy = Dummy::start("a");
    let backend = format!("{{ name: a, address: \"{}\" }}", dummy.address());
    let evener = Evener::start(&config(
        &[backend],
        &[],
        &["admin: { bind: \"127.0.0.1:0\" }"],
    ));
    let admin = Admin::of(&evener);
    assert!(admin.backend("a")["connect_ms_mean"].is_null());
    who_serves(evener.address(0)).unwrap();
    let mean = admin.backend("a")["connect_ms_mean"].as_f64().unwrap();
    assert!((0.0..10_000.0).contains(&mean), "{mean} ms");
}

#[test]
fn the_status_says_whether_evener_is_ready_and_which_pools_count() {
    let mut dummy = Dummy::start("a");
    let check = "health_check: { interval: 50ms, fall: 1, rise: 1 }";
    let unused = "  - { name: unused, backends: [\"127.0.0.1:1\"] }";
    let admin = "admin: { bind: \"127.0.0.1:0\" }";
    let evener = Evener::start(&config(&[dummy.address()], &[check], &[unused, admin]));
    let admin = Admin::of(&evener);
    let status = admin.status();
    assert_eq!(status["ready"], true);
    assert!(status["why_not_ready"].is_null());
    assert_eq!(status["pools"][0]["in_use"], true);
    assert_eq!(status["pools"][1]["in_use"], false);
    dummy.stop();
    let status = eventually("not ready", || {
        Some(admin.status()).filter(|status| status["ready"] == false)
    });
    let why = status["why_not_ready"].as_str().unwrap();
    assert_eq!(why, "pool p has no backend that can serve");
    assert_eq!(admin.get("/readyz").body, format!("{why}\n"));
}
