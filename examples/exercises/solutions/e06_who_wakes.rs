//! Exercise 6, solved: `shutdown` on the socket makes the `read` return 0, as at the client's end, and so
//! does every `read` that begins later. The flag was raised before, so who sees that end sees the flag:
//! the lock that the kernel holds on the socket orders the two.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A session, shared by its thread and by whoever may end it.
pub struct Session {
    client: TcpStream,
    killed: AtomicBool,
}

/// Why a session has ended.
#[derive(Debug, PartialEq)]
pub enum End {
    /// The client has said all.
    Normal,
    /// The operator wanted it.
    Killed,
}

impl Session {
    /// With this client.
    pub fn new(client: TcpStream) -> Session {
        let killed = AtomicBool::new(false);
        Session { client, killed }
    }

    /// The session's thread: reads until the end.
    pub fn run(&self, between: impl FnOnce()) -> io::Result<End> {
        between();
        while (&self.client).read(&mut [0; 4096])? > 0 {}
        match self.killed.load(Relaxed) {
            true => Ok(End::Killed),
            false => Ok(End::Normal),
        }
    }

    /// Ends it, from another thread.
    pub fn kill(&self) {
        self.killed.store(true, Relaxed);
        // It fails when the client is gone already, and then the read has returned.
        let _ = self.client.shutdown(Shutdown::Both);
    }
}
