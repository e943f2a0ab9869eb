//! `evener status`: the answer of `/api/v1/status` as tables.

use std::time::SystemTime;

use serde_json::Value;

use super::closing::progress;
use super::text::{Table, byte_count, connections, duration, field, items, number, seconds};

/// The whole answer; `now` is for how long ago something was.
pub(super) fn render(status: &Value, now: SystemTime) -> String {
    let mut out = summary(status);
    if status.get("ready") == Some(&Value::Bool(false)) {
        out.push_str(&format!("not ready: {}\n", field(status, "why_not_ready")));
    }
    let config = status.get("config").unwrap_or(&Value::Null);
    out.push_str(&format!(
        "config {}, generation {}, loaded {}\n",
        field(config, "file"),
        field(config, "generation"),
        ago(config, "loaded_at", now)
    ));
    if config.get("last_reload_successful") == Some(&Value::Bool(false)) {
        let why = field(config, "last_reload_error");
        out.push_str(&format!("the last reload failed: {why}\n"));
    }
    for name in items(status, "names") {
        if let Some(Value::String(_)) = name.get("error") {
            out.push_str(&format!(
                "name {} does not resolve, since {}: {}; {}\n",
                field(name, "name"),
                ago(name, "changed_at", now),
                field(name, "error"),
                match items(name, "addresses").len() {
                    0 => "it has no address until it does".to_owned(),
                    kept => format!("its last addresses are kept ({kept})"),
                }
            ));
        }
    }
    out.push('\n');
    out.push_str(&listeners(status));
    for pool in items(status, "pools") {
        out.push_str(&format!(
            "\npool {} ({}{}{})\n",
            field(pool, "name"),
            field(pool, "balance"),
            waiting(pool),
            progress(pool, "rebalance", "rebalancing")
        ));
        out.push_str(&backends(pool, now));
        for leaving in items(pool, "leaving") {
            out.push_str(&format!(
                "leaving: {} {}, {}, until {}\n",
                field(leaving, "name"),
                field(leaving, "address"),
                connections(leaving, "active"),
                match leaving.get("until") {
                    None | Some(Value::Null) => "they end".to_owned(),
                    Some(_) => field(leaving, "until"),
                }
            ));
        }
    }
    out
}

/// The two lines about the process, which `top` has as well.
pub(super) fn summary(status: &Value) -> String {
    let connections = status.get("connections").unwrap_or(&Value::Null);
    let queues = items(status, "pools")
        .iter()
        .filter_map(|pool| number(pool.get("queue")?, "length"));
    let waiting = match queues.sum::<u64>() {
        0 => String::new(),
        waiting => format!(", {waiting} in queues"),
    };
    format!(
        "evener {}, pid {}, {} for {}\n{} connections of {}{waiting}, {} threads\n",
        field(status, "version"),
        field(status, "pid"),
        field(status, "state"),
        seconds(status, "uptime_seconds"),
        field(connections, "active"),
        field(connections, "limit"),
        field(status, "threads")
    )
}

fn listeners(status: &Value) -> String {
    let mut table = Table::new(&[
        "LISTENER",
        "BIND",
        "POOL",
        "ACTIVE>",
        "LIMIT>",
        "TOTAL>",
        "REJECTED>",
        "STATE",
    ]);
    for listener in items(status, "listeners") {
        let binds = items(listener, "bind").iter();
        let binds: Vec<String> = binds
            .filter_map(Value::as_str)
            .map(crate::config::visible)
            .collect();
        table.row([
            field(listener, "name"),
            binds.join(", "),
            field(listener, "pool"),
            field(listener, "active"),
            field(listener, "limit"),
            field(listener, "total"),
            field(listener, "rejected"),
            field(listener, "state"),
        ]);
    }
    table.render()
}

