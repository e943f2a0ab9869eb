//! The relay: one direction of a session. A session runs it twice, on two threads, once each way.
//!
//! At its heart it is `io::copy` through a buffer: read what has come, write it on, until there is
//! no more. What is around it makes the end of the stream mean the same on both sides:
//!
//! - A **FIN** from the source is passed on as a FIN to the sink, after every byte before it. The
//!   other direction lives on: `tar | nc` half-closes and then waits for an answer.
//! - A **reset** of the source is reported to the caller, after every byte that came before it has
//!   been written on. The caller passes it on as a reset, so that the sink does not take a broken
//!   stream for a finished one.
//! - A sink that fails is reported too. What it had sent before it failed is the business of the
//!   other direction, which will find the end of it.
//!
//! # The reset that looks like a FIN
//!
//! Linux keeps the error of a reset connection once: the first system call to notice gets
//! ECONNRESET, and a read after that returns 0, which means FIN. Here two threads work on each
//! socket, one reading and one writing, and if the writer notices the reset first, the reader
//! sees 0. So a 0 is looked at twice: if the connection is gone altogether, and we had not sent our
//! own FIN (after both FINs it is gone in order), it was a reset. Unless a FIN had come before the
//! reset: then the stream is whole, and the kernel says so by leaving another error.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};

use crate::net::abort;
use crate::sync::{Flag, Progress};

/// Bytes that are read at most at once. Larger moves more per system call; what a session does not
/// fill is never touched, so it costs address space, not memory (`BufReader` does not zero it).
const BUFFER_BYTES: usize = 64 * 1024;

/// One of the two connections of a session.
#[derive(Debug)]
pub struct Peer {
    /// Read by one of the session's threads, written by the other, reset by whoever ends the session.
    pub stream: TcpStream,
    /// Raised just before our FIN is sent, by the thread that writes to the peer or by the reaper;
    /// read by the thread that reads from it, after a read returned 0.
    pub fin_sent: Flag,
}

impl Peer {
    /// A connection to which no FIN has been sent.
    pub fn new(stream: TcpStream) -> Peer {
        Peer {
            stream,
            fin_sent: Flag::default(),
        }
    }
}

/// How one direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The source sent a FIN, and so did we to the sink.
    Finished,
    /// The source failed; what came before was written to the sink.
    SourceFailed(Failure),
    /// The sink failed; what the source sends has nowhere to go.
    SinkFailed(Failure),
}

/// How a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer reset it.
    Reset,
    /// The network lost it: nobody answers any more.
    Lost,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected => Failure::Reset,
            _ => Failure::Lost,
        }
    }
}

/// Copies from `from` to `to` until either ends. `moved` counts what was written on.
pub fn copy(from: &Peer, to: &Peer, moved: &Progress) -> Ended {
    let mut source = BufReader::with_capacity(BUFFER_BYTES, &from.stream);
    loop {
        let chunk = match source.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Ended::SourceFailed(error.into()),
        };
        if chunk.is_empty() {
            return pass_on_end(from, to);
        }
        let bytes = chunk.len();
        if let Err(error) = (&to.stream).write_all(chunk) {
            return Ended::SinkFailed(error.into());
        }
        source.consume(bytes);
        moved.add(bytes as u64);
    }
}

/// Was the reset preceded by a FIN? The stream is whole then, and the reset says only that the peer
/// takes nothing more. Linux leaves EPIPE for a reset after a FIN, ECONNRESET for one without; when
/// the other thread has taken the error already, nobody knows, and it counts as a reset.
fn ended_before_reset(stream: &TcpStream) -> bool {
    matches!(stream.take_error(), Ok(Some(error)) if error.kind() == ErrorKind::BrokenPipe)
}

