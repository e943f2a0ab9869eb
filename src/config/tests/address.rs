//! Addresses, good and bad, and what meets what.

use super::super::address::*;

#[test]
fn good_binds() {
    for (text, address, dual_stack) in [
        (":8080", "[::]:8080", true),
        (":0", "[::]:0", true),
        ("0.0.0.0:8080", "0.0.0.0:8080", false),
        ("127.0.0.1:0", "127.0.0.1:0", false),
        ("[::]:8080", "[::]:8080", false),
        ("[::1]:65535", "[::1]:65535", false),
        ("[fe80::1%2]:80", "[fe80::1%2]:80", false),
    ] {
        let bind = bind(text).unwrap();
        assert_eq!(
            (bind.address, bind.dual_stack),
            (address.parse().unwrap(), dual_stack)
        );
        assert_eq!(bind.to_string(), text);
    }
}

#[test]
fn good_backends() {
    let long = format!(
        "{}.example:1",
        ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join(".")
    );
    for text in [
        "127.0.0.1:8000",
        "[::1]:8000",
        "[fe80::1%2]:80",
        "db:5432",
        "db.internal:5432",
        "a_b.example.:65535",
        "1host:1",
        &long,
    ] {
        assert_eq!(backend(text).unwrap().to_string(), text);
    }
}

#[test]
fn bad_addresses_say_what_would_be_right() {
    for (text, what, help) in [
        ("", "has no port", "127.0.0.1:8000"),
        ("8000", "only a port", "127.0.0.1:8000"),
        (":8000", "no host", "127.0.0.1:8000"),
        ("localhost", "has no port", "localhost:8000"),
        ("::1", "has no port", "[::1]:"),
        ("fe80::1:2:3:4:5:8000:x", "valid port", "1 to 65535"),
        (
            "2001:db8:0:0:0:0:0:0:1:8000",
            "ambiguous",
            "[2001:db8:0:0:0:0:0:0:1]:8000",
        ),
        ("[::g]:8000", "IPv6", "[::1]:8000"),
        ("[fe80::1%eth0]:80", "IPv6", "%2"),
        ("127.0.0.1:0", "port 0", "1 to 65535"),
        ("127.0.0.1:65536", "valid port", "1 to 65535"),
        ("127.0.0.1:+80", "valid port", "1 to 65535"),
        ("127.0.0.1:080", "valid port", "1 to 65535"),
        ("127.0.0.1:", "valid port", "1 to 65535"),
        ("127.0.0.256:80", "neither", "10.0.0.1:5432"),
        ("a..b:80", "neither", ""),
        ("-a:80", "neither", ""),
        ("a b:80", "neither", ""),
        ("h\u{fc}te:80", "neither", ""),
        ("http://10.0.0.1:80/x", "URL", "\"10.0.0.1:80\""),
    ] {
        let (found, found_help) = backend(text).unwrap_err().into_parts();
        assert!(found.contains(what), "{text}: {found}");
        assert!(found_help.contains(help), "{text}: {found_help}");
    }
    for (text, help) in [
        ("8080", "\":8080\""),
        ("*:8080", "\":8080\""),
        ("localhost:8080", "127.0.0.1:8080"),
        ("::1:x", "1 to 65535"),
        ("2001:db8::1:8080", "[2001:db8::1:8080]"),
    ] {
        let (_, found_help) = bind(text).unwrap_err().into_parts();
        assert!(found_help.contains(help), "{text}: {found_help}");
    }
}

#[test]
fn a_listener_takes_what_arrives_at_it() {
    for (listen, ip, takes) in [
        (":80", "127.0.0.1", true),
        (":80", "::1", true),
        (":80", "::ffff:127.0.0.1", true),
        (":80", "10.0.0.1", false),
        ("0.0.0.0:80", "127.0.0.5", true),
        ("0.0.0.0:80", "::1", false),
        ("[::]:80", "127.0.0.1", false),
        ("[::]:80", "::1", true),
        ("127.0.0.1:80", "0.0.0.0", true),
        ("127.0.0.1:80", "127.0.0.2", false),
        ("10.0.0.1:80", "10.0.0.1", true),
        ("10.0.0.1:80", "0.0.0.0", false),
        (":0", "127.0.0.1", false),
    ] {
        assert_eq!(
            bind(listen).unwrap().takes(ip.parse().unwrap(), 80),
            takes,
            "{listen} {ip}"
        );
    }
}

#[test]
fn overlaps() {
    for (a, b, overlap) in [
        (":80", ":80", true),
        (":80", "0.0.0.0:80", true),
        (":80", "127.0.0.1:80", true),
        ("[::]:80", "0.0.0.0:80", false),
        ("[::]:80", "[::1]:80", true),
        ("0.0.0.0:80", "0.0.0.0:81", false),
        ("127.0.0.1:80", "127.0.0.2:80", false),
        (":0", ":0", false),
    ] {
        let (first, second) = (bind(a).unwrap(), bind(b).unwrap());
        assert_eq!(first.overlaps(&second), overlap, "{a} {b}");
        assert_eq!(second.overlaps(&first), overlap, "{b} {a}");
    }
}
