//! Step 3: copying both ways, and why closing both ends loses data.
//!
//! What it teaches: a TCP connection is two streams, and each ends by itself. A FIN says "I have sent
//! all", not "I am gone": the answer may still be on its way. So two threads copy, one for each
//! direction, and the end of one is passed on as the end of that direction only, `shutdown(Write)`.
//!
//! What goes wrong: whoever closes both sockets at the first FIN cuts off every client that sends its
//! question, closes its writing half and waits for the answer, as `nc -N` does. It works in every quick
//! test, because curl and browsers do not do that.
//!
//! In earnest: `src/net/relay.rs` (the copy), `src/net/end.rs` (was it a FIN or a reset?),
//! `src/net/abort.rs` (passing on a reset).
//!
//! ```text
//! cargo run --example 03_both_ways -- --show
//! cargo run --example 03_both_ways -- 8080 8000          serves; then, in two other terminals:
//!     cargo run --bin backend -- 8000 --delay 1s
//!     printf 'GET / HTTP/1.0\r\n\r\n' | nc -N localhost 8080
//! ```
//! nc closes its half at once (`-N`) and gets the answer all the same. Now put `end_both` where `main`
//! has `end_one_way`, and try again.

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// What to do when `from` has ended, and all of it has been written to `to`.
type AtEnd = fn(from: &TcpStream, to: &TcpStream);

/// Right: the stream towards `to` has ended. The other direction lives on.
fn end_one_way(_: &TcpStream, to: &TcpStream) {
    // It fails when the connection is gone already, and then there is nothing to end.
    let _ = to.shutdown(Shutdown::Write);
}

/// Wrong: "one side is done, so the session is".
fn end_both(from: &TcpStream, to: &TcpStream) {
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Copies both ways until both directions have ended. The second thread borrows the sockets, and the
/// scope ends only when both threads are done.
fn relay(client: &TcpStream, server: &TcpStream, at_end: AtEnd) {
    thread::scope(|scope| {
        scope.spawn(|| copy(server, client, at_end));
        copy(client, server, at_end);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, at_end: AtEnd) {
    match io::copy(&mut from, &mut to) {
        Ok(_) => at_end(from, to),
        // A reset, or a peer that has vanished: there is nothing left to wait for on either side.
        Err(_) => end_both(from, to),
    }
}

/// A backend that hears all of the question before it answers.
fn count_the_bytes(listener: &TcpListener) -> io::Result<()> {
    let (mut client, _) = listener.accept()?;
    let mut question = Vec::new();
    client.read_to_end(&mut question)?;
    write!(client, "{} bytes", question.len())
}

/// A client that asks, says that this was all, and waits. Returns what it is told.
fn ask(at_end: AtEnd) -> io::Result<String> {
    let front = TcpListener::bind("127.0.0.1:0")?;
    let back = TcpListener::bind("127.0.0.1:0")?;
    thread::scope(|scope| {
        // The backend may find its client gone: that is the point of the wrong version.
        scope.spawn(|| {
            count_the_bytes(&back).unwrap_or_else(|error| println!("    backend: {error}"))
        });
        let mut client = TcpStream::connect(front.local_addr()?)?;
        let (accepted, _) = front.accept()?;
        let server = TcpStream::connect(back.local_addr()?)?;
        scope.spawn(move || relay(&accepted, &server, at_end));
        client.write_all(&[b'x'; 1000])?;
        client.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        Ok(answer)
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().any(|argument| argument == "--show") {
        println!("a client sends 1000 bytes and a FIN, the backend counts them and answers:");
        println!("    closing both at the first FIN:  {:?}", ask(end_both)?);
        println!(
            "    passing on the FIN as a FIN:    {:?}",
            ask(end_one_way)?
        );
        return Ok(());
    }
    let port = |n, default: u16| env::args().nth(n).map_or(Ok(default), |text| text.parse());
    let listener = TcpListener::bind(("127.0.0.1", port(1, 8080)?))?;
    let backend = SocketAddr::from(([127, 0, 0, 1], port(2, 8000)?));
    println!("{} -> {backend}", listener.local_addr()?);
    loop {
        let (client, _) = listener.accept()?;
        let session = move || match TcpStream::connect(backend) {
            Ok(server) => relay(&client, &server, end_one_way),
            Err(error) => eprintln!("backend {backend}: {error}"),
        };
        if let Err(error) = thread::Builder::new().spawn(session) {
            eprintln!("no thread: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: the client's side is shut down before the backend hears of the end, so no answer can
    /// ever pass, however the threads are scheduled.
    #[test]
    fn closing_both_loses_the_answer() {
        assert_eq!(ask(end_both).unwrap(), "");
    }

    /// Right.
    #[test]
    fn passing_on_the_fin_keeps_it() {
        assert_eq!(ask(end_one_way).unwrap(), "1000 bytes");
    }
}
