//! The simulated world: a clock, a pool with its servers, sessions, and a queue; and what evener's threads
//! do with them, retold on one thread.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use evener::config::{self, BackendAddress, WhenDown};
use evener::policy::balance::POLICIES;
use evener::policy::health::{AdminState, Health, is_probed};
use evener::policy::idle::Watch;
use evener::policy::intent::Wish;
use evener::policy::lifetime::Age;
use evener::policy::outlier::Rules;
use evener::pool::{Condition, Lease, Pool};

use super::core::Core;
use super::random::Random;
use super::server::Server;

/// Lines of the journal that are kept.
const JOURNAL_MAX: usize = 40;

/// Sessions that live at once.
pub const SESSIONS_MAX: usize = 40;

/// A session that lives.
pub struct Session {
    pub lease: Lease,
    pub id: u64,
    pub began: Duration,
    pub age: Age,
    pub moved: u64,
    pub watch: Watch,
}

/// The world.
pub struct World {
    pub core: &'static Core,
    pub random: Random,
    pub now: Duration,
    pub step: u64,
    pub config: config::Pool,
    pub thresholds: (u32, u32),
    pub jitter: f64,
    pub pool: Arc<Pool>,
    pub servers: Vec<Server>,
    pub sessions: Vec<Session>,
    /// The clients that wait for a backend, first come first.
    pub waiting: VecDeque<IpAddr>,
    pub next_session: u64,
    next_server: u16,
    pub journal: VecDeque<String>,
}

impl World {
    pub fn new(core: &'static Core, seed: u64) -> World {
        let mut random = Random::new(seed);
        let mut config = config::Pool::new("p", Vec::new());
        config.balance = core.policy.unwrap_or(random.one_of(POLICIES));
        if config.balance.table.is_some() && random.below(4) > 0 {
            // A table is built for each change of a weight, and takes longer than all the rest.
            config.balance = POLICIES[0];
        }
        config.retries = random.below(4) as u32;
        config.panic_threshold = random.one_of(&[0.0, 0.0, 0.3, 0.5]);
        config.when_down = random.one_of(&[WhenDown::Reset, WhenDown::Hold, WhenDown::FailOpen]);
        config.hashing.balance_factor = random.one_of(&[None, None, Some(1.25)]);
        config.outlier_detection = Some(Rules {
            consecutive_failures: 1 + random.below(3) as u32,
            ejection_time: Duration::from_secs(10),
            max_ejection_time: Duration::from_secs(60),
            max_ejection_percent: random.one_of(&[0, 20, 50, 100]),
        });
        let thresholds = (1 + random.below(3) as u32, 1 + random.below(3) as u32);
        let jitter = random.one_of(&[0.0, 0.1, 0.5]);
        let pool = Arc::new(Pool::new(&config, Vec::new(), seed));
        let mut world = World {
            core,
            random,
            now: Duration::from_secs(1),
            step: 0,
            config,
            thresholds,
            jitter,
            pool,
            servers: Vec::new(),
            sessions: Vec::new(),
            waiting: VecDeque::new(),
            next_session: 1,
            next_server: 1,
            journal: VecDeque::new(),
        };
        for _ in 0..=world.random.below(6) {
            let server = world.new_server();
            world.servers.push(server);
        }
        world.build_pool();
        world
    }

    pub fn note(&mut self, line: String) {
        if self.journal.len() == JOURNAL_MAX {
            self.journal.pop_front();
        }
        let now = self.now;
        self.journal.push_back(format!("{now:>14.3?} {line}"));
    }

    pub fn rules(&self) -> Rules {
        self.config
            .outlier_detection
            .clone()
            .expect("each world has them")
    }

    pub fn new_server(&mut self) -> Server {
        let wish = Wish {
            weight: self.random.one_of(&[1, 1, 1, 2, 3, 7, 0]),
            state: self
                .random
                .one_of(&[AdminState::Ready, AdminState::Ready, AdminState::Drain]),
            backup: self.random.one_in(5),
        };
        let limit = self.random.one_of(&[None, None, None, Some(2), Some(9)]);
        let number = self.next_server;
        self.next_server += 1;
        Server::new(number, wish, limit, self.thresholds, self.now)
    }

    pub fn client(&mut self) -> IpAddr {
        Ipv4Addr::from_bits(0x0a01_0000 + self.random.below(64) as u32).into()
    }

