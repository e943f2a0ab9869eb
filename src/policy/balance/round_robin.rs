//! `round_robin`: the backends take turns, each as often as its weight says.

use super::random;
use super::{Choice, Pick, Policy};

/// The longest cycle in which retries take turns, slots. Telling whose turn it is takes a walk over
/// the cycle, 0.7 µs for 250 slots and 62 µs for 25,000 (`cargo bench`), and nobody can tell turns
/// among a thousand from chance.
const RETRY_SLOTS_MAX: usize = 1_000;

/// Turns by weight, under the name that most people look for.
pub static POLICY: Policy = Policy {
    name: "round_robin",
    summary: "the backends take turns, by weight",
    by_client: false,
    table: None,
    pick,
    standing,
};

/// The same policy under its full name.
pub static WEIGHTED: Policy = Policy {
    name: "weighted_round_robin",
    summary: "another name for round_robin",
    by_client: false,
    table: None,
    pick,
    standing,
};

fn pick(choice: &Choice<'_>) -> Option<Pick> {
    let by_chance = || random::draw(choice, choice.random, |_| true);
    let member = match choice.tried.last() {
        None => {
            let turn = choice.rotation.turn(choice.ticket);
            // Whose turn falls on a full backend goes to any other: the tickets of one slot are in step
            // with each other, and would choose the same other again and again.
            turn.filter(|member| choice.is_open(member.backend))
                .or_else(by_chance)
        }
        Some(_) if choice.rotation.slots().len() > RETRY_SLOTS_MAX => by_chance(),
        Some(&last) => choice.rotation.choose(
            slot_of(choice, last),
            |backend| choice.is_open(backend),
            |count| choice.ticket % count,
        ),
    };
    member.map(Pick::blind)
}

/// Where a retry begins to walk: at the backend that just failed, or at the first slot if that
/// backend has left the rotation meanwhile.
///
/// Retries take turns too, over all the others. If each went to the next in line instead, the
/// neighbour of a dead backend would get a double share until the health checks notice.
fn slot_of(choice: &Choice<'_>, last: usize) -> usize {
    let mut cycle = choice.rotation.cycle_from(0);
    cycle.position(|member| member.backend == last).unwrap_or(0)
}

