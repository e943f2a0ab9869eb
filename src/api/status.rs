//! `/api/v1/status`: what is running, as JSON.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use super::names::names;
use super::{closing, time};
use crate::control::{Control, Leaving, OpenListener, Running};
use crate::policy::health::AdminState;
use crate::policy::intent::Advice;
use crate::pool::{AgentReport, Backend, Pool};
use crate::sync::Distribution;

/// All of it.
pub(super) fn status(control: &Control) -> Value {
    let running = control.running.load();
    let (active, limit) = control.process_gate.occupancy();
    let state = match control.draining.is_raised() {
        true => "draining",
        false => "running",
    };
    let readiness = control.readiness();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": control.epoch.elapsed().as_secs_f64(),
        "state": state,
        "ready": readiness.is_ok(),
        "why_not_ready": readiness.err(),
        "config": config(&running),
        "connections": { "active": active, "limit": limit },
        "threads": control.threads.count(),
        "listeners": running.listeners.iter().map(listener).collect::<Vec<_>>(),
        "names": names(&running),
        "pools": running.pools.iter().map(|one| pool(one, &running, control)).collect::<Vec<_>>(),
    })
}

fn config(running: &Running) -> Value {
    let last_reload = running.last_reload.as_ref();
    let error = last_reload.and_then(|reload| reload.error.as_deref());
    json!({
        "file": running.file.as_ref().map(|file| file.display().to_string()),
        "generation": running.generation,
        "loaded_at": time(running.loaded_at),
        "last_reload_at": last_reload.map(|reload| time(reload.at)),
        "last_reload_successful": error.is_none(),
        "last_reload_error": error,
    })
}

fn listener(open: &OpenListener) -> Value {
    let (active, limit) = open.listener.occupancy();
    json!({
        "name": &*open.listener.name,
        "bind": open.addresses,
        "pool": open.pool.as_deref(),
        "active": active,
        "total": open.listener.accepted.get(),
        "rejected": open.listener.rejections.by_reason().map(|(_, count)| count).sum::<u64>(),
        "limit": limit,
        "state": if open.listener.refuses.get() == 0 { "open" } else { "refusing" },
    })
}

fn pool(pool: &Pool, running: &Running, control: &Control) -> Value {
    let leaving = running
        .leaving
        .iter()
        .filter(|one| one.pool == pool.name && one.backend.active.get() > 0);
    json!({
        "name": &*pool.name,
        "balance": pool.config.balance.name,
        "mode": pool.mode().word(),
        "in_use": running.is_in_use(pool),
        "queue": pool.queue().map(|(queue, room)| json!({
            "length": queue.len(),
            "limit": (room < usize::MAX).then_some(room),
        })),
        "rebalance": closing::of_pool(control, &pool.name),
        "backends": pool.backends.iter().map(|one| backend(one, control)).collect::<Vec<_>>(),
        "leaving": leaving.map(self::leaving).collect::<Vec<_>>(),
    })
}

/// One backend, in the status and in the answer to a change of it.
pub(super) fn backend(backend: &Arc<Backend>, control: &Control) -> Value {
    let (intent, condition) = (backend.intent(), backend.condition());
    let (current, configured) = (intent.current(), intent.configured());
    let effective = intent.effective();
    let counts = &backend.counts;
    json!({
        "name": &*backend.name,
        "address": backend.address.to_string(),
        "weight": current.weight,
        "configured_weight": configured.weight,
        "effective_weight": effective.weight,
        "health": condition.health.word(),
        "reason": &*condition.reason,
        "changed_at": time(condition.since),
        "admin_state": current.state.word(),
        "configured_state": configured.state.word(),
        "effective_state": effective.state.word(),
        "agent": backend.agent_report().map(|report| agent(&report, intent.advice())),
        "closing": closing::of_backend(control, backend),
        "active": backend.active.get(),
        "max_connections": backend.limit(),
        "total": counts.connected.get(),
        "ejections": counts.ejections.get(),
        "connect_failures": counts.connect_failures(),
        "connect_ms_mean": connect_ms_mean(&counts.connect_time.read()),
        "bytes_in": counts.bytes_in.get(),
        "bytes_out": counts.bytes_out.get(),
        "backup": current.backup,
        "takes_sessions": backend.takes_sessions(),
    })
}

/// What its agent says, whether or not that counts.
fn agent(report: &AgentReport, advice: Advice) -> Value {
    json!({
        "says": &*report.line,
        "weight_percent": advice.percent,
        "state": advice.state.map(AdminState::word),
        "down": report.down.as_ref().map(|down| &*down.reason),
    })
}

/// How long it took to connect since the start, on average; nothing without a session.
fn connect_ms_mean(times: &Distribution) -> Option<f64> {
    (times.count > 0).then(|| times.sum_micros as f64 / times.count as f64 / 1000.0)
}

fn leaving(leaving: &Leaving) -> Value {
    json!({
        "name": &*leaving.backend.name,
        "address": leaving.backend.address.to_string(),
        "active": leaving.backend.active.get(),
        "until": leaving.until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            time(SystemTime::now() + left)
        }),
    })
}
