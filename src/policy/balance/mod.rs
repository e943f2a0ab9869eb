//! Balancing policies: which backend takes a session.
//!
//! A policy looks at a [`Choice`] and answers with a [`Pick`]; it keeps no state. What moves from
//! one pick to the next (a ticket, random bits, the counts of sessions) the pool hands in, so any
//! number of threads can pick at once and a test can ask any question twice.
//!
//! Each algorithm has its file. To add one, write its file with a `POLICY` in it, and give it a line in
//! `policies!` below: the config, its messages, `--help` and the tests of all policies find it there.

use std::fmt;

use super::slow_start;

mod bounded;
mod hashing;
mod interleave;
mod load;
mod rotation;
mod table;
#[cfg(test)]
mod testing;

pub use hashing::{Hashing, backend_keys, client_key};
pub use interleave::SLOTS_MAX;
pub use rotation::{Member, Rotation};
pub use table::{BuildTable, Table};

/// Declares each file as a module and lists the policies in it, so that none can be declared and
/// forgotten in the list. rustfmt does not see modules in a macro: `scripts/test` names them to it.
macro_rules! policies {
    ($($file:ident: $($policy:ident)+,)+) => {
        $(pub mod $file;)+

        /// Every policy there is, in the order in which messages list them.
        pub static POLICIES: &[&Policy] = &[$($(&$file::$policy,)+)+];
    };
}

policies! {
    round_robin: POLICY WEIGHTED,
    least_connections: POLICY,
    power_of_two: POLICY,
    random: POLICY,
    source_hash: POLICY,
    maglev: POLICY,
    first: POLICY,
}

/// The policy that the config calls `name`.
pub fn by_name(name: &str) -> Option<&'static Policy> {
    POLICIES.iter().copied().find(|policy| policy.name == name)
}

/// The names of all policies, for a message that lists them.
pub fn names() -> impl Iterator<Item = &'static str> {
    POLICIES.iter().map(|policy| policy.name)
}

/// A balancing policy: a row of [`POLICIES`].
pub struct Policy {
    /// What the config calls it.
    pub name: &'static str,
    /// What it does, in 52 characters at most: a line of the manual has 80.
    pub summary: &'static str,
    /// Whether the client's address decides, so that nothing can be said of a pick without one.
    pub by_client: bool,
    /// Builds the table that it looks clients up in; `None`: it needs none. The pool keeps the table for
    /// as long as the weights stay.
    pub table: Option<BuildTable>,
    /// Picks a backend: always a member of the rotation, never one already tried or full, and `None`
    /// only when there is no such backend.
    pub pick: fn(&Choice<'_>) -> Option<Pick>,
    /// Says of each member of the rotation, in its order, how it stands for this first try, in half a
    /// sentence: for `evener explain`.
    pub standing: fn(&Choice<'_>) -> Vec<String>,
}

/// Everything that a policy may look at to pick a backend.
pub struct Choice<'a> {
    /// The backends that can take a session.
    pub rotation: &'a Rotation,
    /// Tells how many sessions a backend, by its index in the pool, holds now.
    pub active: &'a dyn Fn(usize) -> u32,
    /// Tells whether a backend, by its index in the pool, has all the sessions that it may have.
    /// `None` where no backend has a limit, which spares policies that look at all of them a call for each.
    pub is_full: Option<&'a dyn Fn(usize) -> bool>,
    /// Tells how much of its share a backend gets now, by its index in the pool, in thousandths: see
    /// [`slow_start`].
    /// `None` where each gets all of it.
    pub share: Option<&'a dyn Fn(usize) -> u32>,
    /// The backends, by index in the pool, that this session has tried already, in that order:
    /// empty for its first try.
    pub tried: &'a [usize],
    /// How many picks of its kind came before this one. The first tries of a pool are one kind; the
    /// retries after one and the same backend failed are another, so each backend has a counter of
    /// them. Drawn from one counter, the numbers would fall into step with the turns: retries would
    /// make first tries skip backends, and two dead backends would share out odd and even.
    pub ticket: u64,
    /// 64 uniformly random bits, for this pick alone; where the client decides, those of the client, the
    /// same for each of its picks.
    pub random: u64,
    /// Who the client is, for the policies that go by that.
    pub hashing: Hashing<'a>,
}

/// The backend that a policy picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Its index in the pool.
    pub backend: usize,
    /// The number of its sessions that the choice rests on; `None` when the policy did not ask.
    ///
    /// The pool counts the session by compare-exchange from this number, and picks again if it has
    /// moved. That makes choosing and counting one step: a burst of sessions that all see the same
    /// idle backend does not land on it together.
    pub seen: Option<u32>,
}

impl Choice<'_> {
    /// Whether the backend has room for this session, which has not tried it yet, and is considered at
    /// all while it starts slowly. The list of those tried is short: one backend for each retry.
    fn is_open(&self, backend: usize) -> bool {
        !self.tried.contains(&backend)
            && !self.is_full.is_some_and(|is_full| is_full(backend))
            && self
                .share
                .is_none_or(|share| slow_start::is_considered(share(backend), backend, self.random))
    }

    /// How much of its share a backend gets now, in thousandths.
    pub fn share_of(&self, backend: usize) -> u32 {
        self.share.map_or(slow_start::WHOLE, |share| share(backend))
    }
}

