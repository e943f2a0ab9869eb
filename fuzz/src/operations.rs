//! A pool through anything that can happen to it: sessions come and go, probes and agents find things out,
//! the administrator and reloads change what is wanted. Two bytes are one step.
//!
//! After each step, what the pool says is compared with an account kept here: nobody holds more or fewer
//! sessions than there are leases, and whoever serves is one who may.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use evener::config::{self, BackendAddress, WhenDown};
use evener::policy::balance::POLICIES;
use evener::policy::eligible::Mode;
use evener::policy::health::{AdminState, Health};
use evener::policy::intent::{Intent, Wish};
use evener::pool::{Backend, Condition, Lease, Pool};

/// Backends that may be in the config. One byte has a bit for each.
const BACKENDS: u8 = 4;

/// Steps that are looked at, so that each run ends soon.
const STEPS_MAX: usize = 500;

/// The pool, and the account.
struct World {
    pool: Arc<Pool>,
    leases: Vec<Lease>,
    /// Every backend there ever was, by its name and how many of that name were before.
    known: BTreeMap<(String, usize), Arc<Backend>>,
}

/// Steps of a pool's life.
pub fn operations(bytes: &[u8]) {
    let mut world = World::new();
    for step in bytes.chunks_exact(2).take(STEPS_MAX) {
        world.step(step[0], step[1]);
        world.check();
    }
    world.leases.clear();
    world.check();
    assert!(world.known.values().all(|one| one.active.get() == 0));
}

impl World {
    fn new() -> World {
        let config = config_of(0b0111, 0);
        let backends = config.backends.iter().map(new_backend).collect();
        let pool = Arc::new(Pool::new(&config, backends, 1));
        pool.take_over();
        pool.publish();
        let mut world = World {
            pool,
            leases: Vec::new(),
            known: BTreeMap::new(),
        };
        world.learn_backends();
        world
    }

    fn step(&mut self, what: u8, how: u8) {
        match what % 12 {
            0 => self.session(how, &[]),
            1 => {
                // Connecting to the first has failed.
                let first = self.leases.pop().map(|lease| lease.index());
                self.session(how, first.as_slice());
            }
            2 if !self.leases.is_empty() => {
                let index = usize::from(how) % self.leases.len();
                drop(self.leases.swap_remove(index));
            }
            3 => self.intend(how, |intent| intent.asked(Some(u32::from(how >> 4)), None)),
            4 => self.intend(how, |intent| intent.asked(None, Some(state(how >> 4)))),
            5 => self.intend(how, |intent| {
                intent.advised(Some((how >> 2).min(100)), Some(state(how >> 4)))
            }),
            6 => self.intend(how, Intent::unadvised),
            7 => {
                let health =
                    [Health::Up, Health::Down, Health::Starting][usize::from(how >> 4) % 3];
                self.of(how).set_condition(Condition::new(health, "a step"));
                self.pool.publish();
            }
            8 => {
                let ejection = (how >= 128).then(|| Condition::new(Health::Ejected, "a step"));
                self.of(how).set_ejection(ejection);
                self.pool.publish();
            }
            9 => self.reload(how, 0),
            10 => self.reload(0b1111, how),
            _ => self.reload(how, how >> 4),
        }
    }

    /// A session comes that has tried these.
    fn session(&mut self, client: u8, tried: &[usize]) {
        let client = IpAddr::from([192, 0, 2, client]);
        let has_untried = self.pool.has_untried(tried);
        let Some(lease) = self.pool.lease(tried, client) else {
            let may =
                |index: &usize| !tried.contains(index) && !self.pool.backends[*index].is_full();
            let with_room: Vec<usize> = self.serving().into_iter().filter(may).collect();
            assert!(
                with_room.is_empty(),
                "nobody was picked, and {with_room:?} had room"
            );
            return;
        };
        assert!(has_untried && !tried.contains(&lease.index()));
        let backend = lease.backend();
        assert!(Arc::ptr_eq(backend, &self.pool.backends[lease.index()]));
        let limit = backend.limit().unwrap_or(u32::MAX);
        assert!(backend.active.get() <= limit, "more than it may have");
        self.leases.push(lease);
    }

    fn of(&self, how: u8) -> &Backend {
        &self.pool.backends[usize::from(how) % self.pool.backends.len()]
    }

    fn intend(&self, how: u8, change: impl FnOnce(Intent) -> Intent) {
        self.of(how).change_intent(change);
        self.pool.publish();
    }

