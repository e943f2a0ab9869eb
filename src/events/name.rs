//! How it is told what a host name stands for.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::LogLevel;
use crate::policy::names::{ADDRESSES_MAX, Change, Known};

/// Something is otherwise with the addresses of a host name.
#[derive(Debug, Clone)]
pub struct NameChange {
    /// The name.
    pub host: Arc<str>,
    /// What is known of it now.
    pub known: Known,
    /// What is otherwise.
    pub change: Change,
}

impl NameChange {
    pub(super) fn level(&self) -> LogLevel {
        match self.known.error.is_some() || self.known.left_out > 0 {
            true => LogLevel::Warn,
            false => LogLevel::Info,
        }
    }

    pub(super) fn fields(&self) -> Value {
        let texts = |addresses: &[SocketAddr]| -> Vec<String> {
            addresses.iter().map(|one| one.ip().to_string()).collect()
        };
        json!({"name": &*self.host, "addresses": texts(&self.known.addresses),
               "added": texts(&self.change.added), "removed": texts(&self.change.removed),
               "left_out": self.known.left_out, "error": self.known.error})
    }
}

impl fmt::Display for NameChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.known.addresses.len();
        let host = &self.host;
        match (&self.known.error, count) {
            (Some(error), 0) => {
                return write!(
                    f,
                    "name {host} does not resolve: {error}; it has no address until it does"
                );
            }
            (Some(error), _) => {
                return write!(
                    f,
                    "name {host} does not resolve: {error}; its last addresses are kept: {}",
                    list(&self.known.addresses)
                );
            }
            (None, _) => write!(f, "name {host} resolves to {}", list(&self.known.addresses))?,
        }
        if !self.change.removed.is_empty() {
            write!(f, "; gone: {}", list(&self.change.removed))?;
        }
        if self.known.left_out > 0 {
            write!(
                f,
                "; {} more are left out, a name has {ADDRESSES_MAX} at most",
                self.known.left_out
            )?;
        }
        Ok(())
    }
}

/// Some of the addresses, and how many more there are.
fn list(addresses: &[SocketAddr]) -> String {
    const SHOWN_MAX: usize = 8;
    let shown = addresses.iter().take(SHOWN_MAX);
    let mut text = shown
        .map(|address| address.ip().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(more @ 1..) = addresses.len().checked_sub(SHOWN_MAX) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(last: &[u8], error: Option<&str>, removed: &[u8], left_out: usize) -> String {
        let addresses = |last: &[u8]| -> Vec<SocketAddr> {
            last.iter().map(|n| ([10, 0, 0, *n], 0).into()).collect()
        };
        let change = NameChange {
            host: "db".into(),
            known: Known {
                addresses: addresses(last),
                left_out,
                error: error.map(str::to_owned),
                ..Known::default()
            },
            change: Change {
                added: Vec::new(),
                removed: addresses(removed),
            },
        };
        change.to_string()
    }

    #[test]
    fn it_reads_well() {
        let table = [
            (
                told(&[1, 2], None, &[], 0),
                "name db resolves to 10.0.0.1, 10.0.0.2",
            ),
            (
                told(&[1], None, &[2], 0),
                "name db resolves to 10.0.0.1; gone: 10.0.0.2",
            ),
            (
                told(&[1], Some("timed out"), &[], 0),
                "name db does not resolve: timed out; its last addresses are kept: 10.0.0.1",
            ),
            (
                told(&[], Some("timed out"), &[], 0),
                "name db does not resolve: timed out; it has no address until it does",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(text, expected);
        }
        let many: Vec<u8> = (1..=10).collect();
        let text = told(&many, None, &[], 3);
        assert!(
            text.ends_with("10.0.0.8 and 2 more; 3 more are left out, a name has 256 at most"),
            "{text}"
        );
    }
}