impl Pick {
    /// A pick that did not look at the number of sessions.
    fn blind(member: Member) -> Pick {
        Pick {
            backend: member.backend,
            seen: None,
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policy").field(&self.name).finish()
    }
}

/// Policies are the same when their names are; comparing functions by address says nothing.
impl PartialEq for Policy {
    fn eq(&self, other: &Policy) -> bool {
        self.name == other.name
    }
}

impl Eq for Policy {}

impl fmt::Debug for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Choice {
            rotation,
            active,
            is_full,
            share: _,
            tried,
            ticket,
            random,
            hashing,
        } = self;
        let active: Vec<u32> = rotation
            .members()
            .iter()
            .map(|m| active(m.backend))
            .collect();
        let members = rotation.members().iter();
        let full = |m: &Member| is_full.is_some_and(|is_full| is_full(m.backend));
        let full: Vec<bool> = members.map(full).collect();
        let members = rotation.members().iter();
        let shares: Vec<u32> = members.map(|m| self.share_of(m.backend)).collect();
        f.debug_struct("Choice")
            .field("members", &rotation.members())
            .field("active", &active)
            .field("full", &full)
            .field("shares", &shares)
            .field("tried", tried)
            .field("ticket", ticket)
            .field("random", random)
            .field("client", &hashing.client)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Scene;
    use super::*;
    use proptest::prelude::*;

    /// The config finds each policy by its own name, no two share one, and nothing else is found.
    #[test]
    fn names_are_unique_and_found() {
        for policy in POLICIES {
            assert_eq!(by_name(policy.name), Some(*policy));
            assert_eq!(names().filter(|name| *name == policy.name).count(), 1);
            assert!(!policy.summary.is_empty());
        }
        assert_eq!(names().next(), Some("round_robin"));
        assert_eq!(by_name("Round_Robin"), None);
        assert_eq!(by_name(""), None);
    }

    /// The long name of round robin is the same policy: each pick is the same.
    #[test]
    fn weighted_round_robin_is_round_robin() {
        let scene = Scene::new(&[3, 1, 2]);
        let picks = |name| by_name(name).map(|policy| scene.picks(policy, 12));
        assert_eq!(picks("weighted_round_robin"), picks("round_robin"));
    }

    /// Whoever asks how the members stand hears of each of them, and something of each.
    #[test]
    fn every_policy_tells_how_each_member_stands() {
        let scene = Scene::with_down(&[3, 1, 2, 1], &[1]).active(&[2, 0, 4, 0]);
        for policy in POLICIES {
            let told = scene.clone().for_policy(policy).standing(policy, 5);
            assert_eq!(told.len(), 3, "{policy:?}");
            assert!(told.iter().all(|text| !text.is_empty()), "{told:?}");
        }
    }

    /// A backend that starts slowly is passed over as often as the rest of its share says, by every
    /// policy that deals out by turns or by chance.
    #[test]
    fn who_starts_slowly_gets_a_part_of_its_share() {
        for name in ["round_robin", "random", "source_hash", "maglev"] {
            let Some(policy) = by_name(name) else {
                unreachable!("{name} is a policy");
            };
            let scene = Scene::new(&[1; 4]).starting(&[250]).for_policy(policy);
            let shares = scene.shares(policy, 20_000);
            // A quarter of a quarter.
            assert!(shares[0].abs_diff(1_250) < 150, "{name}: {shares:?}");
        }
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// Whatever the circumstances, every policy picks a member that is untried and not full, reports
        /// the sessions that it really saw there, and gives up only when no such member is left.
        #[test]
        fn every_policy_keeps_the_contract(
            backends in prop::collection::vec((0_u32..5, 0_u32..4, any::<bool>()), 0..7),
            limit in 1_u32..6,
            tried in prop::collection::vec(0_usize..8, 0..7),
            ticket in any::<u64>(),
            random in any::<u64>(),
            balance_factor in prop::option::of(1.0..3.0_f64),
        ) {
            let weights: Vec<u32> = backends.iter().map(|b| b.0).collect();
            let active: Vec<u32> = backends.iter().map(|b| b.1).collect();
            let down: Vec<usize> = (0..backends.len()).filter(|&b| backends[b].2).collect();
            let scene = Scene::with_down(&weights, &down)
                .active(&active)
                .tried(&tried)
                .limit(limit)
                .balance_factor(balance_factor);
            let candidates = scene.candidates();
            for policy in POLICIES {
                let scene = scene.clone().for_policy(policy);
                match scene.pick(policy, ticket, random) {
                    None => prop_assert!(candidates.is_empty(), "{policy:?} gave up"),
                    Some(Pick { backend, seen }) => {
                        prop_assert!(candidates.contains(&backend), "{policy:?} took {backend}");
                        prop_assert!(seen.is_none_or(|seen| seen == active[backend]));
                    }
                }
            }
        }
    }
}