    /// Another config, as `server::build` makes a pool of it.
    fn reload(&mut self, which: u8, how: u8) {
        let config = config_of(which, how);
        let old = |name: &str| self.pool.backends.iter().find(|one| *one.name == *name);
        let backends: Vec<Arc<Backend>> = config
            .backends
            .iter()
            .map(|one| old(&one.name).map_or_else(|| new_backend(one), Arc::clone))
            .collect();
        let pool = Arc::new(self.pool.replaced_by(&config, backends));
        for (backend, wanted) in pool.backends.iter().zip(&config.backends) {
            backend.change_intent(|intent| intent.reloaded(wish(wanted)));
            backend.set_limit(wanted.max_connections);
        }
        pool.take_over();
        pool.publish();
        assert!(Arc::ptr_eq(&self.pool.latest(), &pool));
        self.pool = pool;
        self.learn_backends();
    }

    fn learn_backends(&mut self) {
        for backend in &self.pool.backends {
            if !self.known.values().any(|known| Arc::ptr_eq(known, backend)) {
                let name = backend.name.to_string();
                let before = self.known.keys().filter(|(known, _)| *known == name);
                let number = before.count();
                self.known.insert((name, number), Arc::clone(backend));
            }
        }
    }

    /// Whom a session may get that has not tried anybody.
    fn serving(&self) -> Vec<usize> {
        self.pool.peek([192, 0, 2, 1].into(), |choice| {
            let members = choice.rotation.members().iter();
            members.map(|member| member.backend).collect()
        })
    }

    fn check(&self) {
        for (name, backend) in &self.known {
            let is_held = |lease: &&Lease| Arc::ptr_eq(lease.backend(), backend);
            let held = self.leases.iter().filter(is_held).count();
            assert_eq!(backend.active.get() as usize, held, "sessions of {name:?}");
        }
        let mode = self.pool.mode();
        let serving = self.serving();
        assert_eq!(serving.is_empty(), !self.pool.can_serve());
        assert_eq!(serving.is_empty(), mode == Mode::Down, "{mode:?}");
        for (index, backend) in self.pool.backends.iter().enumerate() {
            let serves = serving.contains(&index);
            let standing = backend.standing();
            let expected = match mode {
                Mode::Normal => backend.takes_sessions() && !standing.backup,
                Mode::Backups => backend.takes_sessions() && standing.backup,
                Mode::Panic => standing.wanted.is_some() && !standing.backup,
                // Whoever is wanted at all.
                Mode::FailOpen => serves && standing.wanted.is_some(),
                Mode::Down => false,
            };
            assert_eq!(serves, expected, "{} in {mode:?}", backend.name);
        }
        for (backend, active, excess) in self.pool.excess() {
            assert!(excess <= active, "{} of {active}: {excess}", backend.name);
        }
    }
}

/// The config of the backends whose bits are set in `which`; the bits of `how` decide the rest.
fn config_of(which: u8, how: u8) -> config::Pool {
    let one = |number: u8| {
        let address = SocketAddr::from(([127, 0, 0, 1], 8000 + u16::from(number)));
        config::Backend {
            weight: u32::from(which >> 4) + u32::from(number),
            backup: how & 1 == 1 && number == 1,
            state: state(if number == 2 { how >> 1 } else { 0 }),
            max_connections: (how & 2 == 2).then_some(u32::from(how >> 6) + 1),
            ..config::Backend::new(BackendAddress::Ip(address))
        }
    };
    // A pool has a backend at least.
    let which = if which.trailing_zeros() >= BACKENDS.into() {
        1
    } else {
        which
    };
    let backends = (0..BACKENDS)
        .filter(|number| which >> number & 1 == 1)
        .map(one);
    config::Pool {
        balance: POLICIES[usize::from(how >> 2) % POLICIES.len()],
        when_down: [WhenDown::Reset, WhenDown::FailOpen][usize::from(how >> 5) % 2],
        panic_threshold: [0.0, 0.5][usize::from(how >> 3) % 2],
        ..config::Pool::new("p", backends.collect())
    }
}

fn wish(wanted: &config::Backend) -> Wish {
    Wish {
        weight: wanted.weight,
        state: wanted.state,
        backup: wanted.backup,
    }
}

fn new_backend(wanted: &config::Backend) -> Arc<Backend> {
    let BackendAddress::Ip(address) = wanted.address else {
        panic!("an address of another kind");
    };
    let Wish { weight, state, .. } = wish(wanted);
    let backend = Backend::new(&wanted.name, address, weight, state, Health::Up);
    backend.change_intent(|_| Intent::new(wish(wanted)));
    Arc::new(backend)
}

fn state(number: u8) -> AdminState {
    AdminState::ALL[usize::from(number) % AdminState::ALL.len()]
}
