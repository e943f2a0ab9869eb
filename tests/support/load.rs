//! Clients that come without pause, each request on a connection of its own, and what became of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;

use super::{eventually, who_serves};

/// Clients at work until [`Load::finish`].
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Held for reading as long as a request lasts.
    in_flight: RwLock<()>,
    account: Mutex<Account>,
}

/// What the clients got.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Account {
    /// Answers, by the name of the backend that gave them.
    pub served: BTreeMap<String, usize>,
    /// What was not answered, and why.
    pub errors: Vec<String>,
}

impl Account {
    /// How many answers there were.
    pub fn answers(&self) -> usize {
        self.served.values().sum()
    }

    /// How many answers that backend gave.
    pub fn of(&self, name: &str) -> usize {
        self.served.get(name).copied().unwrap_or(0)
    }
}

impl Load {
    /// So many clients, each with one request after the other.
    pub fn start(address: SocketAddr, clients: usize) -> Load {
        let shared = Arc::new(Shared::default());
        let one = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.ask_until_stopped(address))
        };
        Load {
            clients: (0..clients).map(one).collect(),
            shared,
        }
    }

    /// What they got so far.
    pub fn account(&self) -> Account {
        self.shared.account.lock().unwrap().clone()
    }

    /// Does something while no request is in flight. A request that a killed server was working on
    /// is lost with it, and no balancer on layer 4 can ask again in the client's place; this keeps
    /// such requests out of the account.
    pub fn between_requests<T>(&self, act: impl FnOnce() -> T) -> T {
        let _none_in_flight = self.shared.in_flight.write().unwrap();
        act()
    }

    /// Waits until there are so many answers more than now.
    #[track_caller]
    pub fn wait_for_more(&self, answers: usize) {
        let enough = self.account().answers() + answers;
        eventually("more answers", || {
            (self.account().answers() >= enough).then_some(())
        });
    }

    /// Lets every client end the request that it is at, and gives the account of all.
    pub fn finish(mut self) -> Account {
        self.shared.stop.store(true, Relaxed);
        for client in self.clients.drain(..) {
            client.join().unwrap();
        }
        self.account()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A test that fails must not leave clients behind that keep the machine busy.
        self.shared.stop.store(true, Relaxed);
    }
}

impl Shared {
    fn ask_until_stopped(&self, address: SocketAddr) {
        while !self.stop.load(Relaxed) {
            let request = self.in_flight.read().unwrap();
            let answer = who_serves(address);
            let mut account = self.account.lock().unwrap();
            match answer {
                Ok(name) => *account.served.entry(name).or_default() += 1,
                Err(error) => account.errors.push(error.to_string()),
            }
            // Only now: who acts between requests may count the answers right after.
            drop(request);
        }
    }
}
