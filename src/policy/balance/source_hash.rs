//! `source_hash`: the same client gets the same backend, by rendezvous hashing.
//!
//! Each backend draws a number that only the client's key and its own decide, exponentially distributed
//! with its weight as the rate, and the least wins: that is backend i with a chance of exactly
//! `weight_i / sum` (highest random weight: Thaler and Ravishankar, 1998; the logarithmic method for
//! weights: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005). When a backend
//! leaves, its clients alone move, each to the second of its own order; when one comes or gets a larger
//! weight, clients move to it only. A ring of points has none of that exactly, and a table to build.
//!
//! For other implementations: with `bits = mix(client's key ^ backend's key)` and `u = (bits >> 11) / 2^53`,
//! the number is `-ln(1 - u) / weight`; of equals the lower key wins.
//!
//! The price is O(members) for a pick, as for `least_connections`: a few ns for each backend (see
//! `benches/micro.rs`). From a thousand backends on, `maglev` is the cheaper one.

use super::bounded::{self, Admit};
use super::{Choice, Member, Pick, Policy};
use crate::policy::splitmix::{mix, unit};

/// Rendezvous hashing by weight.
pub static POLICY: Policy = Policy {
    name: "source_hash",
    summary: "the same client gets the same backend",
    by_client: true,
    table: None,
    pick,
    standing,
};

fn pick(choice: &Choice<'_>) -> Option<Pick> {
    bounded::pick(choice, first)
}

/// A backend's number for a client: uniform bits, of which the cost is made.
fn draw(choice: &Choice<'_>, member: Member) -> u64 {
    mix(choice.hashing.client ^ choice.hashing.key(member.backend))
}

/// An exponentially distributed number of rate `weight`, out of uniform bits.
fn cost(bits: u64, weight: u32) -> f64 {
    let uniform = 1.0 - unit(bits); // never 0
    // The bound is what `first` relies on; rounding must not take the logarithm below it.
    let exponential = (-ln(uniform)).max(at_least(bits));
    exponential / f64::from(weight)
}

/// A bound of the cost before it is divided by the weight: -ln(x) is never less than 1 - x.
fn at_least(bits: u64) -> f64 {
    unit(bits)
}

fn first(choice: &Choice<'_>, admit: Admit<'_>) -> Option<Pick> {
    let mut least = (f64::INFINITY, u64::MAX);
    let mut best = None;
    for &member in choice.rotation.members() {
        let bits = draw(choice, member);
        // Nearly all are out by this, without a logarithm.
        if at_least(bits) / f64::from(member.weight) > least.0 {
            continue;
        }
        // Of equals the lower key wins, so that the order of the config does not matter.
        let own = (
            cost(bits, member.weight),
            choice.hashing.key(member.backend),
        );
        if own < least
            && let Some(pick) = admit(member)
        {
            (least, best) = (own, Some(pick));
        }
    }
    best
}

/// The natural logarithm of a positive number, by operations that IEEE 754 defines to the last bit:
/// `f64::ln` is what the system's library makes of it, and balancers on different systems must agree.
///
/// For x = m · 2^e with m around 1, ln x = e · ln 2 + 2 artanh s with s = (m - 1) / (m + 1).
fn ln(x: f64) -> f64 {
    const FRACTION: u64 = (1 << 52) - 1;
    const BIAS: i64 = 1023;
    let exponent = (x.to_bits() >> 52) as i64 - BIAS;
    let significand = f64::from_bits(x.to_bits() & FRACTION | (BIAS as u64) << 52);
    let (exponent, m) = match significand > std::f64::consts::SQRT_2 {
        true => (exponent + 1, significand / 2.0),
        false => (exponent, significand),
    };
    let s = (m - 1.0) / (m + 1.0);
    // |s| is at most 0.172, so what the eleven terms leave out is less than 2^-56 of the sum.
    let series = (0..11)
        .rev()
        .fold(0.0, |sum, k| sum * (s * s) + 1.0 / f64::from(2 * k + 1));
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series
}

