//! A small house: the parts of the program that many threads share, and the threads that share them.
//!
//! The parts are the program's own (`pool`, `registry`, `sync`). The threads are short copies of its loops
//! without sockets and timeouts: what they call, and in which order, is what `session`, `health::checker` and
//! `server::reload` do. Whatever has to hold at any moment is asserted by the session that could see it broken.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use evener::config::{self, BackendAddress};
use evener::events::EndReason;
use evener::policy::balance;
use evener::policy::health::{AdminState, Health};
use evener::pool::{Backend, Condition, Lease, Pool};
use evener::registry::{Listener, Live, Notes, Origin, Registry};
use evener::sync::{Flag, Gate, Joined, Published, Setting};
use shuttle::sync::mpsc;
use shuttle::thread;

/// How many sessions each backend may have at once.
const LIMIT: u32 = 1;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What the health thread is told.
#[derive(Debug)]
pub(crate) enum News {
    /// A probe of this backend has found it so.
    Found(Arc<Backend>, Health),
    /// This pool is in force from now on.
    Replace(Arc<Pool>),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Served,
    NoBackend,
    Aborted,
    Refused,
}

#[derive(Debug)]
pub(crate) struct House {
    pub(crate) gate: Arc<Gate>,
    drained: Receiver<std::convert::Infallible>,
    pub(crate) registry: Arc<Registry>,
    listener: Arc<Listener>,
    /// The pool that sessions begin with.
    pub(crate) running: Published<Arc<Pool>>,
    /// Raised when the reload that takes the first backend out is done.
    pub(crate) first_is_gone: Flag,
    /// Odd while the second backend is drained: from when that is published until it is taken back.
    pub(crate) drains: Setting,
}

/// A backend that is up.
pub(crate) fn backend(name: &str, health: Health) -> Arc<Backend> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let backend = Backend::new(name, address, 1, AdminState::Ready, health);
    backend.set_limit(Some(LIMIT));
    Arc::new(backend)
}

pub(crate) fn pool_config(backends: usize) -> config::Pool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let server = config::Backend {
        max_connections: Some(LIMIT),
        ..config::Backend::new(BackendAddress::Ip(address))
    };
    config::Pool {
        balance: balance::by_name("least_connections").unwrap(),
        ..config::Pool::new("web", vec![server; backends])
    }
}

/// A client; its other end is gone, and nobody reads or writes here.
fn client() -> OwnedFd {
    UnixStream::pair().unwrap().0.into()
}

impl House {
    /// A house that serves with these backends.
    pub(crate) fn with(backends: &[&Arc<Backend>], places: u32) -> Arc<House> {
        let config = pool_config(backends.len());
        let backends = backends.iter().map(|one| Arc::clone(one)).collect();
        let pool = Arc::new(Pool::new(&config, backends, 0));
        let _ = pool.publish();
        pool.take_over();
        let (gate, drained) = Gate::new(places);
        Arc::new(House {
            gate,
            drained,
            registry: Arc::default(),
            listener: Arc::new(Listener::new("web", None)),
            running: Published::new(pool),
            first_is_gone: Flag::default(),
            drains: Setting::default(),
        })
    }

    /// The pool in force.
    pub(crate) fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.running.load())
    }

    /// One session, from the gate to its end. A long one lives until somebody ends it.
    pub(crate) fn session(&self, id: u64, is_long: bool) -> End {
        let Ok(_permit) = self.gate.enter() else {
            return End::Refused;
        };
        let first_was_gone = self.first_is_gone.is_raised();
        let pool = self.pool();
        let live = Arc::new(Live::new(
            Origin {
                id,
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, 2)).into(),
                listener: Arc::clone(&self.listener),
                pool: Some(Arc::clone(&pool)),
                since: Duration::ZERO,
            },
            client(),
        ));
        let _listed = self.registry.enter(&live, Notes::new(Duration::ZERO));
        let drains_before = self.drains.get();
        let Some(lease) = find(&pool) else {
            return End::NoBackend;
        };
        let backend = lease.backend();
        assert!(backend.active.get() <= LIMIT, "more than it may have");
        assert!(
            !(first_was_gone && &*backend.name == "first"),
            "picked after the reload that took it out"
        );
        let was_drained = drains_before % 2 == 1 && drains_before == self.drains.get();
        assert!(
            !(was_drained && &*backend.name == "second"),
            "picked while it is drained"
        );
        live.attach(backend, client());
        // Its bytes go to and fro. Where the program's thread would be woken by a socket that is shut down, this
        // one looks again.
        while is_long && live.cause().is_none() {
            thread::yield_now();
        }
        match live.cause() {
            Some(EndReason::Shutdown) => End::Aborted,
            None => End::Served,
            Some(other) => panic!("nobody ends sessions for {other:?}"),
        }
    }

    /// The health thread: writes what is found, and publishes it.
    pub(crate) fn check(&self, news: &mpsc::Receiver<News>) {
        let mut pool = self.pool();
        while let Ok(news) = news.recv() {
            match news {
                News::Replace(newer) => pool = newer,
                News::Found(backend, health) => {
                    backend.set_condition(Condition::new(health, "as the model wants it"));
                }
            }
            let _ = pool.publish();
        }
    }

    /// Puts a pool with these backends in force, in the order in which the program does it.
    pub(crate) fn reload(&self, backends: &[&Arc<Backend>], checker: &mpsc::Sender<News>) {
        let backends_of_it = backends.iter().map(|one| Arc::clone(one)).collect();
        let config = pool_config(backends.len());
        let pool = Arc::new(self.pool().replaced_by(&config, backends_of_it));
        let _ = pool.publish();
        pool.take_over();
        checker.send(News::Replace(Arc::clone(&pool))).unwrap();
        self.running.store(pool);
    }

    /// Nobody comes in any more, and who is inside is ended.
    pub(crate) fn shut_down(&self) {
        self.gate.close();
        self.registry.abort_all();
    }

    /// What holds when every thread has ended.
    pub(crate) fn assert_is_empty(&self, backends: &[&Arc<Backend>]) {
        for backend in backends {
            assert_eq!(backend.active.get(), 0, "sessions of {}", backend.name);
        }
        assert!(self.registry.is_empty(), "a session is still listed");
        assert_eq!(self.gate.occupancy().0, 0, "a place is still taken");
        assert_eq!(self.drained.try_recv(), Err(TryRecvError::Disconnected));
        let pool = self.pool();
        assert!(pool.queue().is_none_or(|(queue, _)| queue.is_empty()));
    }

    /// What sessions can pick is what follows from all that is known and wanted by now.
    pub(crate) fn assert_is_published(&self) {
        let pool = self.pool();
        let members = || pool.peek(CLIENT, |choice| choice.rotation.members().to_vec());
        let published = members();
        let _ = pool.publish();
        assert_eq!(published, members(), "an old state is published");
    }
}

/// Finds a backend with room, and waits for one where all are full, as `session::queue` does.
fn find(pool: &Arc<Pool>) -> Option<Lease> {
    let far = Instant::now() + Duration::from_secs(3600);
    let look = || {
        let pool = pool.latest();
        match pool.lease(&[], CLIENT) {
            Some(lease) => Some(Some(lease)),
            None if pool.has_untried(&[]) => None,
            None => Some(None),
        }
    };
    let (queue, room) = pool.queue().unwrap();
    match queue.join(room, look) {
        Joined::Served(found) => found,
        Joined::TooMany => panic!("any number may wait"),
        Joined::Waits(place) => place.wait(far, look).unwrap(),
    }
}
