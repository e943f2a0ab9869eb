//! The little HTTP that the dummy speaks: where a request head ends, what it asks for, and the
//! bytes of an answer (RFC 9110, RFC 9112). PURE: it sees bytes and gives bytes.

use std::borrow::Cow;

/// Longest request head, the request line included. A longer one is refused with 431.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Goes before the answer to a client that waits for permission to send its body.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What one request means for us. Method and path don't matter: every request is greeted alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// HEAD: the answer has no body.
    pub(super) head_only: bool,
    /// May another request follow on this connection?
    pub(super) keep_alive: bool,
    /// Bytes of body behind the head; they are skipped.
    pub(super) body_bytes: u64,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
}

/// Why a request is not answered with a greeting. The connection closes after each of them, because
/// nobody knows where the next request would begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not HTTP/1.x, or a length that makes no sense.
    Malformed,
    /// The body is chunked; the dummy only skips bodies of a known length.
    LengthRequired,
    /// The head is longer than [`HEAD_BYTES_MAX`].
    HeadTooLarge,
}

impl Refusal {
    /// Status code and reason, as in the status line.
    pub(super) fn status(self) -> &'static str {
        match self {
            Refusal::Malformed => "400 Bad Request",
            Refusal::LengthRequired => "411 Length Required",
            Refusal::HeadTooLarge => "431 Request Header Fields Too Large",
        }
    }
}

/// Length of the request head at the start of `buffer` with its empty line, or `None` while the head
/// is not complete. A bare LF ends a line as well, so that a person can type a request into `nc`.
///
/// # Errors
///
/// [`Refusal::HeadTooLarge`] as soon as no complete head fits in [`HEAD_BYTES_MAX`].
pub(super) fn head_length(buffer: &[u8]) -> Result<Option<usize>, Refusal> {
    let window = buffer.get(..HEAD_BYTES_MAX).unwrap_or(buffer);
    for (at, &byte) in window.iter().enumerate() {
        if byte != b'\n' {
            continue;
        }
        match window.get(at + 1..).unwrap_or_default() {
            [b'\n', ..] => return Ok(Some(at + 2)),
            [b'\r', b'\n', ..] => return Ok(Some(at + 3)),
            _ => {}
        }
    }
    if buffer.len() >= HEAD_BYTES_MAX {
        return Err(Refusal::HeadTooLarge);
    }
    Ok(None)
}

/// Reads a complete head (see [`head_length`]).
///
/// # Errors
///
/// A [`Refusal`] for what is not a request that the dummy can answer and stay in step with.
pub(super) fn parse(head: &[u8]) -> Result<Request, Refusal> {
    // Old clients put Latin-1 into paths and values; nothing that matters here is beyond ASCII.
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(_target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    let keep_alive_by_default = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return Err(Refusal::Malformed),
    };
    let mut request = Request {
        head_only: method == "HEAD",
        keep_alive: keep_alive_by_default,
        body_bytes: 0,
        expects_continue: false,
    };
    let mut length: Option<u64> = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(Refusal::Malformed)?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "connection" if has_token(value, "close") => request.keep_alive = false,
            "expect" if has_token(value, "100-continue") => {
                request.expects_continue = keep_alive_by_default;
            }
            "transfer-encoding" => return Err(Refusal::LengthRequired),
            "content-length" => {
                let this = parse_length(value).ok_or(Refusal::Malformed)?;
                // Two lengths that differ are how requests are smuggled (RFC 9112, 6.3).
                if length.is_some_and(|other| other != this) {
                    return Err(Refusal::Malformed);
                }
                length = Some(this);
            }
            _ => {}
        }
    }
    request.body_bytes = length.unwrap_or(0);
    Ok(request)
}

/// A status as the first line of an answer has it; the words behind the number mean nothing
/// (RFC 9112, section 4).
pub(super) fn status_line(status: u16) -> Cow<'static, str> {
    match status {
        200 => "200 OK".into(),
        other => format!("{other} As Asked For").into(),
    }
}

