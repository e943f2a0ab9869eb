//! `maglev`: the same client gets the same backend, by a table that every balancer builds alike.
//!
//! Each backend prefers the entries of the table in an order of its own, and they take turns, by weight
//! and smoothly (`interleave`), each taking the first of its preference that is free, until the table is
//! full. A client's key names an entry: O(1), however many backends (Eisenbud et al., "Maglev: A Fast and
//! Reliable Software Network Load Balancer", NSDI 2016, section 3.4).
//!
//! The table is of the *configured* backends, sorted by key, and is built when they or their weights
//! change; never because one goes up or down. Who hits an entry whose backend can't serve goes on
//! through the table to one whose backend can, by steps that the client's key decides too: only the
//! clients of that backend move, by weight to all others (to those of the neighbouring entries they would
//! not be), and back when it is up again. Drained backends and backups keep their entries in the same
//! way; a weight of 0 has none.
//!
//! Shares are whole entries, of 65,537: exact to 1 % up to about 600 backends, in larger pools
//! `source_hash` is more exact. A changed set moves slightly more clients than need be.

use super::bounded::{self, Admit};
use super::interleave::interleave;
use super::{Choice, Pick, Policy};
use crate::policy::splitmix::{below, nth};

/// A table of turns by preference.
pub static POLICY: Policy = Policy {
    name: "maglev",
    summary: "the same client gets the same backend, by a table for large pools",
    by_client: true,
    table: Some(Table::new),
    pick,
    standing,
};

/// Entries of a table: a prime, so that every step leads through all of it (the size in the paper).
pub const ENTRIES: u32 = 65_537;

/// An entry that nobody has taken yet.
const FREE: u32 = u32::MAX;

/// Which backend, by its index in the pool, each entry belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Of each backend of the pool, what it was built with.
    weights: Vec<u32>,
    /// All of them, or none if there is no backend with a weight.
    entries: Vec<u32>,
}

/// How a backend goes through the table: from one entry on by equal steps.
struct Preference {
    backend: u32,
    at: u32,
    step: u32,
}

impl Table {
    /// The table of backends with these keys and weights, by index.
    pub fn new(keys: &[u64], weights: &[u32]) -> Table {
        let mut order: Vec<(u64, u32, u32)> = (0..)
            .zip(keys.iter().zip(weights))
            .filter(|(_, (_, weight))| **weight > 0)
            .map(|(backend, (key, weight))| (*key, backend, *weight))
            .collect();
        order.sort_unstable();
        let in_order: Vec<u32> = order.iter().map(|(_, _, weight)| *weight).collect();
        let turns = interleave(&in_order);
        let preference = |(key, backend, _)| Preference {
            backend,
            at: below(nth(key, 1), u64::from(ENTRIES)) as u32,
            step: below(nth(key, 2), u64::from(ENTRIES - 1)) as u32 + 1,
        };
        let mut preferences: Vec<Preference> = order.into_iter().map(preference).collect();
        let mut entries = match turns.is_empty() {
            true => Vec::new(),
            false => vec![FREE; ENTRIES as usize],
        };
        for &turn in turns.iter().cycle().take(ENTRIES as usize) {
            let preference = &mut preferences[turn];
            while entries[preference.at as usize] != FREE {
                preference.at = (preference.at + preference.step) % ENTRIES;
            }
            entries[preference.at as usize] = preference.backend;
        }
        Table {
            weights: weights.to_vec(),
            entries,
        }
    }

    /// Whose each entry is, by index in the pool; none at all where no backend has a weight.
    pub fn entries(&self) -> &[u32] {
        &self.entries
    }

    /// Whether it was built with these weights.
    pub fn is_for(&self, weights: &[u32]) -> bool {
        self.weights == weights
    }

