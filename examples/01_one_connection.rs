//! Step 1: one connection at a time, and no thread.
//!
//! What it teaches: a balancer is a program between two sockets. `accept` gives a client, `connect`
//! a backend, `read` and `write` carry bytes across, and each of these calls *blocks*: the thread
//! sleeps in the kernel until there is a client, an answer, a byte.
//!
//! What goes wrong: while the thread sleeps for one client, nobody serves the others. A client that
//! connects and says nothing keeps everybody waiting, for as long as it likes.
//!
//! In earnest: `src/acceptor.rs` (accepting), `src/net/connect.rs` (connecting, with a deadline).
//!
//! ```text
//! cargo run --example 01_one_connection -- --show        acts client and backend, and tells what happens
//! cargo run --example 01_one_connection -- 8080 8000     serves; then, in three other terminals:
//!     cargo run --bin backend 8000
//!     nc localhost 8080                        and type nothing
//!     curl localhost:8080                      hangs, until you press Ctrl-C in the terminal of nc
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Serves so many clients, one after another.
fn serve(listener: &TcpListener, backend: SocketAddr, clients: usize) -> io::Result<()> {
    for _ in 0..clients {
        let (client, _) = listener.accept()?;
        // An error concerns this client only. To end here would end the service for all.
        if let Err(error) = relay(client, backend) {
            eprintln!("a client was lost: {error}");
        }
    }
    Ok(())
}

/// Carries one question to the backend, and its answer back.
fn relay(mut client: TcpStream, backend: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(backend)?;
    let mut question = [0; 4096];
    // Here the thread sleeps until the client says something.
    let length = client.read(&mut question)?;
    if length == 0 {
        // It has left without a word.
        return Ok(());
    }
    server.write_all(&question[..length])?;
    // There will be no other, so the backend ends the connection after its answer.
    server.shutdown(Shutdown::Write)?;
    io::copy(&mut server, &mut client)?;
    Ok(())
}

/// A backend that numbers the questions it gets: what clients wait for shows in the numbers.
fn number_the_questions(listener: &TcpListener, questions: usize) -> io::Result<()> {
    for number in 1..=questions {
        let (client, _) = listener.accept()?;
        let mut question = String::new();
        BufReader::new(&client).read_line(&mut question)?;
        writeln!(&client, "{} was question {number}", question.trim())?;
    }
    Ok(())
}

/// Two clients: the first to connect is the last to speak. Returns what each of them was told.
fn two_clients() -> io::Result<[String; 2]> {
    let (front, back) = (
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    );
    let (address, backend) = (front.local_addr()?, back.local_addr()?);
    thread::scope(|scope| {
        scope.spawn(|| serve(&front, backend, 2));
        scope.spawn(|| number_the_questions(&back, 2));
        let mut silent = TcpStream::connect(address)?;
        let mut quick = TcpStream::connect(address)?;
        quick.write_all(b"quick\n")?;
        // The question of the quick one is on its way. Only now the silent one speaks.
        silent.write_all(b"silent\n")?;
        let mut told = [String::new(), String::new()];
        silent.read_to_string(&mut told[0])?;
        quick.read_to_string(&mut told[1])?;
        Ok(told)
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().any(|argument| argument == "--show") {
        println!(
            "`silent` connects, `quick` connects and asks, then `silent` asks. The backend says:"
        );
        two_clients()?.iter().for_each(|told| print!("    {told}"));
        println!("`quick` asked first and came second: the only thread slept for `silent`.");
        return Ok(());
    }
    let port = |n, default: u16| env::args().nth(n).map_or(Ok(default), |text| text.parse());
    let listener = TcpListener::bind(("127.0.0.1", port(1, 8080)?))?;
    let backend = SocketAddr::from(([127, 0, 0, 1], port(2, 8000)?));
    println!("{} -> {backend}, one at a time", listener.local_addr()?);
    Ok(serve(&listener, backend, usize::MAX)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong, and right at the same time: every byte arrives, but in the order of connecting.
    /// The thread that serves can't get to `quick` before `silent` has spoken.
    #[test]
    fn a_silent_client_makes_the_quick_one_wait() {
        let told = two_clients().unwrap();
        assert_eq!(told, ["silent was question 1\n", "quick was question 2\n"]);
    }

    /// A client whose backend is not there loses its connection, and the next one is served.
    #[test]
    fn a_lost_client_does_not_end_the_service() {
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = nobody.local_addr().unwrap();
        drop(nobody);
        thread::scope(|scope| {
            let serving = scope.spawn(|| serve(&front, backend, 2));
            for _ in 0..2 {
                let mut client = TcpStream::connect(address).unwrap();
                // No byte was sent, so the end is a FIN and not a reset.
                assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
            }
            serving.join().unwrap().unwrap();
        });
    }
}