/// The bytes of an answer. `Content-Length` is that of `body` even where a HEAD leaves it out.
pub(super) fn answer(status: &str, body: &str, head_only: bool, keep_alive: bool) -> Vec<u8> {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Connection: {connection}\r\n\
         \r\n",
        body.len()
    )
    .into_bytes();
    if !head_only {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

/// Is `token` one of the comma-separated words of a header's value?
fn has_token(value: &str, token: &str) -> bool {
    value
        .split(',')
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Digits only: `u64::from_str` would let `+5` pass.
fn parse_length(value: &str) -> Option<u64> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_its_empty_line() {
        let cases: [(&str, Option<usize>); 7] = [
            ("", None),
            ("GET / HTTP/1.1\r\n", None),
            ("GET / HTTP/1.1\r\n\r", None),
            ("GET / HTTP/1.1\r\n\r\n", Some(18)),
            ("GET / HTTP/1.1\n\n", Some(16)),
            ("GET / HTTP/1.1\r\nA: b\r\n\r\n", Some(24)),
            ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some(18)),
        ];
        for (text, expected) in cases {
            assert_eq!(head_length(text.as_bytes()), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn the_limit_of_a_head_is_exact() {
        let head = |bytes: usize| {
            let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
            head.resize(bytes - 4, b'x');
            head.extend_from_slice(b"\r\n\r\n");
            head
        };
        let fits = head(HEAD_BYTES_MAX);
        assert_eq!(head_length(&fits), Ok(Some(HEAD_BYTES_MAX)));
        assert_eq!(head_length(&fits[..HEAD_BYTES_MAX - 1]), Ok(None));
        let too_long = head(HEAD_BYTES_MAX + 1);
        assert_eq!(head_length(&too_long), Err(Refusal::HeadTooLarge));
    }

    #[test]
    fn what_a_request_asks_for() {
        let plain = Request {
            head_only: false,
            keep_alive: true,
            body_bytes: 0,
            expects_continue: false,
        };
        let last = Request {
            keep_alive: false,
            ..plain
        };
        let cases: [(&str, Result<Request, Refusal>); 18] = [
            ("GET / HTTP/1.1\r\n\r\n", Ok(plain)),
            ("BREW /pot?x HTTP/1.1\nHost: a\n\n", Ok(plain)),
            ("GET / HTTP/1.0\r\n\r\n", Ok(last)),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Ok(last)),
            ("GET / HTTP/1.1\r\nconnection: TE, Close\r\n\r\n", Ok(last)),
            ("GET / HTTP/1.1\r\nConnection: closed\r\n\r\n", Ok(plain)),
            (
                "HEAD / HTTP/1.1\r\n\r\n",
                Ok(Request {
                    head_only: true,
                    ..plain
                }),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length:5\r\nExpect: 100-continue\r\n\r\n",
                Ok(Request {
                    body_bytes: 5,
                    expects_continue: true,
                    ..plain
                }),
            ),
            (
                "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
                Ok(Request {
                    body_bytes: 5,
                    ..last
                }),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                Err(Refusal::Malformed),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
                Err(Refusal::Malformed),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
                Err(Refusal::Malformed),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(Refusal::LengthRequired),
            ),
            ("GET /\r\n\r\n", Err(Refusal::Malformed)),
            ("GET / HTTP/2.0\r\n\r\n", Err(Refusal::Malformed)),
            ("GET / x HTTP/1.1\r\n\r\n", Err(Refusal::Malformed)),
            (
                "GET / HTTP/1.1\r\nno colon\r\n\r\n",
                Err(Refusal::Malformed),
            ),
            ("\u{16}\u{3}\u{1}\n\n", Err(Refusal::Malformed)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(parse(b"GET /\xff HTTP/1.1\r\n\r\n"), Ok(plain));
    }

    #[test]
    fn an_answer_is_complete_and_a_head_answer_has_no_body() {
        let text = |head_only, keep_alive| {
            String::from_utf8(answer("200 OK", "hi\n", head_only, keep_alive)).unwrap()
        };
        assert_eq!(
            text(false, true),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 3\r\nConnection: keep-alive\r\n\r\nhi\n"
        );
        assert!(text(true, false).ends_with("Content-Length: 3\r\nConnection: close\r\n\r\n"));
    }
}
