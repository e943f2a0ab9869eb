//! What stands before each line of the `tcplog` form, as syslog would put it there: date, host,
//! program and process, so that tools for HAProxy's logs find every field in its place.

use std::fs;
use std::io::{self, Write};
use std::process;
use std::time::SystemTime;

use crate::events::{Event, syslog_date};

/// The part that is the same for all lines: ` HOST evener[PID]: `.
pub(super) fn program() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.split_whitespace().next().unwrap_or("localhost");
    format!(" {host} evener[{}]: ", process::id())
}

/// A session's record as HAProxy writes it; any other event as a level and a sentence.
pub(super) fn line(
    batch: &mut Vec<u8>,
    program: &str,
    time: SystemTime,
    event: &Event,
) -> io::Result<()> {
    write!(batch, "{}{program}", syslog_date(time))?;
    match event {
        Event::SessionEnded(record) => write!(batch, "{}", record.tcplog(time)),
        event => write!(batch, "{:<5} {event}", event.level().word()),
    }
}
