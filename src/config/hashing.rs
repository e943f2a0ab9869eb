//! How the hashing policies of a pool work: `hash_ipv6_prefix` and `hash_balance_factor`, read, looked
//! over and printed.

use super::defaults;
use super::error::quoted;
use super::reader::{Map, Reading};
use super::value::{number, or_off, share, share_text};
use crate::policy::balance::Policy;
use std::fmt::{self, Write};

/// What the policies `source_hash` and `maglev` go by; the others do not look at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Hashing {
    /// How many bits of an IPv6 address, 1 to 128, say who the client is.
    pub ipv6_prefix: u32,
    /// A backend with more than this many times its share of the sessions is passed over; 1.0 or more,
    /// `None` is `off`.
    pub balance_factor: Option<f64>,
}

impl Hashing {
    /// Reads the two keys of a pool.
    pub(super) fn read(map: &mut Map<'_>, reading: &mut Reading) -> Hashing {
        let default = Hashing::default();
        let bits = |text: &str| number(text, &defaults::HASH_IPV6_PREFIX_RANGE);
        let factor = |text: &str| share(text, &defaults::HASH_BALANCE_FACTOR_RANGE);
        let factor = |text: &str| or_off(text, factor);
        Hashing {
            ipv6_prefix: map.read(reading, "hash_ipv6_prefix", default.ipv6_prefix, bits),
            balance_factor: map.read(
                reading,
                "hash_balance_factor",
                default.balance_factor,
                factor,
            ),
        }
    }

    /// Writes them as YAML that reads to the same.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let factor = self
            .balance_factor
            .map_or_else(|| "off".to_string(), share_text);
        writeln!(out, "    hash_ipv6_prefix: {}", self.ipv6_prefix)?;
        writeln!(out, "    hash_balance_factor: {factor}")
    }

    /// That something was asked for which the policy does not do.
    pub(super) fn warning(&self, pool: &str, balance: &Policy) -> Option<String> {
        if balance.by_client || *self == Hashing::default() {
            return None;
        }
        Some(format!(
            "pool {}: hash_ipv6_prefix and hash_balance_factor are for source_hash and maglev; {} does not look at them",
            quoted(pool),
            balance.name
        ))
    }
}