fn backends(pool: &Value, now: SystemTime) -> String {
    let mut table = Table::new(&[
        "BACKEND", "ADDRESS", "HEALTH", "SINCE>", "STATE", "WEIGHT>", "ACTIVE>", "TOTAL>",
        "FAILED>", "IN>", "OUT>", "REASON",
    ]);
    for backend in items(pool, "backends") {
        table.row([
            field(backend, "name"),
            field(backend, "address"),
            field(backend, "health"),
            ago(backend, "changed_at", now),
            state(backend),
            with_agent(backend, "weight", "effective_weight", "configured_weight"),
            active(backend),
            field(backend, "total"),
            field(backend, "connect_failures"),
            byte_count(backend, "bytes_in"),
            byte_count(backend, "bytes_out"),
            field(backend, "reason"),
        ]);
    }
    table.render()
}

/// What is wanted of a backend, and what is being done about it.
fn state(backend: &Value) -> String {
    let wanted = with_agent(
        backend,
        "admin_state",
        "effective_state",
        "configured_state",
    );
    let backup = match backend.get("backup") {
        Some(Value::Bool(true)) => ", backup",
        _ => "",
    };
    wanted + backup + &progress(backend, "closing", "closing")
}

/// The sessions of a backend, and how many it may have if there is a limit.
fn active(backend: &Value) -> String {
    let active = field(backend, "active");
    match backend.get("max_connections").and_then(Value::as_u64) {
        None => active,
        Some(limit) => format!("{active}/{limit}"),
    }
}

/// How many wait for a backend, if some do.
fn waiting(pool: &Value) -> String {
    let queue = pool.get("queue").unwrap_or(&Value::Null);
    match queue.get("length").and_then(Value::as_u64) {
        None | Some(0) => String::new(),
        Some(length) => match queue.get("limit").and_then(Value::as_u64) {
            None => format!(", {length} in the queue"),
            Some(limit) => format!(", {length} in the queue of {limit}"),
        },
    }
}

/// A value as the administrator wants it, and what its agent makes of it where that is something else.
fn with_agent(backend: &Value, now: &str, effective: &str, configured: &str) -> String {
    let wanted = changed(backend, now, configured);
    match backend.get(effective) {
        Some(value) if Some(value) != backend.get(now) => {
            format!("{wanted}, by its agent {}", field(backend, effective))
        }
        _ => wanted,
    }
}

/// A value, and in brackets what the config says where that is something else.
fn changed(backend: &Value, now: &str, configured: &str) -> String {
    let (is, was) = (field(backend, now), field(backend, configured));
    match backend.get(configured) {
        Some(_) if is != was => format!("{is} ({was})"),
        _ => is,
    }
}

