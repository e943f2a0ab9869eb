//! What the hashing policies have in common: keys of clients and backends. PURE.
//!
//! Balancers that know nothing of each other give a client the same backend if they compute the same
//! keys, so these are a promise, and the test vectors below are there for who writes it anew. A key is
//! `hash(seed, bytes)`, which for the words of eight bytes, least significant byte first, the last
//! filled up with zeros, is `state = mix(seed + length)`, then `state = mix((state ^ word) + GAMMA)` for
//! each word, modulo 2^64, with `mix` and `GAMMA` of SplitMix64 (see [`splitmix`](crate::policy::splitmix)).
//!
//! | key of | seed | bytes |
//! | --- | --- | --- |
//! | a client | 1 | its IP address in network order: 4 bytes or, with the bits beyond `hash_ipv6_prefix` cleared, 16; `::ffff:192.0.2.1` is `192.0.2.1` |
//! | a backend | 2 | its address as text, `192.0.2.1:80` or `[2001:db8::1]:80`: neither its name nor its place in the list |
//!
//! It is not a keyed hash: clients that choose their own addresses (a whole IPv6 network, say) can
//! choose their backend too. `hash_balance_factor` bounds what they gain by it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::Table;
use crate::policy::splitmix::{GAMMA, mix, nth};

const CLIENT_SEED: u64 = 1;
const BACKEND_SEED: u64 = 2;

/// What a hashing policy looks at beside the rotation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hashing<'a> {
    /// The key of the client that the session is for.
    pub client: u64,
    /// The key of each backend of the pool, by its index.
    pub backends: &'a [u64],
    /// The table of the policy, if it has one: see [`Policy::table`](super::Policy::table).
    pub table: Option<&'a Table>,
    /// Pass over a backend with more sessions than this many times its share; `None`: never.
    pub balance_factor: Option<f64>,
}

impl Hashing<'_> {
    /// The key of a backend; all have one.
    pub(super) fn key(&self, backend: usize) -> u64 {
        self.backends.get(backend).copied().unwrap_or_default()
    }
}

/// The key of a client, of whose IPv6 address only the first `ipv6_prefix` bits count.
pub fn client_key(client: IpAddr, ipv6_prefix: u32) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(ip) => hash(CLIENT_SEED, &ip.octets()),
        IpAddr::V6(ip) => {
            let beyond = u128::MAX.checked_shr(ipv6_prefix).unwrap_or(0);
            let network = Ipv6Addr::from_bits(ip.to_bits() & !beyond);
            hash(CLIENT_SEED, &network.octets())
        }
    }
}

/// The keys of backends with these addresses. Where two names led to one address, the second and
/// every further one of it gets a key of its own, so that each has its share.
pub fn backend_keys<A: ToString>(addresses: impl IntoIterator<Item = A>) -> Vec<u64> {
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let keys = addresses.into_iter().map(|address| {
        let key = hash(BACKEND_SEED, address.to_string().as_bytes());
        let before = seen.entry(key).or_default();
        let own = match *before {
            0 => key,
            n => nth(key, n),
        };
        *before += 1;
        own
    });
    keys.collect()
}

fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let start = mix(seed.wrapping_add(bytes.len() as u64));
    bytes.chunks(8).fold(start, |state, chunk| {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        mix((state ^ u64::from_le_bytes(word)).wrapping_add(GAMMA))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, assert_shares};
    use super::super::{POLICIES, Policy};
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    /// The policies that go by the client.
    fn policies() -> impl Iterator<Item = &'static Policy> {
        POLICIES.iter().copied().filter(|policy| policy.by_client)
    }

    fn client(ip: &str, ipv6_prefix: u32) -> u64 {
        client_key(ip.parse().expect("an address"), ipv6_prefix)
    }

    /// The vectors of the promise above. Were one of them to change, every client would move.
    #[test]
    fn keys_are_as_they_ever_were() {
        assert_eq!(hash(0, b""), 0);
        assert_eq!(client("192.0.2.1", 128), 0xe3ca_b3c7_b318_27b7);
        assert_eq!(client("2001:db8::1", 128), 0x8672_701c_9d18_468c);
        assert_eq!(client("2001:db8:0:7:1:2:3:4", 64), 0xbf7b_9889_307f_e42f);
        let keys = backend_keys(["127.0.0.1:8000", "[2001:db8::1]:80", "127.0.0.1:8000"]);
        let expected = [
            0x6a27_97a0_ab62_885f,
            0x9648_93ac_cb01_513f,
            0x4a13_348b_e947_4c3a,
        ];
        assert_eq!(keys, expected);
    }

    /// What is the same client has the same key, and what is not has not.
    #[test]
    fn the_prefix_decides_who_is_one_client() {
        let one = "2001:db8:0:7::1";
        for (other, prefix, same) in [
            ("2001:db8:0:7:ffff::9", 64, true),
            ("2001:db8:0:7:ffff::9", 128, false),
            ("2001:db8:0:7:ffff::9", 65, false),
            ("2001:db8:0:8::1", 64, false),
            ("2001:db8:0:8::1", 60, true),
            ("fe80::1", 1, false),
            ("3001:db8::1", 1, true),
        ] {
            let is_same = client(one, prefix) == client(other, prefix);
            assert_eq!(is_same, same, "{other}/{prefix}");
        }
        // An IPv4 client is one, however its address is written, and no prefix counts for it.
        let plain = client("192.0.2.1", 128);
        assert_eq!(client("::ffff:192.0.2.1", 64), plain);
        assert_ne!(client("::192.0.2.1", 128), plain);
        assert_ne!(client("192.0.2.2", 1), plain);
    }

    /// Addresses in a row are as good as any: each backend has its share of a hundred thousand clients,
    /// IPv4 or IPv6, one host or one network after the other.
    #[test]
    fn neighbours_are_spread_like_any_others() {
        let weights = [1, 2, 1, 4, 1];
        let v4 = |n: u32| client_key(Ipv4Addr::from_bits(0x0a00_0000 + n).into(), 128);
        let host = |n: u32| Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(n));
        let network = |n: u32| Ipv6Addr::from_bits((0x2001_0db8 << 96) + (u128::from(n) << 64));
        let v6 = |n| client_key(host(n).into(), 128);
        let by_network = |n| client_key(network(n).into(), 64);
        for policy in policies() {
            let scene = Scene::new(&weights).for_policy(policy);
            for key in [&v4 as &dyn Fn(u32) -> u64, &v6, &by_network] {
                let mut shares = [0; 5];
                let picks = (0..100_000).filter_map(|n| scene.pick(policy, 0, key(n)));
                picks.for_each(|pick| shares[pick.backend] += 1);
                assert_shares(&shares, &weights, 0.005);
            }
        }
    }

    proptest! {
        #![proptest_config(crate::policy::proptest_config())]

        /// Whoever goes down takes its own clients along and nobody else, whatever the weights and
        /// whoever is down already; so whoever comes up draws nobody but them.
        #[test]
        fn who_goes_down_moves_nobody_else(
            backends in prop::collection::vec((0_u32..9, any::<bool>()), 1..9),
            leaving in any::<prop::sample::Index>(),
            seed in any::<u64>(),
        ) {
            let weights: Vec<u32> = backends.iter().map(|(weight, _)| *weight).collect();
            let mut down: Vec<usize> = (0..weights.len()).filter(|n| backends[*n].1).collect();
            let leaving = leaving.index(weights.len());
            for policy in policies() {
                let all = Scene::new(&weights).for_policy(policy);
                let before = all.down(&down);
                down.push(leaving);
                let after = all.down(&down);
                down.pop();
                for client in (0..50).map(|n| nth(seed, n)) {
                    let home = before.pick(policy, 0, client);
                    if home.is_none_or(|home| home.backend != leaving) {
                        prop_assert_eq!(home, after.pick(policy, 0, client));
                    }
                }
            }
        }
    }
}
