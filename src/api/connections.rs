//! `/api/v1/connections`: the live sessions, as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::control::Control;
use crate::registry::Live;

/// All of them, oldest first.
pub(super) fn connections(control: &Control) -> Value {
    let now = control.epoch.elapsed();
    let all = control.registry.list(now);
    let all: Vec<Value> = all
        .iter()
        .map(|(live, silence)| connection(live, *silence, now))
        .collect();
    json!({ "connections": all })
}

fn connection(live: &Live, silence: Duration, now: Duration) -> Value {
    let (origin, server) = (&live.origin, live.server());
    let threads: Vec<u32> = live.threads().collect();
    json!({
        "id": origin.id,
        "listener": &*origin.listener.name,
        "pool": &*origin.pool.name,
        "client": live.client_address().to_string(),
        "backend": server.map(|backend| &*backend.name),
        "address": server.map(|backend| backend.address.to_string()),
        "age_seconds": now.saturating_sub(origin.since).as_secs_f64(),
        "idle_seconds": silence.as_secs_f64(),
        "bytes_in": live.bytes_in.get(),
        "bytes_out": live.bytes_out.get(),
        "half_closed": live.half_closed.is_raised(),
        "threads": threads,
    })
}