#[allow(
    clippy::indexing_slicing,
    reason = "`order` holds the places of `members`, and `ranks` has as many"
)]
fn standing(choice: &Choice<'_>) -> Vec<String> {
    let members = choice.rotation.members();
    let cost = |member: &Member| cost(draw(choice, *member), member.weight);
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|a, b| cost(&members[*a]).total_cmp(&cost(&members[*b])));
    let mut ranks = vec![0; members.len()];
    for (rank, member) in order.into_iter().enumerate() {
        ranks[member] = rank;
    }
    bounded::standing(choice, &ranks)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, assert_moves, assert_shares};
    use super::*;
    use proptest::prelude::*;

    /// Each backend has its weight's share of 100,000 clients, whatever the weights; 0 has none.
    #[test]
    fn shares_are_as_the_weights() {
        let equal = [1; 10];
        for weights in [&equal[..], &[3, 1, 0, 4, 2], &[256, 1], &[1; 100]] {
            let shares = Scene::new(weights).shares(&POLICY, 100_000);
            assert_shares(&shares, weights, 0.005);
        }
    }

    /// Who leaves, whether it is down or out of the config, takes only its own clients along, to
    /// others by weight; and who gets a larger weight draws clients from all others and from nowhere
    /// else.
    #[test]
    fn only_the_clients_that_must_move_do() {
        let scene = Scene::new(&[1, 2, 3, 1, 1]);
        let before = scene.picks(&POLICY, 20_000);
        let after = scene.down(&[1]).picks(&POLICY, 20_000);
        assert_moves(&before, &after, |from, _| from == 1);
        let heirs = |to| {
            before
                .iter()
                .zip(&after)
                .filter(|m| *m == (&1, &to))
                .count()
        };
        let shares = [0, 2, 3, 4].map(|to| heirs(to) as u64);
        assert_shares(&shares, &[1, 3, 1, 1], 0.02);

        let after = Scene::new(&[1, 2, 3, 5, 1]).picks(&POLICY, 20_000);
        assert_moves(&before, &after, |_, to| to == 3);
        // 8 weights before, 12 now, and the 4 new ones are its own.
        let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count();
        assert!((5_600..6_067).contains(&moved), "{moved}");
    }

    /// A retry goes to the backend that would be the client's if those tried were gone.
    #[test]
    fn retries_go_down_the_clients_own_order() {
        let scene = Scene::new(&[1, 2, 3, 1]);
        let tried = scene.clone().tried(&[2, 0]).picks(&POLICY, 1_000);
        assert_eq!(tried, scene.down(&[0, 2]).picks(&POLICY, 1_000));
    }

    /// The logarithm is right to the last two bits or so, everywhere.
    #[test]
    fn ln_is_the_logarithm() {
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(0.5), -std::f64::consts::LN_2);
        let ends = [1.0 / (1_u64 << 53) as f64, 1.0 - f64::EPSILON / 2.0];
        let middle = (1..=10_000).map(|n| f64::from(n) / 10_001.0);
        for x in middle.chain(ends) {
            let (ours, theirs) = (ln(x), x.ln());
            assert!((ours / theirs - 1.0).abs() < 1e-15, "{x}: {ours} {theirs}");
        }
    }

    /// Costs that another implementation can check itself against, to the last bit.
    #[test]
    fn costs_are_as_they_ever_were() {
        let bits = |n: u32, w| cost(mix(u64::from(n)), w).to_bits();
        let expected = [
            0x3fda_6a5a_fb4b_4fe7,
            0x3fe4_df1a_dd5e_51a3,
            0x3f40_2389_5c8f_7def,
        ];
        assert_eq!([bits(1, 1), bits(2, 3), bits(3, 256)], expected);
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// Leaving out those that can't win changes nothing: the pick is the least of all costs.
        #[test]
        fn the_least_cost_wins(
            weights in prop::collection::vec(1_u32..300, 1..40),
            client in any::<u64>(),
        ) {
            let scene = Scene::new(&weights);
            let of = |backend: &usize| cost(mix(client ^ scene.keys[*backend]), weights[*backend]);
            let least = (0..weights.len()).min_by(|a, b| of(a).total_cmp(&of(b)));
            prop_assert_eq!(scene.pick(&POLICY, 0, client).map(|pick| pick.backend), least);
            let told = scene.standing(&POLICY, 0);
            prop_assert_eq!(told.iter().filter(|told| told.starts_with("the first")).count(), 1);
        }
    }
}
