//! A pool in miniature, to ask policies what they would do.

use super::{Choice, Pick, Policy, Rotation};
use crate::policy::splitmix;

/// The circumstances of a pick. Backends are the indices of `weights`, and idle at first.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) weights: Vec<u32>,
    pub(super) rotation: Rotation,
    pub(super) active: Vec<u32>,
    /// How many sessions each may have.
    pub(super) limit: u32,
    pub(super) tried: Vec<usize>,
}

impl Scene {
    pub(super) fn new(weights: &[u32]) -> Scene {
        Scene::with_down(weights, &[])
    }

    /// A scene in which some of the backends have been noticed to be down.
    pub(super) fn with_down(weights: &[u32], down: &[usize]) -> Scene {
        let up: Vec<(usize, u32)> = (0..).zip(weights.iter().copied()).collect();
        let up: Vec<_> = up.into_iter().filter(|(b, _)| !down.contains(b)).collect();
        Scene {
            weights: weights.to_vec(),
            rotation: Rotation::new(&up),
            active: vec![0; weights.len()],
            limit: u32::MAX,
            tried: Vec::new(),
        }
    }

    pub(super) fn active(self, active: &[u32]) -> Scene {
        Scene {
            active: active.to_vec(),
            ..self
        }
    }

    pub(super) fn limit(self, limit: u32) -> Scene {
        Scene { limit, ..self }
    }

    pub(super) fn tried(self, tried: &[usize]) -> Scene {
        Scene {
            tried: tried.to_vec(),
            ..self
        }
    }

    pub(super) fn pick(&self, policy: &Policy, ticket: u64, random: u64) -> Option<Pick> {
        self.asked(ticket, random, policy.pick)
    }

    pub(super) fn standing(&self, policy: &Policy, ticket: u64) -> Vec<String> {
        self.asked(ticket, 42, policy.standing)
    }

    fn asked<T>(&self, ticket: u64, random: u64, ask: fn(&Choice<'_>) -> T) -> T {
        ask(&Choice {
            rotation: &self.rotation,
            active: &|backend| self.active[backend],
            is_full: &|backend| self.active[backend] >= self.limit,
            tried: &self.tried,
            ticket,
            random,
        })
    }

    /// What the tickets 0, 1, … `picks` - 1 pick, with the bits of a fixed SplitMix64 sequence.
    pub(super) fn picks(&self, policy: &Policy, picks: u64) -> Vec<usize> {
        let pick = |ticket| self.pick(policy, ticket, splitmix::nth(42, ticket + 1));
        (0..picks)
            .filter_map(pick)
            .map(|pick| pick.backend)
            .collect()
    }

    /// How many of those picks each backend gets.
    pub(super) fn shares(&self, policy: &Policy, picks: u64) -> Vec<u64> {
        let mut shares = vec![0; self.weights.len()];
        self.picks(policy, picks)
            .into_iter()
            .for_each(|backend| shares[backend] += 1);
        shares
    }

    /// The backends that a policy may pick.
    pub(super) fn candidates(&self) -> Vec<usize> {
        let members = self.rotation.members().iter().map(|member| member.backend);
        members
            .filter(|&backend| !self.tried.contains(&backend) && self.active[backend] < self.limit)
            .collect()
    }
}

/// Fails unless each share is within `tolerance`, a share of the whole, of its weight's.
#[track_caller]
pub(super) fn assert_shares(shares: &[u64], weights: &[u32], tolerance: f64) {
    let (picks, total): (u64, u32) = (shares.iter().sum(), weights.iter().sum());
    for (&share, &weight) in shares.iter().zip(weights) {
        let (share, exact) = (
            share as f64 / picks as f64,
            f64::from(weight) / f64::from(total),
        );
        assert!(
            (share - exact).abs() <= tolerance,
            "{shares:?} are not as {weights:?}"
        );
    }
}
