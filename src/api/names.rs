//! What the host names of backends stand for, in the status and the metrics. Names come from the config,
//! so they are as many as it has; their addresses are labels of backends only, and a name has a bounded
//! number of these at any moment. What is gone is gone from the page too.

use serde_json::{Value, json};

use super::exposition::{Page, escaped};
use super::time;
use crate::control::{Control, Running, watched};

/// Every name that is watched, for the status.
pub(super) fn names(running: &Running) -> Value {
    let intervals = watched(&running.config);
    let names = running.addresses.watched.iter().map(|(host, name)| {
        let addresses = name.known.addresses.iter();
        json!({
            "name": host,
            "addresses": addresses.map(|address| address.ip().to_string()).collect::<Vec<_>>(),
            "left_out": name.known.left_out,
            "error": name.known.error,
            "changed_at": time(name.since),
            "interval_seconds": intervals.get(&**host).map(|interval| interval.as_secs_f64()),
        })
    });
    names.collect()
}

/// The same as metrics.
pub(super) fn metrics(page: &mut Page, control: &Control) {
    let running = control.running.load();
    let names = || {
        let watched = running.addresses.watched.iter();
        watched.map(|(host, name)| (format!("name=\"{}\"", escaped(host)), &name.known))
    };
    page.head(
        "evener_name_resolves",
        "gauge",
        "0 while a host name of the config can't be resolved and its last addresses are kept.",
    );
    for (labels, known) in names() {
        page.sample("", &labels, u64::from(known.error.is_none()));
    }
    page.head(
        "evener_name_addresses",
        "gauge",
        "Addresses that a host name of the config stands for.",
    );
    for (labels, known) in names() {
        page.sample("", &labels, known.addresses.len());
    }
    let stats = &control.stats;
    page.head(
        "evener_name_lookups_total",
        "counter",
        "Questions for the addresses of host names that have ended, by what came of them.",
    );
    page.sample("", "result=\"good\"", stats.lookups_good.get());
    page.sample("", "result=\"bad\"", stats.lookups_bad.get());
}