    /// The pool of the servers as they are now takes the place of the one before, as in a reload.
    pub fn build_pool(&mut self) {
        let configured = |server: &Server| {
            let address = BackendAddress::Ip(server.backend.address.ip().expect("an IP address"));
            let mut backend = config::Backend::new(address);
            backend.max_connections = server.limit;
            backend.max_queue = server.limit.map(|_| 3);
            backend
        };
        self.config.backends = self.servers.iter().map(configured).collect();
        let backends = self
            .servers
            .iter()
            .map(|server| Arc::clone(&server.backend));
        let pool = Arc::new(self.pool.replaced_by(&self.config, backends.collect()));
        pool.publish();
        pool.take_over();
        self.pool = pool;
        self.serve_those_who_wait();
    }

    /// Publishes what has changed, of the health thread or by hand.
    pub fn publish(&mut self, let_in: bool) {
        (self.core.publish)(&self.pool, let_in);
        self.serve_those_who_wait();
    }

    /// Takes in a result of a probe of the server at this place.
    pub fn observe(&mut self, at: usize, is_good: bool) {
        let server = &mut self.servers[at];
        server.expected.learn(is_good, self.thresholds);
        let transition = (self.core.observe)(&mut server.machine, is_good);
        if let Some(transition) = transition {
            server
                .backend
                .set_condition(Condition::new(transition.to, "probed"));
        }
        let is_back = is_good && server.ejected_until.is_some();
        if is_back {
            self.let_in(at);
        }
        if let Some(transition) = transition {
            let name = self.servers[at].name().to_owned();
            self.note(format!("{name} is {:?} now", transition.to));
            self.publish(transition.to == Health::Up);
        }
    }

    /// A connection to the server failed; it is ejected if that is one too many.
    pub fn failed(&mut self, at: usize) -> Result<(), String> {
        let rules = self.rules();
        let server = &self.servers[at];
        let streak = server.backend.failures.more();
        let is_there = server.backend.health() == Health::Up;
        if !rules.is_suspect(streak) || !is_there {
            return Ok(());
        }
        let total = self.servers.len();
        let out = self
            .servers
            .iter()
            .filter(|one| (self.core.is_out)(one))
            .count();
        if !(self.core.has_room)(&rules, out, total) {
            return Ok(());
        }
        let now = self.now;
        let server = &mut self.servers[at];
        let until = server.history.eject(now, &rules);
        server
            .backend
            .set_ejection(Some(Condition::new(Health::Ejected, "failed")));
        server.ejected_until = Some(until);
        let name = server.name().to_owned();
        self.note(format!("{name} is ejected until {until:?}"));
        self.publish(false);
        let out = self
            .servers
            .iter()
            .filter(|one| one.ejected_until.is_some());
        super::rules::ejected(&rules, out.count(), total, until.checked_sub(now))
    }

    /// Ends an ejection.
    pub fn let_in(&mut self, at: usize) {
        let server = &mut self.servers[at];
        server.ejected_until = None;
        server.history.end(self.now);
        server.backend.failures.end();
        server.backend.set_ejection(None);
        self.publish(true);
    }

    /// What follows from time that has passed.
    pub fn wake(&mut self) {
        for at in 0..self.servers.len() {
            if self.servers[at]
                .ejected_until
                .is_some_and(|until| until <= self.now)
            {
                self.let_in(at);
            }
        }
    }

    /// What follows from another wish: who is not probed is unknown when it is probed again.
    pub fn rest_or_start(&mut self, at: usize) {
        let server = &mut self.servers[at];
        let is_unknown = server.expected.health() == Health::Starting;
        if !is_probed(server.backend.intent().effective().state) && !is_unknown {
            server.machine =
                evener::policy::health::Machine::new(self.thresholds.0, self.thresholds.1);
            server.expected = super::server::Expected::default();
            server
                .backend
                .set_condition(Condition::new(Health::Starting, "not probed"));
        }
    }

    /// Those who wait are served in the order in which they came, as long as there is room.
    pub fn serve_those_who_wait(&mut self) {
        while let Some(client) = self.waiting.front() {
            let Some(lease) = self.pool.lease(&[], *client) else {
                return;
            };
            self.waiting.pop_front();
            // Whether it connects is left out here: it would be a session of a moment.
            self.begin(lease);
        }
    }

    pub fn begin(&mut self, lease: Lease) {
        self.next_session += 1;
        self.sessions.push(Session {
            lease,
            id: self.next_session,
            began: self.now,
            age: Age::Young,
            moved: 0,
            watch: Watch::new(self.now),
        });
    }
}
