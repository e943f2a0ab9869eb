//! How long something took, counted in classes.

use std::time::Duration;

use super::Counter;

/// Upper ends of the classes, in microseconds: 100 µs to 10 min, three to a decade at the fast end,
/// where a connection to a neighbour is. One set for all durations, so that panels can be compared.
pub(super) const BOUNDS_MICROS: [u64; 16] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
];

/// Durations in classes. Written by whoever measures one; read by whoever reports. Each class is a
/// [`Counter`] of its own, so a report that is made meanwhile may hold the one half of a
/// measurement and not the other; the next has both.
#[derive(Debug, Default)]
pub struct Histogram {
    classes: [Counter; BOUNDS_MICROS.len()],
    /// Those longer than the last bound.
    longer: Counter,
    sum_micros: Counter,
}

/// What a histogram held at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// How many took at most as long as each bound, in microseconds.
    pub up_to: Vec<(u64, u64)>,
    /// How many there were.
    pub count: u64,
    /// How long all took together, in microseconds.
    pub sum_micros: u64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.classes.get(place).unwrap_or(&self.longer).increment();
        self.sum_micros.add(micros);
    }

    /// What it holds now.
    pub fn read(&self) -> Distribution {
        let mut count = 0;
        let up_to = BOUNDS_MICROS
            .iter()
            .zip(&self.classes)
            .map(|(bound, class)| {
                count += class.get();
                (*bound, count)
            })
            .collect();
        Distribution {
            up_to,
            count: count + self.longer.get(),
            sum_micros: self.sum_micros.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_class_of_the_next_bound_and_in_all_above() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 700_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let read = histogram.read();
        assert_eq!(read.up_to[..3], [(100, 2), (250, 3), (500, 3)]);
        assert_eq!(read.up_to.last(), Some(&(600_000_000, 3)));
        assert_eq!((read.count, read.sum_micros), (4, 700_000_201));
    }
}