/// A read returned 0: tells a FIN from a reset that the other thread has noticed first, and passes
/// a FIN on.
fn pass_on_end(from: &Peer, to: &Peer) -> Ended {
    // In this order: a connection that is gone in order had our FIN raised before. The other way
    // round, the other thread could send our FIN between the two questions.
    let is_gone = !abort::is_connected(&from.stream);
    if is_gone && !from.fin_sent.is_raised() && !ended_before_reset(&from.stream) {
        return Ended::SourceFailed(Failure::Reset);
    }
    if to.fin_sent.raise() {
        // The reaper was faster, and ended both sides.
        return Ended::Finished;
    }
    match to.stream.shutdown(Shutdown::Write) {
        Ok(()) => Ended::Finished,
        Err(error) => Ended::SinkFailed(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::connect::tests::pair;
    use std::io::Read;

    /// A client and a backend with one direction of a relay between them, run to its end.
    struct Rig {
        client: TcpStream,
        backend: TcpStream,
        from: Peer,
        to: Peer,
        moved: Progress,
    }

    fn rig() -> Rig {
        let (client, accepted) = pair();
        let (connected, backend) = pair();
        let (from, to) = (Peer::new(accepted), Peer::new(connected));
        Rig {
            client,
            backend,
            from,
            to,
            moved: Progress::default(),
        }
    }

    #[test]
    fn bytes_and_then_the_fin_are_passed_on() {
        let mut rig = rig();
        rig.client.write_all(b"hello").unwrap();
        rig.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(copy(&rig.from, &rig.to, &rig.moved), Ended::Finished);
        let mut received = String::new();
        rig.backend.read_to_string(&mut received).unwrap();
        assert_eq!((received.as_str(), rig.moved.get()), ("hello", 5));
    }

    #[test]
    fn both_ends_closing_at_the_same_moment_is_no_reset() {
        for round in 0..300 {
            let rig = rig();
            let (there, back) = std::thread::scope(|scope| {
                let there = std::thread::Builder::new()
                    .spawn_scoped(scope, || copy(&rig.from, &rig.to, &rig.moved))
                    .unwrap();
                let back = std::thread::Builder::new()
                    .spawn_scoped(scope, || copy(&rig.to, &rig.from, &Progress::default()))
                    .unwrap();
                let (client, backend) = (rig.client, rig.backend);
                std::thread::Builder::new()
                    .spawn_scoped(scope, || drop(client))
                    .unwrap();
                drop(backend);
                (there.join().unwrap(), back.join().unwrap())
            });
            assert_eq!(
                (there, back),
                (Ended::Finished, Ended::Finished),
                "round {round}"
            );
        }
    }

    #[test]
    fn bytes_before_a_reset_are_passed_on_and_the_reset_is_reported() {
        let mut rig = rig();
        rig.client.write_all(b"last words").unwrap();
        abort::wait_until_delivered(&rig.client);
        abort::reset(&rig.client);
        assert_eq!(
            copy(&rig.from, &rig.to, &rig.moved),
            Ended::SourceFailed(Failure::Reset)
        );
        let mut received = [0; 10];
        rig.backend.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"last words");
    }

    #[test]
    fn a_reset_that_the_writer_noticed_first_is_still_a_reset_for_the_reader() {
        let rig = rig();
        abort::reset(&rig.client);
        // The other direction's thread writes to the client, and takes the error away with it.
        while (&rig.from.stream).write(b"x").is_ok() {}
        assert_eq!(
            (&rig.from.stream).read(&mut [0; 1]).unwrap(),
            0,
            "the premise: it looks like a FIN"
        );
        assert_eq!(
            copy(&rig.from, &rig.to, &rig.moved),
            Ended::SourceFailed(Failure::Reset)
        );
    }

    #[test]
    fn the_second_of_two_fins_is_a_fin_though_the_connection_is_gone_then() {
        let rig = rig();
        rig.from.fin_sent.raise();
        rig.from.stream.shutdown(Shutdown::Write).unwrap();
        rig.client.shutdown(Shutdown::Write).unwrap();
        while abort::is_connected(&rig.from.stream) {
            std::thread::yield_now();
        }
        assert_eq!(copy(&rig.from, &rig.to, &rig.moved), Ended::Finished);
    }

    #[test]
    fn a_sink_that_was_reset_is_reported() {
        let mut rig = rig();
        abort::reset(&rig.backend);
        rig.client.write_all(b"to nobody").unwrap();
        assert_eq!(
            copy(&rig.from, &rig.to, &rig.moved),
            Ended::SinkFailed(Failure::Reset)
        );
    }

    #[test]
    fn an_urgent_byte_stays_in_the_stream() {
        let mut rig = rig();
        let send = |bytes: &[u8], flags| rustix::net::send(&rig.client, bytes, flags).unwrap();
        send(b"AB", rustix::net::SendFlags::empty());
        send(b"!", rustix::net::SendFlags::OOB);
        send(b"CD", rustix::net::SendFlags::empty());
        rig.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(copy(&rig.from, &rig.to, &rig.moved), Ended::Finished);
        let mut received = String::new();
        rig.backend.read_to_string(&mut received).unwrap();
        assert_eq!(received, "AB!CD");
        rig.client.flush().unwrap();
    }

    #[test]
    fn a_reset_after_a_fin_leaves_the_stream_before_it_whole() {
        let (from, mut sender) = pair();
        let (to, mut receiver) = pair();
        sender.write_all(b"all of it").unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
        // The FIN is acknowledged, so the reset comes after it.
        abort::wait_until_delivered(&sender);
        abort::reset(&sender);
        while abort::is_connected(&from) {
            std::thread::yield_now();
        }
        let (from, to) = (Peer::new(from), Peer::new(to));
        assert_eq!(copy(&from, &to, &Progress::default()), Ended::Finished);
        let mut received = String::new();
        receiver.read_to_string(&mut received).unwrap();
        assert_eq!(received, "all of it");
    }
}
