//! Exercise 6: end a session whose client says nothing.
//!
//! An operator ends a session (`evener kill 12`). The flag is raised, but the session's thread sleeps in
//! `read`, and looks at the flag when the next byte comes, which may be tomorrow.
//!
//! `between` is the test's way to stop time: the operator acts while it runs. Call it once in each call
//! of [`Session::run`], before the first read.
//!
//! Hint: a thread that is blocked in the kernel is woken by the kernel (step 8). What could be done to
//! the socket, by another thread, that makes the `read` return? A flag is needed all the same: how else
//! would the session tell its client's end from the operator's?

use std::io::{self, Read};
use std::net::TcpStream;
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
        let mut between = Some(between);
        while !self.killed.load(Relaxed) {
            if let Some(between) = between.take() {
                between();
            }
            if (&self.client).read(&mut [0; 4096])? == 0 {
                return Ok(End::Normal);
            }
        }
        Ok(End::Killed)
    }

    /// Ends it, from another thread.
    pub fn kill(&self) {
        self.killed.store(true, Relaxed);
    }
}
