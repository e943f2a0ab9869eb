//! `maglev`: the same client gets the same backend, by a table that every balancer builds alike.
//!
//! A client's key names an entry of the [`Table`]: O(1), however many backends there are.
//!
//! The table is of the *configured* backends and is built when they or their weights change; never
//! because one goes up or down. Who hits an entry whose backend can't serve goes on through the table to
//! one whose backend can, by steps that the client's key decides too: only the clients of that backend
//! move, by weight to all others (to those of the neighbouring entries they would not be), and back when
//! it is up again. That takes as many steps as the share of those that serve is small, and never more
//! than once through the table. Drained backends and backups keep their entries in the same way; a
//! weight of 0 has none.
//!
//! Shares are whole entries, of 65,537: exact to 1 % up to about 600 backends, in larger pools
//! `source_hash` is more exact. A changed set moves slightly more clients than need be.

use super::bounded::{self, Admit};
use super::{Choice, Pick, Policy, Table};

/// A table of turns by preference.
pub static POLICY: Policy = Policy {
    name: "maglev",
    summary: "as source_hash, by a table, for large pools",
    by_client: true,
    table: Some(Table::new),
    pick,
    standing,
};

fn pick(choice: &Choice<'_>) -> Option<Pick> {
    bounded::pick(choice, first)
}

fn first(choice: &Choice<'_>, admit: Admit<'_>) -> Option<Pick> {
    // Asked first, because a walk over the whole table in vain would take long.
    let anybody = choice
        .rotation
        .members()
        .iter()
        .find_map(|member| admit(*member))?;
    let members = choice.hashing.table.into_iter().flat_map(|table| {
        let backends = table.from(choice.hashing.client);
        backends.filter_map(|backend| choice.rotation.find(backend))
    });
    // More backends than entries: some have none.
    members.into_iter().find_map(admit).or(Some(anybody))
}

#[allow(
    clippy::indexing_slicing,
    reason = "a place found in `members` is one in `ranks`, which has as many"
)]
fn standing(choice: &Choice<'_>) -> Vec<String> {
    let members = choice.rotation.members();
    let mut ranks = vec![None; members.len()];
    let mut next = 0;
    let table = choice.hashing.table.into_iter();
    for backend in table.flat_map(|table| table.from(choice.hashing.client)) {
        let member = members.binary_search_by_key(&backend, |member| member.backend);
        if let Ok(member) = member
            && ranks[member].is_none()
        {
            ranks[member] = Some(next);
            next += 1;
            if next == members.len() {
                break;
            }
        }
    }
    let ranks: Vec<usize> = ranks.into_iter().map(|rank| rank.unwrap_or(next)).collect();
    bounded::standing(choice, &ranks)
}

#[cfg(test)]
mod tests {
    use super::super::Rotation;
    use super::super::testing::{Scene, assert_moves, assert_shares};
    use super::*;
    use crate::policy::splitmix::nth;

    fn scene(weights: &[u32]) -> Scene {
        Scene::new(weights).for_policy(&POLICY)
    }

    /// And so each has its share of 100,000 clients.
    #[test]
    fn shares_are_as_the_weights() {
        for weights in [&[1; 10][..], &[3, 1, 0, 4, 2], &[1; 100]] {
            assert_shares(&scene(weights).shares(&POLICY, 100_000), weights, 0.005);
        }
    }

    /// A backend that goes down moves its own clients alone, to all others by weight.
    #[test]
    fn who_is_down_moves_its_own_clients_only() {
        let scene = scene(&[1, 2, 3, 1, 1]);
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
    }

    /// A retry goes to the backend that would be the client's if those tried were down.
    #[test]
    fn retries_go_on_in_the_table() {
        let scene = scene(&[1, 2, 3, 1]);
        let tried = scene.clone().tried(&[2, 0]).picks(&POLICY, 1_000);
        assert_eq!(tried, scene.down(&[0, 2]).picks(&POLICY, 1_000));
    }

    /// A pool with more backends than entries gives each entry to another.
    #[test]
    fn more_backends_than_entries() {
        let weights = vec![1; Table::ENTRIES as usize + 1];
        let mut alone = scene(&weights);
        let mut has_entry = vec![false; weights.len()];
        for &backend in alone.table.iter().flat_map(Table::entries) {
            let before = std::mem::replace(&mut has_entry[backend as usize], true);
            assert!(!before, "{backend} has two");
        }
        let without = has_entry.iter().position(|has| !has).expect("one has none");
        alone.rotation = Rotation::new(&[(without, 1)]);
        let pick = alone.pick(&POLICY, 0, 42);
        assert_eq!(pick.map(|pick| pick.backend), Some(without));
    }

    /// What is told of the members is what is done: the first is picked, and when the first ones are
    /// tried, the next.
    #[test]
    fn what_is_told_is_what_is_done() {
        let scene = scene(&[1, 2, 3, 1, 1]).down(&[3]);
        let rank = |told: &String| {
            let after = told.strip_prefix("comes after ").unwrap_or("0 ");
            let (rank, _) = after.split_once(' ')?;
            rank.parse::<usize>().ok()
        };
        for client in (0..200).map(|n| nth(42, n)) {
            let mut scene = scene.clone();
            let told = scene.told(&POLICY, client);
            for tries in 0..=scene.rotation.len() {
                let at = told.iter().position(|told| rank(told) == Some(tries));
                let next = at.map(|at| scene.rotation.members()[at].backend);
                let pick = scene.pick(&POLICY, 0, client).map(|pick| pick.backend);
                assert_eq!(pick, next, "{told:?}");
                scene.tried.extend(next);
            }
        }
    }
}
