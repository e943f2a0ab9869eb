//! `power_of_two`: the less busy of two backends drawn at random.
//!
//! With one draw, n sessions on n backends give the fullest about log n / log log n of them; with
//! two only about log log n, and a third draw hardly helps (Mitzenmacher, "The Power of Two Choices
//! in Randomized Load Balancing", 2001). And where several balancers share the backends, they do
//! not all run to the same idle one, as with `least_connections`. HAProxy has it as `random(2)`,
//! Envoy as `LEAST_REQUEST`.

use super::load::{self, Load};
use super::random::draw;
use super::{Choice, Member, Pick, Policy};

/// Less busy of two.
pub static POLICY: Policy = Policy {
    name: "power_of_two",
    summary: "the less busy of two drawn at random",
    by_client: false,
    table: None,
    pick,
    standing,
};

fn pick(choice: &Choice<'_>) -> Option<Pick> {
    drawn(choice)
        .map(|member| Load::of(member, choice))
        .reduce(Load::lesser)
        .map(Pick::from)
}

/// The two that are compared, or the one that there is.
fn drawn(choice: &Choice<'_>) -> impl Iterator<Item = Member> {
    let one = draw(choice, choice.random, |_| true);
    // A draw is decided by the highest bits, so turning the word makes its halves two draws.
    let other = draw(choice, choice.random.rotate_left(32), |backend| {
        one.is_some_and(|one| backend != one.backend)
    });
    one.into_iter().chain(other)
}

fn standing(choice: &Choice<'_>) -> Vec<String> {
    let drawn: Vec<usize> = drawn(choice).map(|member| member.backend).collect();
    let members = choice.rotation.members().iter();
    load::standing(choice)
        .into_iter()
        .zip(members)
        .map(|(load, member)| {
            let is_drawn = drawn.contains(&member.backend);
            let prefix = if is_drawn { "drawn" } else { "not drawn" };
            format!("{prefix}; {load}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, assert_shares};
    use super::*;
    use proptest::prelude::*;

    /// The two drawn always differ: so of two backends the busier is never picked, and of more
    /// than two the busiest.
    #[test]
    fn never_picks_the_busiest() {
        for active in [&[5, 4][..], &[3, 9, 4, 5]] {
            let scene = Scene::new(&vec![1; active.len()]).active(active);
            let busiest = active.iter().position(|a| Some(a) == active.iter().max());
            let picks = scene.picks(&POLICY, 2_000);
            assert!(picks.iter().all(|&backend| Some(backend) != busiest));
        }
    }

    /// Each half of the bits decides one draw: here the first backend and the last.
    #[test]
    fn halves_of_the_bits_draw_apart() {
        let scene = Scene::new(&[1; 4]).active(&[2, 0, 0, 1]);
        for random in [0xffff_ffff, 0xffff_ffff << 32] {
            let pick = scene.pick(&POLICY, 0, random);
            assert_eq!(pick.map(|pick| pick.backend), Some(3));
        }
    }

    /// With one backend left there is nothing to compare, and it is taken however busy it is.
    #[test]
    fn takes_the_only_one() {
        let expected = Some(Pick {
            backend: 1,
            seen: Some(8),
        });
        assert_eq!(
            Scene::with_down(&[1, 1], &[0])
                .active(&[0, 8])
                .pick(&POLICY, 0, 0),
            expected
        );
        assert_eq!(
            Scene::new(&[9, 1])
                .tried(&[0])
                .active(&[0, 8])
                .pick(&POLICY, 0, 0),
            expected
        );
    }

    /// Among equals every pair is as likely as any other, so all get the same; and so it is for a
    /// retry among those left.
    #[test]
    fn equals_share_evenly() {
        let scene = Scene::new(&[1; 5]);
        assert_shares(&scene.shares(&POLICY, 20_000), &[1; 5], 0.01);
        assert_shares(
            &scene.tried(&[2]).shares(&POLICY, 20_000),
            &[1, 1, 0, 1, 1],
            0.01,
        );
    }

    /// Sessions that stay fill the backends by weight, and more evenly than one draw would: after
    /// 1,000 sessions on 100 backends, one draw leaves the fullest with about 20.
    #[test]
    fn fills_evenly_by_weight() {
        let fill = |weights: &[u32], sessions| {
            let mut scene = Scene::new(weights);
            for n in 0..sessions {
                let random = crate::policy::splitmix::nth(7, n);
                let pick = scene.pick(&POLICY, n, random).expect("someone is in");
                scene.active[pick.backend] += 1;
            }
            scene.active
        };
        assert!(
            fill(&[1; 100], 1_000)
                .into_iter()
                .all(|active| active <= 13)
        );
        let weighted: Vec<u64> = fill(&[4, 2, 1, 1], 8_000)
            .into_iter()
            .map(u64::from)
            .collect();
        assert_shares(&weighted, &[4, 2, 1, 1], 0.01);
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// At least one other candidate, the other one drawn, is no less loaded than the pick.
        #[test]
        fn beats_another(
            backends in prop::collection::vec((1_u32..9, 0_u32..20), 2..10),
            tried in prop::collection::vec(0_usize..10, 0..6),
            random in any::<u64>(),
        ) {
            let (weights, active): (Vec<u32>, Vec<u32>) = backends.into_iter().unzip();
            let scene = Scene::new(&weights).active(&active).tried(&tried);
            let load = |b: usize| f64::from(active[b]) / f64::from(weights[b]);
            if let Some(Pick { backend, .. }) = scene.pick(&POLICY, 0, random) {
                let others = scene.candidates().into_iter().filter(|&other| other != backend);
                let others: Vec<f64> = others.map(load).collect();
                let beaten = others.iter().any(|&other| other >= load(backend));
                prop_assert!(beaten || others.is_empty());
            }
        }
    }
}
