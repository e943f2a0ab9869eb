//! Step 8: graceful shutdown, and who wakes a blocked accept.
//!
//! What it teaches: a thread that is blocked in a system call ends only if the *kernel* wakes it. Here
//! `shutdown` on the listening socket does: the `accept` that sleeps returns an error, and so does one
//! that has not begun yet, so there is no moment at which the call comes too early.
//! "All sessions have ended" is a channel that carries nothing: each session holds a sender, and when
//! the last one is dropped, the receiver is disconnected. Shutdown goes from top to bottom: no new
//! clients, then a deadline for those who are there, then their sockets are shut down under them.
//!
//! What goes wrong without it: a flag. It is raised, nobody looks at it, `accept` sleeps until the next
//! client comes, which may be never. And a process that just exits cuts every answer in the middle.
//!
//! In earnest: `src/net/listener.rs` (`shut_down`; and `poll` for a client or a bell where another
//! process has the socket too), `src/server/shutdown.rs` (the order), `src/net/abort.rs` (cutting off).
//!
//! ```text
//! cargo run --example 08_graceful_shutdown
//! ```
//! You will see a client that stays too long, and that no thread is left behind. To see the deadline of
//! the real thing: `cargo run -- demo`, `nc localhost 8080`, and Ctrl-C in the demo.

#![allow(
    clippy::disallowed_methods,
    reason = "std's plain calls are the lesson"
)]

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

/// The sockets of all sessions that ever were, to shut down those that stay too long. (In evener a
/// session leaves the list when it ends: `src/registry/`.)
type Sessions = Arc<Mutex<Vec<Arc<TcpStream>>>>;

struct Server {
    listener: Arc<TcpListener>,
    listening: JoinHandle<()>,
    sessions: Sessions,
    /// Disconnected when all threads have ended. `Infallible` has no value: nothing but the end can come.
    all_over: Receiver<Infallible>,
}

impl Server {
    fn start(listener: TcpListener) -> io::Result<Server> {
        let (listener, sessions) = (Arc::new(listener), Sessions::default());
        let (alive, all_over) = bounded(0);
        let (socket, list) = (Arc::clone(&listener), Arc::clone(&sessions));
        let listening = thread::Builder::new().spawn(move || listen(&socket, &list, &alive))?;
        Ok(Server {
            listener,
            listening,
            sessions,
            all_over,
        })
    }

    /// Drains; returns whether everybody left in time.
    fn shut_down(self, patience: Duration) -> io::Result<bool> {
        rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Read)?;
        let joined = self.listening.join();
        joined.map_err(|_| io::Error::other("the listening thread panicked"))?;
        // The last one who has the socket closes it; from here on, clients are refused.
        drop(self.listener);
        // Nothing can come over this channel: it ends, or the patience does.
        let ended = self.all_over.recv_timeout(patience);
        for session in self.sessions.lock().iter() {
            // Wakes the thread that sleeps in a read of this socket. It fails for those long gone.
            let _ = session.shutdown(Shutdown::Both);
        }
        let _ = self.all_over.recv();
        Ok(ended == Err(RecvTimeoutError::Disconnected))
    }
}

/// The life of the listening thread: until its socket is shut down.
fn listen(listener: &TcpListener, sessions: &Sessions, alive: &Sender<Infallible>) {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => Arc::new(client),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(_) => continue, // evener makes a pause: out of descriptors, this would spin
        };
        let (kept, alive) = (Arc::clone(&client), alive.clone());
        let session = move || {
            let _ = io::copy(&mut &*client, &mut &*client);
            let _ = client.shutdown(Shutdown::Write);
            drop(alive);
        };
        match thread::Builder::new().spawn(session) {
            Ok(_) => sessions.lock().push(kept),
            Err(error) => eprintln!("no thread: {error}"),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = Server::start(listener)?;
    let mut client = TcpStream::connect(address)?;
    client.write_all(b"?")?;
    client.read_exact(&mut [0; 1])?;
    println!("a client is served, then says nothing; the server is to end within 0.1 s");
    let in_time = server.shut_down(Duration::from_millis(100))?;
    println!("all left in time: {in_time}; no thread is left");
    println!(
        "the client reads {} bytes: the end",
        client.read(&mut [0; 1])?
    );
    println!("a new client gets: {:?}", TcpStream::connect(address));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::RecvTimeoutError;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// Wrong: looking at a flag, then sleeping in `accept`. The flag is raised between the two here; a
    /// moment later is no better.
    #[test]
    fn a_flag_wakes_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (looked, has_looked) = bounded(2);
        let (end, has_ended) = bounded(1);
        let flag = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&flag);
        thread::spawn(move || {
            while !seen.load(Relaxed) {
                looked.send(()).unwrap();
                listener.accept().unwrap();
            }
            end.send(()).unwrap();
        });
        has_looked.recv().unwrap();
        flag.store(true, Relaxed);
        let waited = has_ended.recv_timeout(Duration::from_millis(50));
        assert_eq!(waited, Err(RecvTimeoutError::Timeout));
        // Only the next client frees it.
        TcpStream::connect(address).unwrap();
        has_ended.recv().unwrap();
    }

    fn served() -> (Server, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = Server::start(listener).unwrap();
        client.write_all(b"?").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        (server, client)
    }

    /// Right: nobody comes, and the listening thread ends; the session that is there may finish.
    #[test]
    fn who_is_there_may_finish() {
        let (server, mut client) = served();
        let ending = thread::spawn(move || server.shut_down(Duration::from_secs(60)));
        client.write_all(b"more").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut echo = String::new();
        client.read_to_string(&mut echo).unwrap();
        assert_eq!(echo, "more");
        assert!(ending.join().unwrap().unwrap());
    }

    /// Right: who stays is cut off at the deadline, and every thread has ended.
    #[test]
    fn who_stays_is_cut_off() {
        let (server, mut client) = served();
        assert!(!server.shut_down(Duration::from_millis(20)).unwrap());
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    }
}
