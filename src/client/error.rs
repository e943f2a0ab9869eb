//! Why a question has no answer.

use std::fmt;

use crate::config::visible;

/// Why a question has no answer. `Display` is the whole message; what came from outside can't play
/// with the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientError {
    what: String,
    help: String,
}

impl ClientError {
    /// What went wrong and where, and what to try; the latter may be empty.
    pub(super) fn new(what: impl Into<String>, help: impl Into<String>) -> ClientError {
        ClientError {
            what: what.into(),
            help: help.into(),
        }
    }
}

impl std::error::Error for ClientError {}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.what.lines();
        write!(f, "error: {}", visible(lines.next().unwrap_or_default()))?;
        for line in lines {
            write!(f, "\n  {}", visible(line))?;
        }
        if self.help.is_empty() {
            return Ok(());
        }
        write!(f, "\n  = help: {}", visible(&self.help))
    }
}
