//! A pool in miniature, to ask policies what they would do.

use super::{Choice, Hashing, Pick, Policy, Rotation, Table, backend_keys};
use crate::policy::{slow_start, splitmix};

/// The circumstances of a pick. Backends are the indices of `weights`, and idle at first. The client's
/// key is the random bits of the pick, so that each pick is for another client.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) weights: Vec<u32>,
    pub(super) rotation: Rotation,
    pub(super) active: Vec<u32>,
    /// How many sessions each may have.
    pub(super) limit: u32,
    /// What each gets of its share, in thousandths; all of it if nothing is said.
    pub(super) shares: Vec<u32>,
    pub(super) tried: Vec<usize>,
    pub(super) keys: Vec<u64>,
    pub(super) table: Option<Table>,
    balance_factor: Option<f64>,
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
            shares: Vec::new(),
            tried: Vec::new(),
            keys: backend_keys((0..weights.len()).map(|n| format!("10.0.0.1:{n}"))),
            table: None,
            balance_factor: None,
        }
    }

    /// With the table of a policy that has one; it is left out otherwise, because it takes long.
    pub(super) fn for_policy(self, policy: &Policy) -> Scene {
        Scene {
            table: policy.table.map(|build| build(&self.keys, &self.weights)),
            ..self
        }
    }

    pub(super) fn balance_factor(self, balance_factor: Option<f64>) -> Scene {
        Scene {
            balance_factor,
            ..self
        }
    }

    /// The same when some of the backends have been noticed to be down; the table stays.
    pub(super) fn down(&self, down: &[usize]) -> Scene {
        Scene {
            rotation: Scene::with_down(&self.weights, down).rotation,
            ..self.clone()
        }
    }

    pub(super) fn active(self, active: &[u32]) -> Scene {
        Scene {
            active: active.to_vec(),
            ..self
        }
    }

    /// A scene in which backends get so much of their shares, in thousandths.
    pub(super) fn starting(self, shares: &[u32]) -> Scene {
        Scene {
            shares: shares.to_vec(),
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

    /// What the members are told to be for a client.
    pub(super) fn told(&self, policy: &Policy, client: u64) -> Vec<String> {
        self.asked(0, client, policy.standing)
    }

    fn asked<T>(&self, ticket: u64, random: u64, ask: fn(&Choice<'_>) -> T) -> T {
        ask(&Choice {
            rotation: &self.rotation,
            active: &|backend| self.active[backend],
            share: Some(&|backend| {
                self.shares
                    .get(backend)
                    .copied()
                    .unwrap_or(slow_start::WHOLE)
            }),
            is_full: Some(&|backend| self.active[backend] >= self.limit),
            tried: &self.tried,
            ticket,
            random,
            hashing: Hashing {
                client: random,
                backends: &self.keys,
                table: self.table.as_ref(),
                balance_factor: self.balance_factor,
            },
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

/// Fails unless the clients that have moved from one backend to another are those that `may`, told
/// from where and to where; and unless any have.
#[track_caller]
pub(super) fn assert_moves(before: &[usize], after: &[usize], may: impl Fn(usize, usize) -> bool) {
    let pairs = before.iter().zip(after).filter(|(from, to)| from != to);
    let moves: Vec<(usize, usize)> = pairs.map(|(from, to)| (*from, *to)).collect();
    assert!(!moves.is_empty() && before.len() == after.len());
    for (from, to) in moves {
        assert!(may(from, to), "a client moved from {from} to {to}");
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
