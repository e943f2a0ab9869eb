//! Which of a listener's routes a TLS client takes, by the name that it asks for (SNI).
//!
//! A route has names: exact ones, and wildcards (`*.example.org`). An exact name goes before every
//! wildcard, and a longer wildcard before a shorter one, whatever their order in the config. A wildcard
//! stands for one label or several, as with HAProxy (`req.ssl_sni -m end`), nginx (`map` with
//! `hostnames`) and Envoy (`server_names`); only in certificates is it exactly one. A route says where a
//! name is served, not who it is: the certificate is the backend's, and the client checks it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

/// Longest name, in bytes without a dot at the end, and longest label (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Longest text of a name that somebody sent, in bytes.
const SHOWN_BYTES_MAX: usize = 255;

/// What a route is for. Lower case, and without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// One name.
    Exact(String),
    /// Every name that ends in this one with at least one label before it.
    Wildcard(String),
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    /// There is none.
    Empty,
    /// It is an IP address, which no client sends as a name (RFC 6066, section 3).
    Address,
    /// It has letters that no client sends: names are sent in ASCII.
    NotAscii,
    /// A `*` that does not stand for whole labels at the front.
    Star,
    /// A part between dots that is empty, too long, or has another character than a letter, a digit, `-` or `_`.
    Label,
    /// It is longer than any name can be.
    TooLong,
}

impl Pattern {
    /// A name, or a wildcard.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, BadName> {
        match text.strip_prefix("*.") {
            Some(rest) => name(rest.as_bytes()).map(Pattern::Wildcard),
            None => name(text.as_bytes()).map(Pattern::Exact),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(name) => f.write_str(name),
            Pattern::Wildcard(rest) => write!(f, "*.{rest}"),
        }
    }
}

/// The name that these bytes are: in lower case, without the dot that may end it.
fn name(bytes: &[u8]) -> Result<String, BadName> {
    let text = str::from_utf8(bytes).map_err(|_| BadName::NotAscii)?;
    if !text.is_ascii() {
        return Err(BadName::NotAscii);
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_right)
    };
    if text.is_empty() {
        Err(BadName::Empty)
    } else if text.parse::<IpAddr>().is_ok() {
        Err(BadName::Address)
    } else if text.contains('*') {
        Err(BadName::Star)
    } else if text.len() > NAME_BYTES_MAX {
        Err(BadName::TooLong)
    } else if !text.split('.').all(is_label) {
        Err(BadName::Label)
    } else {
        Ok(text.to_ascii_lowercase())
    }
}

/// The routes of a listener, by what they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Place of the route in the config.
    places: HashMap<Pattern, usize>,
}

impl Table {
    /// Of all names of all routes, each with the place of its route.
    pub fn new<'p>(patterns: impl IntoIterator<Item = (&'p Pattern, usize)>) -> Table {
        let patterns = patterns.into_iter();
        Table {
            places: patterns
                .map(|(pattern, place)| (pattern.clone(), place))
                .collect(),
        }
    }

    /// Are there no routes?
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The place of the route for the name that a client sent. What is no name has none.
    pub fn find(&self, sent: &[u8]) -> Option<usize> {
        let name = name(sent).ok()?;
        let behind_dots = name.match_indices('.').filter_map(|(dot, _)| {
            let rest = name.get(dot + 1..)?;
            Some(Pattern::Wildcard(rest.to_string()))
        });
        std::iter::once(Pattern::Exact(name.clone()))
            .chain(behind_dots)
            .find_map(|pattern| self.places.get(&pattern).copied())
    }
}

/// A name that a client sent, as text for people and programs: one word of at most 255 bytes, in which
/// everything but visible ASCII is escaped.
pub fn shown(sent: &[u8]) -> String {
    let mut shown = String::new();
    for byte in sent {
        let text = match byte {
            b' ' => "\\x20".to_string(),
            byte => byte.escape_ascii().to_string(),
        };
        if shown.len() + text.len() > SHOWN_BYTES_MAX {
            break;
        }
        shown.push_str(&text);
    }
    shown
}

/// What a client of a listener with routes asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A name that has a route.
    Known,
    /// A name that has none.
    Unknown,
    /// Nobody by name, in a TLS hello.
    NoName,
    /// It does not speak TLS.
    NotTls,
}

