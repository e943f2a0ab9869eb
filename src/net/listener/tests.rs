//! Tests of listeners over real sockets.

use super::*;
use crate::net::connect::tests::plain;
use crate::net::family;
use crate::policy::socket::KeepAlive;
use rustix::net::{SocketType, sockopt};
use std::net::{Ipv4Addr, Ipv6Addr};

fn listen(address: SocketAddr, dual_stack: bool) -> Listening {
    Listening::new(Bound::new(address, dual_stack).unwrap()).unwrap()
}

#[test]
fn an_address_is_refused_until_it_listens() {
    let bound = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), false).unwrap();
    let address: SocketAddr = rustix::net::getsockname(&bound.socket)
        .unwrap()
        .try_into()
        .unwrap();
    let early = plain(address);
    assert_eq!(early.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let listener = bound.listen().unwrap();
    assert!(plain(listener.local_addr().unwrap()).is_ok());
}

#[test]
fn a_dual_stack_listener_shows_ipv4_clients_as_ipv4() {
    let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into(), true);
    let port = listener.local_addr().unwrap().port();
    let _client = plain((Ipv4Addr::LOCALHOST, port).into()).unwrap();
    assert_eq!(
        accept(&listener).unwrap().1.ip().unwrap().ip(),
        Ipv4Addr::LOCALHOST
    );
}

#[test]
fn accepted_connections_inherit_the_options() {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
    let _client = plain(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = accept(&listener).unwrap();
    assert!(sockopt::tcp_nodelay(&accepted).unwrap());
    assert!(sockopt::socket_keepalive(&accepted).unwrap());
    assert_eq!(
        sockopt::tcp_keepidle(&accepted).unwrap(),
        KeepAlive::USUAL.idle
    );
    assert!(sockopt::socket_oobinline(&accepted).unwrap());
}

#[test]
fn shutting_down_wakes_a_blocked_accept() {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
    std::thread::scope(|scope| {
        let blocked = std::thread::Builder::new()
            .spawn_scoped(scope, || accept(&listener))
            .unwrap();
        listener.shut_down();
        let error = blocked.join().unwrap().unwrap_err();
        assert_eq!(accept_error(&error), AcceptError::Closed);
    });
}

#[test]
fn shutting_down_frees_an_address_that_nobody_shares_at_once() {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
    let address = listener.local_addr().unwrap();
    listener.shut_down();
    // The acceptor may hold it still: it waits for room, for example.
    assert!(Bound::new(address, false).unwrap().listen().is_ok());
    drop(listener);
}

#[test]
fn shutting_down_leaves_the_socket_to_who_shares_it() {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
    let address = listener.local_addr().unwrap();
    let shared = listener.for_another_program().unwrap();
    let _client = plain(address).unwrap();
    listener.shut_down();
    // Somebody waits, but not for us.
    let error = accept(&listener).unwrap_err();
    assert_eq!(accept_error(&error), AcceptError::Closed);
    drop(listener);
    let other = Listening::new(Bound::inherited(shared).unwrap()).unwrap();
    assert!(accept(&other).is_ok());
    assert!(plain(address).is_ok());
}

#[test]
fn a_socket_that_another_process_lets_refuse_clients_is_opened_again() {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
    let address = listener.local_addr().unwrap();
    let shared = TcpListener::from(listener.for_another_program().unwrap());
    let other = Listening::new(Bound::inherited(shared.into()).unwrap()).unwrap();
    assert!(other.refuse());
    std::thread::scope(|scope| {
        let accepting = std::thread::Builder::new()
            .spawn_scoped(scope, || accept(&listener))
            .unwrap();
        while plain(address).is_err() && !accepting.is_finished() {
            std::thread::yield_now();
        }
        assert!(accepting.join().unwrap().is_ok());
    });
}

#[test]
fn an_inherited_socket_gets_the_options_of_our_own() {
    let socket = net::socket(rustix::net::AddressFamily::INET, SocketType::STREAM, None);
    let socket = socket.unwrap();
    net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    net::listen(&socket, 1).unwrap();
    let listener = Listening::new(Bound::inherited(socket).unwrap()).unwrap();
    let _client = plain(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = accept(&listener).unwrap();
    assert!(sockopt::tcp_nodelay(&accepted).unwrap());
    let flags = rustix::fs::fcntl_getfl(&accepted).unwrap();
    assert!(
        !flags.contains(rustix::fs::OFlags::NONBLOCK),
        "a session blocks"
    );
}

#[test]
fn no_error_of_accept_ends_the_listener_but_its_own_end() {
    for errno in 1..134 {
        let error = io::Error::from_raw_os_error(errno);
        assert_eq!(
            accept_error(&error) == AcceptError::Closed,
            errno == Errno::INVAL.raw_os_error(),
            "{error}"
        );
    }
    let full = io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
    assert!(
        matches!(accept_error(&full), AcceptError::Pause(advice) if advice.contains("ulimit -n"))
    );
}

#[test]
fn a_taken_address_is_an_error() {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
    let again = Bound::new(listener.local_addr().unwrap(), false);
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_refusing_listener_keeps_its_address_and_opens_again() {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let blocked = std::thread::Builder::new()
            .spawn_scoped(scope, || accept(&listener))
            .unwrap();
        assert!(listener.refuse() && !listener.refuse());
        let refused = plain(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        // Without SO_REUSEADDR, nobody else gets the address.
        let other = net::socket(family(address), SocketType::STREAM, None).unwrap();
        assert_eq!(net::bind(&other, &address), Err(Errno::ADDRINUSE));
        assert!(listener.reopen().unwrap() && !listener.reopen().unwrap());
        let client = plain(address).unwrap();
        let (_, from) = blocked.join().unwrap().unwrap();
        assert_eq!(from.ip(), client.local_addr().ok());
    });
}

#[test]
fn a_refusing_listener_can_be_shut_down() {
    let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false);
    listener.refuse();
    std::thread::scope(|scope| {
        let blocked = std::thread::Builder::new()
            .spawn_scoped(scope, || accept(&listener))
            .unwrap();
        listener.shut_down();
        let error = blocked.join().unwrap().unwrap_err();
        assert_eq!(accept_error(&error), AcceptError::Closed);
        assert!(!listener.reopen().unwrap());
    });
}
