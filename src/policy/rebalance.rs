//! Which backends hold more sessions than their share. PURE.
//!
//! Sessions that stay for days stay where they began: a server that was away for a minute has none for
//! days. What the others hold beyond their shares is to be closed, so that those clients come again and
//! are spread by the policy.
//!
//! | a backend that | has a share | its sessions are |
//! | --- | --- | --- |
//! | serves, and is up | by its weight, of all sessions of these two rows | moved beyond the share |
//! | is a backup that is up, while the primaries serve | none | all moved |
//! | is drained, in maintenance or of weight 0 | | left alone: they may finish, that is the administrator's word |
//! | is down or ejected | | left alone: to keep them or not is what `on_down` is for |
//!
//! A share is rounded up, so that what is closed always finds a place within the shares; nothing is moved
//! to and fro for the sake of one session.

/// A backend's part in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It serves, with this weight.
    Serves(u32),
    /// A backup that is not needed.
    StandsBy,
    /// It is no business of a rebalance.
    Apart,
}

/// How many of each backend's sessions are beyond its share, given its part and how many it has.
pub fn excess(all: &[(Part, u32)]) -> Vec<u32> {
    let weights: u64 = all.iter().map(|(part, _)| weight(*part)).sum();
    if weights == 0 {
        // Whoever is closed would find nobody.
        return vec![0; all.len()];
    }
    let sessions = all.iter().filter(|(part, _)| *part != Part::Apart);
    let sessions: u64 = sessions.map(|(_, active)| u64::from(*active)).sum();
    let beyond = |(part, active): &(Part, u32)| match part {
        Part::Apart => 0,
        Part::Serves(_) | Part::StandsBy => {
            // 32 bits times 32 bits, and at most the sum of all weights again.
            let share = (u128::from(sessions) * u128::from(weight(*part))).div_ceil(weights.into());
            active.saturating_sub(u32::try_from(share).unwrap_or(u32::MAX))
        }
    };
    all.iter().map(beyond).collect()
}

fn weight(part: Part) -> u64 {
    match part {
        Part::Serves(weight) => weight.into(),
        Part::StandsBy | Part::Apart => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Part::{Apart, Serves, StandsBy};
    use proptest::prelude::*;

    #[test]
    fn what_is_beyond_the_share_is_excess() {
        for (all, expected) in [
            // A server has come back, and has nobody.
            (
                vec![(Serves(1), 10), (Serves(1), 10), (Serves(1), 0)],
                vec![3, 3, 0],
            ),
            (vec![(Serves(1), 5), (Serves(1), 5)], vec![0, 0]),
            // Nobody is moved for the sake of one.
            (vec![(Serves(1), 6), (Serves(1), 5)], vec![0, 0]),
            (vec![(Serves(1), 7), (Serves(1), 5)], vec![1, 0]),
            // By weight: 12 are 9 and 3.
            (vec![(Serves(3), 6), (Serves(1), 6)], vec![0, 3]),
            (vec![(Serves(3), 9), (Serves(1), 3)], vec![0, 0]),
            // Who is drained or down neither gives nor takes, and its sessions count nowhere.
            (
                vec![(Serves(1), 8), (Serves(1), 0), (Apart, 100)],
                vec![4, 0, 0],
            ),
            // A backup that is not needed any more gives all back.
            (
                vec![(Serves(1), 0), (Serves(1), 4), (StandsBy, 6)],
                vec![0, 0, 6],
            ),
            // Nobody can take them.
            (vec![(Apart, 9), (StandsBy, 3)], vec![0, 0]),
            (vec![(Serves(0), 9)], vec![0]),
            (vec![], vec![]),
            (
                vec![(Serves(u32::MAX), u32::MAX), (Serves(1), u32::MAX)],
                vec![0, u32::MAX - 2],
            ),
        ] {
            assert_eq!(excess(&all), expected, "{all:?}");
        }
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// What is closed finds a place within the shares of the others, and who is apart stays so.
        #[test]
        fn what_is_moved_fits(
            all in prop::collection::vec((0..3_u8, 0..300_u32, 0..5000_u32), 0..12),
        ) {
            let all: Vec<(Part, u32)> = all
                .into_iter()
                .map(|(part, weight, active)| match part {
                    0 => (Serves(weight), active),
                    1 => (StandsBy, active),
                    _ => (Apart, active),
                })
                .collect();
            let moved = excess(&all);
            let after: Vec<(Part, u32)> = all.iter().zip(&moved).map(|((part, active), moved)| (*part, active - moved)).collect();
            for ((part, _), moved) in all.iter().zip(&moved) {
                prop_assert!(*part != Apart || *moved == 0);
            }
            // Beyond the shares of what there was, nothing is left: each has at most its share, rounded up.
            let total: u64 = all.iter().filter(|(part, _)| *part != Apart).map(|(_, active)| u64::from(*active)).sum();
            let weights: u64 = all.iter().map(|(part, _)| weight(*part)).sum();
            for (part, active) in after {
                if weights > 0 && part != Apart {
                    prop_assert!(u64::from(active) * weights < total * weight(part) + weights);
                }
            }
        }
    }
}
