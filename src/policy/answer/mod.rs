//! What the answer to a probe means: good, bad, or not all of it there yet. PURE: whoever reads the
//! socket hands in what has come so far, as often as more comes.
//!
//! An answer is judged from its first bytes, of a bounded number: a probe neither stores nor waits for
//! a body. What came is shown in reasons with every byte escaped that is not printable ASCII.

// Each byte is somebody else's: no sum of them may overflow.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod bytes;
pub mod http;

use std::time::Duration;

/// What is known by the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Neither; read on.
    NeedMore,
    /// What was expected. Says what came.
    Good(String),
    /// Something else. Says what.
    Bad(String),
}

/// The reason of an answer that was not complete in time.
pub fn late(received: &[u8], timeout: Duration) -> String {
    let timeout = humantime::format_duration(timeout);
    match received {
        [] => format!("no answer within {timeout}"),
        _ => format!(
            "no complete answer within {timeout}; it begins with `{}`",
            beginning(received)
        ),
    }
}

/// The first bytes of an answer, for a message.
fn beginning(received: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 40;
    let shown = received.get(..SHOWN_BYTES_MAX).unwrap_or(received);
    let more = if shown.len() < received.len() {
        "…"
    } else {
        ""
    };
    format!("{}{more}", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_shown_without_harm() {
        assert_eq!(late(b"", Duration::from_secs(1)), "no answer within 1s");
        assert_eq!(
            late(b"\x1b[2J\r\n\xff", Duration::from_millis(500)),
            "no complete answer within 500ms; it begins with `\\x1b[2J\\r\\n\\xff`"
        );
        assert!(late(&[b'x'; 41], Duration::from_secs(1)).ends_with(&("x".repeat(40) + "…`")));
    }
}
