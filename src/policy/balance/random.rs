//! `random`: any backend, as likely as its weight says.

use super::rotation::Member;
use super::{Choice, Pick, Policy};
use crate::policy::splitmix::{GAMMA, below, mix};

/// Chance by weight.
pub static POLICY: Policy = Policy {
    name: "random",
    summary: "any backend, as likely as its weight says",
    by_client: false,
    table: None,
    pick,
    standing,
};

/// How often [`draw`] draws before it walks the cycle instead. Four draws miss one time in 16 if
/// half of the slots are unwanted, and then nearly always in a small pool, where walking is cheap.
const DRAWS_MAX: u32 = 4;

fn pick(choice: &Choice<'_>) -> Option<Pick> {
    draw(choice, choice.random, |_| true).map(Pick::blind)
}

fn standing(choice: &Choice<'_>) -> Vec<String> {
    let members = choice.rotation.members();
    let total: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let tell = |weight: u32| {
        let percent = 100.0 * f64::from(weight) / total as f64;
        format!("drawn with a chance of {percent:.1} %")
    };
    members.iter().map(|member| tell(member.weight)).collect()
}

/// A uniformly random slot among those whose backend is open to this session and `wanted`; `bits` decide.
///
/// Draws from all slots and draws again after a miss, which leaves the wanted slots equally likely
/// and takes O(1) while few are unwanted. After [`DRAWS_MAX`] misses one walk over the cycle, in
/// O(slots), counts the wanted slots and draws from them.
pub(super) fn draw(
    choice: &Choice<'_>,
    mut bits: u64,
    wanted: impl Fn(usize) -> bool,
) -> Option<Member> {
    let eligible = |backend| choice.is_open(backend) && wanted(backend);
    let slots = choice.rotation.slots().len() as u64;
    for _ in 0..DRAWS_MAX {
        let member = choice.rotation.turn(below(bits, slots))?;
        if eligible(member.backend) {
            return Some(member);
        }
        // Bits that missed say where the unwanted slots are: what follows needs fresh ones.
        bits = mix(bits.wrapping_add(GAMMA));
    }
    choice
        .rotation
        .choose(0, eligible, |count| below(bits, count))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, assert_shares};
    use super::*;

    /// Each backend gets its weight's share, of first tries and of retries over those left.
    #[test]
    fn shares_are_as_the_weights() {
        let weights = [3, 1, 0, 4, 2];
        let scene = Scene::new(&weights);
        assert_shares(&scene.shares(&POLICY, 20_000), &weights, 0.01);
        let retries = scene.tried(&[3]);
        assert_shares(&retries.shares(&POLICY, 20_000), &[3, 1, 0, 0, 2], 0.01);
    }

    /// The walk that ends the drawing draws as evenly: here 99 of 100 slots are unwanted, so nearly
    /// every pick comes from it.
    #[test]
    fn the_walk_is_even_too() {
        let mut weights = [1; 100];
        let tried: Vec<usize> = (0..98).collect();
        let shares = Scene::new(&weights).tried(&tried).shares(&POLICY, 10_000);
        weights[..98].fill(0);
        assert_shares(&shares, &weights, 0.015);
    }

    /// The bits alone decide: lowest bits, first slot; highest bits, last slot.
    #[test]
    fn bits_choose_the_slot() {
        let scene = Scene::new(&[1; 4]);
        for (random, expected) in [(0, 0), (1 << 62, 1), (1 << 63, 2), (u64::MAX, 3)] {
            let pick = scene.pick(&POLICY, 7, random);
            assert_eq!(
                pick,
                Some(Pick {
                    backend: expected,
                    seen: None
                })
            );
        }
    }
}
