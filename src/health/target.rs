//! What the health thread asks, and how it is told whom to ask.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::agent::Agent;
use super::probe::Task;
use super::question::Question;
use crate::config::{self, HealthCheck, ProbeHeader};
use crate::policy::address::Address;
use crate::policy::health::{Health, Machine, is_probed};
use crate::policy::schedule;
use crate::pool::{Backend, Condition, Pool};

/// A backend that is probed, or its agent.
#[derive(Debug)]
pub struct Target {
    pub(super) pool: Arc<Pool>,
    pub(super) backend: Arc<Backend>,
    pub(super) duty: Duty,
    /// When the current probe was due, or the next one is, since the checker's start.
    pub(super) due: Duration,
    /// When the next one begins: at `due`, or later where the last one found nothing out.
    pub(super) next: Duration,
    pub(super) probed_before: bool,
    pub(super) in_flight: bool,
}

/// What is asked, and what is remembered of the answers.
#[derive(Debug)]
pub(super) enum Duty {
    /// The backend is probed.
    Probe {
        check: HealthCheck,
        machine: Machine,
    },
    /// Its agent is asked.
    Agent(Agent),
}

impl Target {
    /// A backend of `pool`, probed at once for the first time.
    pub fn new(pool: Arc<Pool>, backend: Arc<Backend>, check: HealthCheck) -> Target {
        let machine = Machine::new(check.rise, check.fall);
        Target::with(pool, backend, Duty::Probe { check, machine })
    }

    /// The agent of a backend of `pool`, asked at once for the first time.
    pub fn of_agent(pool: Arc<Pool>, backend: Arc<Backend>, config: config::Agent) -> Target {
        Target::with(pool, backend, Duty::Agent(Agent::new(config)))
    }

    fn with(pool: Arc<Pool>, backend: Arc<Backend>, duty: Duty) -> Target {
        Target {
            pool,
            backend,
            duty,
            due: Duration::ZERO,
            next: Duration::ZERO,
            probed_before: false,
            in_flight: false,
        }
    }

    /// What no other target has: the backend, and what is asked.
    pub(super) fn key(&self) -> (*const Backend, bool) {
        let is_agent = matches!(self.duty, Duty::Agent(_));
        (Arc::as_ptr(&self.backend), is_agent)
    }

    /// How long one probe of it may take.
    pub fn timeout(&self) -> Duration {
        match &self.duty {
            Duty::Probe { check, .. } => check.timeout,
            Duty::Agent(agent) => agent.config.timeout,
        }
    }

    /// How long it is to the next probe, as things stand.
    pub(super) fn interval(&self) -> Duration {
        match &self.duty {
            Duty::Probe { check, machine } => {
                check.intervals().after(machine.health(), machine.streak())
            }
            Duty::Agent(agent) => agent.config.interval,
        }
    }

    /// Does a good answer show that clients can be connected to the backend? That of an agent does not,
    /// nor one from another address.
    pub(super) fn shows_connections(&self) -> bool {
        matches!(self.duty, Duty::Probe { .. }) && self.address() == self.backend.address
    }

    /// Is the backend up, by its probes?
    pub(super) fn is_up(&self) -> bool {
        matches!(&self.duty, Duty::Probe { machine, .. } if machine.health() == Health::Up)
    }

    /// Decides when the next probe is due, after the one that was.
    pub(super) fn set_next_due(&mut self, now: Duration, random: u64) {
        let interval = self.interval();
        self.due = if self.probed_before {
            let jitter = match &self.duty {
                Duty::Probe { check, .. } => check.jitter,
                Duty::Agent(_) => config::defaults::HEALTH_JITTER,
            };
            schedule::next_probe(self.due, now, interval, jitter, random)
        } else {
            schedule::second_probe(self.due, interval, random).max(now)
        };
        self.probed_before = true;
    }

    /// Is it not to be probed for now, because its agent has put the backend in maintenance? What is
    /// known of it is forgotten then: nobody knows what becomes of it meanwhile. (Where the
    /// administrator has done so, it is no target.)
    pub(super) fn is_resting(&mut self) -> bool {
        let Duty::Probe { check, machine } = &mut self.duty else {
            return false;
        };
        if is_probed(self.backend.intent().effective().state) {
            return false;
        }
        if machine.health() != Health::Starting {
            *machine = Machine::new(check.rise, check.fall);
            let reason = "not probed: its agent has put it in maintenance";
            let unknown = Condition::new(Health::Starting, reason);
            self.backend.set_condition(unknown);
        }
        true
    }

