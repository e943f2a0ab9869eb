//! What a reload changes, a line each: for `reload --dry-run`, the answer to a reload, and the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::build::Draft;
use super::reload::Next;
use crate::config::diff::{Difference, Item, differences};
use crate::control::Running;
use crate::pool::{Backend, Pool};

/// What is done once, when evener starts.
const FROM_THE_NEXT_START: [&str; 4] = ["performance.scheduler", "user", "group", "sandbox"];

/// The lines, in the order of the config: `+` for what is new, `~` for what changes, `-` for what goes.
pub(super) fn changes(running: &Running, next: &Next, now: SystemTime) -> Vec<String> {
    let only_pool = running.pools.len() == 1 && next.config.pools.len() == 1;
    let label = |pool: &str, backend: &str| label(only_pool, pool, backend);
    let mut lines = Vec::new();
    for difference in differences(&running.config, &next.config) {
        match difference {
            // By the backends themselves, below: a name may stand for several.
            Difference::Added(Item::Backend(..)) | Difference::Removed(Item::Backend(..)) => {}
            Difference::Changed {
                item: Item::Backend(pool, backend),
                key,
                old,
                new,
            } => {
                let lost = lost_orders(running, &pool, &backend, &key);
                lines.push(format!(
                    "~ {} {key} {old} → {new}{lost}",
                    label(&pool, &backend)
                ));
            }
            Difference::Removed(Item::Listener(name)) => {
                lines.push(format!("- listener {name}{}", sessions_of(running, &name)));
            }
            Difference::Changed {
                item: Item::Whole,
                key,
                old,
                new,
            } if FROM_THE_NEXT_START.contains(&key.as_str()) => {
                lines.push(format!("~ {key} {old} → {new} (from the next start on)"));
            }
            other => lines.push(other.to_string()),
        }
    }
    let drain_timeout = next.config.shutdown.drain_timeout;
    lines.append(&mut comings_and_goings(
        running,
        &next.draft,
        drain_timeout,
        now,
    ));
    lines
}

/// A line for each backend that is new, and for each that goes.
pub(super) fn comings_and_goings(
    running: &Running,
    draft: &Draft,
    drain_timeout: Option<Duration>,
    now: SystemTime,
) -> Vec<String> {
    let only_pool = running.pools.len() == 1 && draft.pools.len() == 1;
    let label = |pool: &str, backend: &str| label(only_pool, pool, backend);
    let mut lines = Vec::new();
    for (pool, backend) in added(running, draft) {
        let (label, address) = (label(pool, &backend.name), backend.address.to_string());
        // Without a name of its own, it is called by its address.
        let address = if *backend.name == address {
            String::new()
        } else {
            format!(" {address}")
        };
        lines.push(format!("+ {label}{address}"));
    }
    for (pool, backend) in removed(running, draft) {
        let fate = fate(backend.active.get(), drain_timeout, now);
        lines.push(format!("- {}: {fate}", label(pool, &backend.name)));
    }
    lines
}

fn label(only_pool: bool, pool: &str, backend: &str) -> String {
    match only_pool {
        true => format!("backend {backend}"),
        false => format!("backend {pool}/{backend}"),
    }
}

fn sessions_of(running: &Running, listener: &str) -> String {
    let open = running
        .listeners
        .iter()
        .find(|open| *open.listener.name == *listener);
    match open.map_or(0, |open| open.listener.occupancy().0) {
        0 => String::new(),
        1 => ": its session goes on".to_owned(),
        n => format!(": its {n} sessions go on"),
    }
}

/// What was asked of a backend at run time and is over when the config says something new of it.
fn lost_orders(running: &Running, pool: &str, backend: &str, key: &str) -> String {
    let in_pool = running.pool(pool).into_iter();
    let mut backends = in_pool.flat_map(|pool| &pool.backends);
    let found = backends.find(|found| *found.name == *backend);
    let is_wish = ["weight", "state", "backup"].contains(&key);
    let Some(intent) = found.map(|found| found.intent()).filter(|_| is_wish) else {
        return String::new();
    };
    let (asked, configured) = (intent.current(), intent.configured());
    let mut lost = Vec::new();
    if asked.weight != configured.weight {
        lost.push(format!("weight {}", asked.weight));
    }
    if asked.state != configured.state {
        lost.push(format!("state {}", asked.state.word()));
    }
    match lost.is_empty() {
        true => String::new(),
        false => format!(
            " (no longer, as asked for at run time: {})",
            lost.join(", ")
        ),
    }
}

/// What becomes of the sessions of a backend that is removed.
fn fate(sessions: u32, drain_timeout: Option<Duration>, now: SystemTime) -> String {
    let sessions = match sessions {
        0 => return "no sessions".to_owned(),
        1 => "1 session".to_owned(),
        n => format!("{n} sessions"),
    };
    match drain_timeout {
        Some(timeout) => {
            let until = humantime::format_rfc3339_seconds(now + timeout);
            format!("{sessions} will drain until {until}")
        }
        None => format!("{sessions} will drain until they end"),
    }
}

type InPool<'a> = (&'a Arc<str>, &'a Arc<Backend>);

/// Backends that no pool of the draft has.
pub(super) fn removed<'a>(running: &'a Running, draft: &Draft) -> impl Iterator<Item = InPool<'a>> {
    missing(&running.pools, &draft.pools)
}

/// Backends that only the draft has.
fn added<'a>(running: &Running, draft: &'a Draft) -> impl Iterator<Item = InPool<'a>> {
    missing(&draft.pools, &running.pools)
}

fn missing<'a>(these: &'a [Arc<Pool>], those: &[Arc<Pool>]) -> impl Iterator<Item = InPool<'a>> {
    let those: HashSet<*const Backend> = those
        .iter()
        .flat_map(|pool| &pool.backends)
        .map(Arc::as_ptr)
        .collect();
    these
        .iter()
        .flat_map(|pool| {
            pool.backends
                .iter()
                .map(move |backend| (&pool.name, backend))
        })
        .filter(move |(_, backend)| !those.contains(&Arc::as_ptr(backend)))
}
