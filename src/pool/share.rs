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
