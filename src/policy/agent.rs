//! What a server says of itself, in one line: HAProxy's agent-check protocol. PURE.
//!
//! A line is a few words with spaces, tabs or commas between them, and ends at the first CR or LF, or
//! where the connection does:
//!
//! | word | what it asks for |
//! | --- | --- |
//! | `75%` | this share of the configured weight, 0 % to 100 %; never rounded to 0 |
//! | `ready`, `drain`, `maint` | the state; what the administrator says counts more, see [`super::intent`] |
//! | `down`, `fail`, `stopped`, with `#why` behind it | out at once, whatever the probes find, until it says `up` |
//! | `up` | takes that back; the probes decide again |
//!
//! What a line does not name stays as it was: only the agent takes back what it has asked for. A line
//! with a word that is none of these is not acted upon at all, since nobody knows what it meant.

use std::sync::Arc;

use super::answer::Verdict;
use super::health::AdminState;

/// The longest line.
pub const LINE_BYTES_MAX: usize = 1024;

/// What one line asks for; `None` is what it does not speak of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The share of the configured weight, 0 to 100.
    pub percent: Option<u8>,
    /// The state.
    pub state: Option<AdminState>,
    /// Is it well? If not, why, in its own words.
    pub health: Option<Result<(), Arc<str>>>,
}

/// The line at the front of what has come so far, and whether that was all; in [`Verdict::Good`].
pub fn line(received: &[u8], has_ended: bool) -> Verdict {
    let looked_at = received.get(..LINE_BYTES_MAX).unwrap_or(received);
    let end = looked_at.iter().position(|byte| b"\r\n".contains(byte));
    let line = match end.and_then(|end| looked_at.get(..end)) {
        Some(line) => line,
        None if received.len() >= LINE_BYTES_MAX => {
            return Verdict::Bad(format!("its line has no end in {LINE_BYTES_MAX} bytes"));
        }
        None if has_ended => received,
        None => return Verdict::NeedMore,
    };
    match std::str::from_utf8(line) {
        Ok(line) if line.chars().any(is_hidden) => {
            Verdict::Bad(format!("its line is `{}`", line.escape_debug()))
        }
        Ok(line) => Verdict::Good(line.trim().to_owned()),
        Err(_) => Verdict::Bad("its line is not UTF-8".to_owned()),
    }
}

/// Would it do something else to a terminal than show itself?
fn is_hidden(char: char) -> bool {
    !matches!(char, '\t' | '"' | '\'' | '\\') && char.escape_debug().len() > 1
}

/// Reads a line.
///
/// # Errors
///
/// The first word that is none, or that nothing was said.
pub fn parse(line: &str) -> Result<Line, String> {
    let (words, why) = line.split_once('#').unwrap_or((line, ""));
    let mut parsed = Line::default();
    for word in words
        .split([' ', '\t', ','])
        .filter(|word| !word.is_empty())
    {
        match word.to_ascii_lowercase().as_str() {
            "ready" => parsed.state = Some(AdminState::Ready),
            "drain" => parsed.state = Some(AdminState::Drain),
            "maint" => parsed.state = Some(AdminState::Maintenance),
            "up" => parsed.health = Some(Ok(())),
            bad @ ("down" | "fail" | "stopped") => {
                let why = match why.trim() {
                    "" => bad.into(),
                    why => format!("{bad}, {why}").into(),
                };
                parsed.health = Some(Err(why));
            }
            other => {
                let percent = other.strip_suffix('%').and_then(percent);
                parsed.percent = Some(percent.ok_or_else(|| format!("it says `{word}`"))?);
            }
        }
    }
    match parsed == Line::default() {
        true => Err("it says nothing".to_owned()),
        false => Ok(parsed),
    }
}

fn percent(digits: &str) -> Option<u8> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_plain.then(|| digits.parse().ok())??;
    (number <= 100).then_some(number)
}

