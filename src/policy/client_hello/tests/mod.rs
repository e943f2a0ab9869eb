//! Hellos by a table, real ones whole, cut and spread over records, and bytes at random.

mod vectors;

use super::*;
use crate::policy::proptest_config;
use proptest::prelude::*;
use vectors::CAPTURED;

/// A vector of TLS: its length in so many bytes, then the content.
fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - length_bytes..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, content)].concat()
}

/// An extension with these names, each of a kind.
fn names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names = names
        .iter()
        .flat_map(|(kind, name)| [vec![*kind], vector(2, name)].concat());
    extension(0, &vector(2, &names.collect::<Vec<u8>>()))
}

fn host(name: &[u8]) -> Vec<u8> {
    names(&[(0, name)])
}

/// What stands before the extensions of a hello.
fn head() -> Vec<u8> {
    let random = [7; 32];
    let session = vector(1, &[9; 32]);
    [
        &[3, 3][..],
        &random,
        &session,
        &vector(2, &[0x13, 1]),
        &vector(1, &[0]),
    ]
    .concat()
}

/// A handshake message of this type.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector(3, body)].concat()
}

/// A hello with these extensions.
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    message(1, &[head(), vector(2, &extensions.concat())].concat())
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &vector(2, content)].concat()
}

/// A handshake message in records of at most so many bytes.
fn in_records(message: &[u8], bytes: usize) -> Vec<u8> {
    let records = message.chunks(bytes).map(|content| record(22, content));
    records.collect::<Vec<_>>().concat()
}

fn whole(extensions: &[Vec<u8>]) -> Vec<u8> {
    record(22, &hello(extensions))
}

fn name(name: &[u8]) -> Parsed {
    Parsed::Hello(Hello::Name(name.to_vec()))
}

const NO_NAME: Parsed = Parsed::Hello(Hello::NoName);
const NOT_TLS: Parsed = Parsed::Hello(Hello::NotTls);

/// Everything that begins with `prefix` is answered alike once there is an answer, and no more is waited
/// for than there is.
fn check_every_prefix(bytes: &[u8]) {
    let answer = parse(bytes);
    for end in 0..bytes.len() {
        match parse(&bytes[..end]) {
            Parsed::NeedMore(missing) => {
                assert!(missing > 0);
                let is_enough = end + missing <= bytes.len();
                let is_incomplete = matches!(answer, Parsed::NeedMore(_));
                assert!(is_enough || is_incomplete, "{missing} more at {end}");
            }
            early => assert_eq!(early, answer, "at {end}"),
        }
    }
}

#[test]
fn real_clients_are_understood_however_their_hello_is_cut() {
    for captured in CAPTURED {
        let bytes = captured.bytes();
        let expected = match captured.names_server {
            true => name(b"db.example.org"),
            false => NO_NAME,
        };
        assert_eq!(parse(&bytes), expected, "{}", captured.client);
        check_every_prefix(&bytes);
        let message = &bytes[5..];
        for size in [1, 2, 3, 7, 64, message.len() / 2, message.len() - 1] {
            let spread = in_records(message, size);
            assert_eq!(parse(&spread), expected, "{} in {size}", captured.client);
            // The work grows with the square of the length.
            if spread.len() < 2500 {
                check_every_prefix(&spread);
            }
        }
        // Early data, or whatever else a client sends before it is answered.
        let more = [bytes, record(20, &[1]), record(23, &[0; 200])].concat();
        assert_eq!(parse(&more), expected);
    }
}

#[test]
fn the_first_host_name_is_the_one() {
    let before = extension(0x0a0a, &[]);
    for (extensions, expected) in [
        (vec![], NO_NAME),
        (vec![before.clone()], NO_NAME),
        (vec![before, host(b"a.example")], name(b"a.example")),
        (
            vec![host(b"a.example"), host(b"b.example")],
            name(b"a.example"),
        ),
        (
            vec![names(&[(1, b"x"), (0, b"a.example"), (0, b"b")])],
            name(b"a.example"),
        ),
        (vec![names(&[(1, b"x")])], NO_NAME),
        (vec![names(&[])], NO_NAME),
        // What no rule allows as a name is handed on as it is.
        (vec![host(b"\0\xff \n")], name(b"\0\xff \n")),
        (vec![host(&[b'a'; 2000])], name(&[b'a'; 2000])),
        // Lists and names that do not fit into what they stand in.
        (vec![host(b"")], NOT_TLS),
        (vec![extension(0, b"")], NOT_TLS),
        (vec![extension(0, b"\0\x09\0\0\x04abcd")], NOT_TLS),
        (vec![extension(0, b"\0\x07\0\0\x09abcd")], NOT_TLS),
        (vec![extension(0, b"\0\x06\0\0\x04abcd")], NOT_TLS),
        (vec![b"\0\x10\0\x09abc".to_vec()], NOT_TLS),
        (vec![b"\0".to_vec()], NOT_TLS),
    ] {
        let bytes = whole(&extensions);
        assert_eq!(parse(&bytes), expected, "{extensions:x?}");
        check_every_prefix(&bytes);
    }
    // Before TLS 1.3 a hello needs no extensions at all.
    assert_eq!(parse(&record(22, &message(1, &head()))), NO_NAME);
}

