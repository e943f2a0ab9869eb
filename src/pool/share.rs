//! Who of a pool holds more sessions than its share.

use std::sync::Arc;

use super::{Backend, Pool};
use crate::policy::health::{AdminState, Health};
use crate::policy::rebalance::{self, Part};

impl Pool {
    /// The backends that hold more than their shares, each with how many it holds and how many of them are
    /// too many.
    pub fn excess(&self) -> Vec<(&Arc<Backend>, u32, u32)> {
        let members = self.members.load();
        let mut weights = vec![None; self.backends.len()];
        for member in members.rotation.members() {
            if let Some(weight) = weights.get_mut(member.backend) {
                *weight = Some(member.weight);
            }
        }
        let parts: Vec<(Part, u32)> = self
            .backends
            .iter()
            .zip(weights)
            .map(|(backend, weight)| (part(backend, weight), backend.active.get()))
            .collect();
        let excess = rebalance::excess(&parts);
        let all = self.backends.iter().zip(parts).zip(excess);
        all.filter(|(_, excess)| *excess > 0)
            .map(|((backend, (_, active)), excess)| (backend, active, excess))
            .collect()
    }
}

/// Whatever the pool does with those that are down (panic, fail_open), nobody is sent to them on purpose.
fn part(backend: &Backend, weight: Option<u32>) -> Part {
    if backend.health() != Health::Up {
        return Part::Apart;
    }
    match weight {
        Some(weight) => Part::Serves(weight),
        None => {
            let wish = backend.intent().effective();
            let is_wanted = wish.state == AdminState::Ready && wish.weight > 0;
            match wish.backup && is_wanted {
                true => Part::StandsBy,
                false => Part::Apart,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::policy::intent::{Intent, Wish};

    /// A backend with four sessions.
    fn backend(name: &str, weight: u32, backup: bool) -> Arc<Backend> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let state = AdminState::Ready;
        let backend = Backend::new(name, address, weight, state, Health::Up);
        backend.change_intent(|_| {
            Intent::new(Wish {
                weight,
                state,
                backup,
            })
        });
        for _ in 0..4 {
            backend.active.claim();
        }
        Arc::new(backend)
    }

    #[test]
    fn a_backup_that_is_wanted_gives_its_sessions_back_and_no_other() {
        let backends = vec![
            backend("serves", 1, false),
            backend("stands by", 1, true),
            backend("of weight 0", 0, true),
        ];
        let pool = Pool::new(&config::Pool::new("p", Vec::new()), backends, 1);
        pool.publish();
        let excess: Vec<(&str, u32, u32)> = pool
            .excess()
            .into_iter()
            .map(|(backend, active, excess)| (&*backend.name, active, excess))
            .collect();
        assert_eq!(excess, [("stands by", 4, 4)]);
    }
}