impl Asked {
    /// All of them.
    pub const ALL: [Asked; 4] = [Asked::Known, Asked::Unknown, Asked::NoName, Asked::NotTls];

    /// The word for it in metrics and answers.
    pub fn word(self) -> &'static str {
        match self {
            Asked::Known => "known",
            Asked::Unknown => "unknown",
            Asked::NoName => "none",
            Asked::NotTls => "no_tls",
        }
    }

    /// It in words, for the log.
    pub fn words(self) -> &'static str {
        match self {
            Asked::Known => "its name has a route",
            Asked::Unknown => "its name has no route",
            Asked::NoName => "its TLS hello has no name",
            Asked::NotTls => "it does not begin with a TLS hello",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> Table {
        let patterns: Vec<Pattern> = patterns
            .iter()
            .map(|text| Pattern::parse(text).unwrap())
            .collect();
        Table::new(patterns.iter().zip(0..))
    }

    #[test]
    fn exact_goes_before_wildcards_and_long_wildcards_before_short_ones() {
        let table = table(&[
            "*.org",
            "*.example.org",
            "db.example.org",
            "*.db.example.org",
            "example.org",
        ]);
        for (sent, place) in [
            ("db.example.org", Some(2)),
            ("DB.Example.ORG", Some(2)),
            ("db.example.org.", Some(2)),
            ("a.db.example.org", Some(3)),
            ("b.a.db.example.org", Some(3)),
            ("mail.example.org", Some(1)),
            ("x.mail.example.org", Some(1)),
            ("example.org", Some(4)),
            ("other.org", Some(0)),
            ("org", None),
            ("example.com", None),
            ("notexample.org", Some(0)),
            ("db.example.org..", None),
            ("", None),
            (".", None),
            (".example.org", None),
            ("*.example.org", None),
            ("d\u{431}.example.org", None),
            ("192.0.2.1", None),
            ("2001:db8::1", None),
            ("a b.example.org", None),
            ("a\0.example.org", None),
        ] {
            assert_eq!(table.find(sent.as_bytes()), place, "{sent}");
        }
        assert_eq!(table.find(b"\xff.example.org"), None);
        let deep = "a.".repeat(120) + "example.org";
        assert_eq!(table.find(deep.as_bytes()), Some(1));
        let too_deep = "a.".repeat(200) + "example.org";
        assert_eq!(table.find(too_deep.as_bytes()), None);
        assert_eq!(Table::default().find(b"db.example.org"), None);
        assert!(Table::default().is_empty() && !table.is_empty());
    }

    #[test]
    fn a_pattern_is_written_in_one_way() {
        for (text, written) in [
            ("DB.Example.org.", "db.example.org"),
            ("*.Example.ORG", "*.example.org"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
            ("_sip.example.org", "_sip.example.org"),
            ("localhost", "localhost"),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(pattern.to_string(), written);
            assert_eq!(Pattern::parse(written).unwrap(), pattern);
        }
    }

    #[test]
    fn what_no_client_can_ask_for_is_no_pattern() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(127) + "b";
        for (text, wrong) in [
            ("", BadName::Empty),
            ("*.", BadName::Empty),
            ("*", BadName::Star),
            ("*.*.org", BadName::Star),
            ("a.*.org", BadName::Star),
            ("a*.org", BadName::Star),
            ("*org", BadName::Star),
            ("192.0.2.1", BadName::Address),
            ("2001:db8::1", BadName::Address),
            ("*.192.0.2.1", BadName::Address),
            ("m\u{fc}nchen.de", BadName::NotAscii),
            ("a..org", BadName::Label),
            (".org", BadName::Label),
            ("a b.org", BadName::Label),
            ("a:443", BadName::Label),
            (&long_label, BadName::Label),
            (&long_name, BadName::TooLong),
        ] {
            assert_eq!(Pattern::parse(text), Err(wrong), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_one_short_word() {
        assert_eq!(shown(b"db.example.org"), "db.example.org");
        assert_eq!(
            shown(b"a b\n\x1b[m\xff\"\\"),
            "a\\x20b\\n\\x1b[m\\xff\\\"\\\\"
        );
        assert_eq!(shown(&[b'a'; 300]).len(), 255);
        assert_eq!(shown(&[0; 300]).len(), 252);
    }
}