/// A share of a weight: 0 % is nothing, and nothing else is.
pub fn scaled(weight: u32, percent: u8) -> u32 {
    let exact = u64::from(weight) * u64::from(percent);
    match (weight, percent) {
        (0, _) | (_, 0) => 0,
        _ => u32::try_from((exact + 50) / 100).unwrap_or(weight).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(percent: Option<u8>, state: Option<AdminState>, health: Option<&str>) -> Line {
        let health = health.map(|why| {
            if why.is_empty() {
                Ok(())
            } else {
                Err(why.into())
            }
        });
        Line {
            percent,
            state,
            health,
        }
    }

    #[test]
    fn every_word_and_some_together() {
        use AdminState::{Drain, Maintenance, Ready};
        for (line, expected) in [
            ("75%", said(Some(75), None, None)),
            ("0%", said(Some(0), None, None)),
            ("100%", said(Some(100), None, None)),
            ("ready", said(None, Some(Ready), None)),
            ("drain", said(None, Some(Drain), None)),
            ("maint", said(None, Some(Maintenance), None)),
            ("up", said(None, None, Some(""))),
            ("down", said(None, None, Some("down"))),
            ("fail", said(None, None, Some("fail"))),
            ("stopped", said(None, None, Some("stopped"))),
            ("down #no disk", said(None, None, Some("down, no disk"))),
            ("down#no, disk", said(None, None, Some("down, no, disk"))),
            ("up 50%", said(Some(50), None, Some(""))),
            ("UP,Ready,\t25%", said(Some(25), Some(Ready), Some(""))),
            (
                "drain, fail 10% #both",
                said(Some(10), Some(Drain), Some("fail, both")),
            ),
            // The last word of a kind counts.
            ("down up", said(None, None, Some(""))),
            ("drain ready", said(None, Some(Ready), None)),
        ] {
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn a_line_with_a_strange_word_is_not_acted_upon() {
        for (line, why) in [
            ("", "it says nothing"),
            (" , ", "it says nothing"),
            ("#down", "it says nothing"),
            ("75", "it says `75`"),
            ("%", "it says `%`"),
            ("101%", "it says `101%`"),
            ("+5%", "it says `+5%`"),
            ("1000%", "it says `1000%`"),
            ("99999999999999999999%", "it says `99999999999999999999%`"),
            ("drain maxconn:30", "it says `maxconn:30`"),
            ("HTTP/1.1 200 OK", "it says `HTTP/1.1`"),
        ] {
            assert_eq!(parse(line), Err(why.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_line_ends_at_the_first_cr_or_lf_or_with_the_connection() {
        let good = |line: &str| Verdict::Good(line.to_owned());
        assert_eq!(line(b"up", false), Verdict::NeedMore);
        assert_eq!(line(b"up", true), good("up"));
        assert_eq!(line(b"up 75%\r\ndown\n", false), good("up 75%"));
        assert_eq!(line(b"\nup\n", false), good(""));
        assert_eq!(line(b"", true), good(""));
        assert!(matches!(line(b"up\x1b[2J\n", false), Verdict::Bad(_)));
        assert!(matches!(
            line("up #\u{202e}".as_bytes(), true),
            Verdict::Bad(_)
        ));
        assert_eq!(
            line("\tfail #\"ä\\'\n".as_bytes(), true),
            good("fail #\"ä\\'")
        );
        assert!(matches!(line(b"\xff\n", false), Verdict::Bad(_)));
        let long = [b' '; LINE_BYTES_MAX + 1];
        assert_eq!(line(&long[..LINE_BYTES_MAX - 1], false), Verdict::NeedMore);
        assert!(matches!(line(&long, false), Verdict::Bad(_)));
    }

    #[test]
    fn a_share_is_never_rounded_to_nothing() {
        for (weight, percent, expected) in [
            (1, 100, 1),
            (1, 1, 1),
            (1, 0, 0),
            (0, 50, 0),
            (3, 50, 2),
            (256, 75, 192),
            (10, 34, 3),
            (u32::MAX, 100, u32::MAX),
        ] {
            assert_eq!(scaled(weight, percent), expected, "{percent} % of {weight}");
        }
        for (weight, percent) in (1..=256).flat_map(|weight| (1..=100).map(move |p| (weight, p))) {
            assert!((1..=weight).contains(&scaled(weight, percent)));
        }
    }
}
