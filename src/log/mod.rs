//! The log: one thread that writes, a bounded channel to it, and a counter for what did not fit.
//!
//! Nobody else writes to standard output once the program runs. Sending never blocks: when the
//! channel is full, because whoever reads the log has stopped, the event is dropped and counted,
//! and the count is the first thing written when the reader comes back. Traffic comes first.

mod filter;
mod tcplog;
mod writer;

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::config::{self, LogFormat, LogLevel};
use crate::events::{Event, Life, SessionRecord};
use crate::sync::Counter;
use crate::threads;
pub use filter::Filter;
use writer::Writer;

/// Events that may wait to be written; at about 200 bytes each, some 3 MB when the reader stops.
const CHANNEL_CAPACITY: usize = 16_384;

/// Of these, how many are kept for what is not about a single session. Session lines come by the
/// thousand and must not crowd out the one that says that a backend is down.
const CHANNEL_RESERVED: usize = 256;

/// How long the end of the program waits for a reader that has stopped, once to tell the thread and
/// once for it to end. On a machine with a hundred threads for each processor, the log's own turn may be
/// a second away.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The sending end; clones share one log.
#[derive(Debug, Clone)]
pub struct Log {
    messages: Sender<Message>,
    /// Written by every sender that finds the channel full; read and zeroed by the log thread.
    dropped: Arc<Counter>,
    filter: Arc<Filter>,
}

#[derive(Debug)]
enum Message {
    /// When it was sent, and what. Boxed: the channel has its thousands of slots from the start, and touches
    /// each of them, which were 2 MB of a program that does nothing yet.
    Event(Box<(SystemTime, Event)>),
    /// When a session ended, and its record, which is in a box already: these come by the thousand.
    Ended(SystemTime, Box<SessionRecord>),
    /// What follows is written in this form.
    Format(LogFormat),
    /// Nothing after this is written. Sent once, by [`LogThread::finish`]: waiting for every sender
    /// to be dropped instead would wait for threads that nobody joins, such as one that reads the
    /// terminal.
    End,
}

/// The log thread, owned by whoever started it.
#[derive(Debug)]
pub struct LogThread {
    handle: JoinHandle<()>,
    messages: Sender<Message>,
    /// Disconnected when the thread has written everything.
    finished: Receiver<()>,
}

impl Log {
    /// Starts the log thread, writing to `sink`, which should not buffer: lines are collected here.
    ///
    /// # Errors
    ///
    /// When the OS refuses the thread.
    pub fn start(
        config: &config::Log,
        sink: impl Write + Send + 'static,
    ) -> io::Result<(Log, LogThread)> {
        let (messages, received) = crossbeam_channel::bounded(CHANNEL_CAPACITY);
        let (running, finished) = crossbeam_channel::bounded(0);
        let dropped = Arc::new(Counter::default());
        let writer = Writer {
            received,
            dropped: Arc::clone(&dropped),
            format: config.format,
            program: tcplog::program(),
            sink,
            batch: Vec::new(),
        };
        let handle = threads::spawn("log", move || {
            let _running: Sender<()> = running;
            writer.run();
        })?;
        let log = Log {
            messages: messages.clone(),
            dropped,
            filter: Arc::new(Filter::new(config)),
        };
        let thread = LogThread {
            handle,
            messages,
            finished,
        };
        Ok((log, thread))
    }

    /// Goes on as this config says.
    pub fn configure(&self, config: &config::Log) {
        self.filter.set(config);
        // While whoever reads the log is too slow, the form stays as it is.
        let _ = self.messages.try_send(Message::Format(config.format));
    }

    /// What is written.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Sends an event to the log. Never blocks.
    pub fn send(&self, event: impl Into<Event>) {
        self.take(event.into());
    }

    fn take(&self, event: Event) {
        let is_report = matches!(event, Event::SessionEnded(_) | Event::SessionStarted(_));
        if !self.filter.has(event.level()) || (is_report && !self.filter.has_sessions()) {
            return;
        }
        let is_one_of_many = is_report
            || matches!(
                event,
                Event::ConnectFailed(_) | Event::SessionProgress(_) | Event::ClientRefused(_)
            );
        let is_crowded =
            is_one_of_many && self.messages.len() >= CHANNEL_CAPACITY - CHANNEL_RESERVED;
        if is_crowded || !self.offer(event) {
            self.dropped.add(1);
        }
    }

    /// Sends an event of [`LogLevel::Debug`], which is only made if it is wanted: each session has
    /// some, and names are counted references that all threads share.
    pub fn debug(&self, event: impl FnOnce() -> Event) {
        if self.filter.has(LogLevel::Debug) {
            self.send(event());
        }
    }

    /// Says whether the channel took it.
    fn offer(&self, event: Event) -> bool {
        let now = SystemTime::now();
        let message = match event {
            Event::SessionEnded(record) => Message::Ended(now, record),
            other => Message::Event(Box::new((now, other))),
        };
        self.messages.try_send(message).is_ok()
    }

    /// Makes every panic of the process a [`Life::Panicked`] instead of text on standard error.
    pub fn report_panics(&self) {
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = threads::name();
            let message = panic.payload_as_str().unwrap_or("no message");
            let place = panic
                .location()
                .map(|place| format!(", at {place}"))
                .unwrap_or_default();
            let event = Event::from(Life::Panicked {
                thread,
                what: format!("{message}{place}"),
            });
            let text = event.to_string();
            if !log.offer(event) {
                // The log itself may be what has panicked. `eprintln!` would panic where nobody takes
                // it any more, and a panic in here is the end of the process.
                let _ = writeln!(io::stderr(), "{text}");
            }
        }));
    }
}