#[test]
fn what_is_no_hello_is_told_at_the_first_byte_that_shows_it() {
    let hello = hello(&[host(b"a.example")]);
    let begun = record(22, &hello[..20]);
    let too_long_id = [&[3, 3][..], &[7; 32], &vector(1, &[0; 255]), &[0; 99]].concat();
    for (what, bytes, at) in [
        ("HTTP", b"GET / HTTP/1.1\r\n".to_vec(), 1),
        ("SSH", b"SSH-2.0-OpenSSH".to_vec(), 1),
        ("PostgreSQL", b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec(), 1),
        ("SSL 2", b"\x80\x2e\x01\x03\x01".to_vec(), 1),
        ("an alert", record(21, &[2, 0]), 1),
        ("an old version", [&[22, 2, 0][..], &[0; 20]].concat(), 2),
        ("an empty record", record(22, &[]), 5),
        (
            "a record that is too long",
            b"\x16\x03\x01\x40\x01".to_vec(),
            5,
        ),
        ("another message", record(22, &message(2, &head())), 6),
        (
            "an alert in the middle",
            [begun.clone(), record(21, &[1, 0])].concat(),
            26,
        ),
        (
            "an empty record in the middle",
            [begun, record(22, &[])].concat(),
            30,
        ),
        (
            "a message that ends early",
            record(22, &message(1, &head()[..40])),
            44,
        ),
        (
            "a session that ends late",
            record(22, &message(1, &too_long_id[..60])),
            44,
        ),
        (
            "extensions that are longer than the message",
            record(22, &message(1, &[head(), vec![0, 9, 0, 0]].concat())),
            84,
        ),
    ] {
        assert_eq!(parse(&bytes), NOT_TLS, "{what}");
        check_every_prefix(&bytes);
        let undecided = matches!(parse(&bytes[..at - 1]), Parsed::NeedMore(_));
        assert!(undecided, "{what} before {at}");
        assert_eq!(parse(&bytes[..at]), NOT_TLS, "{what} at {at}");
    }
}

#[test]
fn no_more_is_waited_for_than_a_record_holds() {
    let padding = |bytes: usize| extension(21, &vec![0; bytes]);
    // A hello that is longer than that, with the name at its front.
    let long = in_records(&hello(&[host(b"a.example"), padding(30_000)]), 16_384);
    assert_eq!(parse(&long), name(b"a.example"));
    assert_eq!(parse(&long[..200]), name(b"a.example"));
    // The largest that fits, and one byte more. A hello has 83 bytes around its extensions, an extension
    // 4, and a name of 9 bytes 9 more.
    let last = |bytes: usize| in_records(&hello(&[padding(bytes), host(b"a.example")]), 16_384);
    let most = FRAGMENT - hello(&[padding(0), host(b"a.example")]).len();
    assert_eq!(last(most).len(), HELLO_BYTES_MAX);
    assert_eq!(parse(&last(most)), name(b"a.example"));
    assert_eq!(parse(&last(most + 1)), NOT_TLS);
    check_every_prefix(&last(most + 1)[..200]);
    // It is told when the length is known, not when all has come.
    assert_eq!(parse(&last(20_000)[..200]), NOT_TLS);
    // Whoever claims a lot and sends a little costs nothing.
    let claim = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff\x03\x03".to_vec();
    assert!(matches!(parse(&claim), Parsed::NeedMore(_)));
}

const FRAGMENT: usize = records::FRAGMENT_BYTES_MAX;

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn bytes_at_random_are_answered_alike_however_they_come(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        check_every_prefix(&bytes);
        // Most of those end at the first byte; these get further.
        check_every_prefix(&record(22, &bytes));
        check_every_prefix(&record(22, &message(1, &[head(), bytes].concat())));
    }

    #[test]
    fn a_real_hello_with_a_wrong_byte_is_answered_alike_however_it_comes(
        which in 0..CAPTURED.len(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = CAPTURED[which].bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        check_every_prefix(&bytes);
    }

    #[test]
    fn any_name_is_found_in_any_records(
        sent in proptest::collection::vec(any::<u8>(), 1..100), records in 1..200_usize, padding in 0..100_usize,
    ) {
        let padding = extension(21, &vec![0; padding]);
        let bytes = in_records(&hello(&[padding, host(&sent)]), records);
        prop_assert_eq!(parse(&bytes), name(&sent));
        check_every_prefix(&bytes);
    }
}
