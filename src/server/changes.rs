//! Changes that are asked for at run time, made one after the other on the server's thread.

use std::sync::Arc;

use super::{Server, Surroundings, build};
use crate::config::defaults;
use crate::control::{Answer, Change, Refusal};
use crate::events::Event;
use crate::health::{self, Order};
use crate::policy::health::{AdminState, is_probed};

impl Server {
    /// Makes one change.
    pub(super) fn make(&mut self, change: &Change, around: &Surroundings) -> Answer {
        match change {
            Change::Reload { dry_run } => self.reload(*dry_run, around),
            Change::Backend {
                pool,
                backend,
                weight,
                state,
            } => self.change_backend(pool, backend, *weight, *state),
        }
    }

    fn change_backend(
        &self,
        pool: &str,
        backend: &str,
        weight: Option<u32>,
        state: Option<AdminState>,
    ) -> Answer {
        let running = self.control.running.load();
        let Some(pool) = running.pool(pool) else {
            let known = names(running.pools.iter().map(|pool| &*pool.name));
            let what = format!("there is no pool `{pool}`; pools: {known}");
            return Err(Refusal::NotFound(what));
        };
        let found = pool.backends.iter().find(|found| *found.name == *backend);
        let Some(backend) = found else {
            let known = names(pool.backends.iter().map(|backend| &*backend.name));
            let what = format!(
                "pool {} has no backend `{backend}`; backends: {known}",
                pool.name
            );
            return Err(Refusal::NotFound(what));
        };
        let range = defaults::WEIGHT_RANGE;
        if let Some(weight) = weight.filter(|weight| !range.contains(weight)) {
            let what = format!(
                "weight {weight} is out of range: {} to {}",
                range.start(),
                range.end()
            );
            return Err(Refusal::Invalid(vec![what]));
        }
        let before = backend.intent();
        let intent = before.asked(weight, state);
        backend.set_intent(intent);
        let (old, new) = (before.current(), intent.current());
        if is_probed(old.state) != is_probed(new.state) {
            self.order(Order::Replace(build::all(&running.pools)));
        }
        health::publish(pool, &self.log);
        let mut changes = Vec::new();
        if old.weight != new.weight {
            changes.push(format!("weight {} → {}", old.weight, new.weight));
        }
        if old.state != new.state {
            let (old, new) = (old.state.word(), new.state.word());
            changes.push(format!("state {old} → {new}"));
        }
        for change in &changes {
            self.log.send(Event::BackendChanged {
                pool: Arc::clone(&pool.name),
                backend: Arc::clone(&backend.name),
                address: backend.address,
                change: change.clone(),
            });
        }
        Ok(changes)
    }
}

/// Some of the names, for a message.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    const SHOWN_MAX: usize = 10;
    let all: Vec<&str> = all.collect();
    let shown = all.iter().take(SHOWN_MAX).copied().collect::<Vec<_>>();
    let more = if all.len() > SHOWN_MAX { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
