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

use crate::control::Running;
use crate::events::Event;
use crate::log::Log;
use crate::policy::health::AdminState;
use crate::policy::intent::Wish;
use crate::pool::{Backend, Pool};

/// Everything that was asked for and is in force; `None`: nothing.
pub(super) fn write(running: &Running) -> Option<String> {
    let backends = running.pools.iter().flat_map(|pool| {
        let backends = pool.backends.iter();
        backends.map(move |backend| (pool, backend))
    });
    let orders: Vec<Value> = backends
        .filter(|(_, backend)| backend.intent().is_overridden())
        .map(|(pool, backend)| order(pool, backend))
        .collect();
    (!orders.is_empty()).then(|| Value::from(orders).to_string())
}

fn order(pool: &Pool, backend: &Backend) -> Value {
    let intent = backend.intent();
    let (weight, state) = intent.orders();
    json!({
        "pool": &*pool.name,
        "backend": &*backend.name,
        "address": backend.address.to_string(),
        "configured": configured(intent.configured()),
        "weight": weight,
        "state": state.map(AdminState::word),
    })
}

fn configured(wish: Wish) -> Value {
    json!({"weight": wish.weight, "state": wish.state.word(), "backup": wish.backup})
}

/// Has these pools, which are not in force yet, begin with what was asked of the evener before, and tells the
/// log. What its version wrote in another way is passed over.
pub(super) fn read(orders: &str, pools: &[Arc<Pool>], log: &Log) {
    let Ok(Value::Array(orders)) = serde_json::from_str(orders) else {
        return;
    };
    for order in &orders {
        let text = |key: &str| order.get(key).and_then(Value::as_str);
        let (Some(pool), Some(name)) = (text("pool"), text("backend")) else {
            continue;
        };
        let pools = pools.iter().filter(|one| *one.name == *pool);
        let mut backends = pools.flat_map(|pool| &pool.backends);
        let found = backends.find(|one| {
            *one.name == *name && Some(one.address.to_string().as_str()) == text("address")
        });
        let weight = order.get("weight").and_then(Value::as_u64);
        let weight = weight.and_then(|weight| u32::try_from(weight).ok());
        let state = text("state").and_then(AdminState::named);
        let asked: Vec<String> = [
            weight.map(|weight| format!("weight {weight}")),
            state.map(|state| format!("state {}", state.word())),
        ]
        .into_iter()
        .flatten()
        .collect();
        let asked = asked.join(", ");
        match found {
            Some(backend)
                if order.get("configured")
                    == Some(&configured(backend.intent().configured())) =>
            {
                backend.change_intent(|intent| intent.asked(weight, state));
                log.send(Event::BackendChanged {
                    pool: pool.into(),
                    backend: Arc::clone(&backend.name),
                    address: backend.address.clone(),
                    change: asked,
                });
            }
            _ => log.send(Event::ConfigWarning {
                warning: format!(
                    "backend {name} (pool {pool}): {asked} was asked for at run time and is over: the config \
                     says something new of it"
                ),
            }),
        }
    }
}
