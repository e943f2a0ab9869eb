//! SplitMix64: random bits out of a counter.
//!
//! The n-th number of the sequence is a function of the seed and of n alone. So a pool needs no
//! generator behind a lock: its threads take distinct n from one atomic counter, and each computes
//! its own number. It is not a cryptographic generator; nothing here has to be unguessable.
//!
//! Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, with
//! the constants of Vigna's `splitmix64.c`.

/// The step from one state to the next: the odd number closest to 2^64 / golden ratio.
pub const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Scrambles 64 bits so that each bit of the result depends on each bit of `z`; a bijection.
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The `n`-th number of the sequence that `seed` starts. Its first number has n = 1; n = 0 is good
/// too, except that with seed 0 it is 0.
pub const fn nth(seed: u64, n: u64) -> u64 {
    mix(seed.wrapping_add(n.wrapping_mul(GAMMA)))
}

/// A uniform choice among `0..bound` out of uniform bits, decided by the highest of them.
///
/// A multiplication and a shift instead of a division (Lemire, "Fast Random Integer Generation in
/// an Interval", 2019). No result is more likely than another by more than 2^-64. A bound of 0
/// gives 0.
pub const fn below(bits: u64, bound: u64) -> u64 {
    ((bits as u128 * bound as u128) >> 64) as u64
}

/// A uniform number in `[0, 1)` out of uniform bits.
pub const fn unit(bits: u64) -> f64 {
    // The 53 highest bits fill the significand, so every result is exact and none rounds up to 1.
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    (bits >> 11) as f64 * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sequence is that of the published generator.
    #[test]
    fn known_answers() {
        let sequence = |seed| [1, 2, 3, 4, 5].map(|n| nth(seed, n));
        assert_eq!(
            sequence(1_234_567),
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
        assert_eq!(nth(0, 1), 0xe220_a839_7b1d_cdaf);
        assert_eq!(nth(u64::MAX, 3), mix(GAMMA.wrapping_mul(3).wrapping_sub(1)));
    }

    /// Each value below a bound gets its part of the range of bits, and no value is out of bounds.
    #[test]
    fn below_divides_the_range_evenly() {
        let cases = [
            (0, 3, 0),
            (u64::MAX / 3, 3, 0),
            (u64::MAX / 3 + 1, 3, 1),
            (u64::MAX / 2, 2, 0),
            (u64::MAX / 2 + 1, 2, 1),
            (u64::MAX, 3, 2),
            (u64::MAX, 1, 0),
            (u64::MAX, u64::MAX, u64::MAX - 1),
            (u64::MAX, 0, 0),
        ];
        for (bits, bound, expected) in cases {
            assert_eq!(below(bits, bound), expected, "below({bits}, {bound})");
        }
    }

    /// The unit interval is closed below and open above.
    #[test]
    fn unit_never_reaches_one() {
        assert_eq!(unit(0), 0.0);
        assert_eq!(unit(1 << 63), 0.5);
        assert!(unit(u64::MAX) < 1.0);
    }
}
