//! Every vector at every split point, round trips, and arbitrary bytes.

mod vectors;

use super::*;
use proptest::prelude::*;
use vectors::{Expected, vectors};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What the whole of a vector has to be read as.
fn whole(expected: Expected, length: usize) -> Result<Parsed, &'static str> {
    let endpoints = match expected {
        Expected::Tcp(source, destination) => Endpoints::Tcp {
            source: address(source),
            destination: address(destination),
        },
        Expected::Unknown => Endpoints::Unknown,
        Expected::Local => Endpoints::Local,
        Expected::Invalid(fault) => return Err(fault),
    };
    Ok(Parsed::Header { endpoints, length })
}

#[test]
fn each_fault_has_words_of_its_own() {
    let faults = vectors().into_iter().filter_map(|vector| {
        let parsed = parse(&vector.bytes);
        match parsed {
            Parsed::Invalid(fault) => Some(fault),
            Parsed::NeedMore(_) | Parsed::Header { .. } => None,
        }
    });
    let mut words: Vec<(&str, Fault)> = Vec::new();
    for fault in faults.filter(|fault| *fault != Fault::Signature) {
        assert!(fault.words().starts_with("PROXY v"), "{fault:?}");
        words.retain(|(_, known)| *known != fault);
        assert!(
            !words.iter().any(|(known, _)| *known == fault.words()),
            "{fault:?}"
        );
        words.push((fault.words(), fault));
    }
    assert!(words.len() >= 12, "{words:?}");
}

#[test]
fn every_vector_is_read_as_what_it_is() {
    let all = vectors();
    assert!(all.len() >= 60, "{}", all.len());
    for vector in all {
        let parsed = parse(&vector.bytes);
        match whole(vector.expected, vector.bytes.len()) {
            Ok(header) => assert_eq!(parsed, header, "{}", vector.name),
            Err(fault) => {
                let Parsed::Invalid(found) = parsed else {
                    panic!("{}: {parsed:?}", vector.name);
                };
                assert_eq!(format!("{found:?}"), fault, "{}", vector.name);
            }
        }
    }
}

/// What comes in pieces is read as what comes at once: until it is decided, more is asked for, and never
/// more than there is; once it is decided, it stays so.
#[test]
fn every_vector_is_read_the_same_at_every_split_point() {
    for vector in vectors() {
        let name = vector.name;
        let end = parse(&vector.bytes);
        for split in 0..=vector.bytes.len() {
            match parse(&vector.bytes[..split]) {
                Parsed::NeedMore(bytes) => {
                    assert!(bytes > 0, "{name} at {split}");
                    if let Parsed::Header { length, .. } = end {
                        assert!(split + bytes <= length, "{name} at {split}: {bytes}");
                    }
                }
                decided => {
                    assert_eq!(decided, end, "{name} at {split}");
                    let is_whole = split == vector.bytes.len();
                    assert!(is_whole || matches!(end, Parsed::Invalid(_)), "{name}");
                }
            }
        }
    }
}

#[test]
fn what_is_behind_a_header_is_not_looked_at() {
    for vector in vectors() {
        for payload in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\r\n",
            b"PROXY UNKNOWN\r\n",
            b"\0",
        ] {
            let bytes = [&vector.bytes[..], payload].concat();
            assert_eq!(parse(&bytes), parse(&vector.bytes), "{}", vector.name);
        }
    }
}

/// Who reads as many bytes as are asked for, and no more, ends exactly behind the header.
#[test]
fn reading_what_is_asked_for_takes_the_header_and_nothing_else() {
    for vector in vectors() {
        let Ok(Parsed::Header { length, .. }) = whole(vector.expected, vector.bytes.len()) else {
            continue;
        };
        let mut taken = 0;
        while let Parsed::NeedMore(bytes) = parse(&vector.bytes[..taken]) {
            taken += bytes;
        }
        assert_eq!(taken, length, "{}", vector.name);
    }
}

