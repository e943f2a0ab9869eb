//! One probe: one attempt to find out whether a backend answers, or what its agent says.
//!
//! It runs on a thread of its own, and all of it is over by the probe's timeout and the short goodbye.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::question::Question;
use crate::net::connect::{self, ConnectError};
use crate::net::outgoing::Outgoing;
use crate::net::stream::Stream;
use crate::net::{proxy_protocol, wait};
use crate::policy::address::Address;
use crate::policy::answer::{self, Verdict};
use crate::policy::proxy_protocol::{Endpoints, Version};
use crate::policy::socket::ConnectOptions;

/// What a probe has to do.
#[derive(Debug)]
pub(super) struct Task {
    /// Whom to ask.
    pub(super) address: Address,
    /// What.
    pub(super) question: Question,
    /// How long it may take.
    pub(super) timeout: Duration,
    /// The PROXY header that is expected; a probe's says that it is for nobody.
    pub(super) proxy_header: Option<Version>,
    /// What its socket is told.
    pub(super) socket: ConnectOptions,
}

/// What a probe found.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A good answer: what it was, or the line of an agent.
    Good(String),
    /// None, or a bad one, for this reason.
    Bad(String),
    /// No local port is left towards it, which says nothing of a backend that is up. (Of one that
    /// never was it may say that this machine has no address of that family.)
    NoLocalPort(String),
    /// evener lacked something to ask with; nothing is known of the backend.
    NotAsked(String),
    /// The probe panicked, which the log has by then, or nobody waits for it any more; nothing is known
    /// of the backend.
    BrokenOff,
}

/// How long the quiet end of a probe waits for the backend's own end, and how much it reads for it.
const GOODBYE: Duration = Duration::from_millis(500);
const GOODBYE_BYTES_MAX: usize = 64 * 1024;

/// Bytes read at once; on the stack, which is small.
const BUFFER_BYTES: usize = 4 * 1024;

/// Probes a backend and gives the outcome to `report` as soon as it is known; the quiet end of the
/// connection comes after that. All of it is given up when the other end of `asker` is closed.
pub(super) fn run(task: &Task, asker: BorrowedFd<'_>, report: impl FnOnce(Outcome)) {
    let deadline = Instant::now() + task.timeout;
    let outgoing = Outgoing {
        options: &task.socket,
        client: None,
    };
    let stream = match connect::connect(&task.address, task.timeout, outgoing, asker) {
        Ok(stream) => stream,
        Err(error) => return report(without_connection(error)),
    };
    if let Some(version) = task.proxy_header {
        // A backend that has gone again by now did accept the connection.
        let _ = proxy_protocol::send(&stream, &Endpoints::Local.encode(version));
    }
    report(ask(&stream, task, deadline, asker));
    // Who has not answered in time is not waited for any longer.
    if Instant::now() < deadline {
        end_quietly(&stream, task.question.ends_by_answer(), asker);
    }
}

fn without_connection(error: ConnectError) -> Outcome {
    match error {
        ConnectError::Resources(error) => Outcome::NotAsked(error.to_string()),
        ConnectError::Local(error) => Outcome::NoLocalPort(error.to_string()),
        ConnectError::AskerLeft => Outcome::BrokenOff,
        error => Outcome::Bad(error.to_string()),
    }
}

