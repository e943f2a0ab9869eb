//! Step 2: a thread for each client.
//!
//! What it teaches: a blocked thread costs the others nothing, so give each client one. The closure
//! *owns* what its thread uses: `move` takes the socket along, and the compiler refuses a program in
//! which the accepting thread still touches it. The kernel's scheduler does what an event loop would.
//!
//! What goes wrong without it: step 1, everybody waits for the slowest. What goes wrong with it:
//! `thread::spawn` panics when the system refuses a thread, on the thread that accepts, and that is
//! the end of the service. `Builder::spawn` returns the refusal as a value: one client is lost.
//!
//! In earnest: `src/threads/mod.rs` (threads that are reused, refusals), `src/limits/mod.rs` (how many
//! there can be: a limit is kept *before* accepting).
//!
//! ```text
//! cargo run --example 02_thread_per_client -- --show
//! cargo run --example 02_thread_per_client -- 8080 8000      serves; then, in three other terminals:
//!     cargo run --bin backend 8000
//!     nc localhost 8080                        and type nothing
//!     curl localhost:8080                      is answered at once
//! ```
//! While nc waits, `ps -eL | grep client` shows the thread that waits for it.

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Enough for a thread that copies bytes; std's default is 2 MiB.
const STACK_BYTES: usize = 64 * 1024;

/// Serves so many clients, each on its own thread. Returns how many the system refused a thread.
fn serve(
    listener: &TcpListener,
    backend: SocketAddr,
    clients: usize,
    stack_bytes: usize,
) -> io::Result<usize> {
    let mut refused = 0;
    for number in 1..=clients {
        let (client, _) = listener.accept()?;
        let spawned = thread::Builder::new()
            .name(format!("client {number}"))
            .stack_size(stack_bytes)
            .spawn(move || {
                if let Err(error) = relay(client, backend) {
                    eprintln!("client {number} was lost: {error}");
                }
            });
        // The client is gone with the closure that was to own it: its socket is closed.
        if let Err(error) = spawned {
            eprintln!("no thread for client {number}: {error}");
            refused += 1;
        }
    }
    Ok(refused)
}

/// Carries one question to the backend, and its answer back.
fn relay(mut client: TcpStream, backend: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(backend)?;
    let mut question = [0; 4096];
    let length = client.read(&mut question)?;
    if length == 0 {
        return Ok(());
    }
    server.write_all(&question[..length])?;
    server.shutdown(Shutdown::Write)?;
    io::copy(&mut server, &mut client)?;
    Ok(())
}

/// A backend that answers with the question, each client on a thread of its own here too.
fn repeat(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept()?;
        thread::Builder::new().spawn(move || -> io::Result<()> {
            let mut question = String::new();
            BufReader::new(&client).read_line(&mut question)?;
            writeln!(&client, "{} was heard", question.trim())
        })?;
    }
}

/// The two clients of step 1, but `silent` speaks only when `quick` has been answered.
fn two_clients() -> io::Result<[String; 2]> {
    let front = TcpListener::bind("127.0.0.1:0")?;
    let back = TcpListener::bind("127.0.0.1:0")?;
    let (address, backend) = (front.local_addr()?, back.local_addr()?);
    thread::Builder::new().spawn(move || repeat(&back))?;
    thread::Builder::new().spawn(move || serve(&front, backend, 2, STACK_BYTES))?;
    let mut told = [String::new(), String::new()];
    let mut silent = TcpStream::connect(address)?;
    let mut quick = TcpStream::connect(address)?;
    quick.write_all(b"quick\n")?;
    quick.read_to_string(&mut told[0])?;
    silent.write_all(b"silent\n")?;
    silent.read_to_string(&mut told[1])?;
    Ok(told)
}

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().any(|argument| argument == "--show") {
        println!("`silent` connects, `quick` connects, asks, and is answered; then `silent` asks:");
        two_clients()?.iter().for_each(|told| print!("    {told}"));
        return Ok(());
    }
    let port = |n, default: u16| env::args().nth(n).map_or(Ok(default), |text| text.parse());
    let listener = TcpListener::bind(("127.0.0.1", port(1, 8080)?))?;
    let backend = SocketAddr::from(([127, 0, 0, 1], port(2, 8000)?));
    println!("{} -> {backend}, all at once", listener.local_addr()?);
    serve(&listener, backend, usize::MAX, STACK_BYTES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Right: the quick one is answered before the silent one speaks. With the loop of step 1 this
    /// test would not end.
    #[test]
    fn a_silent_client_keeps_nobody_waiting() {
        let told = two_clients().unwrap();
        assert_eq!(told, ["quick was heard\n", "silent was heard\n"]);
    }

    /// A stack as large as a whole address space: the system refuses every such thread.
    const TOO_MUCH: usize = 1 << 47;

    /// Wrong: with `thread::spawn` a refusal is a panic of the thread that accepts. It is this line of
    /// std, `Builder::spawn(..).expect(..)`, here with the stack that makes the system refuse.
    #[test]
    fn a_refusal_that_is_unwrapped_takes_the_accepting_thread_along() {
        let accepting = thread::spawn(|| {
            let refused = thread::Builder::new().stack_size(TOO_MUCH).spawn(|| ());
            refused.expect("failed to spawn thread");
        });
        assert!(accepting.join().is_err());
    }

    /// Right: it costs the client its connection, and the thread that accepts goes on.
    #[test]
    fn a_refused_thread_costs_one_client_only() {
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        thread::scope(|scope| {
            let serving = scope.spawn(|| serve(&front, address, 2, TOO_MUCH));
            for _ in 0..2 {
                let mut client = TcpStream::connect(address).unwrap();
                assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
            }
            assert_eq!(serving.join().unwrap().unwrap(), 2);
        });
    }
}