impl LogThread {
    /// Waits until everything sent so far has been written. A reader that does not read is given up
    /// after a few seconds: the program ends all the same.
    pub fn finish(self) {
        let told = self
            .messages
            .send_timeout(Message::End, FLUSH_TIMEOUT)
            .is_ok();
        if told && self.finished.recv_timeout(FLUSH_TIMEOUT) == Err(RecvTimeoutError::Disconnected)
        {
            // It ended, so this does not block; a panic in it was reported when it happened.
            let _ = self.handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Shortage, Start};
    use crate::sync::{Condvar, Mutex};
    use serde_json::Value;
    use std::io::ErrorKind;

    fn config(format: LogFormat) -> config::Log {
        config::Log {
            format,
            level: LogLevel::Info,
            connections: true,
            progress_interval: None,
        }
    }

    /// A sink that keeps what is written and can be blocked, like a pipe that nobody reads.
    #[derive(Clone, Default)]
    struct Sink(Arc<Pipe>);

    #[derive(Default)]
    struct Pipe {
        state: Mutex<(Vec<u8>, bool)>,
        changed: Condvar,
    }

    impl Sink {
        fn block(&self, blocked: bool) {
            self.0.state.lock().1 = blocked;
            self.0.changed.notify_all();
        }
        fn text(&self) -> String {
            String::from_utf8(self.0.state.lock().0.clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.state.lock();
            while state.1 {
                self.0.changed.wait(&mut state);
            }
            state.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_two_banner_lines_stand_alone_and_others_carry_a_time() {
        let sink = Sink::default();
        let (log, thread) = Log::start(&config(LogFormat::Text), sink.clone()).unwrap();
        log.send(Start::HealthCheck);
        log.send(Start::Listening {
            address: ":8080".into(),
        });
        log.send(Life::Stopped);
        drop(log);
        thread.finish();
        let text = sink.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..2],
            ["Starting health check...", "Load Balancer started on :8080"]
        );
        assert!(
            lines[2].ends_with("Z info  stopped") && lines[2].starts_with("20"),
            "{text}"
        );
    }

    #[test]
    fn json_lines_parse_and_carry_the_fields() {
        let sink = Sink::default();
        let (log, thread) = Log::start(&config(LogFormat::Json), sink.clone()).unwrap();
        log.send(Shortage::Full {
            listener: "a \"quoted\" name".into(),
            limit: 3,
        });
        drop(log);
        thread.finish();
        let line: Value = serde_json::from_str(sink.text().trim()).unwrap();
        assert_eq!(
            (&line["event"], &line["limit"], &line["level"]),
            (&"full".into(), &3.into(), &"warn".into())
        );
        assert_eq!(line["listener"], "a \"quoted\" name");
    }

    #[test]
    fn a_blocked_sink_blocks_no_sender_and_the_loss_is_reported() {
        let sink = Sink::default();
        sink.block(true);
        let (log, thread) = Log::start(&config(LogFormat::Text), sink.clone()).unwrap();
        let sent = 3 * CHANNEL_CAPACITY;
        for _ in 0..sent {
            log.send(Life::Stopped);
        }
        sink.block(false);
        drop(log);
        thread.finish();
        let text = sink.text();
        let written = text
            .lines()
            .filter(|line| line.ends_with("stopped"))
            .count();
        let dropped: usize = text
            .lines()
            .filter_map(|line| {
                line.split_once("warn  ")?
                    .1
                    .split_once(" log lines were dropped")
            })
            .map(|(count, _)| count.parse::<usize>().unwrap())
            .sum();
        assert!(
            dropped > 0 && written + dropped == sent,
            "{written} written, {dropped} reported"
        );
    }

    #[test]
    fn a_sink_that_never_unblocks_does_not_hold_up_the_end() {
        let sink = Sink::default();
        sink.block(true);
        let (log, thread) = Log::start(&config(LogFormat::Text), sink).unwrap();
        log.send(Life::Stopped);
        drop(log);
        thread.finish();
    }

    /// A sink that takes a few bytes at a time, now and then none, and fails for good after a while.
    struct Poor {
        calls: usize,
        taken: Sink,
    }

    impl Write for Poor {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            match self.calls {
                1..=9 if self.calls.is_multiple_of(3) => Err(ErrorKind::WouldBlock.into()),
                1..=9 => self.taken.write(&bytes[..bytes.len().min(7)]),
                _ => Err(ErrorKind::BrokenPipe.into()),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_poor_sink_gets_every_byte_that_it_takes_and_the_rest_is_counted() {
        let taken = Sink::default();
        let sink = Poor {
            calls: 0,
            taken: taken.clone(),
        };
        let (log, thread) = Log::start(&config(LogFormat::Text), sink).unwrap();
        let dropped = Arc::clone(&log.dropped);
        log.send(Start::Listening {
            address: ":8080".into(),
        });
        log.send(Life::Stopped);
        thread.finish();
        assert!(
            taken
                .text()
                .starts_with("Load Balancer started on :8080\n20"),
            "{}",
            taken.text()
        );
        assert_eq!(taken.text().len(), 6 * 7, "six calls took seven bytes each");
        assert!(dropped.get() > 0);
    }

    #[test]
    fn levels_and_session_lines_can_be_turned_off() {
        let sink = Sink::default();
        let quiet = config::Log {
            format: LogFormat::Text,
            level: LogLevel::Warn,
            connections: true,
            progress_interval: None,
        };
        let (log, thread) = Log::start(&quiet, sink.clone()).unwrap();
        log.send(Life::Stopped);
        drop(log);
        thread.finish();
        assert_eq!(sink.text(), "");
    }
}
