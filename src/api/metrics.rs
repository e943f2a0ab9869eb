//! `/metrics`: the counts for Prometheus.
//!
//! No client's address is ever a label, so the number of series depends on the config alone. Making the
//! text takes snapshots and atomics, and each lock for one read only: nobody on the data path waits for it.

use super::exposition::{Page, escaped};
use super::names;
use super::process::{self, Usage};
use super::routes;
use crate::control::Control;
use crate::policy::health::{AdminState, Health};
use crate::pool::{Backend, Pool};

/// All metrics.
pub(super) fn metrics(control: &Control) -> String {
    let mut page = Page::default();
    listeners(&mut page, control);
    backends(&mut page, control);
    names::metrics(&mut page, control);
    sessions(&mut page, control);
    config(&mut page, control);
    usage(&mut page, &process::usage());
    page.text
}

fn listeners(page: &mut Page, control: &Control) {
    let running = control.running.load();
    let all = || {
        running.listeners.iter().map(|open| {
            let listener = &open.listener;
            (
                format!("listener=\"{}\"", escaped(&listener.name)),
                listener,
            )
        })
    };
    page.head(
        "evener_listener_connections_total",
        "counter",
        "Clients that were accepted.",
    );
    for (labels, listener) in all() {
        page.sample("", &labels, listener.accepted.get());
    }
    page.head(
        "evener_listener_connections_rejected_total",
        "counter",
        "Clients that were not let in, by the reason.",
    );
    for (labels, listener) in all() {
        for (reason, count) in listener.rejections.by_reason() {
            let labels = format!("{labels},reason=\"{}\"", reason.word());
            page.sample("", &labels, count);
        }
    }
    page.head(
        "evener_listener_routes_total",
        "counter",
        "Sessions of a listener with routes, by the pool that was chosen (none: reset) and what the client had asked for.",
    );
    for (labels, count) in routes::counts(&running) {
        page.sample("", &labels, count);
    }
    page.head(
        "evener_listener_connections_active",
        "gauge",
        "Sessions that live now.",
    );
    for (labels, listener) in all() {
        page.sample("", &labels, u64::from(listener.occupancy().0));
    }
    page.head(
        "evener_listener_open",
        "gauge",
        "0 while it refuses clients because its pool has no backend.",
    );
    for (labels, listener) in all() {
        page.sample("", &labels, u64::from(listener.refuses.get() == 0));
    }
    page.head(
        "evener_listener_connections_limit",
        "gauge",
        "Sessions that the listener may have at once, where it has a limit of its own.",
    );
    for (labels, listener) in all() {
        if let (_, Some(limit)) = listener.occupancy() {
            page.sample("", &labels, u64::from(limit));
        }
    }
}

/// One metric of each backend.
struct OfBackend {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&Backend) -> u64,
}

#[rustfmt::skip] // A table is read by the row.
const OF_BACKEND: &[OfBackend] = &[
    OfBackend { name: "evener_backend_connections_total", kind: "counter", help: "Sessions that were connected to the backend.", value: |b| b.counts.connected.get() },
    OfBackend { name: "evener_backend_connections_active", kind: "gauge", help: "Sessions that hold the backend now.", value: |b| b.active.get().into() },
    OfBackend { name: "evener_backend_received_bytes_total", kind: "counter", help: "Bytes from the backend, those of live sessions included.", value: |b| b.counts.bytes_out.get() },
    OfBackend { name: "evener_backend_sent_bytes_total", kind: "counter", help: "Bytes to the backend, those of live sessions included.", value: |b| b.counts.bytes_in.get() },
    OfBackend { name: "evener_backend_up", kind: "gauge", help: "1 while it is up: probes find it well, and it is not ejected.", value: |b| (b.health() == Health::Up).into() },
    OfBackend { name: "evener_backend_ejections_total", kind: "counter", help: "How often it was ejected because connections to it failed.", value: |b| b.counts.ejections.get() },
    OfBackend { name: "evener_backend_weight", kind: "gauge", help: "Its share relative to the others of the pool, with its agent's word.", value: |b| b.intent().effective().weight.into() },
];

