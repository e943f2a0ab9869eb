//! The table of `maglev`: which backend each entry belongs to.
//!
//! Each backend prefers the entries in an order of its own: from entry `nth(key, 1) · 65537 / 2^64` on, by
//! steps of `nth(key, 2) · 65536 / 2^64 + 1`, with its key and SplitMix64's `nth`. In the order of their
//! keys they take turns, by weight and smoothly (`interleave`), each taking the first of its preference
//! that is free, until the table is full (Eisenbud et al., "Maglev: A Fast and Reliable Software Network
//! Load Balancer", NSDI 2016, section 3.4, where all weights are 1). So the table does not depend on the
//! order of the config, every balancer with the same backends has the same, and a change of the set
//! changes few entries that need not change.
//!
//! Filling it takes 1 to 7 ms (`cargo bench --bench maglev`): for the thread that makes a change, never for
//! a pick.

use super::interleave::interleave;
use crate::policy::splitmix::{below, nth};

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
    /// How many entries it has: a prime, so that every step leads through all of it (the smaller size in
    /// the paper).
    pub const ENTRIES: u32 = 65_537;

    /// The table of backends with these keys and weights, by index.
    #[allow(
        clippy::indexing_slicing,
        reason = "turns are places in `preferences`, and `at` is kept below the number of entries"
    )]
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
            at: below(nth(key, 1), u64::from(Table::ENTRIES)) as u32,
            step: below(nth(key, 2), u64::from(Table::ENTRIES - 1)) as u32 + 1,
        };
        let mut preferences: Vec<Preference> = order.into_iter().map(preference).collect();
        let mut entries = match turns.is_empty() {
            true => Vec::new(),
            false => vec![FREE; Table::ENTRIES as usize],
        };
        for &turn in turns.iter().cycle().take(Table::ENTRIES as usize) {
            let preference = &mut preferences[turn];
            while entries[preference.at as usize] != FREE {
                preference.at = (preference.at + preference.step) % Table::ENTRIES;
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
    pub(super) fn from(&self, client: u64) -> impl Iterator<Item = usize> {
        let start = below(client, u64::from(Table::ENTRIES)) as u32;
        let step = below(nth(client, 1), u64::from(Table::ENTRIES - 1)) as u32 + 1;
        let places =
            std::iter::successors(Some(start), move |at| Some((at + step) % Table::ENTRIES));
        let backends = places.map_while(|at| self.entries.get(at as usize));
        backends
            .take(Table::ENTRIES as usize)
            .map(|backend| *backend as usize)
    }
}

/// Makes a table of the keys and the weights of all configured backends, by index.
pub type BuildTable = fn(keys: &[u64], weights: &[u32]) -> Table;

#[cfg(test)]
mod tests {
    use super::super::backend_keys;
    use super::*;
    use crate::policy::splitmix::mix;

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
            assert_eq!(table.entries.len(), Table::ENTRIES as usize);
            let total: u32 = weights.iter().sum();
            for (count, weight) in counts(&table, weights.len()).into_iter().zip(weights) {
                let exact = f64::from(Table::ENTRIES) * f64::from(*weight) / f64::from(total);
                assert!((count as f64 - exact).abs() <= 1.0, "{count} of {exact}");
            }
        }
        assert!(table(&[0, 0]).entries.is_empty() && table(&[]).entries.is_empty());
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
                let moved = moved as f64 / f64::from(Table::ENTRIES);
                let own = f64::from(own) / f64::from(all.iter().sum::<u32>());
                assert!(moved < own + 0.02, "{moved} of {own}, of {size}");
            }
        }
    }

    /// The table of three backends, by the first entries and a sum over all: as it ever was.
    #[test]
    fn the_table_is_as_it_ever_was() {
        let table = table(&[1, 2, 3]);
        assert_eq!(
            table.entries[..16],
            [0, 2, 2, 1, 2, 2, 1, 2, 2, 1, 1, 0, 0, 1, 2, 2]
        );
        let sum = table
            .entries
            .iter()
            .fold(0, |sum, &backend| mix(sum ^ u64::from(backend)));
        assert_eq!(sum, 0x8421_cf23_c981_069b);
    }
}
