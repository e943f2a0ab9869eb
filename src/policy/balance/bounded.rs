//! `hash_balance_factor`: consistent hashing with bounded loads. PURE.
//!
//! A hash knows nothing of how busy a backend is, and clients are not alike. With a factor of 125 %, no
//! backend gets a session that would take it above 1.25 times its share by weight of all sessions that
//! the rotation holds, rounded up; who is passed over goes to the next in the client's own order
//! (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018; HAProxy's
//! `hash-balance-factor`, Envoy's `hash_balance_factor`). With a factor of 1 or more there always is one
//! with room. The price: a pick counts the sessions of all backends, in O(members), as
//! `least_connections` does; and while a backend is full, its clients do not all go to it.

use super::load::Load;
use super::{Choice, Member, Pick};

/// How many sessions a backend may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// The factor, times the sessions that there are and the one to come, over all weights.
    each: f64,
}

impl Bound {
    /// The bound of this moment; `None` where none was asked for.
    pub(super) fn of(choice: &Choice<'_>) -> Option<Bound> {
        let factor = choice.hashing.balance_factor?;
        let (mut sessions, mut weights) = (1_u64, 0_u64);
        for member in choice.rotation.members() {
            sessions += u64::from((choice.active)(member.backend));
            weights += u64::from(member.weight);
        }
        let each = factor * sessions as f64 / weights as f64;
        Some(Bound { each })
    }

    /// The most sessions that this member may hold.
    pub(super) fn most(self, member: Member) -> f64 {
        (self.each * f64::from(member.weight)).ceil()
    }

    /// The member as a pick that rests on the number of its sessions, if it has room for one more.
    fn admit(self, member: Member, choice: &Choice<'_>) -> Option<Pick> {
        let active = (choice.active)(member.backend);
        (f64::from(active) < self.most(member)).then_some(Pick {
            backend: member.backend,
            seen: Some(active),
        })
    }
}

/// Says of a member how to pick it; `None`: pass it over.
pub(super) type Admit<'a> = &'a dyn Fn(Member) -> Option<Pick>;

/// The pick of a hashing policy, of which `first` finds the first in the client's order that is
/// admitted.
///
/// If a bound leaves nobody, the least busy is picked: those with room have been tried in vain, or they
/// have filled up since they were counted. Of all, the least busy is always within its bound.
pub(super) fn pick(
    choice: &Choice<'_>,
    first: impl Fn(&Choice<'_>, Admit<'_>) -> Option<Pick>,
) -> Option<Pick> {
    let is_open = |member: &Member| choice.is_open(member.backend);
    let Some(bound) = Bound::of(choice) else {
        return first(choice, &|member| {
            is_open(&member).then(|| Pick::blind(member))
        });
    };
    let within = first(choice, &|member| {
        is_open(&member).then(|| bound.admit(member, choice))?
    });
    within.or_else(|| {
        let open = choice.rotation.members().iter().filter(|one| is_open(one));
        let loads = open.map(|member| Load::of(*member, choice));
        loads.reduce(Load::lesser).map(Pick::from)
    })
}

/// What there is to say of each member that comes so far down in the client's order.
pub(super) fn standing(choice: &Choice<'_>, ranks: &[usize]) -> Vec<String> {
    let bound = Bound::of(choice);
    let tell = |(member, rank): (&Member, &usize)| {
        let place = match rank {
            0 => "the first for this client".to_owned(),
            n => format!("comes after {n} others for this client"),
        };
        let Some(bound) = bound else {
            return place;
        };
        let (active, most) = ((choice.active)(member.backend), bound.most(*member));
        match f64::from(active) < most {
            true => format!("{place}; sessions: {active} of at most {most}"),
            false => format!("{place}; passed over, sessions: {active} of at most {most}"),
        }
    };
    choice
        .rotation
        .members()
        .iter()
        .zip(ranks)
        .map(tell)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scene;
    use super::super::{Pick, Policy, maglev, source_hash};

    const POLICIES: [&Policy; 2] = [&source_hash::POLICY, &maglev::POLICY];

    /// All sessions of one client: its first choice is filled up to the bound, the next after it, and
    /// the sessions of its first choice are never more than the bound allows.
    #[test]
    fn one_client_overflows_in_its_own_order() {
        for policy in POLICIES {
            let bounded = Scene::new(&[1, 1, 2]).for_policy(policy);
            let mut scene = bounded.balance_factor(Some(1.25));
            for sessions in 1..=400_u32 {
                let Some(Pick { backend, seen }) = scene.pick(policy, 0, 42) else {
                    panic!("{policy:?} gave up");
                };
                assert_eq!(seen, Some(scene.active[backend]));
                scene.active[backend] += 1;
                for (active, weight) in scene.active.iter().zip(&scene.weights) {
                    let share = f64::from(sessions * weight) / 4.0;
                    assert!(
                        f64::from(*active) <= (1.25 * share).ceil(),
                        "{:?}",
                        scene.active
                    );
                }
            }
            // 125, 125 and 250 are the most; the first two choices are full.
            let full = |(active, weight): (&u32, &u32)| *active == 125 * weight;
            let pairs = || scene.active.iter().zip(&scene.weights);
            assert_eq!(
                pairs().filter(|pair| full(*pair)).count(),
                2,
                "{:?}",
                scene.active
            );
        }
    }

    /// With room everywhere the bound changes nothing, and without a factor nothing is counted.
    #[test]
    fn who_has_room_keeps_its_clients() {
        for policy in POLICIES {
            let free = Scene::new(&[1, 1, 2]).for_policy(policy);
            let bounded = free.clone().balance_factor(Some(1.0)).active(&[5, 5, 10]);
            let busy = free.clone().active(&[500, 0, 0]);
            assert_eq!(free.picks(policy, 500), bounded.picks(policy, 500));
            assert_eq!(free.picks(policy, 500), busy.picks(policy, 500));
            assert_eq!(busy.pick(policy, 0, 1).and_then(|pick| pick.seen), None);
        }
    }

    /// When those with room have been tried in vain, the least busy of the others is better than none.
    #[test]
    fn a_retry_may_go_to_a_full_one() {
        for policy in POLICIES {
            let scene = Scene::new(&[1, 1, 2])
                .for_policy(policy)
                .active(&[9, 0, 14]);
            let scene = scene.balance_factor(Some(1.0));
            assert_eq!(scene.picks(policy, 3), [1, 1, 1]);
            assert_eq!(scene.clone().tried(&[1]).picks(policy, 3), [2, 2, 2]);
            assert_eq!(scene.clone().tried(&[1, 2]).picks(policy, 3), [0, 0, 0]);
            let told = scene.standing(policy, 0);
            assert!(
                told[0].ends_with("passed over, sessions: 9 of at most 6"),
                "{told:?}"
            );
            assert!(told[1].ends_with("sessions: 0 of at most 6"), "{told:?}");
        }
    }
}