    /// The backends, each as often as it has entries, in the order in which this client comes to them:
    /// from entry `key · 65537 / 2^64` on by steps of `nth(key, 1) · 65536 / 2^64 + 1`.
    fn from(&self, client: u64) -> impl Iterator<Item = usize> {
        let start = below(client, u64::from(ENTRIES)) as u32;
        let step = below(nth(client, 1), u64::from(ENTRIES - 1)) as u32 + 1;
        let places = std::iter::successors(Some(start), move |at| Some((at + step) % ENTRIES));
        let backends = places.map_while(|at| self.entries.get(at as usize));
        backends
            .take(ENTRIES as usize)
            .map(|backend| *backend as usize)
    }
}

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
    use super::super::testing::{Scene, assert_moves, assert_shares};
    use super::super::{Rotation, backend_keys};
    use super::*;

    fn scene(weights: &[u32]) -> Scene {
        Scene::new(weights).for_policy(&POLICY)
    }

    fn keys(backends: impl Iterator<Item = usize>) -> Vec<u64> {
        backend_keys(backends.map(|n| format!("10.0.0.1:{n}")))
    }

    fn table(weights: &[u32]) -> Table {
        Table::new(&keys(0..weights.len()), weights)
    }

    /// How many entries each backend has.
    fn counts(table: &Table, backends: usize) -> Vec<u64> {
        let mut counts = vec![0; backends];
        for &backend in &table.entries {
            counts[backend as usize] += 1;
        }
        counts
    }

    /// Every entry is taken, and each backend has its share of them, give or take one.
    #[test]
    fn entries_are_as_the_weights() {
        let equal = [1; 1000];
        for weights in [&equal[..], &[3, 1, 0, 4, 2], &[256, 1], &[1; 3], &[7]] {
            let table = table(weights);
            assert_eq!(table.entries.len(), ENTRIES as usize);
            let total: u32 = weights.iter().sum();
            for (count, weight) in counts(&table, weights.len()).into_iter().zip(weights) {
                let exact = f64::from(ENTRIES) * f64::from(*weight) / f64::from(total);
                assert!((count as f64 - exact).abs() <= 1.0, "{count} of {exact}");
            }
        }
        assert!(table(&[0, 0]).entries.is_empty() && table(&[]).entries.is_empty());
    }

    /// And so each has its share of 100,000 clients.
    #[test]
    fn shares_are_as_the_weights() {
        for weights in [&[1; 10][..], &[3, 1, 0, 4, 2], &[1; 100]] {
            assert_shares(&scene(weights).shares(&POLICY, 100_000), weights, 0.005);
        }
    }

    /// The table does not depend on the order of the list: every balancer has the same.
    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let (weights, size) = ([3, 1, 2, 1, 5], 5);
        let there = table(&weights);
        let order = [4, 2, 0, 3, 1];
        let shuffled: Vec<u32> = order.iter().map(|&n: &usize| weights[n]).collect();
        let here = Table::new(&keys(order.into_iter()), &shuffled);
        let meant = here.entries.iter().map(|&place| order[place as usize]);
        assert!(meant.eq(there.entries.iter().map(|&backend| backend as usize)));
        assert!(here.is_for(&shuffled) && !here.is_for(&weights) && size == order.len());
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

    /// A backend that leaves the config, or comes back, moves hardly more clients than its own.
    #[test]
    fn a_changed_set_moves_few_clients() {
        for size in [3_u32, 10, 100] {
            let all: Vec<u32> = (0..size).map(|n| n % 3 + 1).collect();
            for leaving in [0, 1, all.len() - 1] {
                let mut rest = all.clone();
                let own = std::mem::take(&mut rest[leaving]);
                let (before, after) = (table(&all), table(&rest));
                let pairs = before.entries.iter().zip(&after.entries);
                let moved = pairs.filter(|(before, after)| before != after).count();
                let moved = moved as f64 / f64::from(ENTRIES);
                let own = f64::from(own) / f64::from(all.iter().sum::<u32>());
                assert!(moved < own + 0.02, "{moved} of {own}, of {size}");
            }
        }
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
        let weights = vec![1; ENTRIES as usize + 10];
        let counts = counts(&table(&weights), weights.len());
        assert!(counts.iter().all(|count| *count <= 1));
        let without = counts
            .iter()
            .position(|count| *count == 0)
            .expect("ten have none");
        let mut alone = scene(&weights);
        alone.rotation = Rotation::new(&[(without, 1)]);
        let pick = alone.pick(&POLICY, 0, 42);
        assert_eq!(pick.map(|pick| pick.backend), Some(without));
    }

    /// The table of three backends, by the first entries and a sum over all: as it ever was.
    #[test]
    fn the_table_is_as_it_ever_was() {
        let table = table(&[1, 2, 3]);
        assert_eq!(
            table.entries[..16],
            [0, 2, 2, 1, 2, 2, 1, 2, 2, 1, 1, 0, 0, 1, 2, 2]
        );
        let sum = table.entries.iter().fold(0, |sum, &backend| {
            crate::policy::splitmix::mix(sum ^ u64::from(backend))
        });
        assert_eq!(sum, 0x8421_cf23_c981_069b);
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
