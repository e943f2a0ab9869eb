//! Each rule of the guard, alone violated.

use super::*;
use std::sync::LazyLock;

const TOKEN: &str = "0123456789abcdef";

fn guard(at: &str) -> Guard<'static> {
    Guard {
        place: Place::Tcp(at.parse().unwrap()),
        token: None,
    }
}

fn with_token(at: &str) -> Guard<'static> {
    static SET: LazyLock<Token> = LazyLock::new(|| Token::new(TOKEN).unwrap());
    Guard {
        token: Some(&SET),
        ..guard(at)
    }
}

fn get(host: &str) -> Head {
    Head {
        method: Method::Get,
        path: vec!["api".into(), "v1".into(), "status".into()],
        query: Vec::new(),
        is_old: false,
        host: Some(host.into()),
        origin: None,
        fetch_site: None,
        content_type: None,
        authorization: None,
        body_bytes: 0,
        expects_continue: false,
    }
}

const HOME: &str = "127.0.0.1:9900";

/// A change that passes every rule.
fn post() -> Head {
    Head {
        method: Method::Post,
        origin: Some(format!("http://{HOME}")),
        fetch_site: Some("same-origin".into()),
        content_type: Some("application/json".into()),
        authorization: Some(format!("Bearer {TOKEN}")),
        ..get(HOME)
    }
}