#[test]
fn headers_are_written_as_haproxy_writes_them() {
    let endpoints = |source, destination| Endpoints::tcp(address(source), address(destination));
    let four = endpoints("192.0.2.1:5000", "192.0.2.2:443");
    let six = endpoints("[2001:db8::1]:5000", "[2001:db8::2]:443");
    let mixed = endpoints("192.0.2.1:5000", "[2001:db8::2]:443");
    let other = endpoints("[2001:db8::1]:5000", "192.0.2.2:443");
    let hidden = endpoints("[::ffff:192.0.2.1]:5000", "[::ffff:192.0.2.2]:443");
    for (endpoints, line) in [
        (four, "TCP4 192.0.2.1 192.0.2.2 5000 443"),
        (six, "TCP6 2001:db8::1 2001:db8::2 5000 443"),
        (mixed, "TCP6 ::ffff:192.0.2.1 2001:db8::2 5000 443"),
        (other, "TCP6 2001:db8::1 ::ffff:192.0.2.2 5000 443"),
        (hidden, "TCP4 192.0.2.1 192.0.2.2 5000 443"),
        (Endpoints::Unknown, "UNKNOWN"),
        (Endpoints::Local, "UNKNOWN"),
    ] {
        let header = String::from_utf8(endpoints.encode(Version::V1)).unwrap();
        assert_eq!(header, format!("PROXY {line}\r\n"));
    }
    for (endpoints, kind, length) in [
        (four, [0x21, 0x11], 28),
        (six, [0x21, 0x21], 52),
        (mixed, [0x21, 0x21], 52),
        (other, [0x21, 0x21], 52),
        (hidden, [0x21, 0x11], 28),
        (Endpoints::Unknown, [0x21, 0x00], 16),
        (Endpoints::Local, [0x20, 0x00], 16),
    ] {
        let header = endpoints.encode(Version::V2);
        assert_eq!((header.len(), &header[12..14]), (length, &kind[..]));
    }
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    let four = any::<[u8; 4]>().prop_map(std::net::IpAddr::from);
    let six = any::<[u8; 16]>().prop_map(std::net::IpAddr::from);
    (prop_oneof![four, six], any::<u16>()).prop_map(SocketAddr::from)
}

/// Bytes that get further than arbitrary ones: a good header with some bytes changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (any::<prop::sample::Index>(), changes).prop_map(|(which, changes)| {
        let mut bytes = which.get(&vectors()).bytes.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    })
}

/// Reads it, and whatever it begins with, and checks what must hold for any bytes.
fn check_any(bytes: &[u8]) {
    if let Parsed::Header { length, .. } = parse(bytes) {
        assert!(length <= bytes.len().min(HEADER_BYTES_MAX));
        assert_eq!(parse(&bytes[..length]), parse(bytes));
        assert!(matches!(parse(&bytes[..length - 1]), Parsed::NeedMore(1)));
    }
    for split in 0..bytes.len().min(300) {
        let part = parse(&bytes[..split]);
        if !matches!(part, Parsed::NeedMore(_)) {
            assert_eq!(part, parse(bytes), "{bytes:?} at {split}");
        }
    }
}

proptest! {
    #![proptest_config(crate::policy::proptest_config())]

    #[test]
    fn what_is_written_is_read_again(
        source in any_address(),
        destination in any_address(),
        payload in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let tcp = Endpoints::tcp(source, destination);
        for (endpoints, version, read) in [
            (tcp, Version::V1, tcp),
            (tcp, Version::V2, tcp),
            (Endpoints::Unknown, Version::V1, Endpoints::Unknown),
            (Endpoints::Unknown, Version::V2, Endpoints::Unknown),
            (Endpoints::Local, Version::V1, Endpoints::Unknown),
            (Endpoints::Local, Version::V2, Endpoints::Local),
        ] {
            let header = endpoints.encode(version);
            let expected = Parsed::Header { endpoints: read, length: header.len() };
            prop_assert_eq!(parse(&[&header[..], &payload].concat()), expected);
        }
    }

    #[test]
    fn arbitrary_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_any(&bytes);
    }

    #[test]
    fn damaged_headers_get_an_answer(bytes in damaged()) {
        check_any(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_beginning_get_an_answer(
        kind in any::<u16>(),
        length in 0..600_u16,
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let [version, family] = kind.to_be_bytes();
        for version in [version, 0x20, 0x21] {
            let head = [&v2::SIGNATURE[..], &[version, family], &length.to_be_bytes()].concat();
            check_any(&[&head[..], &rest].concat());
        }
        check_any(&[&b"PROXY TCP4 "[..], &rest].concat());
        check_any(&[&b"PROXY UNKNOWN "[..], &rest].concat());
    }
}
