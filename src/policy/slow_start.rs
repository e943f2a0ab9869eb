//! How much of its share a backend gets that has just recovered: nothing at first, all of it after
//! `slow_start`, and linearly more in between. PURE.
//!
//! A server that comes back has cold caches, no connections to its own database, code that is not compiled
//! yet; what it can bear later takes it down again now (HAProxy's `slowstart`, Envoy's `slow_start_config`).
//! As with HAProxy it is for servers that were seen to fail, never for the start of the balancer: there,
//! all are equally cold, and somebody has to serve.
//!
//! The share works in two ways, and no policy has to know of it. A pick passes the backend over as often
//! as the rest of its share says, by chance; by the client's own number where the client decides, so that
//! a client which has come back to its backend stays there. And policies that compare loads take its weight
//! times the share for its weight: it has the fewest sessions of all, and would get every client otherwise.

use std::time::Duration;

use super::splitmix::{GAMMA, below, mix};

/// The whole of a share, in thousandths.
pub const WHOLE: u32 = 1000;

/// Thousandths of its share that a backend gets which recovered so long ago; one at least, so that its
/// weight is not 0.
pub fn share(since_recovery: Duration, slow_start: Duration) -> u32 {
    let whole = u128::from(WHOLE);
    let ramp = slow_start.as_nanos().max(1);
    let share = (since_recovery.as_nanos().min(ramp) * whole / ramp).max(1);
    u32::try_from(share).unwrap_or(WHOLE)
}

/// Is the backend with this number considered in a pick with these bits, when it gets so much of its share?
pub fn is_considered(share: u32, backend: usize, bits: u64) -> bool {
    let own = mix(bits ^ GAMMA.wrapping_mul(backend as u64 + 1));
    share >= WHOLE || below(own, u64::from(WHOLE)) < u64::from(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::splitmix::nth;

    #[test]
    fn the_share_grows_linearly() {
        let minute = Duration::from_secs(60);
        let at = |seconds| share(Duration::from_secs(seconds), minute);
        assert_eq!(
            [0, 6, 15, 30, 59, 60, 1_000_000].map(at),
            [1, 100, 250, 500, 983, 1000, 1000]
        );
        assert_eq!(share(Duration::ZERO, Duration::ZERO), 1);
        assert_eq!(share(Duration::MAX, Duration::MAX), WHOLE);
    }

    #[test]
    fn a_backend_is_considered_as_often_as_its_share_says() {
        for share in [1, 100, 500, 999, 1000] {
            let count = (0..100_000)
                .filter(|n| is_considered(share, 7, nth(1, *n)))
                .count();
            let expected = 100 * share as usize;
            assert!(count.abs_diff(expected) < 600, "{share}: {count}");
        }
    }

    #[test]
    fn who_is_considered_once_stays_so_as_the_share_grows() {
        for bits in (0..1000).map(|n| nth(2, n)) {
            let first = (1..=WHOLE).find(|share| is_considered(*share, 3, bits));
            let first = first.unwrap();
            assert!((first..=WHOLE).all(|share| is_considered(share, 3, bits)));
        }
    }
}