    /// Where it is asked.
    pub(super) fn address(&self) -> Address {
        match &self.duty {
            Duty::Probe { check, .. } => probed_at(&self.backend.address, check),
            Duty::Agent(agent) => {
                // The agent of a server behind a unix socket is on this machine.
                let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let mut address = self.backend.address.ip().unwrap_or(local);
                address.set_port(agent.config.port);
                Address::Ip(address)
            }
        }
    }

    /// What its next probe has to do.
    pub(super) fn task(&self) -> Task {
        let address = self.address();
        let (question, proxy_header) = match &self.duty {
            Duty::Probe { check, .. } => {
                let header = match check.header {
                    ProbeHeader::OfPool => self.pool.config.send_proxy_protocol,
                    ProbeHeader::Own(header) => header,
                };
                (Question::of(&check.probe, &address), header)
            }
            Duty::Agent(_) => (Question::Agent, None),
        };
        Task {
            question,
            address,
            timeout: self.timeout(),
            proxy_header,
            socket: self.pool.config.socket.clone(),
        }
    }

    /// Takes over what the config says now of a backend that is probed already.
    pub(super) fn adjust(&mut self, new: Target, now: Duration) {
        self.pool = new.pool;
        match (&mut self.duty, new.duty) {
            (Duty::Probe { check, machine }, Duty::Probe { check: new, .. }) => {
                machine.adjust(new.rise, new.fall);
                *check = new;
            }
            (Duty::Agent(agent), Duty::Agent(new)) => agent.config = new.config,
            // What tells two targets apart is what is asked.
            (Duty::Probe { .. }, Duty::Agent(_)) | (Duty::Agent(_), Duty::Probe { .. }) => {}
        }
        if self.probed_before {
            // A shorter interval counts from now on, not after the long one.
            let soon = now + self.interval();
            self.due = self.due.min(soon);
            self.next = self.next.min(soon);
        }
    }
}

/// Where a backend is probed: where it listens, but for what the check says otherwise. A unix socket has
/// neither an address nor a port of which one alone could be another; with both, they are the place.
fn probed_at(backend: &Address, check: &HealthCheck) -> Address {
    let address = match (backend, check.address, check.port) {
        (Address::Ip(of_backend), ip, port) => {
            let ip = ip.unwrap_or(of_backend.ip());
            let mut address = *of_backend;
            if ip != of_backend.ip() {
                address = SocketAddr::new(ip, of_backend.port());
            }
            address.set_port(port.unwrap_or(of_backend.port()));
            address
        }
        (Address::Unix(_), Some(ip), Some(port)) => SocketAddr::new(ip, port),
        (Address::Unix(_), ..) => return backend.clone(),
    };
    Address::Ip(address)
}

/// What the checker is told to do.
#[derive(Debug)]
pub enum Order {
    /// Probe these, too. The sender is dropped, which disconnects its channel, when each of them has
    /// been probed once.
    Add(Vec<Target>, Sender<Infallible>),
    /// Probe these and no others. Those that are probed already keep their health and their turn.
    Replace(All),
}

/// Every backend that there is.
#[derive(Debug)]
pub struct All {
    /// The pools that they are in, to be published when what follows is done.
    pub pools: Vec<Arc<Pool>>,
    /// Those that are to be probed, and the agents that are to be asked.
    pub targets: Vec<Target>,
    /// Those that are not probed, with what is known of them without a probe.
    pub unprobed: Vec<(Arc<Backend>, Condition)>,
    /// Those that have no agent.
    pub unadvised: Vec<Arc<Backend>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::health::AdminState;

    #[test]
    fn only_a_probe_of_the_backends_own_address_shows_that_clients_can_connect() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8000));
        let backend = Backend::new("a", address, 1, AdminState::Ready, Health::Up);
        let backend = Arc::new(backend);
        let pool = config::Pool::new("p", Vec::new());
        let pool = Arc::new(Pool::new(&pool, vec![Arc::clone(&backend)], 1));
        let at_port = |port| {
            let check = HealthCheck {
                port,
                ..HealthCheck::default()
            };
            Target::new(Arc::clone(&pool), Arc::clone(&backend), check).shows_connections()
        };
        assert!(at_port(None) && at_port(Some(8000)));
        assert!(!at_port(Some(8001)));
        let agent = config::Agent {
            port: 8000,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        assert!(!Target::of_agent(pool, backend, agent).shows_connections());
    }
}
