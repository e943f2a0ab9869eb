//! The head of a request: bytes to what the guard and the reader need to know. Pure.
//!
//! Every header that decides something may stand in a request once: of two, somebody on the way may
//! have read the other one.

// Each byte is somebody else's: no sum of them may overflow.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use httparse::{EMPTY_HEADER, Status};

use super::message::{Method, Response};

/// The longest head, bytes. Browsers send about 1 KiB.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The longest body, bytes. The longest that means anything is below 100.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Headers of one request. Browsers send about 20.
const HEADERS_MAX: usize = 64;

/// What is known of a request before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    /// HTTP/1.0, which knows no `Host` and no `Expect`.
    pub(super) is_old: bool,
    pub(super) host: Option<String>,
    pub(super) origin: Option<String>,
    pub(super) fetch_site: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) body_bytes: usize,
    /// The client waits for a word before it sends the body.
    pub(super) expects_continue: bool,
}

/// The head at the beginning of `bytes` and its length, or `None` while it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Response> {
    let too_large = || Response::error(431, "the head is larger than 8 KiB; send fewer headers");
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut raw = httparse::Request::new(&mut headers);
    let length = match raw.parse(bytes) {
        Ok(Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) => return Err(too_large()),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Response::error(431, "more than 64 headers; send fewer"));
        }
        Err(httparse::Error::Version) => {
            return Err(Response::error(
                505,
                "only HTTP/1.0 and HTTP/1.1 are spoken here",
            ));
        }
        Err(error) => {
            return Err(bad(&format!("this is no HTTP request ({error})")));
        }
    };
    let method = match raw.method.unwrap_or_default() {
        "GET" | "HEAD" => Method::Get,
        "POST" => Method::Post,
        "DELETE" => Method::Delete,
        _ => Method::Other,
    };
    let is_old = raw.version == Some(0);
    let single = |name| single(raw.headers, name);
    let (authority, path, query) = target(raw.path.unwrap_or_default())?;
    let head = Head {
        method,
        path,
        query,
        is_old,
        host: authority.or(single("Host")?),
        origin: single("Origin")?,
        fetch_site: single("Sec-Fetch-Site")?,
        content_type: single("Content-Type")?,
        authorization: single("Authorization")?,
        body_bytes: body_bytes(single("Transfer-Encoding")?, single("Content-Length")?)?,
        expects_continue: expects_continue(single("Expect")?)? && !is_old,
    };
    Ok(Some((head, length)))
}

fn bad(what: &str) -> Response {
    Response::error(400, what)
}

/// The value of a header that may stand there once.
fn single(headers: &[httparse::Header<'_>], name: &str) -> Result<Option<String>, Response> {
    let mut found = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name));
    let Some(header) = found.next() else {
        return Ok(None);
    };
    if found.next().is_some() {
        return Err(bad(&format!("{name} is given twice; give it once")));
    }
    match str::from_utf8(header.value) {
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(_) => Err(bad(&format!("{name} is not plain text"))),
    }
}

/// How long the body is: only `Content-Length` says it here.
fn body_bytes(transfer: Option<String>, length: Option<String>) -> Result<usize, Response> {
    match transfer {
        Some(how) if how.eq_ignore_ascii_case("chunked") => {
            let what = "no chunked bodies here: send the body with its Content-Length";
            return Err(Response::error(411, what));
        }
        Some(_) => {
            let what = "no Transfer-Encoding here: send the body with its Content-Length";
            return Err(Response::error(501, what));
        }
        None => {}
    }
    let Some(length) = length else { return Ok(0) };
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("Content-Length is no number"));
    }
    match length.parse() {
        Ok(bytes) if bytes <= BODY_BYTES_MAX => Ok(bytes),
        _ => Err(Response::error(413, "the body is larger than 64 KiB")),
    }
}

fn expects_continue(expect: Option<String>) -> Result<bool, Response> {
    match expect {
        None => Ok(false),
        Some(what) if what.eq_ignore_ascii_case("100-continue") => Ok(true),
        Some(_) => Err(Response::error(
            417,
            "only 100-continue can be expected here",
        )),
    }
}

type Target = (Option<String>, Vec<String>, Vec<(String, String)>);

/// The parts of a request target: `/path?query`, or with `http://authority` before it, which then
/// goes before the `Host` header (RFC 9112, 3.2.2).
fn target(text: &str) -> Result<Target, Response> {
    let (authority, rest) = match text.strip_prefix("http://") {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            (Some(authority.to_owned()), rest)
        }
        None if text.starts_with('/') => (None, text),
        None => return Err(bad("the request target is no path; it begins with `/`")),
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = path.strip_prefix('/').unwrap_or(path);
    let segments = path.split('/').filter(|_| !path.is_empty());
    let segments: Result<_, _> = segments.map(|segment| decoded(segment, false)).collect();
    let parameters = query.split('&').filter(|pair| !pair.is_empty());
    let parameters: Result<_, _> = parameters
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(key, true)?, decoded(value, true)?))
        })
        .collect();
    Ok((authority, segments?, parameters?))
}

