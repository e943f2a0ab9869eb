//! `resolve_interval`: how often the host name of a backend is looked up.

use super::error::Problem;
use super::value::{duration, or_off};
use super::{BackendAddress, defaults};
use std::time::Duration;

impl BackendAddress {
    /// Can it stand for other addresses tomorrow? A host name can, but for `localhost`, which is this
    /// machine for good (RFC 6761, section 6.3).
    pub fn is_name(&self) -> bool {
        let BackendAddress::Name { host, .. } = self else {
            return false;
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let last = host.rsplit('.').next().unwrap_or(host);
        !last.eq_ignore_ascii_case("localhost")
    }

    /// How often it is looked up if the config does not say; `None`: when the config is loaded only.
    pub(super) fn default_interval(&self) -> Option<Duration> {
        self.is_name().then_some(defaults::RESOLVE_INTERVAL)
    }
}

/// Reads the interval for this address; `None` is `off`.
pub(super) fn resolve_interval(
    text: &str,
    address: Option<&BackendAddress>,
) -> Result<Option<Duration>, Problem> {
    let interval = or_off(text, |text| duration(text, defaults::RESOLVE_INTERVAL_MIN))?;
    match address {
        Some(address) if interval.is_some() && !address.is_name() => {
            let what = format!("has nothing to resolve: {address} always is the same address");
            Err(Problem::new(what, "leave it out, or write `off`"))
        }
        _ => Ok(interval),
    }
}
