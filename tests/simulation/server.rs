//! A server of the simulated world: what it is in truth, what evener has of it, and what the rules
//! expect evener to know by now, kept as plainly as can be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evener::policy::agent::scaled;
use evener::policy::health::{AdminState, Health, Machine};
use evener::policy::intent::Wish;
use evener::policy::outlier::History;
use evener::pool::Backend;

/// One server.
pub struct Server {
    pub backend: Arc<Backend>,
    pub limit: Option<u32>,
    /// Does it answer, in truth?
    pub is_alive: bool,
    pub machine: Machine,
    pub history: History,
    /// While it is ejected; the rules expect it back by then.
    pub ejected_until: Option<Duration>,
    pub probes: Probes,
    pub expected: Expected,
    pub wanted: Wanted,
    /// Its agent says that it is down.
    pub says_down: bool,
}

/// When it is probed.
#[derive(Default)]
pub struct Probes {
    pub due: Duration,
    pub probed_before: bool,
}

/// What its probes amount to by definition: the results since it was last unknown, newest last.
#[derive(Default)]
pub struct Expected {
    health: Option<bool>,
    results: Vec<bool>,
}

/// What was asked of a server, each with the number of the step that asked.
pub struct Wanted {
    configured: Wish,
    state: AdminState,
    weight: u32,
    percent: u8,
    agent: Option<AdminState>,
    agent_spoke_at: u64,
    asked_state_at: Option<u64>,
}

impl Server {
    pub fn new(
        number: u16,
        wish: Wish,
        limit: Option<u32>,
        thresholds: (u32, u32),
        now: Duration,
    ) -> Server {
        let address = SocketAddr::from(([10, 0, 0, 1], number));
        let Wish { weight, state, .. } = wish;
        let backend = Backend::new(
            &format!("s{number}"),
            address,
            weight,
            state,
            Health::Starting,
        );
        backend.change_intent(|intent| intent.reloaded(wish));
        backend.set_limit(limit);
        Server {
            backend: Arc::new(backend),
            limit,
            is_alive: true,
            machine: Machine::new(thresholds.0, thresholds.1),
            history: History::default(),
            ejected_until: None,
            probes: Probes {
                due: now,
                probed_before: false,
            },
            expected: Expected::default(),
            wanted: Wanted::by_config(wish),
            says_down: false,
        }
    }

    pub fn name(&self) -> &str {
        &self.backend.name
    }

    /// Whether it is well, by what the rules expect to be known.
    pub fn is_well(&self) -> bool {
        self.expected.health == Some(true) && !self.says_down && self.ejected_until.is_none()
    }
}

impl Expected {
    pub fn health(&self) -> Health {
        match self.health {
            None => Health::Starting,
            Some(true) => Health::Up,
            Some(false) => Health::Down,
        }
    }

    /// One more result: the first decides, and after that so many in a row that say otherwise.
    pub fn learn(&mut self, is_good: bool, (rise, fall): (u32, u32)) {
        self.results.push(is_good);
        let needed = match self.health {
            None => 1,
            Some(true) => fall,
            Some(false) => rise,
        };
        let others = self
            .results
            .iter()
            .rev()
            .take_while(|result| **result == is_good);
        if self.health != Some(is_good) && others.count() >= needed as usize {
            self.health = Some(is_good);
            self.results.clear();
        }
        // Longer than any threshold, so that nothing is lost.
        if self.results.len() > 32 {
            self.results.remove(0);
        }
    }
}

impl Wanted {
    fn by_config(configured: Wish) -> Wanted {
        Wanted {
            configured,
            state: configured.state,
            weight: configured.weight,
            percent: 100,
            agent: None,
            agent_spoke_at: 0,
            asked_state_at: None,
        }
    }

    pub fn configured(&self) -> Wish {
        self.configured
    }

    /// A config that says the same as before takes nothing back; one that says something new does.
    pub fn reload(&mut self, configured: Wish) {
        if configured != self.configured {
            self.configured = configured;
            self.state = configured.state;
            self.weight = configured.weight;
        }
    }

    pub fn ask(&mut self, weight: Option<u32>, state: Option<AdminState>, step: u64) {
        self.weight = weight.unwrap_or(self.weight);
        if let Some(state) = state {
            self.state = state;
            self.asked_state_at = Some(step);
        }
    }

    pub fn advise(&mut self, percent: Option<u8>, state: Option<AdminState>, step: u64) {
        self.percent = percent.unwrap_or(self.percent);
        if state.is_some() && state != self.agent {
            self.agent = state;
            self.agent_spoke_at = step;
        }
    }

    /// The administrator's last word, and the agent's where that says `ready` and came first.
    pub fn counts(&self) -> Wish {
        let heard = self
            .asked_state_at
            .is_none_or(|asked| asked < self.agent_spoke_at);
        let state = match self.agent {
            Some(agent) if heard && self.state == AdminState::Ready => agent,
            _ => self.state,
        };
        Wish {
            weight: scaled(self.weight, self.percent),
            state,
            backup: self.configured.backup,
        }
    }
}
