//! The log thread's own part: events to lines, lines to the sink.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use serde_json::Value;

use super::{Message, tcplog};
use crate::config::LogFormat;
use crate::events::{Event, Shortage};
use crate::sync::Counter;

/// Lines are collected up to this size, then written with one system call.
const BATCH_BYTES: usize = 64 * 1024;

/// Pause after a batch: whoever sends meanwhile does not have to wake this thread. A line that comes
/// after a quiet time is written at once, and under load a hundred are written together.
const GATHER: Duration = Duration::from_millis(5);

/// Pause before a sink that can take nothing now is asked again.
const SINK_PAUSE: Duration = Duration::from_millis(5);

/// What the log thread owns.
pub(super) struct Writer<W> {
    pub(super) received: Receiver<Message>,
    pub(super) dropped: Arc<Counter>,
    pub(super) format: LogFormat,
    /// What stands before each line in the `tcplog` form.
    pub(super) program: String,
    pub(super) sink: W,
    pub(super) batch: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes until it is told that this was all. Blocks in `recv` or in the sink's `write`.
    pub(super) fn run(mut self) {
        let mut next = self.received.recv();
        loop {
            match next {
                Ok(Message::Event(sent)) => self.line(sent.0, &sent.1),
                Ok(Message::Ended(time, record)) => self.line(time, &Event::SessionEnded(record)),
                Ok(Message::Format(format)) => self.format = format,
                Ok(Message::End) | Err(_) => break,
            }
            next = match self.received.try_recv() {
                Ok(message) if self.batch.len() < BATCH_BYTES => Ok(message),
                pending => {
                    self.write_batch();
                    self.report_dropped();
                    if pending.is_err() {
                        thread::sleep(GATHER);
                    }
                    pending.or_else(|_| self.received.recv())
                }
            };
        }
        self.write_batch();
        self.report_dropped();
    }

    fn report_dropped(&mut self) {
        let events = self.dropped.take();
        if events > 0 {
            self.line(SystemTime::now(), &Shortage::LogDropped { events }.into());
            self.write_batch();
        }
    }

    fn line(&mut self, time: SystemTime, event: &Event) {
        // Writing to a Vec can't fail.
        let _ = match self.format {
            LogFormat::Text => text(&mut self.batch, time, event),
            LogFormat::Json => json(&mut self.batch, time, event),
            LogFormat::Tcplog => tcplog::line(&mut self.batch, &self.program, time, event),
        };
        self.batch.push(b'\n');
    }

    /// Writes the batch, or counts the lines of it that were lost: a sink that is gone
    /// (`evener | head`) must not end the balancer.
    fn write_batch(&mut self) {
        let mut rest = self.batch.as_slice();
        while !rest.is_empty() {
            match self.sink.write(rest) {
                Ok(bytes) if bytes > 0 => rest = rest.get(bytes..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another program has made the terminal or pipe that it shares with evener non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(SINK_PAUSE),
                Ok(_) | Err(_) => break,
            }
        }
        let lost = rest.iter().filter(|byte| **byte == b'\n').count();
        self.dropped.add(lost as u64);
        self.batch.clear();
    }
}

/// A line for people. Control characters can't come in: names are checked by the config, the rest
/// is ours.
fn text(batch: &mut Vec<u8>, time: SystemTime, event: &Event) -> io::Result<()> {
    if event.is_banner() {
        return write!(batch, "{event}");
    }
    let time = humantime::format_rfc3339_millis(time);
    let level = event.level().word();
    write!(batch, "{time} {level:<5} {event}")
}

/// A line for programs: time, level, event and message, then the event's own fields.
fn json(batch: &mut Vec<u8>, time: SystemTime, event: &Event) -> io::Result<()> {
    let (name, fields) = event.fields();
    let mut line = serde_json::json!({
        "time": humantime::format_rfc3339_millis(time).to_string(),
        "level": event.level().word(),
        "event": name,
        "message": event.to_string(),
    });
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        line.extend(fields);
    }
    write!(batch, "{line}")
}
