use std::net::{TcpListener, TcpStream};

use exercises::e06_who_wakes::{End, Session};

use crate::in_time;

fn session() -> (TcpStream, Session) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    (client, Session::new(accepted))
}

#[test]
fn a_session_with_a_silent_client_can_be_ended() {
    let (_silent, session) = session();
    let end = in_time(move || session.run(|| session.kill()).unwrap());
    assert_eq!(end, End::Killed);
}

#[test]
fn a_client_that_leaves_is_another_end() {
    let (client, session) = session();
    drop(client);
    assert_eq!(in_time(move || session.run(|| ()).unwrap()), End::Normal);
}
