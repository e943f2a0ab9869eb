//! Headers of the PROXY protocol, good and bad, with what each is. They name nothing of evener, so that
//! a fuzz target can take the file as it is for its corpus.

#![allow(unreachable_pub, reason = "it is a module of several crates")]

/// Some bytes at the beginning of a connection, and what a receiver has to make of them.
#[derive(Debug, Clone)]
pub struct Vector {
    /// What it shows.
    pub name: &'static str,
    /// The bytes; a good header is all of them.
    pub bytes: Vec<u8>,
    /// What they are.
    pub expected: Expected,
}

/// What a receiver has to make of a [`Vector`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A header for this client, which connected to that address.
    Tcp(&'static str, &'static str),
    /// A header that names no TCP client.
    Unknown,
    /// A header of a proxy that speaks for itself.
    Local,
    /// Nothing that can become a header; the name of the fault.
    Invalid(&'static str),
}

use Expected::{Invalid, Local, Tcp, Unknown};

/// All of them.
pub fn vectors() -> Vec<Vector> {
    let mut all = Vec::new();
    for (name, line, expected) in LINES {
        all.push(Vector {
            name,
            bytes: line.to_vec(),
            expected: *expected,
        });
    }
    all.extend(long_lines());
    all.extend(binary());
    all.extend(with_fields());
    all
}

/// Longest of all good lines of their kind, from the specification.
const LONGEST_V6: &[u8] = b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
    ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";

