//! `least_connections`: the backend with the fewest sessions for its weight.
//!
//! It looks at every backend for every session. That is exact and costs O(members); where that is
//! too much, `power_of_two` comes close in O(1).

use super::load::{self, Load};
use super::{Choice, Pick, Policy};

/// Fewest sessions for the weight.
pub static POLICY: Policy = Policy {
    name: "least_connections",
    summary: "the backend with the fewest sessions for its weight",
    by_client: false,
    table: None,
    pick,
    standing: load::standing,
};

fn pick(choice: &Choice<'_>) -> Option<Pick> {
    let members = choice.rotation.members();
    let slots = choice.rotation.slots();
    // The first of equals wins, so the search begins where the rotation is: equals take turns, by
    // their weights, and backends that are mostly idle are served as by round robin.
    let turn = choice.ticket.checked_rem(slots.len() as u64)?;
    let (before, after) = members.split_at(*slots.get(turn as usize)?);
    after
        .iter()
        .chain(before)
        .filter(|member| choice.is_open(member.backend))
        .map(|&member| Load::of(member, choice))
        .reduce(Load::lesser)
        .map(Pick::from)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scene;
    use super::*;
    use proptest::prelude::*;

    /// Weights, active sessions, tried, and who is picked.
    type Case<'a> = (&'a [u32], &'a [u32], &'a [usize], usize);

    /// Choices that can be checked by eye.
    #[test]
    fn picks_the_least_loaded() {
        let cases: &[Case<'_>] = &[
            (&[1, 1, 1], &[2, 1, 2], &[], 1),
            (&[1, 1, 1], &[2, 1, 2], &[1, 0], 2),
            (&[1, 4, 2], &[0, 0, 0], &[], 1), // idle: the first of the rotation
            (&[1, 4], &[1, 4], &[], 1),       // equal: the same
            (&[1, 4], &[1, 5], &[], 0),
            (&[1, 4], &[1, 3], &[], 1),
            (&[1, 4], &[0, 1], &[], 0),
        ];
        for &(weights, active, tried, expected) in cases {
            let pick = Scene::new(weights)
                .active(active)
                .tried(tried)
                .pick(&POLICY, 0, 0);
            assert_eq!(
                pick,
                Some(Pick {
                    backend: expected,
                    seen: Some(active[expected])
                })
            );
        }
    }

    /// Equals take turns, one by one and by weight, those in the rotation only.
    #[test]
    fn ties_rotate() {
        let idle = Scene::new(&[3, 1, 1]);
        assert_eq!(idle.picks(&POLICY, 5), [0, 1, 0, 2, 0]);
        assert_eq!(Scene::new(&[1; 3]).picks(&POLICY, 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(
            Scene::with_down(&[1; 3], &[1]).picks(&POLICY, 4),
            [0, 2, 0, 2]
        );
    }

    /// Sessions that stay fill the backends in proportion to their weights.
    #[test]
    fn fills_by_weight() {
        let mut scene = Scene::new(&[5, 1, 2]);
        for ticket in 0..80 {
            let pick = scene.pick(&POLICY, ticket, 0).expect("someone is in");
            scene.active[pick.backend] += 1;
        }
        assert_eq!(scene.active, [50, 10, 20]);
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// No untried backend has less load than the one picked.
        #[test]
        fn nobody_has_less(
            backends in prop::collection::vec((1_u32..9, 0_u32..20), 1..10),
            tried in prop::collection::vec(0_usize..10, 0..6),
            ticket in any::<u64>(),
        ) {
            let (weights, active): (Vec<u32>, Vec<u32>) = backends.into_iter().unzip();
            let scene = Scene::new(&weights).active(&active).tried(&tried);
            let load = |b: usize| f64::from(active[b]) / f64::from(weights[b]);
            if let Some(pick) = scene.pick(&POLICY, ticket, 0) {
                let least = scene.candidates().into_iter().map(load).fold(f64::INFINITY, f64::min);
                prop_assert_eq!(load(pick.backend), least);
            }
        }
    }
}