fn backends(page: &mut Page, control: &Control) {
    let running = control.running.load();
    let labelled = |pool: &Pool, backend: &Backend| {
        let (pool, name) = (escaped(&pool.name), escaped(&backend.name));
        format!(
            "pool=\"{pool}\",backend=\"{name}\",address=\"{}\"",
            backend.address
        )
    };
    let all: Vec<(String, &Backend)> = running
        .pools
        .iter()
        .flat_map(|pool| pool.backends.iter().map(move |backend| (pool, backend)))
        .map(|(pool, backend)| (labelled(pool, backend), &**backend))
        .collect();
    for metric in OF_BACKEND {
        page.head(metric.name, metric.kind, metric.help);
        for (labels, backend) in &all {
            page.sample("", labels, (metric.value)(backend));
        }
    }
    page.head(
        "evener_backend_connections_limit",
        "gauge",
        "Sessions that the backend may have at once, where it has a limit.",
    );
    for (labels, backend) in &all {
        if let Some(limit) = backend.limit() {
            page.sample("", labels, u64::from(limit));
        }
    }
    page.head(
        "evener_pool_queue_length",
        "gauge",
        "Sessions that wait for a backend, of pools where they may have to.",
    );
    for pool in &running.pools {
        if let Some((queue, _)) = pool.queue() {
            let labels = format!("pool=\"{}\"", escaped(&pool.name));
            page.sample("", &labels, queue.len() as u64);
        }
    }
    page.head(
        "evener_backend_connect_failures_total",
        "counter",
        "Attempts to connect that failed.",
    );
    for (labels, backend) in &all {
        let counts = &backend.counts;
        for (reason, count) in [
            ("refused", &counts.refused),
            ("timeout", &counts.timed_out),
            ("other", &counts.failed),
        ] {
            page.sample("", &format!("{labels},reason=\"{reason}\""), count.get());
        }
    }
    page.head(
        "evener_backend_state",
        "gauge",
        "1 for the state that the backend is in: ready, drain or maintenance.",
    );
    for (labels, backend) in &all {
        let current = backend.intent().effective().state;
        for state in AdminState::ALL {
            let labels = format!("{labels},state=\"{}\"", state.word());
            page.sample("", &labels, u64::from(state == current));
        }
    }
    page.head(
        "evener_backend_connect_duration_seconds",
        "histogram",
        "How long it took to connect, of the attempts that succeeded.",
    );
    for (labels, backend) in &all {
        page.histogram(labels, &backend.counts.connect_time.read());
    }
}

fn sessions(page: &mut Page, control: &Control) {
    let stats = &control.stats;
    page.head(
        "evener_sessions_closed_total",
        "counter",
        "Sessions that have ended, by the reason.",
    );
    for (reason, count) in stats.by_reason() {
        let (word, _) = reason.word_and_code();
        page.sample("", &format!("reason=\"{word}\""), count);
    }
    page.head(
        "evener_session_duration_seconds",
        "histogram",
        "How long sessions lasted.",
    );
    page.histogram("", &stats.durations.read());
    page.head(
        "evener_queue_wait_seconds",
        "histogram",
        "How long sessions waited for a backend with room, of those that had to.",
    );
    page.histogram("", &stats.queue_time.read());
    page.head(
        "evener_retries_total",
        "counter",
        "Attempts to connect after the first of a session.",
    );
    page.sample("", "", stats.retries.get());
    page.head(
        "evener_hedged_connects_total",
        "counter",
        "Connections for which two backends were tried at once, by the attempt that made it.",
    );
    for (won, count) in stats.hedges() {
        page.sample("", &format!("won=\"{}\"", won.word()), count);
    }
    page.head(
        "evener_health_checks_total",
        "counter",
        "Probes that have ended, by what they found.",
    );
    page.sample("", "result=\"good\"", stats.probes_good.get());
    page.sample("", "result=\"bad\"", stats.probes_bad.get());
    page.head(
        "evener_health_check_delay_seconds",
        "histogram",
        "How late probes began, all but the first of each backend.",
    );
    page.histogram("", &stats.probe_delay.read());
    let (active, limit) = control.process_gate.occupancy();
    page.head(
        "evener_connections_active",
        "gauge",
        "Sessions of the process that live now.",
    );
    page.sample("", "", active);
    page.head(
        "evener_connections_limit",
        "gauge",
        "Sessions that the process may have at once.",
    );
    page.sample("", "", limit);
}

fn config(page: &mut Page, control: &Control) {
    let running = control.running.load();
    let failed = running
        .last_reload
        .as_ref()
        .is_some_and(|reload| reload.error.is_some());
    page.head(
        "evener_config_last_reload_successful",
        "gauge",
        "0 when the last reload failed and the old config is in force.",
    );
    page.sample("", "", u64::from(!failed));
    page.head(
        "evener_config_generation",
        "gauge",
        "Number of the config in force, from 1 for the one of the start.",
    );
    page.sample("", "", running.generation);
    page.head(
        "evener_draining",
        "gauge",
        "1 from the first signal to stop on.",
    );
    page.sample("", "", u64::from(control.draining.is_raised()));
    page.head(
        "evener_threads",
        "gauge",
        "Threads of sessions and probes, busy and parked.",
    );
    page.sample("", "", control.threads.count() as u64);
    page.head("evener_build_info", "gauge", "1, with the version.");
    let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
    page.sample("", version, 1);
}

/// The standard metrics of a process.
fn usage(page: &mut Page, usage: &Usage) {
    let mut one = |name, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            page.head(name, kind, help);
            page.sample("", "", value);
        }
    };
    one(
        "process_cpu_seconds_total",
        "counter",
        "Processor time in user and system mode.",
        usage.cpu_seconds,
    );
    one(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory.",
        usage.resident_bytes,
    );
    one(
        "process_virtual_memory_bytes",
        "gauge",
        "Address space.",
        usage.virtual_bytes,
    );
    one(
        "process_open_fds",
        "gauge",
        "Open descriptors.",
        usage.open_descriptors,
    );
    one(
        "process_max_fds",
        "gauge",
        "Descriptors that may be open.",
        usage.max_descriptors,
    );
    one(
        "process_threads",
        "gauge",
        "Threads of the process.",
        usage.threads,
    );
    one(
        "process_start_time_seconds",
        "gauge",
        "When the process started, since the epoch.",
        usage.start_seconds,
    );
}
