//! How each event reads: a sentence for people, a name and fields for programs.

use std::fmt;

use serde_json::{Value, json};

use super::{Event, process, record};
use crate::limits::PROBES_AT_ONCE;
use crate::policy::eligible::Mode;

impl Event {
    /// The name of the event and its fields, for the JSON log.
    pub fn fields(&self) -> (&'static str, Value) {
        match self {
            Event::Room {
                ceiling,
                configured,
            } => (
                "room",
                json!({"sessions": ceiling.sessions, "bound": ceiling.bound.map(|(bound, _)| bound.name()),
                       "configured": configured}),
            ),
            Event::HealthCheckStarting => ("health_check_starting", json!({})),
            Event::Listening { address } => ("listening", json!({"address": address})),
            Event::AdminListening { address } => ("admin_listening", json!({"address": address})),
            Event::AdminUnavailable { address, error } => (
                "admin_unavailable",
                json!({"address": address, "error": error}),
            ),
            Event::AdminTokenPublic { file } => ("admin_token_public", json!({"file": file})),
            Event::HealthChanged(change) => ("health_changed", change.fields()),
            Event::ProbesLate { late } => (
                "probes_late",
                json!({"late_seconds": late.as_secs_f64(), "at_once": PROBES_AT_ONCE}),
            ),
            Event::AgentSays { saying, .. } => ("agent_says", saying.fields()),
            Event::AgentSilent(saying) => ("agent_silent", saying.fields()),
            Event::Ejection(ejection) => ("ejection", ejection.fields()),
            Event::Closing(closing) => ("closing", closing.fields()),
            Event::PoolMode { pool, old, new } => (
                "pool_mode",
                json!({"pool": &**pool, "old": old.map(Mode::word), "new": new.word()}),
            ),
            Event::Door {
                listener,
                pool,
                address,
                refuses,
            } => (
                "listener_door",
                json!({"listener": &**listener, "pool": &**pool, "address": address,
                       "refuses": refuses}),
            ),
            Event::SessionStarted {
                id,
                listener,
                pool,
                client,
                backend,
                address,
            } => (
                "session_started",
                json!({"id": id, "listener": &**listener, "pool": &**pool,
                       "client": client.to_string(), "backend": &**backend,
                       "address": address.to_string()}),
            ),
            Event::SessionProgress(progress) => ("session_progress", progress.fields()),
            Event::ConnectFailed { id, pool, failure } => (
                "connect_failed",
                json!({"id": id, "pool": &**pool, "backend": &*failure.backend,
                       "address": failure.address.to_string(), "error": failure.error}),
            ),
            Event::SessionEnded(record) => ("session_ended", record.fields()),
            Event::AcceptFailed {
                listener,
                error,
                advice,
            } => (
                "accept_failed",
                json!({"listener": &**listener, "error": error, "advice": advice}),
            ),
            Event::ReopenFailed {
                listener,
                address,
                error,
            } => (
                "reopen_failed",
                json!({"listener": &**listener, "address": address, "error": error}),
            ),
            Event::ThreadRefused { by, error } => {
                ("thread_refused", json!({"by": &**by, "error": error}))
            }
            Event::SocketRefused { by, error } => {
                ("socket_refused", json!({"by": &**by, "error": error}))
            }
            Event::Refused(refused) => ("refused", refused.fields()),
            Event::ClientRefused(refused) => ("client_refused", refused.fields()),
            Event::Full { listener, limit } => {
                ("full", json!({"listener": &**listener, "limit": limit}))
            }
            Event::Reloaded {
                generation,
                changes,
            } => (
                "reloaded",
                json!({"generation": generation, "changes": changes}),
            ),
            Event::ConfigChanged { change } => ("config_changed", json!({"change": change})),
            Event::Name(change) => ("name", change.fields()),
            Event::Confined(confined) => (confined.name(), confined.fields()),
            Event::NameBackend { change } => ("name_backend", json!({"change": change})),
            Event::ConfigWarning { warning } => ("config_warning", json!({"warning": warning})),
            Event::ReloadFailed { errors } => ("reload_failed", json!({"errors": errors})),
            Event::BackendChanged {
                pool,
                backend,
                address,
                change,
            } => (
                "backend_changed",
                json!({"pool": &**pool, "backend": &**backend, "address": address.to_string(),
                       "change": change}),
            ),
            Event::LeavingAborted {
                pool,
                backend,
                sessions,
            } => (
                "leaving_aborted",
                json!({"pool": &**pool, "backend": &**backend, "sessions": sessions}),
            ),
            Event::Draining {
                sessions, timeout, ..
            } => (
                "draining",
                json!({"sessions": sessions, "timeout_seconds": timeout.map(|t| t.as_secs_f64())}),
            ),
            Event::Aborted {
                sessions,
                by_signal,
            } => (
                "aborted",
                json!({"sessions": sessions, "by_signal": by_signal}),
            ),
            Event::InheritedUnused { what } => ("inherited_unused", json!({"what": what})),
            Event::ManagerUnreachable { error } => ("manager_unreachable", json!({"error": error})),
            Event::UpgradeStarted { pid } => ("upgrade_started", json!({"pid": pid})),
            Event::Upgraded { pid } => ("upgraded", json!({"pid": pid})),
            Event::UpgradeFailed { error } => ("upgrade_failed", json!({"error": error})),
            Event::NoSignOfLife => ("no_sign_of_life", json!({})),
            // The text is the message, which every line has.
            Event::Note { .. } => ("note", json!({})),
            Event::Stuck { sessions } => ("stuck", json!({"sessions": sessions})),
            Event::Stopped => ("stopped", json!({})),
            Event::Panicked { thread, what } => {
                ("panicked", json!({"thread": thread, "what": what}))
            }
            Event::LogDropped { events } => ("log_dropped", json!({"events": events})),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Room {
                ceiling,
                configured,
            } => process::room(f, ceiling, *configured),
            Event::HealthCheckStarting => write!(f, "Starting health check..."),
            Event::Listening { address } => write!(f, "Load Balancer started on {address}"),
            Event::AdminListening { address } => write!(f, "admin server at {address}"),
            Event::AdminUnavailable { address, error } => write!(
                f,
                "no admin server: the default address {address} can't be had: {error}; give another one \
                 with --admin or admin.bind, or say `off`"
            ),
            Event::AdminTokenPublic { file } => write!(
                f,
                "every user of this machine can read the admin token in {file}; try: chmod o-r {file}"
            ),
            Event::HealthChanged(change) => write!(f, "{change}"),
            Event::ProbesLate { late } => write!(
                f,
                "health checks can't keep up: a probe began {:.1}s late, with {PROBES_AT_ONCE} at once; raise \
                 interval, or lower timeout: a server that does not answer costs all of it",
                late.as_secs_f64()
            ),
            Event::AgentSays { saying, .. } => saying.news(f),
            Event::AgentSilent(saying) => saying.silence(f),
            Event::Ejection(ejection) => ejection.fmt(f),
            Event::Closing(closing) => closing.fmt(f),
            Event::PoolMode { pool, old, new } => match new {
                Mode::Normal => {
                    let again = old.map_or("", |_| " again");
                    write!(f, "pool {pool} is served by its primaries{again}")
                }
                Mode::Panic => write!(
                    f,
                    "pool {pool} is in panic: fewer are up than panic_threshold asks for, so all of them \
                     serve, up or not"
                ),
                Mode::Backups => write!(f, "pool {pool}: no primary is up, its backups serve"),
                Mode::FailOpen => write!(
                    f,
                    "pool {pool}: nobody is up, and all serve all the same (when_down: fail_open)"
                ),
                Mode::Down => write!(f, "pool {pool}: nobody can serve"),
            },
            Event::Door {
                listener,
                pool,
                address,
                refuses,
            } => match refuses {
                true => write!(
                    f,
                    "listener {listener} refuses clients at {address}: pool {pool} has no backend"
                ),
                false => write!(f, "listener {listener} is open again at {address}"),
            },
            Event::SessionStarted {
                id,
                listener,
                pool,
                client,
                backend,
                address,
            } => write!(
                f,
                "session {id} {client} -> {} started listener={listener} pool={pool}",
                record::Server(backend, address)
            ),
            Event::SessionProgress(progress) => write!(f, "{progress}"),
            Event::ConnectFailed { id, pool, failure } => write!(
                f,
                "session {id}: can't connect to {} {} (pool {pool}): {}",
                failure.backend, failure.address, failure.error
            ),
            Event::SessionEnded(record) => write!(f, "{record}"),
            Event::AcceptFailed {
                listener,
                error,
                advice,
            } => write!(
                f,
                "listener {listener} can't accept for now: {error}; clients wait in the backlog; {advice}"
            ),
            Event::ReopenFailed {
                listener,
                address,
                error,
            } => write!(
                f,
                "listener {listener} can't be opened again at {address}: {error}; its clients are refused; \
                 another process took its port while evener refused clients there, and evener goes on trying"
            ),
            Event::ThreadRefused { by, error } => write!(
                f,
                "{by} waits for a thread, which the system refuses: {error}; \
                 raise ulimit -u, TasksMax= or vm.max_map_count, or lower limits.max_connections"
            ),
            Event::SocketRefused { by, error } => write!(
                f,
                "{by} waits for a socket, which the system refuses: {error}; \
                 raise ulimit -n (LimitNOFILE=), or free memory"
            ),
            Event::Refused(refused) => write!(f, "{refused}"),
            Event::ClientRefused(refused) => refused.one(f),
            Event::Full { listener, limit } => write!(
                f,
                "listener {listener} is full at {limit} connections; further clients wait in the backlog"
            ),
            Event::Reloaded {
                generation,
                changes: 0,
            } => write!(
                f,
                "config reloaded, nothing has changed (generation {generation})"
            ),
            Event::Reloaded {
                generation,
                changes,
            } => write!(
                f,
                "config reloaded, changes: {changes} (generation {generation})"
            ),
            Event::ConfigChanged { change } => write!(f, "config: {change}"),
            Event::Name(change) => write!(f, "{change}"),
            Event::Confined(confined) => write!(f, "{confined}"),
            Event::NameBackend { change } => write!(f, "names: {change}"),
            Event::ConfigWarning { warning } => write!(f, "config: {warning}"),
            Event::ReloadFailed { errors } => write!(
                f,
                "the new config is not taken, the old one stays in force: {}",
                errors.join(" | ")
            ),
            Event::BackendChanged {
                pool,
                backend,
                address,
                change,
            } => write!(
                f,
                "backend {backend} {address} (pool {pool}): {change}, as asked for at run time"
            ),
            Event::LeavingAborted {
                pool,
                backend,
                sessions,
            } => write!(
                f,
                "backend {backend} (pool {pool}) is not in use any more and its time is over: \
                 {sessions} connections aborted"
            ),
            Event::Draining {
                sessions,
                since,
                timeout,
            } => process::draining(f, *sessions, *since, *timeout),
            Event::Aborted {
                sessions,
                by_signal: false,
            } => {
                write!(
                    f,
                    "the drain's time is over: {sessions} connections aborted"
                )
            }
            Event::Aborted {
                sessions,
                by_signal: true,
            } => {
                write!(f, "second signal: {sessions} connections aborted")
            }
            Event::InheritedUnused { what } => write!(
                f,
                "an inherited socket is closed: {what}; \
                 correct the bind of a listener, or ListenStream= in the .socket unit"
            ),
            Event::ManagerUnreachable { error } => write!(
                f,
                "can't tell the service manager how evener is: {error}; \
                 look at NOTIFY_SOCKET, and at NotifyAccess= in the unit file"
            ),
            Event::UpgradeStarted { pid } => {
                write!(f, "upgrade: process {pid} was started and is to take over")
            }
            Event::Upgraded { pid } => {
                write!(f, "upgrade: process {pid} serves now, and this one drains")
            }
            Event::UpgradeFailed { error } => write!(
                f,
                "upgrade: the new process did not take over, and this one goes on: {error}"
            ),
            Event::NoSignOfLife => write!(
                f,
                "a thread that evener can't do without has ended; \
                 the service manager gets no sign of life any more, so that it restarts evener"
            ),
            Event::Note { text } => f.write_str(text),
            Event::Stuck { sessions } => write!(
                f,
                "a bug in evener: {sessions} connections did not end when they were reset; exiting all the same"
            ),
            Event::Stopped => write!(f, "stopped"),
            Event::Panicked { thread, what } => {
                write!(
                    f,
                    "a bug in evener: thread {thread} panicked: {what}; the other threads go on"
                )
            }
            Event::LogDropped { events } => {
                write!(
                    f,
                    "{events} log lines were dropped: whoever reads the log is too slow"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
