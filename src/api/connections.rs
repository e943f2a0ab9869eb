//! `/api/v1/connections`: the live sessions, as JSON.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::Control;
use crate::registry::{Live, Worker};

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
    let threads: Vec<u32> = live.threads().map(|worker| worker.id).collect();
    let cpu: Option<Duration> = live.threads().map(cpu_time).sum();
    json!({
        "id": origin.id,
        "listener": &*origin.listener.name,
        "pool": live.pool().map(|pool| &*pool.name),
        "sni": live.sni().map(|sni| &**sni),
        "client": live.client_address().to_string(),
        "backend": server.map(|backend| &*backend.name),
        "address": server.map(|backend| backend.address.to_string()),
        "age_seconds": now.saturating_sub(origin.since).as_secs_f64(),
        "idle_seconds": silence.as_secs_f64(),
        "bytes_in": live.bytes_in.get(),
        "bytes_out": live.bytes_out.get(),
        "half_closed": live.half_closed.is_raised(),
        "threads": threads,
        "cpu_seconds": cpu.map(|cpu| cpu.as_secs_f64()),
    })
}

/// What a thread has used for its session, by the kernel's own count (proc_pid_schedstat(5): the first
/// number, in nanoseconds). `None`: not measured, or the thread is gone.
fn cpu_time(worker: Worker) -> Option<Duration> {
    let before = worker.cpu_before?;
    let path = format!("/proc/self/task/{}/schedstat", worker.id);
    let text = fs::read_to_string(path).ok()?;
    let now = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(now).saturating_sub(before))
}
