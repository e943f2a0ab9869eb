//! How the beginning and the end of the process read.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::limits::Ceiling;

/// How many sessions there is room for.
pub(super) fn room(
    f: &mut fmt::Formatter<'_>,
    ceiling: &Ceiling,
    configured: Option<u32>,
) -> fmt::Result {
    write!(f, "{ceiling}")?;
    match configured {
        Some(n) if n > ceiling.sessions => write!(
            f,
            "; limits.max_connections asks for {n}, which is more: {} it is",
            ceiling.sessions
        ),
        Some(n) => write!(f, "; limits.max_connections allows {n}"),
        None => Ok(()),
    }
}

/// How long sessions may still run.
pub(super) fn draining(
    f: &mut fmt::Formatter<'_>,
    sessions: u32,
    since: SystemTime,
    timeout: Option<Duration>,
) -> fmt::Result {
    write!(f, "draining {sessions} connections, ")?;
    match timeout {
        Some(timeout) => {
            let until = humantime::format_rfc3339_seconds(since + timeout);
            write!(f, "until {until}")
        }
        None => write!(f, "until the last one ends"),
    }
}
