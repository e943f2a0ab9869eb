//! Attempts that succeed, fail, take for ever and are given up.

use super::*;
use crate::net::listener::Bound;
use crate::policy::socket::KeepAlive;
use rustix::net::AddressFamily;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// A plain client's connection.
pub(crate) fn plain(address: SocketAddr) -> io::Result<TcpStream> {
    match undisturbed(address, Duration::from_secs(5)) {
        Ok(stream) => Ok(stream),
        Err(ConnectError::Refused) => Err(io::ErrorKind::ConnectionRefused.into()),
        Err(other) => Err(io::Error::other(other.to_string())),
    }
}

/// An attempt that nobody gives up.
fn undisturbed(address: SocketAddr, timeout: Duration) -> Result<TcpStream, ConnectError> {
    let (asker, _keep) = UnixStream::pair().unwrap();
    let stream = connect(&address.into(), timeout, Outgoing::USUAL, asker.as_fd())?;
    Ok(OwnedFd::from(stream).into())
}

/// The two ends of a connection over loopback.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), false)
        .unwrap()
        .listen()
        .unwrap();
    let client = plain(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A listener whose backlog is full: connecting to it stays unanswered.
fn black_hole() -> (TcpListener, Vec<TcpStream>) {
    let bound = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    net::bind(&bound, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    net::listen(&bound, 0).unwrap();
    let listener = TcpListener::from(bound);
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    loop {
        match undisturbed(address, Duration::from_millis(100)) {
            Ok(stream) => filling.push(stream),
            Err(ConnectError::TimedOut) => return (listener, filling),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn nobody_listening_is_refused() {
    let listener = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), false)
        .unwrap()
        .listen()
        .unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let result = undisturbed(address, Duration::from_secs(5));
    assert!(matches!(result, Err(ConnectError::Refused)), "{result:?}");
}

#[test]
fn a_black_hole_times_out_on_time() {
    let (listener, _filling) = black_hole();
    let start = Instant::now();
    let result = undisturbed(listener.local_addr().unwrap(), Duration::from_millis(150));
    assert!(matches!(result, Err(ConnectError::TimedOut)), "{result:?}");
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[test]
fn a_client_that_leaves_ends_the_attempt() {
    let (listener, _filling) = black_hole();
    let address = listener.local_addr().unwrap();
    let by_reset: fn(&TcpStream) = |client| abort::reset(client);
    let by_fin: fn(&TcpStream) = |client| client.shutdown(Shutdown::Write).unwrap();
    for leave in [by_reset, by_fin] {
        let (client, accepted) = pair();
        leave(&client);
        let result = connect(
            &address.into(),
            Duration::from_secs(3600),
            Outgoing::USUAL,
            accepted.as_fd(),
        );
        assert!(matches!(result, Err(ConnectError::AskerLeft)), "{result:?}");
    }
}

#[test]
fn a_client_that_sent_its_question_and_a_fin_is_waited_for() {
    let (listener, _filling) = black_hole();
    let (mut client, accepted) = pair();
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let patience = 2 * GRACE_AFTER_FIN;
    let address = listener.local_addr().unwrap().into();
    let result = connect(&address, patience, Outgoing::USUAL, accepted.as_fd());
    assert!(matches!(result, Err(ConnectError::TimedOut)), "{result:?}");
}

#[test]
fn the_socket_blocks_and_has_its_options() {
    let (ours, _theirs) = pair();
    assert!(sockopt::tcp_nodelay(&ours).unwrap() && sockopt::socket_oobinline(&ours).unwrap());
    super::super::keep_alive(&ours, KeepAlive::USUAL).unwrap();
    assert!(sockopt::socket_keepalive(&ours).unwrap());
}

#[test]
fn the_ports_that_the_kernel_chooses_from_are_two_numbers() {
    assert_eq!(range("32768\t60999\n"), Some(32768..=60999));
    assert_eq!(range("32768"), None);
    assert_eq!(range("a b"), None);
}

#[test]
fn errors_are_sorted_by_whose_they_are() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
        assert!(matches!(
            ConnectError::from(errno),
            ConnectError::Resources(_)
        ));
    }
    for errno in [Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::ACCESS] {
        assert!(matches!(ConnectError::from(errno), ConnectError::Failed(_)));
    }
    let no_port = ConnectError::from(Errno::ADDRNOTAVAIL);
    assert!(matches!(no_port, ConnectError::Local(_)));
}
