//! Step 6: the log thread and its channel.
//!
//! What it teaches: one thread owns the output; all others send it what they have to say. A channel
//! is a queue with an end: when the last sender is dropped, the receiver has got everything and its
//! loop ends. That is the whole shutdown of the log, with no flag.
//!
//! What goes wrong without it: sessions write by themselves, and one terminal in which somebody has
//! pressed Ctrl-S stops the traffic. With a bounded channel and `send` it is the same, a thousand
//! lines later. With an unbounded one, memory fills. So: bounded, `try_send`, and what does not fit is
//! counted and reported. A log may lose lines; it must say so, and it must never stop the traffic.
//! And whoever does not join the log thread loses the last lines, which are the ones of interest.
//!
//! In earnest: `src/log/mod.rs` (the channel, what was lost; its thread is told to end, since some senders
//! live in threads that nobody joins), `src/log/writer.rs` (the thread).
//!
//! ```text
//! cargo run --example 06_log_thread
//! ```
//! You will see the lines of three sessions, mixed but each whole, and then the end of the log thread.

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

/// A handle for whoever has something to say; a clone of it for each thread.
#[derive(Clone)]
struct Log {
    lines: Sender<String>,
    /// Lines that found the channel full. Written by every thread that loses one; taken by the log thread.
    lost: Arc<AtomicU64>,
}

impl Log {
    /// Starts the thread that owns `out`. It ends when the last [`Log`] is dropped; join it then.
    fn start(room: usize, out: impl Write + Send + 'static) -> io::Result<(Log, JoinHandle<()>)> {
        let (lines, received) = bounded(room);
        let lost = Arc::new(AtomicU64::new(0));
        let log = Log {
            lines,
            lost: Arc::clone(&lost),
        };
        let writing = move || {
            // A log that can't be written is no reason to stop serving; the thread ends, lines get lost.
            let _ = write_all(&received, &lost, out);
        };
        Ok((
            log,
            thread::Builder::new().name("log".into()).spawn(writing)?,
        ))
    }

    /// Right: says it if there is room, and counts it as lost otherwise. Never blocks.
    fn tell(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

/// The life of the log thread.
fn write_all(lines: &Receiver<String>, lost: &AtomicU64, mut out: impl Write) -> io::Result<()> {
    // Ends when the channel is empty *and* nobody can send any more.
    for line in lines {
        tell_losses(lost, &mut out)?;
        writeln!(out, "{line}")?;
        // A flush for each line costs a system call; one when nothing waits is enough.
        if lines.is_empty() {
            out.flush()?;
        }
    }
    // Counted by somebody who has dropped its sender since: the end of the channel comes after that.
    tell_losses(lost, &mut out)?;
    out.flush()
}

/// Taken with `swap`, told, and counting goes on: a load and a store would lose what is added in between.
fn tell_losses(lost: &AtomicU64, out: &mut impl Write) -> io::Result<()> {
    match lost.swap(0, Relaxed) {
        0 => Ok(()),
        lost => writeln!(out, "{lost} lines were lost: the log was too slow"),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (log, writing) = Log::start(64, io::stdout())?;
    thread::scope(|scope| {
        for session in 1..=3 {
            let log = log.clone();
            scope.spawn(move || {
                for step in ["begins", "relays", "ends"] {
                    log.tell(format!("session {session} {step}"));
                }
            });
        }
    });
    log.tell("all sessions are over; the last sender goes now".into());
    drop(log);
    // Without this line the process may end before the last lines are out. Try it.
    writing.join().map_err(|_| "the log thread panicked")?;
    println!("the log thread has written everything and has ended");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{RecvTimeoutError, unbounded};
    use std::time::Duration;

    /// A terminal in which somebody has pressed Ctrl-S: a write takes a permission, and none comes
    /// until the test gives some. What was written goes to the test.
    struct Stuck {
        touched: Sender<()>,
        permissions: Receiver<()>,
        written: Sender<u8>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.touched.send(());
            let _ = self.permissions.recv();
            bytes
                .iter()
                .try_for_each(|&b| self.written.send(b))
                .unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A log with room for two lines, whose thread is stuck in the write of a first one.
    fn stuck() -> (Log, JoinHandle<()>, Sender<()>, Receiver<u8>) {
        let (touched, is_touched) = unbounded();
        let (permit, permissions) = unbounded();
        let (written, output) = unbounded();
        let out = Stuck {
            touched,
            permissions,
            written,
        };
        let (log, writing) = Log::start(2, out).unwrap();
        log.tell("first".into());
        is_touched.recv().unwrap();
        (log, writing, permit, output)
    }

    /// Wrong: with `send` instead of `try_send`, the line that does not fit stops the session for as long as the terminal is stuck.
    #[test]
    fn sending_stops_the_traffic_with_the_terminal() {
        let (log, _writing, permit, _output) = stuck();
        let (served, is_served) = bounded(1);
        let session = thread::spawn(move || {
            (0..3).for_each(|n| log.lines.send(n.to_string()).unwrap());
            served.send(()).unwrap();
        });
        let waited = is_served.recv_timeout(Duration::from_millis(50));
        assert_eq!(waited, Err(RecvTimeoutError::Timeout));
        drop(permit);
        is_served.recv().unwrap();
        session.join().unwrap();
    }

    /// Right: the session goes on, and the log says how many lines it lost: as soon as it can, which
    /// is before those that waited in the channel.
    #[test]
    fn telling_never_waits_and_losses_are_told() {
        let (log, writing, permit, output) = stuck();
        (0..5).for_each(|n| log.tell(n.to_string()));
        drop((log, permit));
        writing.join().unwrap();
        let written = String::from_utf8(output.iter().collect()).unwrap();
        assert_eq!(
            written,
            "first\n3 lines were lost: the log was too slow\n0\n1\n"
        );
    }
}
