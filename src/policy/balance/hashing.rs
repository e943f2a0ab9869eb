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
    use super::*;

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
}