/// Asks, and reads until the answer is clear.
fn ask(stream: &Stream, task: &Task, deadline: Instant, asker: BorrowedFd<'_>) -> Outcome {
    let question = &task.question;
    if let Verdict::Good(reason) = question.judge(&[], false) {
        return Outcome::Good(reason);
    }
    if !question.bytes().is_empty() {
        // It fits into the socket's empty buffer; the timeout is for a kernel whose buffers are tiny. A
        // server that does not want to hear it may have answered all the same.
        let _ = stream.set_write_timeout(Some(task.timeout));
        let mut writer = stream;
        let _ = writer.write_all(question.bytes());
    }
    let mut received = Vec::new();
    let mut buffer = [0; BUFFER_BYTES];
    let mut reader = stream;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Outcome::Bad(answer::late(&received, task.timeout));
        }
        if !wait::wait_readable(stream, asker, left) {
            if Instant::now() < deadline {
                return Outcome::BrokenOff;
            }
            continue;
        }
        let bytes = match reader.read(&mut buffer) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Outcome::Bad("connection reset instead of an answer".to_owned());
            }
            Err(error) => return Outcome::Bad(error.to_string()),
        };
        received.extend_from_slice(buffer.get(..bytes).unwrap_or_default());
        match question.judge(&received, bytes == 0) {
            Verdict::NeedMore if bytes == 0 => {
                return Outcome::Bad("closed without an answer".to_owned());
            }
            Verdict::NeedMore => {}
            Verdict::Good(reason) => return Outcome::Good(reason),
            Verdict::Bad(reason) => return Outcome::Bad(reason),
        }
    }
}

/// Says goodbye with a FIN and reads what the backend has to say until its own FIN, so that it sees
/// a client that came and went, not an error: a close with unread bytes would be a reset, and a
/// reset is a line in many a backend's log. Where the backend ends by itself, its FIN goes first: a
/// client that leaves in the middle of an answer is a line, too. A long answer is not read to its end.
fn end_quietly(stream: &Stream, they_first: bool, asker: BorrowedFd<'_>) {
    let deadline = Instant::now() + GOODBYE;
    if !they_first {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut scrap = [0; BUFFER_BYTES];
    let mut reader = stream;
    let mut taken = 0;
    while taken < GOODBYE_BYTES_MAX
        && wait::wait_readable(
            stream,
            asker,
            deadline.saturating_duration_since(Instant::now()),
        )
    {
        match reader.read(&mut scrap) {
            Ok(0) | Err(_) => return,
            Ok(bytes) => taken += bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listener::Bound;
    use std::io::Write;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn outcome(address: SocketAddr) -> Outcome {
        let mut seen = None;
        let (asker, _keep) = UnixStream::pair().unwrap();
        let task = Task {
            address: address.into(),
            question: Question::Connect,
            timeout: Duration::from_secs(5),
            proxy_header: None,
            socket: ConnectOptions::USUAL,
        };
        run(&task, asker.as_fd(), |outcome| seen = Some(outcome));
        seen.unwrap()
    }

    #[test]
    fn a_listening_backend_sees_a_client_that_comes_and_goes_without_an_error() {
        let listener = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), false)
            .unwrap()
            .listen()
            .unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            let backend = std::thread::Builder::new()
                .spawn_scoped(scope, || {
                    let (mut client, _) = listener.accept().unwrap();
                    client
                        .write_all(b"220 a banner that the probe does not care for\r\n")
                        .unwrap();
                    client.read(&mut [0; 1])
                })
                .unwrap();
            assert!(matches!(outcome(address), Outcome::Good(_)));
            assert_eq!(backend.join().unwrap().unwrap(), 0);
        });
    }

    #[test]
    fn a_backend_that_never_stops_talking_is_not_listened_to_for_long() {
        let listener = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), false)
            .unwrap()
            .listen()
            .unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            let backend = std::thread::Builder::new()
                .spawn_scoped(scope, || {
                    let (mut client, _) = listener.accept().unwrap();
                    let mut written = 0;
                    while let Ok(bytes) = client.write(&[b'x'; BUFFER_BYTES]) {
                        written += bytes;
                    }
                    written
                })
                .unwrap();
            assert!(matches!(outcome(address), Outcome::Good(_)));
            // What was read, and what fits into the buffers of two sockets.
            let most = GOODBYE_BYTES_MAX + 16 * 1024 * 1024;
            assert!(backend.join().unwrap() < most);
        });
    }

    #[test]
    fn nobody_listening_is_bad_and_says_so() {
        let listener = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), false)
            .unwrap()
            .listen()
            .unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(outcome(address), Outcome::Bad(reason) if reason == "connection refused"));
    }
}
