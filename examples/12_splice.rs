//! Step 12: splice, zero copies.
//!
//! What it teaches: `read` copies every byte from the kernel to the program, `write` copies it back, and a
//! balancer looks at none of them. `splice` moves references to the kernel's pages instead: from a
//! socket into a pipe, from the pipe into the other socket. The pipe is the buffer; the program never
//! touches a byte.
//!
//! What goes wrong without it: nothing but processor time, for bulk. For a short message two calls
//! and a pipe cost more than one small copy, so it has to be known when to change over. What goes wrong
//! with it: `splice` out of the pipe may move *less* than went in, when the receiver has no room for
//! more. Whoever does not go on until the pipe is empty leaves the rest in it, and at the end loses it.
//!
//! In earnest: `src/net/splice.rs` (pipes, their number, urgent bytes), `src/policy/bulk.rs` (when).
//!
//! ```text
//! cargo run --release --example 12_splice
//! ```
//! You will see how much processor time 1 GiB takes, copied and spliced.

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use rustix::time::{ClockId, clock_gettime};

/// Asked for in one call, copied (`io::copy` by itself takes 8 KiB) or spliced; a pipe holds 64 KiB unless it is made larger.
const AT_ONCE: usize = 64 * 1024;

/// A pipe between two sockets.
struct Pipe {
    reading: OwnedFd,
    writing: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Pipe> {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Pipe { reading, writing })
    }

    /// What has come on `from`, into the pipe, which is empty: so many bytes, 0 at the end.
    fn fill(&self, from: impl AsFd) -> io::Result<usize> {
        Ok(splice(
            from,
            None,
            &self.writing,
            None,
            AT_ONCE,
            SpliceFlags::MOVE,
        )?)
    }

    /// Out of the pipe, `bytes` or fewer.
    fn empty(&self, to: impl AsFd, bytes: usize) -> io::Result<usize> {
        Ok(splice(
            &self.reading,
            None,
            to,
            None,
            bytes,
            SpliceFlags::MOVE,
        )?)
    }
}

/// Right: the pipe is emptied before it is filled again.
fn relay(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let pipe = Pipe::new()?;
    loop {
        let mut held = pipe.fill(&from)?;
        if held == 0 {
            return Ok(());
        }
        while held > 0 {
            held -= pipe.empty(&to, held)?;
        }
    }
}

/// Two ends of one connection.
fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

type Relay = fn(&TcpStream, &TcpStream) -> io::Result<()>;

/// Relays so many MiB; returns the bytes that arrived, and the processor time of the relaying thread.
fn measure(mib: u64, relay: Relay) -> io::Result<(u64, Duration)> {
    let ((mut client, from), (to, mut server)) = (connected()?, connected()?);
    thread::scope(|scope| {
        scope.spawn(move || (0..mib).try_for_each(|_| client.write_all(&[7; 1 << 20])));
        let received = scope.spawn(move || io::copy(&mut server, &mut io::sink()));
        let time = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
        let begin = time();
        relay(&from, &to)?;
        let spent = time() - begin;
        to.shutdown(Shutdown::Write)?;
        let received = received.join().map_err(|_| io::Error::other("a panic"))??;
        Ok((received, spent))
    })
}

fn main() -> io::Result<()> {
    let copy: Relay =
        |from, mut to| io::copy(&mut BufReader::with_capacity(AT_ONCE, from), &mut to).map(drop);
    println!("copied:  {:?}", measure(1024, copy)?);
    println!("spliced: {:?}", measure(1024, |from, to| relay(from, to))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const SENT: usize = 100_000;

    /// Wrong: one out for one in, as if the receiver always had room for all of it.
    fn relay_one_for_one(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
        let pipe = Pipe::new()?;
        loop {
            match pipe.fill(&from)? {
                0 => return Ok(()),
                held => pipe.empty(&to, held)?,
            };
        }
    }

    /// Relays into a receiver with little room (a pipe of one page), which reads to the end. Returns
    /// how many bytes it got.
    fn into_little_room(relay: impl FnOnce(&TcpStream, &OwnedFd) -> io::Result<()>) -> usize {
        let (mut client, from) = connected().unwrap();
        client.write_all(&[7; SENT]).unwrap();
        drop(client);
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::pipe::fcntl_setpipe_size(&writing, 4096).unwrap();
        let receiver = thread::spawn(move || {
            let mut received = Vec::new();
            std::fs::File::from(reading)
                .read_to_end(&mut received)
                .unwrap();
            received.len()
        });
        relay(&from, &writing).unwrap();
        drop(writing);
        receiver.join().unwrap()
    }

    /// Wrong: what is left in the pipe at the end is lost.
    #[test]
    fn one_for_one_loses_the_rest() {
        let received = into_little_room(|from, to| relay_one_for_one(from, to));
        assert!(received < SENT, "{received}");
    }

    /// Right: all of it, through the same little room.
    #[test]
    fn emptying_the_pipe_loses_nothing() {
        assert_eq!(into_little_room(|from, to| relay(from, to)), SENT);
    }

    /// Copied or spliced, the same bytes arrive.
    #[test]
    fn both_ways_deliver_all() {
        let copy: Relay = |mut from, mut to| io::copy(&mut from, &mut to).map(drop);
        assert_eq!(measure(8, copy).unwrap().0, 8 << 20);
        assert_eq!(measure(8, |from, to| relay(from, to)).unwrap().0, 8 << 20);
    }
}
