//! Step 4: round robin, and the ticket.
//!
//! What it teaches: many threads share one number. To take a number and to move it on must be one
//! step, `fetch_add`; then no two threads get the same one. `Relaxed` is enough: no other memory is
//! read because of the number, and each single atomic is consistent in any ordering.
//!
//! What goes wrong without it: `load`, then `store`. Each is atomic, the two together are not. Two
//! threads that both load before either stores get the same ticket: one backend gets two clients,
//! and one turn is lost. Every atomic in sight, no data race, still wrong.
//!
//! In earnest: `src/sync/mod.rs` (`Ticket`, and the ordering table), `src/policy/balance/round_robin.rs`
//! (weights), `tests/loom/numbers.rs` (`ticket_is_unique`: every order of steps, tried).
//!
//! ```text
//! cargo run --example 04_round_robin_ticket -- --show
//! cargo run --example 04_round_robin_ticket -- 8080 8000 8001 8002     serves; then, elsewhere:
//!     cargo run --bin backend 8000             and the same with 8001 and with 8002
//!     for i in 1 2 3 4; do curl localhost:8080; done
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::env;
use std::error::Error;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;

/// Right: the number is taken and moved on in one step.
fn take(ticket: &AtomicUsize) -> usize {
    ticket.fetch_add(1, Relaxed)
}

/// Wrong: two steps. `between` stands for whatever the scheduler lets happen there: nothing, nearly
/// always, which is why such a program passes its tests and fails in its third week.
fn take_in_two_steps(ticket: &AtomicUsize, between: impl FnOnce()) -> usize {
    let number = ticket.load(Relaxed);
    between();
    ticket.store(number + 1, Relaxed);
    number
}

/// Two threads take a ticket each, with `take_one`. Returns both, the smaller one first.
fn two_threads(take_one: impl Fn(&AtomicUsize) -> usize + Sync) -> [usize; 2] {
    let ticket = AtomicUsize::new(0);
    let mut taken = thread::scope(|scope| {
        let other = scope.spawn(|| take_one(&ticket));
        let mine = take_one(&ticket);
        [mine, other.join().unwrap_or(usize::MAX)]
    });
    taken.sort_unstable();
    taken
}

/// Both threads have loaded before either stores: the barrier lets nobody on until both are there.
fn both_load_first() -> [usize; 2] {
    let both_have_loaded = Barrier::new(2);
    two_threads(|ticket| {
        take_in_two_steps(ticket, || {
            both_have_loaded.wait();
        })
    })
}

/// Serves for ever: each client gets a thread, and the next backend in turn.
fn serve(listener: &TcpListener, backends: &Arc<[SocketAddr]>) -> io::Result<()> {
    let ticket = Arc::new(AtomicUsize::new(0));
    loop {
        let (client, _) = listener.accept()?;
        let (ticket, backends) = (Arc::clone(&ticket), Arc::clone(backends));
        let session = move || {
            let backend = backends[take(&ticket) % backends.len()];
            match TcpStream::connect(backend) {
                Ok(server) => relay(&client, &server),
                Err(error) => eprintln!("backend {backend}: {error}"),
            }
        };
        if let Err(error) = thread::Builder::new().spawn(session) {
            eprintln!("no thread: {error}");
        }
    }
}

/// Step 3, shortened: both directions, each with its own end.
fn relay(client: &TcpStream, server: &TcpStream) {
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let result = io::copy(&mut from, &mut to);
        let _ = to.shutdown(result.map_or(Shutdown::Both, |_| Shutdown::Write));
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(server, client));
        copy(client, server);
    });
}

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().any(|argument| argument == "--show") {
        println!("two threads take a ticket each:");
        println!("    load, then store: {:?}", both_load_first());
        println!("    fetch_add:        {:?}", two_threads(take));
        return Ok(());
    }
    let ports = env::args().skip(1).map(|text| text.parse::<u16>());
    let mut ports = ports.collect::<Result<Vec<_>, _>>()?;
    if ports.len() < 2 {
        ports = vec![8080, 8000, 8001, 8002];
    }
    let listener = TcpListener::bind(("127.0.0.1", ports[0]))?;
    let backends = ports[1..].iter().map(|&port| ([127, 0, 0, 1], port).into());
    println!("{} -> {:?}, in turn", listener.local_addr()?, &ports[1..]);
    Ok(serve(&listener, &backends.collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// Wrong: in the one order that matters, both get the same number.
    #[test]
    fn two_steps_give_one_ticket_twice() {
        assert_eq!(both_load_first(), [0, 0]);
    }

    /// Right: four threads, a thousand tickets each, all different and none left out.
    #[test]
    fn one_step_gives_each_ticket_once() {
        let (ticket, start) = (AtomicUsize::new(0), Barrier::new(4));
        let mut taken: Vec<usize> = thread::scope(|scope| {
            let take_many = || {
                start.wait();
                (0..1000).map(|_| take(&ticket)).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take_many)).collect();
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        });
        taken.sort_unstable();
        assert_eq!(taken, (0..4000).collect::<Vec<_>>());
    }

    /// Clients, one after another, are answered by one backend after another.
    #[test]
    fn clients_go_to_the_backends_in_turn() {
        let backends: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let addresses = backends.iter().map(|b| b.local_addr().unwrap()).collect();
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap();
        thread::spawn(move || serve(&front, &addresses));
        for turn in 0..4 {
            let mut client = TcpStream::connect(address).unwrap();
            let (mut served, _) = backends[turn % 3].accept().unwrap();
            served.write_all(b"!").unwrap();
            client.read_exact(&mut [0; 1]).unwrap();
        }
    }
}
