//! Who is let in at a listener: its access rules, and its limits for each client address.
//!
//! [`Admission::admit`] runs on the listener's thread, right after accept and before threads are set
//! aside, so a flood of refused clients costs no thread. Where the client's address comes later, with a
//! header, it may run on the session's thread as well. It decides and counts, and does no more: whoever
//! calls it resets the client and logs. With all of it off, it is two comparisons: no clock, no lock.
//!
//! An address is counted while the guard that it got is held. An IPv6 client is counted by its /64,
//! since that is what one subscriber has. [`clients`] says what is remembered, and how little.

pub mod clients;
mod rejections;

pub use rejections::Rejections;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::events::Refusal;
use crate::policy::access::{Rules, Verdict};
use clients::{Clients, Counted, Limits};

/// What decides at one listener, by one config.
#[derive(Debug)]
pub struct Admission {
    rules: Option<Rules>,
    limits: Limits,
    /// What is known of the clients of this listener; reloads hand it on.
    clients: Arc<Clients>,
}

/// A client that was let in. It counts for its address until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    _counted: Option<Counted>,
}

impl Admitted {
    /// A client that counts for no address.
    pub fn uncounted() -> Admitted {
        Admitted { _counted: None }
    }
}

impl Admission {
    /// As the config of a listener says.
    pub fn new(config: &config::Admission, clients: &Arc<Clients>) -> Admission {
        Admission {
            rules: config.access.clone(),
            limits: Limits {
                sessions: config.max_connections_per_ip,
                rate: config.connection_rate_per_ip,
            },
            clients: Arc::clone(clients),
        }
    }

    /// Lets a client in that came at `now`, counted from the start of the process, or says why not.
    ///
    /// # Errors
    ///
    /// The [`Refusal`]; nothing was counted for the client then.
    pub fn admit(&self, client: IpAddr, now: Duration) -> Result<Admitted, Refusal> {
        let rules = self.rules.as_ref();
        if rules.is_some_and(|rules| rules.verdict(client) == Verdict::Deny) {
            return Err(Refusal::Denied);
        }
        let counted = match self.limits.are_off() {
            true => None,
            false => self.clients.enter(client, self.limits, now)?,
        };
        Ok(Admitted { _counted: counted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::access::Rule;

    #[test]
    fn a_denied_client_is_not_counted() {
        let config = config::Admission {
            access: Some(Rules {
                default: Verdict::Allow,
                rules: vec![Rule {
                    verdict: Verdict::Deny,
                    network: "192.0.2.0/24".parse().unwrap(),
                }],
            }),
            max_connections_per_ip: Some(1),
            connection_rate_per_ip: None,
        };
        let clients = Arc::new(Clients::default());
        let admission = Admission::new(&config, &clients);
        let admit = |ip: &str| admission.admit(ip.parse().unwrap(), Duration::ZERO);
        assert_eq!(admit("::ffff:192.0.2.7").unwrap_err(), Refusal::Denied);
        assert_eq!(clients.len(), 0);
        let first = admit("198.51.100.1").unwrap();
        assert_eq!(admit("198.51.100.1").unwrap_err(), Refusal::IpLimit);
        drop(first);
        admit("198.51.100.1").unwrap();
    }

    #[test]
    fn without_limits_nothing_is_remembered() {
        let clients = Arc::new(Clients::default());
        let admission = Admission::new(&config::Admission::default(), &clients);
        let _admitted = admission.admit(IpAddr::from([10, 0, 0, 1]), Duration::ZERO);
        assert_eq!(clients.len(), 0);
    }
}