/// 200 when it passes.
fn status(guard: &Guard<'_>, head: &Head) -> u16 {
    guard
        .check(head)
        .err()
        .map_or(200, |response| response.status)
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn the_host_has_to_be_ours() {
    for (at, host, expected) in [
        (HOME, "127.0.0.1:9900", 200),
        (HOME, "127.9.9.9:9900", 200),
        (HOME, "localhost:9900", 200),
        (HOME, "LocalHost:9900", 200),
        (HOME, "[::1]:9900", 200),
        (HOME, "[::ffff:127.0.0.1]:9900", 200),
        (HOME, "127.0.0.1:9901", 421),
        (HOME, "127.0.0.1", 421),
        (HOME, "localhost", 421),
        (HOME, "10.0.0.5:9900", 421),
        (HOME, "evil.example:9900", 421),
        (HOME, "localhost.evil.example:9900", 421),
        (HOME, "127.0.0.1.evil.example:9900", 421),
        (HOME, "localhost:9900:9900", 421),
        (HOME, "localhost:+9900", 421),
        (HOME, "user@127.0.0.1:9900", 421),
        (HOME, "2130706433:9900", 421),
        (HOME, "", 421),
        ("127.0.0.1:80", "localhost", 200),
        ("[::1]:80", "[::1]", 200),
        ("[::1]:80", "::1", 421),
        ("[::1]:80", "127.0.0.1", 200),
        ("10.0.0.5:9900", "10.0.0.5:9900", 200),
        ("10.0.0.5:9900", "10.0.0.6:9900", 421),
        ("10.0.0.5:9900", "localhost:9900", 421),
        ("10.0.0.5:9900", "lb.example:9900", 421),
        ("0.0.0.0:9900", "10.0.0.5:19900", 200),
        ("[::]:9900", "localhost:9900", 200),
        ("[::]:9900", "evil.example:9900", 421),
    ] {
        assert_eq!(status(&guard(at), &get(host)), expected, "{host} at {at}");
    }
}

#[test]
fn a_host_is_needed_since_http_1_1_and_not_on_a_unix_socket() {
    let none = Head {
        host: None,
        ..get("")
    };
    assert_eq!(status(&guard(HOME), &none), 400);
    let old = Head {
        is_old: true,
        ..none.clone()
    };
    assert_eq!(status(&guard(HOME), &old), 200);
    let unix = Guard {
        place: Place::Unix,
        token: None,
    };
    assert_eq!(status(&unix, &none), 200);
    assert_eq!(status(&unix, &get("evil.example")), 200);
}

#[test]
fn a_change_that_keeps_every_rule_passes() {
    assert_eq!(status(&with_token(HOME), &post()), 200);
    let no_browser = Head {
        origin: None,
        fetch_site: None,
        ..post()
    };
    assert_eq!(status(&with_token(HOME), &no_browser), 200);
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn a_change_of_another_origin_is_refused_and_a_question_is_not() {
    let text = |text: &str| Some(text.to_owned());
    for (origin, site, expected) in [
        (text("http://127.0.0.1:9900"), None, 200),
        (text("https://127.0.0.1:9900"), None, 200),
        (text("http://127.0.0.1:8000"), None, 403),
        (text("http://localhost:9900"), None, 403),
        (text("http://evil.example"), None, 403),
        (text("null"), None, 403),
        (text(""), None, 403),
        (None, text("none"), 200),
        (None, text("same-origin"), 200),
        (None, text("same-site"), 403),
        (None, text("cross-site"), 403),
        (text("http://127.0.0.1:9900"), text("cross-site"), 403),
    ] {
        for (method, expected) in [(Method::Post, expected), (Method::Delete, expected), (Method::Other, expected), (Method::Get, 200)] {
            let head = Head { method, origin: origin.clone(), fetch_site: site.clone(), ..post() };
            assert_eq!(status(&guard(HOME), &head), expected, "{method:?} {origin:?} {site:?}");
        }
    }
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn a_post_is_json_as_no_form_can_send_it() {
    for (content_type, expected) in [
        (Some("application/json"), 200),
        (Some("Application/JSON; charset=utf-8"), 200),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("multipart/form-data; boundary=application/json"), 415),
        (Some("application/json, text/plain"), 415),
        (Some(""), 415),
        (None, 415),
    ] {
        let content_type = content_type.map(str::to_owned);
        let head = Head { content_type: content_type.clone(), ..post() };
        assert_eq!(status(&guard(HOME), &head), expected, "{content_type:?}");
        let delete = Head { method: Method::Delete, ..head };
        assert_eq!(status(&guard(HOME), &delete), 200, "a DELETE has no body");
    }
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn the_token_is_asked_for_everywhere_but_at_the_page_and_where_probes_go() {
    let of = |token: &str| Some(format!("Bearer {token}"));
    for (authorization, expected) in [
        (of(TOKEN), 200),
        (Some(format!("bearer  {TOKEN}")), 200),
        (of("0123456789abcdeF"), 401),
        (of("0123456789abcde"), 401),
        (of("0123456789abcdef0"), 401),
        (of(""), 401),
        (Some(format!("Basic {TOKEN}")), 401),
        (Some(TOKEN.to_owned()), 401),
        (None, 401),
    ] {
        for method in [Method::Get, Method::Post, Method::Delete, Method::Other] {
            let head = Head { method, authorization: authorization.clone(), ..post() };
            assert_eq!(status(&with_token(HOME), &head), expected, "{method:?} {authorization:?}");
            assert_eq!(status(&guard(HOME), &head), 200, "no token is set");
        }
    }
    for (path, expected) in [("/healthz", 200), ("/readyz", 200), ("/", 200), ("/metrics", 401), ("/api", 401), ("/healthz/x", 401)] {
        let path = path.split('/').skip(1).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let head = Head { path, authorization: None, ..get(HOME) };
        assert_eq!(status(&with_token(HOME), &head), expected, "{:?}", head.path);
    }
    let refused = with_token(HOME).check(&Head { path: vec!["x".into()], ..get(HOME) }).unwrap_err();
    assert!(refused.headers.iter().any(|(name, _)| *name == "WWW-Authenticate"));
}

#[test]
fn the_token_of_a_probe_path_is_needed_to_change_it() {
    let head = Head {
        path: vec!["healthz".into()],
        authorization: None,
        ..post()
    };
    assert_eq!(status(&with_token(HOME), &head), 401);
}
