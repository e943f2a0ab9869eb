//! Is an HTTP answer one of those that are expected? Its head decides, whatever the body is. PURE.

use std::fmt;
use std::ops::RangeInclusive;

use super::{Verdict, beginning};

/// The longest head of an answer.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The most headers of an answer.
const HEADERS_MAX: usize = 100;

/// The status codes that are good: one or more, or ranges of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

impl Statuses {
    /// What a status may be (RFC 9110, section 15).
    pub const RANGE: RangeInclusive<u16> = 100..=599;

    /// Of these ranges.
    pub fn new(ranges: Vec<RangeInclusive<u16>>) -> Statuses {
        Statuses(ranges)
    }

    /// Is this status one of them?
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

/// As in the config: `200-299, 401`.
impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let (first, last) = (range.start(), range.end());
            let comma = if index == 0 { "" } else { ", " };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// Judges what has come so far, and whether that was all.
pub fn judge(received: &[u8], has_ended: bool, expected: &Statuses) -> Verdict {
    let mut rest = received.get(..HEAD_BYTES_MAX).unwrap_or(received);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        match answer.parse(rest) {
            Ok(httparse::Status::Complete(length)) => match answer.code {
                // More than a greeting comes: 100 Continue, 103 Early Hints (RFC 9110, 15.2).
                Some(100 | 102..=199) => rest = rest.get(length..).unwrap_or_default(),
                Some(status) if expected.contains(status) => {
                    return Verdict::Good(format!("HTTP status {status}"));
                }
                Some(status) => {
                    return Verdict::Bad(format!("HTTP status {status}, not {expected}"));
                }
                None => return Verdict::Bad(no_http(received)),
            },
            Ok(httparse::Status::Partial) => break,
            Err(httparse::Error::TooManyHeaders) => {
                return Verdict::Bad(format!(
                    "the HTTP answer has more than {HEADERS_MAX} headers"
                ));
            }
            Err(_) => return Verdict::Bad(no_http(received)),
        }
    }
    if received.len() >= HEAD_BYTES_MAX {
        let kib = HEAD_BYTES_MAX / 1024;
        return Verdict::Bad(format!(
            "the head of the HTTP answer is longer than {kib} KiB"
        ));
    }
    match (has_ended, received) {
        (false, _) => Verdict::NeedMore,
        (true, []) => Verdict::Bad("closed without an answer".to_owned()),
        (true, _) => Verdict::Bad(format!(
            "closed before the end of the HTTP head, which begins with `{}`",
            beginning(received)
        )),
    }
}

fn no_http(received: &[u8]) -> String {
    format!("no HTTP: it answers `{}`", beginning(received))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses() -> Statuses {
        Statuses::new(vec![200..=299, 401..=401])
    }

    fn whole(answer: &str) -> Verdict {
        judge(answer.as_bytes(), true, &statuses())
    }

    fn bad(reason: &str) -> Verdict {
        Verdict::Bad(reason.to_owned())
    }

    #[test]
    fn statuses_are_read_as_they_are_shown() {
        assert_eq!(statuses().to_string(), "200-299, 401");
        for (status, expected) in [(199, false), (200, true), (299, true), (300, false)] {
            assert_eq!(statuses().contains(status), expected, "{status}");
        }
        assert!(statuses().contains(401) && !statuses().contains(400));
    }

    #[test]
    fn the_status_decides() {
        for (answer, verdict) in [
            (
                "HTTP/1.1 200 OK\r\n\r\n",
                Verdict::Good("HTTP status 200".to_owned()),
            ),
            (
                "HTTP/1.0 204\r\n\r\nbody",
                Verdict::Good("HTTP status 204".to_owned()),
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\n\r\n",
                Verdict::Good("HTTP status 401".to_owned()),
            ),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 500 Oh\r\n\r\n",
                bad("HTTP status 500, not 200-299, 401"),
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\n\r\n",
                bad("HTTP status 503, not 200-299, 401"),
            ),
            (
                "HTTP/1.1 301 Moved\r\n\r\n",
                bad("HTTP status 301, not 200-299, 401"),
            ),
            (
                "HTTP/1.1 101 Upgrade\r\n\r\n",
                bad("HTTP status 101, not 200-299, 401"),
            ),
            ("", bad("closed without an answer")),
            (
                "SSH-2.0-OpenSSH_9.2\r\n",
                bad("no HTTP: it answers `SSH-2.0-OpenSSH_9.2\\r\\n`"),
            ),
            (
                "HTTP/1.1 99999 x\r\n\r\n",
                bad("no HTTP: it answers `HTTP/1.1 99999 x\\r\\n\\r\\n`"),
            ),
            (
                "HTTP/1.1 200 OK\r\nA: b",
                bad(
                    "closed before the end of the HTTP head, which begins with `HTTP/1.1 200 OK\\r\\nA: b`",
                ),
            ),
        ] {
            assert_eq!(whole(answer), verdict, "{answer:?}");
        }
    }

    #[test]
    fn a_head_has_an_end() {
        let headers = |count: usize, length: usize| {
            let header = format!("A: {}\r\n", "x".repeat(length));
            format!("HTTP/1.1 200 OK\r\n{}\r\n", header.repeat(count))
        };
        let good = Verdict::Good("HTTP status 200".to_owned());
        assert_eq!(whole(&headers(HEADERS_MAX, 10)), good);
        assert_eq!(
            whole(&headers(HEADERS_MAX + 1, 10)),
            bad("the HTTP answer has more than 100 headers")
        );
        assert_eq!(
            whole(&headers(10, 1000)),
            bad("the head of the HTTP answer is longer than 8 KiB")
        );
        // The body may be of any length.
        let long = headers(1, 10) + &"x".repeat(100_000);
        assert_eq!(whole(&long), good);
    }

    /// However the answer is cut, it is judged when its head is complete, and not before.
    #[test]
    fn every_split_is_judged_as_the_whole() {
        let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\n";
        let answer = format!("{head}body");
        for end in 0..=answer.len() {
            let verdict = judge(&answer.as_bytes()[..end], false, &statuses());
            let expected = match end < head.len() {
                true => Verdict::NeedMore,
                false => bad("HTTP status 503, not 200-299, 401"),
            };
            assert_eq!(verdict, expected, "{end}");
        }
    }
}