/// Resolves `%41`, and in a query `+` for a space.
fn decoded(text: &str, plus_is_space: bool) -> Result<String, Response> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next()), digit(bytes.next()));
                let value = high.zip(low).and_then(|(high, low)| {
                    u8::try_from(high.saturating_mul(16).saturating_add(low)).ok()
                });
                out.push(value.ok_or_else(|| bad("a `%` without two hexadecimal digits"))?);
            }
            b'+' if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| bad("the request target is not UTF-8 behind its `%`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        let text = format!("{text}\r\n\r\n");
        let (head, length) = parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len());
        head
    }

    fn status(text: &str) -> u16 {
        match parse(format!("{text}\r\n\r\n").as_bytes()) {
            Err(response) => response.status,
            Ok(found) => panic!("{text} was accepted: {found:?}"),
        }
    }

    #[test]
    fn a_target_is_taken_apart_and_decoded() {
        let segments = |target: &str| head(&format!("GET {target} HTTP/1.1")).path;
        assert_eq!(segments("/"), [""; 0]);
        assert_eq!(segments("/metrics"), ["metrics"]);
        assert_eq!(segments("/a%2Fb/%C3%B6%20+/"), ["a/b", "ö +", ""]);
        let query = head("GET /e?pool=a%26b&client=%3A%3A1&&x&y=1+2=3 HTTP/1.1").query;
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = [
            pair("pool", "a&b"),
            pair("client", "::1"),
            pair("x", ""),
            pair("y", "1 2=3"),
        ];
        assert_eq!(query, expected);
    }

    #[test]
    fn an_absolute_target_goes_before_the_host() {
        let both = head("GET http://[::1]:1/a HTTP/1.1\r\nHost: other");
        assert_eq!(
            (both.host.as_deref(), both.path),
            (Some("[::1]:1"), vec!["a".into()])
        );
        assert_eq!(head("GET http://h?q=1 HTTP/1.0").query.len(), 1);
    }

    #[test]
    fn what_decides_something_is_read() {
        let head = head(
            "POST / HTTP/1.1\r\nhost: h:1\r\nORIGIN: http://o\r\nSec-Fetch-Site: none\r\n\
             Content-Type: application/json\r\nAuthorization: Bearer t\r\ncontent-length: 12\r\n\
             Expect: 100-Continue",
        );
        assert_eq!(
            (head.method, head.is_old, head.body_bytes),
            (Method::Post, false, 12)
        );
        assert_eq!(head.host.as_deref(), Some("h:1"));
        assert_eq!(head.origin.as_deref(), Some("http://o"));
        assert_eq!(head.fetch_site.as_deref(), Some("none"));
        assert_eq!(head.content_type.as_deref(), Some("application/json"));
        assert_eq!(head.authorization.as_deref(), Some("Bearer t"));
        assert!(head.expects_continue);
    }

    #[test]
    fn a_method_that_no_path_takes_is_still_a_request() {
        for method in ["OPTIONS", "PATCH", "get", "X"] {
            let text = format!("{method} / HTTP/1.1\r\n\r\n");
            let (head, _) = parse(text.as_bytes()).unwrap().unwrap();
            assert_eq!(head.method, Method::Other, "{method}");
        }
    }

    #[rustfmt::skip] // A table is read by the row.
    #[test]
    fn each_fault_has_its_status() {
        for (text, expected) in [
            ("GET  / HTTP/1.1", 400),
            ("GET / HTTP/1.1\r\nHost", 400),
            ("GET / HTTP/1.1\r\n folded: 1", 400),
            ("GET / HTTP/1.1\r\nHost : a", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: a", 400),
            ("GET / HTTP/1.1\r\nHost: \u{e4}\r\nX: 1\0", 400),
            ("GET * HTTP/1.1", 400),
            ("GET a HTTP/1.1", 400),
            ("GET /%4 HTTP/1.1", 400),
            ("GET /%+1 HTTP/1.1", 400),
            ("GET /%ff HTTP/1.1", 400),
            ("GET /?a=%zz HTTP/1.1", 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked", 411),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked", 501),
            ("POST / HTTP/1.1\r\nContent-Length: 65537", 413),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999", 413),
            ("POST / HTTP/1.1\r\nContent-Length: +1", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1", 400),
            ("POST / HTTP/1.1\r\nContent-Length:", 400),
            ("POST / HTTP/1.1\r\nExpect: 200-ok", 417),
            ("GET / HTTP/2.0", 505),
            ("GET /", 400),
        ] {
            assert_eq!(status(text), expected, "{text}");
        }
    }

    #[test]
    fn a_head_may_be_as_long_as_it_may_and_no_longer() {
        let padded = |bytes: usize| {
            let rest = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(bytes - rest))
        };
        assert!(parse(padded(HEAD_BYTES_MAX).as_bytes()).unwrap().is_some());
        let longer = padded(HEAD_BYTES_MAX + 1);
        assert_eq!(parse(longer.as_bytes()).unwrap_err().status, 431);
        let unfinished = &longer.as_bytes()[..HEAD_BYTES_MAX];
        assert_eq!(parse(unfinished).unwrap_err().status, 431);
        let many = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(65));
        assert_eq!(status(&many), 431);
    }
}