fn standing(choice: &Choice<'_>) -> Vec<String> {
    let slots = choice.rotation.slots();
    let start = choice.ticket.checked_rem(slots.len() as u64).unwrap_or(0);
    let (before, after) = slots.split_at(start as usize);
    let mut distances = vec![None; choice.rotation.len()];
    for (distance, &member) in after.iter().chain(before).enumerate() {
        if let Some(first) = distances.get_mut(member) {
            first.get_or_insert(distance);
        }
    }
    let tell = |distance| match distance {
        Some(0) => "it is its turn".to_owned(),
        Some(n) => format!("its turn comes after {n} others"),
        // More backends than slots: see the limit on the cycle.
        None => "its turn is not in this cycle".to_owned(),
    };
    distances.into_iter().map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scene;
    use super::*;
    use proptest::prelude::*;

    /// First tries follow the cycle of those that can serve, ticket by ticket.
    #[test]
    fn first_tries_take_turns() {
        assert_eq!(Scene::new(&[1; 3]).picks(&POLICY, 7), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(Scene::new(&[3, 1, 1]).picks(&POLICY, 6), [0, 1, 0, 2, 0, 0]);
        assert_eq!(
            Scene::with_down(&[1; 3], &[1]).picks(&POLICY, 4),
            [0, 2, 0, 2]
        );
    }

    /// While b is dead and nobody has noticed, its sessions go to c and a by turns: neither
    /// neighbour gets a double share.
    #[test]
    fn retries_alternate_between_the_neighbours() {
        let retries = Scene::new(&[1; 3]).tried(&[1]);
        assert_eq!(retries.picks(&POLICY, 4), [2, 0, 2, 0]);
    }

    /// A backend that left the rotation after it was tried gives no place to walk from: the walk
    /// begins at the first slot, and takes turns as ever.
    #[test]
    fn retries_after_the_tried_one_went_down() {
        let retries = Scene::with_down(&[1; 3], &[1]).tried(&[1]);
        assert_eq!(retries.picks(&POLICY, 4), [0, 2, 0, 2]);
    }

    /// In a pool too large for turns, the others get their shares by chance, and the one that failed
    /// none.
    #[test]
    fn retries_in_a_large_pool_are_spread_over_the_others() {
        let weights = [1; RETRY_SLOTS_MAX + 1];
        let retries = Scene::new(&weights).tried(&[7]);
        let shares = retries.shares(&POLICY, 50_000);
        assert_eq!(shares[7], 0);
        let most = shares.iter().max();
        assert!(most < Some(&150), "about 50 each: {most:?}");
    }

    /// When all have been tried there is nobody left; the pool decides what then.
    #[test]
    fn gives_up_when_all_were_tried() {
        assert_eq!(Scene::new(&[2, 1]).tried(&[1, 0]).pick(&POLICY, 5, 0), None);
        assert_eq!(Scene::new(&[0, 0]).pick(&POLICY, 5, 0), None);
    }

    /// How many of 420 rounds of sessions each backend ends up with, when the sessions of the dead
    /// ones go on to others until they find one that lives. Nobody has noticed the deaths.
    fn serve(weights: &[u32], dead: &[usize]) -> Vec<u64> {
        let mut scene = Scene::new(weights);
        let mut served = vec![0; weights.len()];
        let mut failures = vec![0; weights.len()];
        for session in 0..420 * u64::from(weights.iter().sum::<u32>()) {
            scene.tried.clear();
            let mut pick = scene.pick(&POLICY, session, 0).expect("someone lives");
            while dead.contains(&pick.backend) {
                scene.tried.push(pick.backend);
                let ticket = failures[pick.backend];
                failures[pick.backend] += 1;
                pick = scene.pick(&POLICY, ticket, 0).expect("someone lives");
            }
            served[pick.backend] += 1;
        }
        served
    }

    /// The sessions of one dead backend spread exactly by weight over the others.
    #[test]
    fn one_dead_backend_burdens_all_alike() {
        assert_eq!(serve(&[1, 1, 1], &[1]), [630, 0, 630]);
        assert_eq!(serve(&[1, 1, 1, 1, 1], &[4]), [525, 525, 525, 525, 0]);
        assert_eq!(serve(&[3, 1, 1], &[2]), [1575, 525, 0]);
        assert_eq!(serve(&[3, 1, 1], &[0]), [0, 1050, 1050]);
    }

    /// With several dead at once nobody who lives is off by more than a seventh, whether the dead
    /// are neighbours or not.
    #[test]
    fn several_dead_backends_burden_all_nearly_alike() {
        for (backends, dead) in [
            (4, &[1, 2][..]),
            (5, &[1, 2]),
            (5, &[1, 3]),
            (6, &[0, 3]),
            (8, &[2, 6]),
            (10, &[3, 4, 5]),
        ] {
            let served = serve(&vec![1; backends], dead);
            let fair = 420.0 * backends as f64 / (backends - dead.len()) as f64;
            for backend in (0..backends).filter(|backend| !dead.contains(backend)) {
                let share = served[backend] as f64 / fair;
                assert!((share - 1.0).abs() < 1.0 / 7.0, "{dead:?} dead: {served:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// Over a whole cycle of tickets, first tries and retries alike give each backend that is
        /// left exactly its weight's share.
        #[test]
        fn shares_are_exact(
            weights in prop::collection::vec(0_u32..9, 1..9),
            tried in prop::collection::vec(0_usize..9, 0..4),
        ) {
            let scene = Scene::new(&weights).tried(&tried);
            let candidates = scene.candidates();
            let picks = candidates.iter().map(|&backend| u64::from(weights[backend])).sum();
            let shares = scene.shares(&POLICY, picks);
            for backend in candidates {
                prop_assert_eq!(shares[backend], u64::from(weights[backend]));
            }
        }
    }
}
