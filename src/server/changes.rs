//! Changes that are asked for at run time, made one after the other on the server's thread.

use std::sync::Arc;

use super::{Server, Surroundings, build, closing};
use crate::config::defaults;
use crate::control::{Answer, Change, Close, Refusal, Running};
use crate::events::Changed;
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
                close,
            } => self.change_backend(pool, backend, (*weight, *state), close.as_ref()),
            Change::Rebalance { pool, close } => self.rebalance(pool, close.as_ref()),
        }
    }

    fn change_backend(
        &self,
        pool: &str,
        backend: &str,
        (weight, state): (Option<u32>, Option<AdminState>),
        close: Option<&Close>,
    ) -> Answer {
        let running = self.control.running.load();
        let Some(pool) = running.pool(pool) else {
            return Err(no_pool(&running, pool));
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
            return Err(Refusal::Invalid(what));
        }
        let terms = close.map(closing::read).transpose()?;
        if terms.is_some() && state != Some(AdminState::Drain) {
            let what = "close goes with the state drain: others would get its clients again";
            return Err(Refusal::Invalid(what.to_owned()));
        }
        let (old, new) = backend.change_intent(|intent| intent.asked(weight, state));
        let (old, new) = (old.current(), new.current());
        health::publish(pool, &self.log);
        // Without anybody to serve, the health thread lets in again whom it has ejected.
        if is_probed(old.state) != is_probed(new.state) || !pool.can_serve() {
            self.order(Order::Replace(build::all(&running.pools)));
        }
        let mut changes = Vec::new();
        if old.weight != new.weight {
            changes.push(format!("weight {} → {}", old.weight, new.weight));
        }
        if old.state != new.state {
            let (old, new) = (old.state.word(), new.state.word());
            changes.push(format!("state {old} → {new}"));
        }
        for change in &changes {
            self.log.send(Changed::Backend {
                pool: Arc::clone(&pool.name),
                backend: Arc::clone(&backend.name),
                address: backend.address.clone(),
                change: change.clone(),
            });
        }
        match (state, terms) {
            (_, Some(terms)) => changes.extend(self.empty(pool, backend, terms)),
            // What is asked for now is the later word.
            (Some(_), None) => changes.extend(self.stop_emptying(backend)),
            (None, None) => {}
        }
        Ok(changes.into())
    }
}

/// There is no pool of this name.
pub(super) fn no_pool(running: &Running, pool: &str) -> Refusal {
    let known = names(running.pools.iter().map(|pool| &*pool.name));
    Refusal::NotFound(format!("there is no pool `{pool}`; pools: {known}"))
}

/// Some of the names, for a message.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    const SHOWN_MAX: usize = 10;
    let all: Vec<&str> = all.collect();
    let shown = all.iter().take(SHOWN_MAX).copied().collect::<Vec<_>>();
    let more = if all.len() > SHOWN_MAX { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
