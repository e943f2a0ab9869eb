//! The order in which the backends that can serve take turns.
//!
//! A pool builds a new rotation whenever a backend goes up or down or changes its weight, out of
//! those that can take a session at that moment. So a backend that is down leaves no hole, and the
//! one after it in the pool gets no double share.

use super::interleave::interleave;

/// A backend that can take a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its index in the pool.
    pub backend: usize,
    /// Its share relative to the other members; never 0.
    pub weight: u32,
}

/// The backends that can take a session, and the cycle in which they take turns.
///
/// In one cycle each member stands `weight / gcd` times, as far as [`SLOTS_MAX`](super::SLOTS_MAX)
/// allows, and spread as evenly as whole slots can be: after any number of slots, each member has
/// had its exact share give or take less than one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    members: Vec<Member>,
    slots: Vec<usize>,
}

impl Rotation {
    /// A rotation of backends, each given once as (index in the pool, weight) and in pool order.
    /// Those of weight 0 are left out. Takes O(slots · log members).
    pub fn new(backends: &[(usize, u32)]) -> Rotation {
        let members: Vec<Member> = backends
            .iter()
            .map(|&(backend, weight)| Member { backend, weight })
            .filter(|member| member.weight > 0)
            .collect();
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        let slots = interleave(&weights);
        Rotation { members, slots }
    }

    /// The members, in pool order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One cycle, each slot as an index into [`members`](Self::members).
    pub fn slots(&self) -> &[usize] {
        &self.slots
    }

    /// The member that is this backend, found in O(log members); `None` when it can't take a session.
    pub fn find(&self, backend: usize) -> Option<Member> {
        let found = self
            .members
            .binary_search_by_key(&backend, |member| member.backend);
        found.ok().and_then(|at| self.members.get(at)).copied()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether no backend can take a session.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member whose turn is the `n`-th when the cycle is repeated for ever; `None` when there
    /// is no member.
    pub fn turn(&self, n: u64) -> Option<Member> {
        let slot = n.checked_rem(self.slots.len() as u64)?;
        let member = self.slots.get(slot as usize)?;
        self.members.get(*member).copied()
    }

    /// One whole cycle beginning at the slot `start`, which is at most the number of slots.
    pub(super) fn cycle_from(&self, start: usize) -> impl Iterator<Item = Member> + Clone {
        let (before, after) = self.slots.split_at(start);
        let slots = after.iter().chain(before);
        slots.filter_map(|slot| self.members.get(*slot).copied())
    }

    /// Looks at one cycle beginning at the slot `start`, counts the slots whose backend is
    /// `wanted`, and takes that one of them which `which` names when told their number. Takes
    /// O(slots), so it is for the rare cases; `None` when no backend is wanted.
    pub(super) fn choose(
        &self,
        start: usize,
        wanted: impl Fn(usize) -> bool,
        which: impl FnOnce(u64) -> u64,
    ) -> Option<Member> {
        let mut candidates = self
            .cycle_from(start)
            .filter(|member| wanted(member.backend));
        match candidates.clone().count() as u64 {
            0 => None,
            count => candidates.nth(which(count) as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rotation(weights: &[u32]) -> Rotation {
        Rotation::new(&(0..).zip(weights.iter().copied()).collect::<Vec<_>>())
    }

    /// The backends of one cycle as letters: 0 is a, 1 is b.
    fn letters(rotation: &Rotation) -> String {
        let backends = rotation.cycle_from(0).map(|member| member.backend as u8);
        backends.map(|backend| char::from(b'a' + backend)).collect()
    }

    /// Cycles that can be checked by eye.
    #[test]
    fn small_cycles() {
        let cases: &[(&[u32], &str)] = &[
            (&[], ""),
            (&[0, 0], ""),
            (&[7], "a"),
            (&[0, 7, 0], "b"),
            (&[1, 1, 1], "abc"),
            (&[9, 9, 9], "abc"),
            (&[3, 1, 1], "abaca"),
            (&[1, 3, 1], "babcb"),
            (&[30, 10, 10], "abaca"),
            (&[2, 1], "aba"),
            (&[1, 2], "bab"),
            (&[5, 1, 1], "abaacaa"),
            (&[2, 2, 1], "abcab"),
            (&[u32::MAX, u32::MAX], "ab"),
        ];
        for (weights, expected) in cases {
            assert_eq!(letters(&rotation(weights)), *expected, "{weights:?}");
        }
    }

    /// The members keep the indices and weights that the pool knows them by.
    #[test]
    fn members_are_the_pools_backends() {
        let rotation = Rotation::new(&[(2, 20), (5, 0), (9, 10)]);
        let expected = [(2, 20), (9, 10)].map(|(backend, weight)| Member { backend, weight });
        assert_eq!(rotation.members(), expected);
        assert_eq!(rotation.slots(), [0, 1, 0]);
        assert_eq!((rotation.len(), rotation.is_empty()), (2, false));
        assert_eq!(Rotation::new(&[]), Rotation::default());
        assert!(Rotation::default().is_empty());
    }

    /// Turns go round for ever, and a cycle may begin anywhere.
    #[test]
    fn turns_repeat_the_cycle() {
        let rotation = rotation(&[3, 1, 1]);
        let backends = |members: Vec<Member>| members.iter().map(|m| m.backend).collect::<Vec<_>>();
        assert_eq!(
            backends((3..9).filter_map(|n| rotation.turn(n)).collect()),
            [2, 0, 0, 1, 0, 2]
        );
        assert_eq!(backends(rotation.cycle_from(3).collect()), [2, 0, 0, 1, 0]);
        assert_eq!(backends(rotation.cycle_from(5).collect()), [0, 1, 0, 2, 0]);
        assert_eq!(Rotation::default().turn(3), None);
    }

    /// A walk counts the slots that are wanted, and takes the one that it is told to.
    #[test]
    fn choose_takes_among_the_wanted_slots() {
        let rotation = rotation(&[3, 1, 1]); // a b a c a
        let choose = |start, n| {
            let pick = rotation.choose(start, |backend| backend != 1, |count| n % count);
            pick.map(|member| member.backend)
        };
        assert_eq!(
            [0, 1, 2, 3, 4].map(|n| choose(2, n)),
            [0, 2, 0, 0, 0].map(Some)
        );
        assert_eq!(rotation.choose(0, |_| false, |count| count), None);
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// When backends go down, the others share the cycle exactly by weight: no neighbour of a
        /// missing backend gets its share.
        #[test]
        fn those_left_share_by_weight(
            backends in prop::collection::vec((1_u32..20, any::<bool>()), 1..12),
        ) {
            let up: Vec<(usize, u32)> = (0..backends.len())
                .filter(|&backend| backends[backend].1)
                .map(|backend| (backend, backends[backend].0))
                .collect();
            let rotation = Rotation::new(&up);
            let cycle = rotation.slots().len() as u64;
            let total: u64 = up.iter().map(|&(_, weight)| u64::from(weight)).sum();
            for (backend, weight) in up {
                let had = rotation.cycle_from(0).filter(|m| m.backend == backend).count() as u64;
                prop_assert_eq!(had * total, u64::from(weight) * cycle);
            }
        }
    }
}
