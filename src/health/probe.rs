//! One probe: one attempt to find out whether a backend answers.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::config::Probe;
use crate::net::connect::{self, ConnectError};
use crate::net::outgoing::Outgoing;
use crate::net::{proxy_protocol, wait};
use crate::policy::proxy_protocol::{Endpoints, Version};
use crate::policy::socket::ConnectOptions;

/// What a probe has to do.
#[derive(Debug)]
pub(super) struct Task {
    /// Where the backend listens.
    pub(super) address: SocketAddr,
    /// How to find out.
    pub(super) probe: Probe,
    /// How long it may take.
    pub(super) timeout: Duration,
    /// The PROXY header that the backend expects; a probe's says that it is for nobody.
    pub(super) proxy_header: Option<Version>,
    /// What its socket is told.
    pub(super) socket: ConnectOptions,
}

/// What a probe found.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It answers.
    Good,
    /// It does not, for this reason.
    Bad(String),
    /// No local port is left towards it, which says nothing of a backend that is up. (Of one that
    /// never was it may say that this machine has no address of that family.)
    NoLocalPort(String),
    /// evener lacked something to ask with; nothing is known of the backend.
    NotAsked(String),
    /// The probe panicked, which the log has by then; nothing is known of the backend.
    BrokenOff,
}

/// How long the quiet end of a probe waits for the backend's own end.
const GOODBYE: Duration = Duration::from_millis(500);

/// Probes a backend and gives the outcome to `report` as soon as it is known; the quiet end of the
/// connection comes after that. All of it is given up when the other end of `asker` is closed.
pub(super) fn run(task: &Task, asker: BorrowedFd<'_>, report: impl FnOnce(Outcome)) {
    let Probe::Tcp = task.probe;
    let outgoing = Outgoing {
        options: &task.socket,
        client: None,
    };
    match connect::connect(task.address, task.timeout, outgoing, asker) {
        Ok(stream) => {
            if let Some(version) = task.proxy_header {
                // A backend that has gone again by now did accept the connection.
                let _ = proxy_protocol::send(&stream, &Endpoints::Local.encode(version));
            }
            report(Outcome::Good);
            end_quietly(&stream, asker);
        }
        Err(ConnectError::Resources(error)) => report(Outcome::NotAsked(error.to_string())),
        Err(ConnectError::Local(error)) => report(Outcome::NoLocalPort(error.to_string())),
        Err(error) => report(Outcome::Bad(error.to_string())),
    }
}

/// Says goodbye with a FIN and reads what the backend has to say until its own FIN, so that it sees
/// a client that came and went, not an error: a close with unread bytes would be a reset, and a
/// reset is a line in many a backend's log.
fn end_quietly(stream: &TcpStream, asker: BorrowedFd<'_>) {
    let deadline = Instant::now() + GOODBYE;
    let _ = stream.shutdown(Shutdown::Write);
    let mut scrap = [0; 512];
    let mut reader = stream;
    while wait::wait_readable(
        stream,
        asker,
        deadline.saturating_duration_since(Instant::now()),
    ) {
        match reader.read(&mut scrap) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listener::Bound;
    use std::io::Write;
    use std::net::Ipv4Addr;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn outcome(address: SocketAddr) -> Outcome {
        let mut seen = None;
        let (asker, _keep) = UnixStream::pair().unwrap();
        let task = Task {
            address,
            probe: Probe::Tcp,
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
            assert!(matches!(outcome(address), Outcome::Good));
            assert_eq!(backend.join().unwrap().unwrap(), 0);
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