/// How long ago a point of time was.
fn ago(object: &Value, key: &str, now: SystemTime) -> String {
    let time = object.get(key).and_then(Value::as_str);
    let Some(time) = time.and_then(|text| humantime::parse_rfc3339_weak(text).ok()) else {
        return field(object, key);
    };
    // Clocks of two machines differ; the future is now.
    let age = now.duration_since(time).unwrap_or_default();
    duration(age.as_secs_f64()) + " ago"
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    /// A whole answer, as the API has it.
    pub(in super::super) fn example() -> Value {
        let backend = |name: &str, health: &str, weight: u32, state: &str| {
            json!({"name": name, "address": format!("10.0.0.1:80{weight:02}"), "weight": weight,
                   "configured_weight": 3, "health": health, "reason": "connection refused",
                   "changed_at": "2026-11-22T18:00:00Z", "admin_state": state,
                   "configured_state": "ready", "active": 2, "total": 100, "connect_failures": 1,
                   "bytes_in": 2048, "bytes_out": 5_242_880, "takes_sessions": true})
        };
        json!({
            "version": "0.1.0", "pid": 4711, "uptime_seconds": 192.5, "state": "running",
            "config": {"file": "evener.yaml", "generation": 2, "loaded_at": "2026-11-22T18:00:10Z",
                       "last_reload_successful": false, "last_reload_error": "unknown key"},
            "connections": {"active": 4, "limit": 8000}, "threads": 17,
            "names": [{"name": "ok.example", "addresses": ["10.0.0.3"], "error": null},
                      {"name": "db.example", "addresses": ["10.0.0.1", "10.0.0.2"], "error": "timed out",
                       "changed_at": "2026-11-22T18:00:00Z"}],
            "listeners": [{"name": "web", "bind": [":80", "[::1]:81"], "pool": "web", "active": 4,
                           "total": 200, "rejected": 0, "limit": null, "state": "open"}],
            "pools": [{"name": "web", "balance": "round_robin",
                       "backends": [backend("a", "up", 3, "ready"), backend("b", "down", 1, "drain")],
                       "leaving": [{"name": "old", "address": "10.0.0.9:80", "active": 1, "until": null}]}]
        })
    }

    #[test]
    fn it_reads_well() {
        let now = humantime::parse_rfc3339("2026-11-22T18:01:00Z").unwrap();
        let expected = "\
evener 0.1.0, pid 4711, running for 3m12s
4 connections of 8000, 17 threads
config evener.yaml, generation 2, loaded 50s ago
the last reload failed: unknown key
name db.example does not resolve, since 1m00s ago: timed out; its last addresses are kept (2)

LISTENER  BIND           POOL  ACTIVE  LIMIT  TOTAL  REJECTED  STATE
web       :80, [::1]:81  web        4      -    200         0  open

pool web (round_robin)
BACKEND  ADDRESS        HEALTH      SINCE  STATE          WEIGHT  ACTIVE  TOTAL  FAILED       IN      OUT  REASON
a        10.0.0.1:8003  up      1m00s ago  ready               3       2    100       1  2.0 KiB  5.0 MiB  connection refused
b        10.0.0.1:8001  down    1m00s ago  drain (ready)   1 (3)       2    100       1  2.0 KiB  5.0 MiB  connection refused
leaving: old 10.0.0.9:80, 1 connection, until they end
";
        assert_eq!(render(&example(), now), expected);
    }

    #[test]
    fn what_is_more_than_usual_stands_beside_it() {
        let backend = json!({"admin_state": "ready", "configured_state": "ready", "backup": true});
        assert_eq!(state(&backend), "ready, backup");
        let queue = |length: u64, limit: Option<u64>| {
            waiting(&json!({"queue": {"length": length, "limit": limit}}))
        };
        assert_eq!(queue(0, Some(2)), "");
        assert_eq!(queue(2, None), ", 2 in the queue");
        assert_eq!(queue(2, Some(2)), ", 2 in the queue of 2");
        let pools = json!({"connections": {"active": 3, "limit": 9}, "threads": 7,
                           "pools": [{"queue": {"length": 2}}, {"queue": null}, {"queue": {"length": 1}}]});
        assert!(summary(&pools).ends_with("3 connections of 9, 3 in queues, 7 threads\n"));
        let unready =
            json!({"ready": false, "why_not_ready": "pool p has no backend that can serve"});
        let text = render(&unready, SystemTime::now());
        assert!(text.contains("threads\nnot ready: pool p has no backend that can serve\nconfig"));
        let name = json!({"names": [{"name": "db", "error": "timed out", "addresses": []}]});
        let text = render(&name, SystemTime::now());
        assert!(
            text.contains("timed out; it has no address until it does\n"),
            "{text}"
        );
    }

    #[test]
    fn whatever_is_missing_is_a_dash() {
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let text = render(
            &json!({"pools": [{"backends": [{}]}, 7], "listeners": 3}),
            late,
        );
        assert!(text.contains("evener -, pid -"), "{text}");
        let future = json!({"t": "2026-11-22T18:00:00Z", "x": "soon"});
        assert_eq!(ago(&future, "t", late), "0s ago");
        assert_eq!(ago(&future, "x", late), "soon");
    }
}
