//! What was asked for at run time, handed from one evener to the one that takes over: drained stays drained.
//! As with a reload, an order counts for as long as the config says the same of its backend as it did when
//! that was ordered.
//!
//! ```text
//! [{"pool": "web", "backend": "a", "address": "10.0.0.1:80",
//!   "configured": {"weight": 1, "state": "ready", "backup": false}, "weight": null, "state": "drain"}]
//! ```

use std::sync::Arc;

use serde_json::{Value, json};

use super::build::Draft;
use super::leaving::may_be_back;
use crate::config::Config;
use crate::control::{Leaving, Running};
use crate::events::Changed;
use crate::log::Log;
use crate::policy::address::Address;
use crate::policy::health::{AdminState, Health};
use crate::policy::intent::{Intent, Wish};
use crate::pool::Backend;

/// Everything that was asked for and is in force, or will be when a name has that address again; `None`:
/// nothing.
pub(super) fn write(running: &Running) -> Option<String> {
    let in_pools = running.pools.iter().flat_map(|pool| {
        let backends = pool.backends.iter();
        backends.map(move |backend| (&pool.name, backend))
    });
    let remembered = running.leaving.iter().filter(|one| one.remembered);
    let orders: Vec<Value> = in_pools
        .chain(remembered.map(|one| (&one.pool, &one.backend)))
        .filter(|(_, backend)| backend.intent().is_overridden())
        .map(|(pool, backend)| order(pool, backend))
        .collect();
    (!orders.is_empty()).then(|| Value::from(orders).to_string())
}

fn order(pool: &str, backend: &Backend) -> Value {
    let intent = backend.intent();
    let (configured, (weight, state)) = (intent.configured(), intent.orders());
    json!({
        "pool": pool,
        "backend": &*backend.name,
        "address": backend.address.to_string(),
        "configured": {
            "weight": configured.weight,
            "state": configured.state.word(),
            "backup": configured.backup,
        },
        "weight": weight,
        "state": state.map(AdminState::word),
    })
}

/// The backends of which something was asked, as if they had just left: whoever builds the pools of the
/// config finds them there. What another version wrote in another way is passed over.
pub(super) fn read(orders: &str, config: &Config) -> Vec<Leaving> {
    let orders: Vec<Value> = serde_json::from_str(orders).unwrap_or_default();
    let read = |order| backend(order, config);
    orders.iter().filter_map(read).collect()
}

fn backend(order: &Value, config: &Config) -> Option<Leaving> {
    let text = |key: &str| order.get(key).and_then(Value::as_str);
    let weight = |of: &Value| u32::try_from(of.get("weight")?.as_u64()?).ok();
    let state = |of: &Value| AdminState::named(of.get("state")?.as_str()?);
    let configured = order.get("configured")?;
    let configured = Wish {
        weight: weight(configured)?,
        state: state(configured)?,
        backup: configured.get("backup")?.as_bool()?,
    };
    let (pool, name) = (text("pool")?, text("backend")?);
    let is_probed = |one: &crate::config::Pool| one.name == pool && one.health_check.is_some();
    let health = match config.pools.iter().any(is_probed) {
        true => Health::Starting,
        false => Health::Up,
    };
    let address: Address = text("address")?.parse().ok()?;
    let Wish {
        weight: share,
        state: wanted,
        ..
    } = configured;
    let backend = Backend::new(name, address, share, wanted, health);
    backend.change_intent(|_| Intent::new(configured).asked(weight(order), state(order)));
    Some(Leaving {
        pool: pool.into(),
        backend: Arc::new(backend),
        until: None,
        remembered: true,
    })
}

/// Tells the log what has become of each.
pub(super) fn tell(orders: &[Leaving], draft: &Draft, config: &Config, log: &Log) {
    for order in orders {
        let Leaving { pool, backend, .. } = order;
        let intent = backend.intent();
        let (weight, state) = intent.orders();
        let weight = weight.map(|weight| format!("weight {weight}"));
        let state = state.map(|state| format!("state {}", state.word()));
        let asked = weight
            .into_iter()
            .chain(state)
            .collect::<Vec<_>>()
            .join(", ");
        let over = match draft.wish_of(backend) {
            Some(wish) if wish == intent.configured() => {
                log.send(Changed::Backend {
                    pool: Arc::clone(pool),
                    backend: Arc::clone(&backend.name),
                    address: backend.address.clone(),
                    change: asked,
                });
                continue;
            }
            Some(_) => "the config says something new of it",
            // It is kept, and counts when its name has that address again.
            None if may_be_back(order, config) => continue,
            None => "there is no such backend now",
        };
        let name = &backend.name;
        log.send(Changed::Warning {
            warning: format!(
                "backend {name} (pool {pool}): {asked} was asked for at run time and is over: {over}"
            ),
        });
    }
}
