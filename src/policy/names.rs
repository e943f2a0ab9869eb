//! What is known of a host name, which of its addresses come and go with an answer, and when to ask
//! again. PURE: the answers and the interval come in as arguments.
//!
//! | the answer | the addresses | asked again after |
//! | --- | --- | --- |
//! | addresses | these, in any order, each once | the interval |
//! | none, or a failure | those of the last good answer | 1 s, 2 s, 4 s … up to the interval |
//!
//! A name that has just stopped resolving belongs, more often than not, to a DNS server that restarts
//! or to a service that is being started: a second is soon enough for both. Doubling spares a server
//! that is in trouble, and the interval is what its operator has agreed to in any case.

use std::net::SocketAddr;
use std::time::Duration;

/// Addresses of one name that are used: the first so many in their numerical order. It bounds what an
/// answer can make evener do (each is a backend that is probed and reported), and is more than fit in
/// one answer over UDP.
pub const ADDRESSES_MAX: usize = 256;

/// From a failure to the next question.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// What is known of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The last good answer, in numerical order; the port is not known here and is 0.
    pub addresses: Vec<SocketAddr>,
    /// How many addresses that answer had beyond [`ADDRESSES_MAX`].
    pub left_out: usize,
    /// Why there was no answer the last time, if there was none.
    pub error: Option<String>,
    /// Failures in a row, since the last good answer.
    pub failures: u32,
}

/// What an answer has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Addresses that the name has from now on.
    pub added: Vec<SocketAddr>,
    /// Addresses that it has no more.
    pub removed: Vec<SocketAddr>,
}

impl Known {
    /// Takes in an answer; `None`: everything is as it was.
    pub fn learn(&mut self, answer: Result<Vec<SocketAddr>, String>) -> Option<Change> {
        let mut addresses = match answer {
            Ok(addresses) if addresses.is_empty() => {
                return self.fail("the name has no address".to_owned());
            }
            Ok(addresses) => addresses,
            Err(error) => return self.fail(error),
        };
        addresses.sort();
        addresses.dedup();
        let left_out = addresses.len().saturating_sub(ADDRESSES_MAX);
        addresses.truncate(ADDRESSES_MAX);
        let without = |these: &[SocketAddr], those: &[SocketAddr]| -> Vec<SocketAddr> {
            let only = these.iter().filter(|one| !those.contains(one));
            only.copied().collect()
        };
        let change = Change {
            added: without(&addresses, &self.addresses),
            removed: without(&self.addresses, &addresses),
        };
        let new = Known {
            addresses,
            left_out,
            error: None,
            failures: 0,
        };
        let is_new = new != *self;
        *self = new;
        is_new.then_some(change)
    }

    fn fail(&mut self, error: String) -> Option<Change> {
        self.failures = self.failures.saturating_add(1);
        let is_new = self.error.as_deref() != Some(&*error);
        self.error = Some(error);
        is_new.then(Change::default)
    }

    /// How long after this answer to ask again.
    pub fn ask_again_after(&self, interval: Duration) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else {
            return interval;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        FIRST_RETRY.saturating_mul(factor).min(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 0).into()
    }

    fn addresses(last: &[u8]) -> Vec<SocketAddr> {
        last.iter().map(|last| address(*last)).collect()
    }

    fn known(last: &[u8]) -> Known {
        Known {
            addresses: addresses(last),
            ..Known::default()
        }
    }

    #[test]
    fn what_comes_and_goes() {
        let change = |added: &[u8], removed: &[u8]| {
            Some(Change {
                added: addresses(added),
                removed: addresses(removed),
            })
        };
        // Known before, the answer, known after, what has changed.
        type Row<'a> = (&'a [u8], &'a [u8], &'a [u8], Option<Change>);
        let table: &[Row<'_>] = &[
            (&[], &[2, 1], &[1, 2], change(&[1, 2], &[])),
            (&[1, 2], &[2, 1], &[1, 2], None),
            (&[1, 2], &[2, 2, 1, 1], &[1, 2], None),
            (&[1, 2], &[3, 2], &[2, 3], change(&[3], &[1])),
            (&[1, 2], &[2], &[2], change(&[], &[1])),
            (&[1, 2], &[3], &[3], change(&[3], &[1, 2])),
        ];
        for (before, answer, after, expected) in table {
            let mut name = known(before);
            let change = name.learn(Ok(addresses(answer)));
            assert_eq!((&change, &name), (expected, &known(after)), "{answer:?}");
        }
    }

    #[test]
    fn the_last_good_answer_is_kept_and_a_failure_is_told_once() {
        let mut name = known(&[1]);
        let told: Vec<bool> = [
            Err("timed out".to_owned()),
            Err("timed out".to_owned()),
            Ok(Vec::new()),
            Err("refused".to_owned()),
        ]
        .into_iter()
        .map(|answer| name.learn(answer).is_some())
        .collect();
        assert_eq!(told, [true, false, true, true]);
        assert_eq!(name.addresses, addresses(&[1]));
        // The same answer as before the failures: nothing comes, nothing goes, and it is news.
        assert_eq!(name.learn(Ok(addresses(&[1]))), Some(Change::default()));
        assert_eq!((name.learn(Ok(addresses(&[1]))), name), (None, known(&[1])));
    }

    #[test]
    fn a_failure_is_asked_about_soon_and_then_less_and_less_often() {
        let interval = Duration::from_secs(30);
        let mut name = known(&[1]);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pauses.push(name.ask_again_after(interval).as_secs());
            name.learn(Err("timed out".to_owned()));
        }
        assert_eq!(pauses, [30, 1, 2, 4, 8, 16, 30, 30]);
        for _ in 0..100 {
            name.learn(Err("timed out".to_owned()));
        }
        assert_eq!(name.ask_again_after(interval), interval);
        let short = Duration::from_millis(100);
        assert_eq!(name.ask_again_after(short), short);
        name.learn(Ok(addresses(&[1])));
        assert_eq!(name.ask_again_after(interval), interval);
    }

    #[test]
    fn no_answer_makes_more_backends_than_the_bound() {
        let many = |from: u16, to: u16| -> Vec<SocketAddr> {
            let address = |n: u16| ([10, 0, (n >> 8) as u8, n as u8], 0).into();
            (from..to).map(address).collect()
        };
        let mut name = Known::default();
        name.learn(Ok(many(0, 300)));
        assert_eq!((name.addresses.len(), name.left_out), (ADDRESSES_MAX, 44));
        assert_eq!(name.addresses, many(0, 256));
        // Beyond the bound there is one more: the backends stay, and the count is news.
        assert_eq!(name.learn(Ok(many(0, 301))), Some(Change::default()));
        assert_eq!(name.left_out, 45);
    }
}
