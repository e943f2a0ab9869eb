//! Bytes of a connection, which come in pieces: whatever the pieces are, the answer is the same.

use evener::policy::answer::{self, Verdict, http::Statuses};
use evener::policy::client_hello::{self, HELLO_BYTES_MAX, Hello};
use evener::policy::proxy_protocol::{self, Endpoints, Fault, Parsed, Version};
use evener::policy::{agent, routes};

use super::is_shown_as_it_is;

/// A PROXY header of version 1: the bytes, and the bytes behind how it begins.
pub fn proxy_v1(bytes: &[u8]) {
    proxy(bytes);
    proxy(&[b"PROXY ", bytes].concat());
}

/// A PROXY header of version 2: the same.
pub fn proxy_v2(bytes: &[u8]) {
    proxy(bytes);
    proxy(&[b"\r\n\r\n\0\r\nQUIT\n", bytes].concat());
}

/// Who reads what is said to be missing and no more comes to the same answer as who has all at once, and
/// takes no byte of what is behind the header.
fn proxy(bytes: &[u8]) {
    let whole = proxy_protocol::parse(bytes);
    let mut read = 0;
    let answer = loop {
        match proxy_protocol::parse(&bytes[..read]) {
            Parsed::NeedMore(0) => panic!("it waits for nothing"),
            Parsed::NeedMore(more) if read + more > bytes.len() => break None,
            Parsed::NeedMore(more) => read += more,
            answer => break Some(answer),
        }
    };
    match (answer, whole) {
        (Some(answer), whole) => assert_eq!(answer, whole, "after {read} bytes"),
        // Half a header; it may be seen already that it can't become one.
        (None, Parsed::NeedMore(_) | Parsed::Invalid(_)) => {}
        (None, Parsed::Header { .. }) => panic!("a header that waits for more"),
    }
    match whole {
        Parsed::Header { endpoints, length } => {
            assert_eq!(length, read, "bytes of the client were taken");
            comes_back(endpoints);
        }
        Parsed::Invalid(fault) => is_shown_as_it_is(Fault::words(fault)),
        Parsed::NeedMore(_) => {}
    }
}

/// What evener writes, it reads.
fn comes_back(endpoints: Endpoints) {
    for version in [Version::V1, Version::V2] {
        let header = endpoints.encode(version);
        let expected = match (endpoints, version) {
            // Version 1 has no word for it.
            (Endpoints::Local, Version::V1) => Endpoints::Unknown,
            (endpoints, _) => endpoints,
        };
        let length = header.len();
        let endpoints = expected;
        let parsed = proxy_protocol::parse(&header);
        assert_eq!(parsed, Parsed::Header { endpoints, length }, "{version:?}");
    }
}

/// The first bytes of a TLS client.
pub fn client_hello(bytes: &[u8]) {
    use client_hello::Parsed;
    let whole = client_hello::parse(bytes);
    let mut read = 0;
    loop {
        match client_hello::parse(&bytes[..read]) {
            Parsed::NeedMore(0) => panic!("it waits for nothing"),
            Parsed::NeedMore(more) => {
                assert!(read + more <= HELLO_BYTES_MAX, "it waits for too much");
                if read + more > bytes.len() {
                    break;
                }
                read += more;
            }
            answer => {
                assert_eq!(answer, whole, "after {read} bytes");
                break;
            }
        }
    }
    if let Parsed::Hello(Hello::Name(name)) = whole {
        is_shown_as_it_is(&routes::shown(&name));
        let all = [
            routes::Pattern::parse("*.example"),
            routes::Pattern::parse("a"),
        ];
        let all: Vec<_> = all.into_iter().flatten().collect();
        let table = routes::Table::new(all.iter().zip(0..));
        assert!(table.find(&name).is_none_or(|place| place < all.len()));
    }
}

/// Requests to the admin server. The first byte says in what pieces they come.
pub fn admin_request(bytes: &[u8]) {
    let (piece, bytes) = bytes.split_first().unwrap_or((&0, bytes));
    let piece = usize::from(*piece) + 1;
    for address in [None, Some(([127, 0, 0, 1], 8081).into())] {
        let at_once = evener::fuzzing::admin_request(address, bytes, usize::MAX);
        let in_pieces = evener::fuzzing::admin_request(address, bytes, piece);
        assert_eq!(at_once, in_pieces, "in pieces of {piece}");
        match at_once {
            None => assert!(bytes.is_empty(), "no answer"),
            Some(Ok(body_bytes)) => assert!(body_bytes <= bytes.len()),
            Some(Err(status)) => assert!((400..=505).contains(&status), "{status}"),
        }
    }
}

/// Answers to an HTTP probe. The first byte says how many of them had come at the look before.
pub fn health_answer(bytes: &[u8]) {
    let statuses = Statuses::new(vec![200..=299, 401..=401]);
    in_two_looks(bytes, |bytes, has_ended| {
        answer::http::judge(bytes, has_ended, &statuses)
    });
}

/// Lines of an agent, and what they ask for.
pub fn agent_line(bytes: &[u8]) {
    in_two_looks(bytes, agent::line);
    let Verdict::Good(text) = agent::line(bytes, true) else {
        return;
    };
    match agent::parse(&text) {
        Ok(line) => {
            let percent = line.percent.unwrap_or(100);
            assert!(percent <= 100);
            for weight in [0, 1, 7, u32::MAX] {
                let scaled = agent::scaled(weight, percent);
                assert!(scaled <= weight && (scaled > 0 || weight == 0 || percent == 0));
            }
        }
        Err(what) => is_shown_as_it_is(&what),
    }
}

/// A verdict, once given, is not changed by what comes behind, and there is one at the end.
fn in_two_looks(bytes: &[u8], judge: impl Fn(&[u8], bool) -> Verdict) {
    let (first, bytes) = bytes.split_first().unwrap_or((&0, bytes));
    let early = judge(&bytes[..bytes.len().min(usize::from(*first))], false);
    let late = judge(bytes, false);
    let end = judge(bytes, true);
    match (&early, &late, &end) {
        (_, _, Verdict::NeedMore) => panic!("it waits for more behind the end"),
        (Verdict::Good(one), Verdict::Good(other), Verdict::Good(last)) => {
            assert!(one == other && other == last, "{early:?} {late:?} {end:?}");
        }
        (Verdict::Good(_), ..) => panic!("good before, now {late:?} and {end:?}"),
        (_, Verdict::Good(_), last) => assert_eq!(&late, last),
        (Verdict::Bad(_), late, last) => {
            let is_bad = |verdict: &Verdict| matches!(verdict, Verdict::Bad(_));
            assert!(is_bad(late) && is_bad(last), "{early:?} {late:?} {end:?}");
        }
        _ => {}
    }
    for verdict in [early, late, end] {
        if let Verdict::Good(words) | Verdict::Bad(words) = verdict {
            words.split('\t').for_each(is_shown_as_it_is);
        }
    }
}