#[rustfmt::skip] // A table is read by the row.
const LINES: &[(&str, &[u8], Expected)] = &[
    ("v1 of the specification", b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", Tcp("192.168.0.1:56324", "192.168.0.11:443")),
    ("v1 longest IPv4", b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Tcp("255.255.255.255:65535", "255.255.255.255:65535")),
    ("v1 shortest IPv4", b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", Tcp("0.0.0.0:0", "0.0.0.0:0")),
    ("v1 longest IPv6", LONGEST_V6, Tcp("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
    ("v1 shortest IPv6", b"PROXY TCP6 :: :: 0 0\r\n", Tcp("[::]:0", "[::]:0")),
    ("v1 IPv6", b"PROXY TCP6 2001:db8::1 2001:DB8::2 5000 443\r\n", Tcp("[2001:db8::1]:5000", "[2001:db8::2]:443")),
    ("v1 IPv4 as IPv6, as HAProxy writes it", b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 5000 443\r\n", Tcp("192.0.2.1:5000", "[2001:db8::2]:443")),
    ("v1 IPv4 as IPv6 in digits", b"PROXY TCP6 ::ffff:c000:201 ::ffff:c000:202 5000 443\r\n", Tcp("192.0.2.1:5000", "192.0.2.2:443")),
    ("v1 unknown, short", b"PROXY UNKNOWN\r\n", Unknown),
    ("v1 unknown with a space", b"PROXY UNKNOWN \r\n", Unknown),
    ("v1 unknown with addresses", b"PROXY UNKNOWN ::1 ::1 5000 443\r\n", Unknown),
    ("v1 unknown with anything", b"PROXY UNKNOWN \x00\xff\n TCP4\r\n", Unknown),
    ("v1 unknown that goes on without a space", b"PROXY UNKNOWNS\r\n", Invalid("Protocol")),
    ("v1 UDP", b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", Invalid("Protocol")),
    ("v1 TCP without a family", b"PROXY TCP 192.0.2.1 192.0.2.2 1 2\r\n", Invalid("Protocol")),
    ("v1 TCP5", b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", Invalid("Protocol")),
    ("v1 protocol in small letters", b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", Invalid("Protocol")),
    ("v1 no protocol", b"PROXY \r\n", Invalid("Protocol")),
    ("v1 two spaces before the protocol", b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Invalid("Protocol")),
    ("v1 tab for a space", b"PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n", Invalid("Signature")),
    ("v1 in small letters", b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Invalid("Signature")),
    ("v1 space before it", b" PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Invalid("Signature")),
    ("v1 protocol alone", b"PROXY TCP4 \r\n", Invalid("Fields")),
    ("v1 no ports", b"PROXY TCP4 192.0.2.1 192.0.2.2\r\n", Invalid("Fields")),
    ("v1 one port", b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Invalid("Fields")),
    ("v1 three ports", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", Invalid("Fields")),
    ("v1 space at the end", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", Invalid("Fields")),
    ("v1 two spaces between", b"PROXY TCP4 192.0.2.1  192.0.2.2 1\r\n", Invalid("Address")),
    ("v1 a byte that is no text", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 \xff\r\n", Invalid("Fields")),
    ("v1 zero byte", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\x00\r\n", Invalid("Port")),
    ("v1 leading zero in an address", b"PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n", Invalid("Address")),
    ("v1 octal-looking address", b"PROXY TCP4 192.0.2.1 192.0.2.010 1 2\r\n", Invalid("Address")),
    ("v1 number above 255", b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", Invalid("Address")),
    ("v1 three numbers", b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", Invalid("Address")),
    ("v1 five numbers", b"PROXY TCP4 192.0.2.1.1 192.0.2.2 1 2\r\n", Invalid("Address")),
    ("v1 IPv6 in TCP4", b"PROXY TCP4 ::1 ::1 1 2\r\n", Invalid("Address")),
    ("v1 IPv4 in TCP6", b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", Invalid("Address")),
    ("v1 mixed families", b"PROXY TCP6 2001:db8::1 192.0.2.2 1 2\r\n", Invalid("Address")),
    ("v1 two double colons", b"PROXY TCP6 2001::db8::1 ::1 1 2\r\n", Invalid("Address")),
    ("v1 nine groups", b"PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n", Invalid("Address")),
    ("v1 seven groups", b"PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n", Invalid("Address")),
    ("v1 five digits in a group", b"PROXY TCP6 12345::1 ::1 1 2\r\n", Invalid("Address")),
    ("v1 brackets", b"PROXY TCP6 [::1] [::1] 1 2\r\n", Invalid("Address")),
    ("v1 scope", b"PROXY TCP6 fe80::1%2 ::1 1 2\r\n", Invalid("Address")),
    ("v1 host name", b"PROXY TCP4 localhost 192.0.2.2 1 2\r\n", Invalid("Address")),
    ("v1 port above 65535", b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", Invalid("Port")),
    ("v1 leading zero in a port", b"PROXY TCP4 192.0.2.1 192.0.2.2 080 2\r\n", Invalid("Port")),
    ("v1 two zeros as a port", b"PROXY TCP4 192.0.2.1 192.0.2.2 00 2\r\n", Invalid("Port")),
    ("v1 plus before a port", b"PROXY TCP4 192.0.2.1 192.0.2.2 +80 2\r\n", Invalid("Port")),
    ("v1 minus before a port", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n", Invalid("Port")),
    ("v1 empty port", b"PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n", Invalid("Port")),
    ("v1 port in hexadecimal", b"PROXY TCP4 192.0.2.1 192.0.2.2 0x50 2\r\n", Invalid("Port")),
    ("v1 lone CR", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rGET", Invalid("LineEnd")),
    ("v1 CR CR LF", b"PROXY UNKNOWN\r\r\n", Invalid("LineEnd")),
    ("v1 lone LF does not end the line", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nGET / HTTP/1.1\r\n", Invalid("Fields")),
    ("HTTP", b"GET / HTTP/1.1\r\n\r\n", Invalid("Signature")),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Invalid("Signature")),
    ("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n", Invalid("Signature")),
    ("almost PROXY", b"PROXZ", Invalid("Signature")),
    ("a HTTP method that begins alike", b"PROPFIND / HTTP/1.1\r\n", Invalid("Signature")),
    ("v2 wrong signature at its end", b"\r\n\r\n\0\r\nQUIT\r", Invalid("Signature")),
    ("v2 empty lines before HTTP", b"\r\n\r\nGET / HTTP/1.1\r\n", Invalid("Signature")),
];

/// Around the 107 bytes that a line may have.
fn long_lines() -> Vec<Vector> {
    let unknown = |bytes: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(bytes - 2, b'f');
        line.extend(b"\r\n");
        line
    };
    vec![
        vector("v1 longest of all", unknown(107), Unknown),
        vector("v1 one byte too long", unknown(108), Invalid("LineTooLong")),
        vector("v1 far too long", unknown(4000), Invalid("LineTooLong")),
        vector(
            "v1 without end",
            b"PROXY TCP4 ".iter().chain(&[b'1'; 200]).copied().collect(),
            Invalid("LineTooLong"),
        ),
    ]
}

fn vector(name: &'static str, bytes: Vec<u8>, expected: Expected) -> Vector {
    Vector {
        name,
        bytes,
        expected,
    }
}

/// A binary header with a length that is right for its body.
pub fn v2(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([version_and_command, family]);
    header.extend((body.len() as u16).to_be_bytes());
    header.extend(body);
    header
}

/// 192.0.2.1:5000 to 192.0.2.2:443.
const BODY4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 0x01, 0xbb];

/// [2001:db8::1]:5000 to [2001:db8::2]:443.
const BODY6: [u8; 36] = [
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, //
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, //
    0x13, 0x88, 0x01, 0xbb,
];

const FOUR: Expected = Tcp("192.0.2.1:5000", "192.0.2.2:443");

#[rustfmt::skip] // A table is read by the row.
fn binary() -> Vec<Vector> {
    let mut mapped = BODY6;
    mapped[..16].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]);
    vec![
        vector("v2 IPv4", v2(0x21, 0x11, &BODY4), FOUR),
        vector("v2 IPv6", v2(0x21, 0x21, &BODY6), Tcp("[2001:db8::1]:5000", "[2001:db8::2]:443")),
        vector("v2 IPv4 as IPv6", v2(0x21, 0x21, &mapped), Tcp("192.0.2.1:5000", "[2001:db8::2]:443")),
        vector("v2 UDP over IPv4", v2(0x21, 0x12, &BODY4), Unknown),
        vector("v2 UDP over IPv6", v2(0x21, 0x22, &BODY6), Unknown),
        vector("v2 UNIX stream", v2(0x21, 0x31, &[b'/'; 216]), Unknown),
        vector("v2 UNIX datagram", v2(0x21, 0x32, &[0; 216]), Unknown),
        vector("v2 unspecified", v2(0x21, 0x00, &[]), Unknown),
        vector("v2 unspecified with anything", v2(0x21, 0x00, b"whatever it is"), Unknown),
        vector("v2 no transport", v2(0x21, 0x10, &[1, 2, 3]), Unknown),
        vector("v2 no family", v2(0x21, 0x01, &BODY4), Unknown),
        vector("v2 local", v2(0x20, 0x00, &[]), Local),
        vector("v2 local with addresses", v2(0x20, 0x11, &BODY4), Local),
        vector("v2 local with anything", v2(0x20, 0xff, &[7; 300]), Local),
        vector("v2 IPv4, too short", v2(0x21, 0x11, &BODY4[..11]), Invalid("TooShort")),
        vector("v2 IPv4, empty", v2(0x21, 0x11, &[]), Invalid("TooShort")),
        vector("v2 IPv6, too short", v2(0x21, 0x21, &BODY6[..35]), Invalid("TooShort")),
        vector("v2 IPv6 with the length of IPv4", v2(0x21, 0x21, &BODY4), Invalid("TooShort")),
        vector("v2 UDP, too short", v2(0x21, 0x12, &BODY4[..8]), Invalid("TooShort")),
        vector("v2 UNIX, too short", v2(0x21, 0x31, &[0; 215]), Invalid("TooShort")),
        vector("v2 command 2", v2(0x22, 0x11, &BODY4), Invalid("Command")),
        vector("v2 command 15", v2(0x2f, 0x11, &BODY4), Invalid("Command")),
        vector("v2 version 0", v2(0x01, 0x11, &BODY4), Invalid("Version")),
        vector("v2 version 1", v2(0x11, 0x11, &BODY4), Invalid("Version")),
        vector("v2 version 3", v2(0x31, 0x11, &BODY4), Invalid("Version")),
        vector("v2 family 4", v2(0x21, 0x41, &BODY4), Invalid("Family")),
        vector("v2 family 15", v2(0x21, 0xf1, &BODY4), Invalid("Family")),
        vector("v2 transport 3", v2(0x21, 0x13, &BODY4), Invalid("Family")),
        vector("v2 longest", v2(0x21, 0x00, &vec![0; 4080]), Unknown),
        vector("v2 one byte too long", v2(0x21, 0x00, &vec![0; 4081]), Invalid("TooLong")),
        vector("v2 local, too long", v2(0x20, 0x00, &vec![0; 65535]), Invalid("TooLong")),
    ]
}

/// Further fields behind the addresses. The checksums were computed apart from evener.
#[rustfmt::skip] // A table is read by the row.
fn with_fields() -> Vec<Vector> {
    let fields = |fields: &[u8]| v2(0x21, 0x11, &[&BODY4, fields].concat());
    let noop = [4, 0, 0];
    let unique_id = b"\x05\x00\x03abc";
    let good = [3, 0, 4, 0x1b, 0xcc, 0x8e, 0x95];
    let behind_noop = [4, 0, 0, 3, 0, 4, 0x84, 0xfe, 0x9e, 0x9e];
    vec![
        vector("v2 empty field", fields(&noop), FOUR),
        vector("v2 several fields", fields(&[&noop[..], unique_id, &noop].concat()), FOUR),
        vector("v2 field of a private type", fields(b"\xea\x00\x02ab"), FOUR),
        vector("v2 large field", fields(&[&[4, 0x0f, 0x00][..], &[0; 0xf00]].concat()), FOUR),
        vector("v2 field that ends behind the header", fields(b"\x05\x00\x04abc"), Invalid("Extension")),
        vector("v2 field of 65535 bytes", fields(b"\x05\xff\xffabc"), Invalid("Extension")),
        vector("v2 field without a length", fields(&[5]), Invalid("Extension")),
        vector("v2 field with half a length", fields(&[5, 0]), Invalid("Extension")),
        vector("v2 bytes behind the last field", fields(b"\x05\x00\x01ab"), Invalid("Extension")),
        vector("v2 UNIX with a wrong field", v2(0x21, 0x31, &[5; 217]), Invalid("Extension")),
        vector("v2 checksum", fields(&good), FOUR),
        vector("v2 checksum behind a field", fields(&behind_noop), FOUR),
        vector("v2 wrong checksum", fields(&[3, 0, 4, 0x1b, 0xcc, 0x8e, 0x94]), Invalid("Checksum")),
        vector("v2 checksum of zero", fields(&[3, 0, 4, 0, 0, 0, 0]), Invalid("Checksum")),
        vector("v2 checksum of three bytes", fields(&[3, 0, 3, 1, 2, 3]), Invalid("Extension")),
        vector("v2 two checksums", fields(&[good, good].concat()), Invalid("Extension")),
    ]
}
