//! Smooth interleaving: from weights to one cycle of turns.
//!
//! Weights 3, 1, 1 make `a b a c a`, never `a a a b c`: a burst of sessions then spreads over the
//! backends like any other.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// The most slots in one cycle, unless there are more members than that.
///
/// It bounds the memory of a rotation and the time to build one, whatever the weights are. Weights
/// that would need more are scaled down to fit and rounded, at least to 1: if a member's exact
/// share of the `SLOTS_MAX - members` slots is x, it gets between x - 1/2 and max(x + 1/2, 1).
pub const SLOTS_MAX: u64 = 65_536;

/// One cycle of turns, each an index into `weights`, none of which is 0: how often each stands in it
/// is `weight / gcd`, scaled down where [`SLOTS_MAX`] demands it.
pub(super) fn interleave(weights: &[u32]) -> Vec<usize> {
    spread(&turns_per_cycle(weights))
}

/// How many slots of the cycle each member gets.
fn turns_per_cycle(weights: &[u32]) -> Vec<u64> {
    let wide = || weights.iter().copied().map(u64::from);
    let divisor = wide().fold(0, gcd);
    let total = wide().sum::<u64>().checked_div(divisor).unwrap_or(0);
    if total <= SLOTS_MAX {
        return wide().map(|weight| weight / divisor).collect();
    }
    // Rounding adds at most one slot to each member, so that much room is set aside for it.
    let room = SLOTS_MAX.saturating_sub(weights.len() as u64);
    wide()
        .map(|weight| ((weight / divisor * room + total / 2) / total).max(1))
        .collect()
}

/// The greatest common divisor, by Euclid; that of 0 and b is b.
fn gcd(a: u64, b: u64) -> u64 {
    if a == 0 { b } else { gcd(b % a, a) }
}

/// A member's claim to its next slot of the cycle.
#[derive(PartialEq, Eq)]
struct Claim {
    member: usize,
    /// The slots that the member gets in one cycle.
    turns: u64,
    /// Those that it has had so far.
    had: u64,
}

impl Claim {
    /// The step from which the claim counts: the first at which the member, having had `had`
    /// slots, is not ahead of its exact share, `step * turns / total`.
    fn eligible_at(&self, total: u64) -> u64 {
        (self.had * total).div_ceil(self.turns)
    }
}

impl Ord for Claim {
    /// By the deadline, the time at which the exact share is `had + 1` slots: `(had + 1) * total /
    /// turns`. The total is the same for all; cross-multiplication compares the rest exactly. Ties
    /// go by pool order.
    fn cmp(&self, other: &Claim) -> Ordering {
        let (ours, theirs) = ((self.had + 1) * other.turns, (other.had + 1) * self.turns);
        ours.cmp(&theirs).then(self.member.cmp(&other.member))
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Claim) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Spreads the turns of each member evenly over one cycle: each slot goes to the earliest deadline
/// among the members that are not ahead of their exact share.
///
/// This is EEVDF (Stoica and Abdel-Wahab, 1995) and WF²Q (Bennett and Zhang, 1996) with all flows
/// always busy, and it solves the chairman assignment problem (Tijdeman, 1980). At every step each
/// member stays less than one slot from its exact share. Ahead, because of who is eligible. Behind,
/// because no deadline is missed: of the claims that both become eligible and fall due within the
/// steps a..b, there are never more than b - a.
fn spread(turns: &[u64]) -> Vec<usize> {
    let total: u64 = turns.iter().sum();
    if total == turns.len() as u64 {
        return (0..turns.len()).collect();
    }
    let mut slots = Vec::with_capacity(total as usize);
    let claims = (0..).zip(turns).map(|(member, &turns)| Claim {
        member,
        turns,
        had: 0,
    });
    let mut eligible: BinaryHeap<Reverse<Claim>> = claims.map(Reverse).collect();
    let mut waiting: BinaryHeap<Reverse<(u64, Claim)>> = BinaryHeap::new();
    for step in 0..total {
        while let Some(soonest) = waiting.peek_mut()
            && soonest.0.0 <= step
        {
            let Reverse((_, claim)) = PeekMut::pop(soonest);
            eligible.push(Reverse(claim));
        }
        // It never is empty: as many slots as steps are gone, so not all can be ahead.
        let Some(Reverse(mut claim)) = eligible.pop() else {
            break;
        };
        slots.push(claim.member);
        claim.had += 1;
        if claim.had < claim.turns {
            waiting.push(Reverse((claim.eligible_at(total), claim)));
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fails unless, after every step of the cycle, each member is less than one slot from its
    /// exact share; at the last step this makes the shares exact.
    fn assert_smooth(slots: &[usize], turns: &[u64]) {
        let total = turns.iter().sum::<u64>() as i64;
        assert_eq!(slots.len() as i64, total);
        let mut had = vec![0_i64; turns.len()];
        for (step, &slot) in (1..).zip(slots) {
            had[slot] += 1;
            for (had, &turns) in had.iter().zip(turns) {
                let error = had * total - step * turns as i64;
                assert!(
                    error.abs() < total,
                    "{turns} turns, {had} had at step {step}"
                );
            }
        }
    }

    /// Weights that would make too long a cycle are scaled: the cycle keeps its bound, and each
    /// share keeps the error that [`SLOTS_MAX`] promises.
    #[test]
    fn long_cycles_are_scaled_down() {
        let many: Vec<u32> = (1..=3000).map(|n| n * n % 257 + 1).collect();
        let cases: &[&[u32]] = &[
            &[u32::MAX, 1],
            &[u32::MAX, u32::MAX - 1, 1],
            &[65_536, 1],
            &[1_000_003, 1_000_033, 99_991, 17],
            &many,
        ];
        for weights in cases {
            let (slots, turns) = (interleave(weights), turns_per_cycle(weights));
            assert!(slots.len() as u64 <= SLOTS_MAX);
            let mut had = vec![0; turns.len()];
            slots.iter().for_each(|&slot| had[slot] += 1);
            assert_eq!(had, turns);
            let room = (SLOTS_MAX - weights.len() as u64) as f64;
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            for (&turns, &weight) in turns.iter().zip(*weights) {
                let (turns, exact) = (turns as f64, f64::from(weight) / total * room);
                assert!(
                    exact - 0.5 <= turns && turns <= (exact + 0.5).max(1.0),
                    "{turns} {exact}"
                );
            }
        }
    }

    /// With more members than the cap each has one slot: nobody is left out.
    #[test]
    fn more_members_than_slots_max() {
        let weights: Vec<u32> = (1..=SLOTS_MAX as u32 + 10).collect();
        assert!(interleave(&weights).into_iter().eq(0..weights.len()));
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// At every step of the cycle each member is less than one slot from its exact share.
        #[test]
        fn every_prefix_is_fair(weights in prop::collection::vec(1_u32..40, 0..16)) {
            assert_smooth(&interleave(&weights), &turns_per_cycle(&weights));
        }

        /// So it is with weights of very different size.
        #[test]
        fn every_prefix_is_fair_with_extreme_weights(
            weights in prop::collection::vec(prop_oneof![1_u32..3, 500_u32..600], 1..5),
        ) {
            assert_smooth(&interleave(&weights), &turns_per_cycle(&weights));
        }
    }
}
