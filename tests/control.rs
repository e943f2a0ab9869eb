//! What can be seen of a running evener and changed in it, over its admin interface.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::collections::HashMap;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{
    Admin, BlackHole, Dummy, End, Evener, RefusingPort, Server, config, connect, dummies,
    eventually, is_live, read_until_end, who_serves,
};

const OFF: &str = "health_check: off";
const FAST: &str = "health_check: { interval: 50ms, timeout: 1s, fall: 2, rise: 1 }";
const ADMIN: &str = "admin: { bind: \"127.0.0.1:0\" }";

/// The dummies as backends that are called by their own names.
fn named(dummies: &[Dummy], names: &[&str]) -> Vec<String> {
    let named = dummies.iter().zip(names);
    named
        .map(|(dummy, name)| format!("{{ name: {name}, address: \"{}\" }}", dummy.address()))
        .collect()
}

fn start(backends: &[String], pool: &[&str]) -> (Evener, Admin) {
    let evener = Evener::start(&config(backends, pool, &[ADMIN]));
    let admin = Admin::of(&evener);
    (evener, admin)
}

/// How many of `count` requests each backend answers.
fn shares(evener: &Evener, count: usize) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for _ in 0..count {
        *shares
            .entry(who_serves(evener.address(0)).unwrap())
            .or_default() += 1;
    }
    shares
}

fn path_of(backend: &str) -> String {
    format!("/api/v1/pools/p/backends/{backend}")
}

#[test]
fn the_status_tells_what_is_there_and_what_has_happened() {
    let all = dummies(["a", "b"]);
    let dead = RefusingPort::new();
    let mut backends = named(&all, &["a", "b"]);
    backends.push(format!(
        "{{ name: dead, address: \"{}\", weight: 3 }}",
        dead.address()
    ));
    let (evener, admin) = start(&backends, &[FAST]);
    evener.wait_log("is DOWN");
    assert_eq!(
        shares(&evener, 10),
        HashMap::from([("a".into(), 5), ("b".into(), 5)])
    );
    eventually("all sessions to end", || {
        (admin.status()["connections"]["active"] == 0).then_some(())
    });

    let status = admin.status();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], evener.pid());
    assert_eq!(status["state"], "running");
    assert_eq!(status["config"]["generation"], 1);
    assert_eq!(
        status["config"]["file"],
        evener.config_path().to_str().unwrap()
    );
    assert_eq!(status["config"]["last_reload_successful"], true);
    let listener = &status["listeners"][0];
    assert_eq!(listener["name"], "in");
    assert_eq!(listener["bind"], json!([evener.address(0).to_string()]));
    assert_eq!(
        (&listener["active"], &listener["total"]),
        (&json!(0), &json!(10))
    );
    assert_eq!(status["pools"][0]["balance"], "round_robin");

    let (a, dead) = (admin.backend("a"), admin.backend("dead"));
    assert_eq!(
        (&a["health"], &a["takes_sessions"]),
        (&json!("up"), &json!(true))
    );
    assert_eq!((&a["total"], &a["active"]), (&json!(5), &json!(0)));
    assert!(
        a["bytes_in"].as_u64().unwrap() > 0 && a["bytes_out"].as_u64() > a["bytes_in"].as_u64()
    );
    assert_eq!(
        (&dead["health"], &dead["takes_sessions"]),
        (&json!("down"), &json!(false))
    );
    assert_eq!(
        (&dead["weight"], &dead["reason"]),
        (&json!(3), &json!("connection refused"))
    );
}

#[test]
fn bytes_are_counted_while_a_session_lives() {
    let server = Server::start();
    let (evener, admin) = start(&[server.address().to_string()], &[OFF]);
    let mut client = connect(evener.address(0));
    let mut served = server.accept();
    is_live(&mut client, &mut served);
    let name = server.address().to_string();
    eventually("the bytes in the status", || {
        let backend = admin.backend(&name);
        (backend["bytes_in"] == 4 && backend["bytes_out"] == 4 && backend["active"] == 1)
            .then_some(())
    });
    let metrics = admin.get("/metrics").body;
    let sample = format!(
        "evener_backend_received_bytes_total{{pool=\"p\",backend=\"{name}\",address=\"{name}\"}} 4"
    );
    assert!(metrics.lines().any(|line| line == sample), "{metrics}");
}

#[test]
fn connections_are_listed_and_one_of_them_can_be_ended() {
    let server = Server::start();
    let (evener, admin) = start(&[server.address().to_string()], &[OFF]);
    let (mut clients, mut served) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        clients.push(connect(evener.address(0)));
        served.push(server.accept());
    }

    let list = eventually("both in the list", || {
        let list = admin.get("/api/v1/connections").json()["connections"].clone();
        let all = list.as_array().unwrap();
        let whole = |one: &Value| one["backend"].is_string();
        (all.len() == 2 && all.iter().all(whole)).then(|| all.clone())
    });
    let own = clients[0].local_addr().unwrap().to_string();
    let one = list.iter().find(|one| one["client"] == own).unwrap();
    assert_eq!(
        (&one["listener"], &one["pool"]),
        (&json!("in"), &json!("p"))
    );
    assert_eq!(one["address"], server.address().to_string());
    let threads: Vec<u64> = one["threads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap())
        .collect();
    assert!(!threads.is_empty());
    let id = &one["id"];
    for thread in threads {
        let comm = format!("/proc/{}/task/{thread}/comm", evener.pid());
        let name = std::fs::read_to_string(comm).unwrap();
        assert!(name.starts_with(&format!("c{id}")), "{name}");
    }

    let answer = admin.delete(&format!("/api/v1/connections/{id}"));
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"id": id, "killed": true}))
    );
    assert_eq!(read_until_end(&clients[0]).1, End::Reset);
    evener.wait_log("ended: killed KD");
    is_live(&mut clients[1], &mut served[1]);
    eventually("404 for one that is gone", || {
        (admin.delete(&format!("/api/v1/connections/{id}")).status == 404).then_some(())
    });
    assert_eq!(admin.delete("/api/v1/connections/first").status, 400);
}

#[test]
fn a_drained_backend_keeps_its_sessions_and_gets_no_more_until_it_is_ready() {
    let all = dummies(["a", "b"]);
    let (evener, admin) = start(&named(&all, &["a", "b"]), &[FAST]);
    for state in ["drain", "maintenance"] {
        let answer = admin.post(&path_of("a"), &format!("{{\"state\": \"{state}\"}}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["admin_state"], state);
        assert_eq!(answer.json()["configured_state"], "ready");
        assert_eq!(shares(&evener, 4), HashMap::from([("b".into(), 4)]));
        evener.wait_log(&format!("→ {state}, as asked for at run time"));
    }
    // Nobody knows what became of it meanwhile.
    eventually("unknown health", || {
        (admin.backend("a")["health"] == "starting").then_some(())
    });
    admin.post(&path_of("a"), "{\"state\": \"ready\"}");
    eventually("the first probe", || {
        (admin.backend("a")["takes_sessions"] == true).then_some(())
    });
    assert_eq!(shares(&evener, 4).len(), 2);
}

#[test]
fn a_weight_counts_at_once_and_0_takes_nothing() {
    let all = dummies(["a", "b"]);
    let (evener, admin) = start(&named(&all, &["a", "b"]), &[OFF]);
    admin.post(&path_of("a"), "{\"weight\": 3}");
    assert_eq!(
        shares(&evener, 8),
        HashMap::from([("a".into(), 6), ("b".into(), 2)])
    );
    admin.post(&path_of("a"), "{\"weight\": 0}");
    assert_eq!(shares(&evener, 4), HashMap::from([("b".into(), 4)]));
    let line = evener.wait_log("weight 3 → 0");
    assert!(
        line.contains("backend a ") && line.contains("(pool p)"),
        "{line}"
    );
}

#[test]
fn what_was_asked_for_survives_a_reload_of_an_unchanged_entry_only() {
    let all = dummies(["a", "b"]);
    let backends = named(&all, &["a", "b"]);
    let text = config(&backends, &[FAST], &[ADMIN]);
    let evener = Evener::start(&text);
    let admin = Admin::of(&evener);
    admin.post(&path_of("a"), "{\"state\": \"drain\"}");
    // Something else has changed.
    evener.rewrite_config(&text.replace(FAST, &FAST.replace("fall: 2", "fall: 3")));
    let answer = admin.post("/api/v1/reload", "");
    assert_eq!(
        answer.json(),
        json!({"dry_run": false, "changes": ["~ pool p health_check.fall 2 → 3"], "warnings": [
            "pool `p`: a health check may take longer (timeout 1s) than from one to the next (interval 50ms)"]})
    );
    assert_eq!(admin.backend("a")["admin_state"], "drain");
    assert_eq!(shares(&evener, 4), HashMap::from([("b".into(), 4)]));
    // The config says something new of this backend, which is the later word.
    evener.rewrite_config(&text.replace("name: a,", "name: a, weight: 2,"));
    let planned = admin.post("/api/v1/reload?dry_run=true", "").json();
    assert_eq!(
        planned["changes"][1],
        "~ backend a weight 1 → 2 (no longer, as asked for at run time: state drain)"
    );
    admin.post("/api/v1/reload", "");
    let a = admin.backend("a");
    assert_eq!(
        (&a["admin_state"], &a["weight"]),
        (&json!("ready"), &json!(2))
    );
    eventually("both to serve", || {
        (shares(&evener, 3).len() == 2).then_some(())
    });
}

#[test]
fn a_dry_run_tells_the_plan_and_changes_nothing() {
    let server = Server::start();
    let [b, c] = dummies(["b", "c"]);
    let old = [
        format!("{{ name: a, address: \"{}\" }}", server.address()),
        format!("{{ name: b, address: \"{}\" }}", b.address()),
    ];
    let (evener, admin) = start(&old, &[OFF]);
    let mut client = connect(evener.address(0));
    let mut served = server.accept();
    is_live(&mut client, &mut served);
    let new = [
        format!("{{ name: b, address: \"{}\", weight: 3 }}", b.address()),
        format!("{{ name: c, address: \"{}\" }}", c.address()),
    ];
    evener.rewrite_config(&config(&new, &[OFF], &[ADMIN]));
    let answer = admin.post("/api/v1/reload?dry_run=true", "").json();
    assert_eq!(answer["dry_run"], true);
    let changes: Vec<&str> = answer["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    assert_eq!(
        changes[..2],
        [
            "~ backend b weight 1 → 3".to_owned(),
            format!("+ backend c {}", c.address())
        ]
    );
    assert!(
        changes[2].starts_with("- backend a: 1 session will drain until 20"),
        "{changes:?}"
    );
    assert_eq!(admin.status()["config"]["generation"], 1);
    assert_eq!(evener.lines_with("config"), [""; 0]);

    assert_eq!(admin.post("/api/v1/reload", "").status, 200);
    let status = admin.status();
    assert_eq!(status["config"]["generation"], 2);
    assert_eq!(status["pools"][0]["leaving"][0]["name"], "a");
    assert_eq!(status["pools"][0]["leaving"][0]["active"], 1);
    is_live(&mut client, &mut served);
    drop((client, served));
    eventually("the last one to have left", || {
        let status = admin.status();
        (status["pools"][0]["leaving"] == json!([])).then_some(())
    });
}

#[test]
fn a_reload_that_fails_says_where_and_stays_in_the_status() {
    let all = dummies(["a"]);
    let text = config(&named(&all, &["a"]), &[OFF], &[ADMIN]);
    let evener = Evener::start(&text);
    let admin = Admin::of(&evener);
    evener.rewrite_config(&text.replace("backends:", "backend:"));
    for path in ["/api/v1/reload?dry_run=true", "/api/v1/reload"] {
        let answer = admin.post(path, "");
        assert_eq!(answer.status, 422);
        let errors = answer.json()["errors"].to_string();
        assert!(
            errors.contains("evener.yaml:6:5: unknown key `backend`"),
            "{errors}"
        );
        // And the line that is meant, as `evener check` shows it.
        let report = answer.json()["report"].as_str().unwrap().to_owned();
        assert!(report.contains("6 |     backend:\n"), "{report}");
    }
    let config = &admin.status()["config"];
    assert_eq!(
        (&config["last_reload_successful"], &config["generation"]),
        (&json!(false), &json!(1))
    );
    assert!(
        config["last_reload_error"]
            .as_str()
            .unwrap()
            .contains("unknown key")
    );
    let metrics = admin.get("/metrics").body;
    assert!(
        metrics.contains("\nevener_config_last_reload_successful 0\n"),
        "{metrics}"
    );
    evener.rewrite_config(&text);
    assert_eq!(admin.post("/api/v1/reload", "").status, 200);
    assert_eq!(admin.status()["config"]["last_reload_successful"], true);
}

#[test]
fn a_reload_answers_with_its_warnings() {
    let all = dummies(["a"]);
    let backends = named(&all, &["a"]);
    let (evener, admin) = start(&backends, &[OFF]);
    assert_eq!(
        admin.backend("a")["reason"],
        "not probed: health_check is off"
    );
    let access = "{ name: in, access: { default: deny },";
    let text = config(&backends, &[OFF], &[ADMIN]).replace("{ name: in,", access);
    evener.rewrite_config(&text);
    for path in ["/api/v1/reload?dry_run=true", "/api/v1/reload"] {
        let warnings = admin.post(path, "").json()["warnings"].to_string();
        assert!(warnings.contains("access lets nobody in"), "{warnings}");
    }
    evener.wait_log("config: listener `in`: access lets nobody in");
}

#[test]
fn explain_names_the_one_who_is_next_and_says_why_not_the_others() {
    let all = dummies(["a", "b"]);
    let (dead, other) = (RefusingPort::new(), RefusingPort::new());
    let mut backends = named(&all, &["a", "b"]);
    backends.push(format!("{{ name: dead, address: \"{}\" }}", dead.address()));
    backends.push(format!(
        "{{ name: off, address: \"{}\", state: maintenance }}",
        other.address()
    ));
    for balance in [
        "round_robin",
        "least_connections",
        "power_of_two",
        "random",
        "first",
    ] {
        let line = format!("balance: {balance}");
        let (evener, admin) = start(&backends, &[FAST, &line]);
        evener.wait_log("is DOWN");
        for _ in 0..4 {
            let told = admin.get("/api/v1/explain?pool=p").json();
            assert_eq!(told["balance"], balance);
            let next = told["next"].as_str().unwrap().to_owned();
            let chosen: Vec<&Value> = told["backends"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|backend| backend["chosen"] == true)
                .collect();
            assert_eq!(chosen.len(), 1);
            assert_eq!(chosen[0]["name"], next);
            assert_eq!(who_serves(evener.address(0)).unwrap(), next, "{told:#}");
            eventually("the end of the session", || {
                (admin.status()["connections"]["active"] == 0).then_some(())
            });
        }
        let told = admin.get("/api/v1/explain?pool=p&client=192.0.2.7").json();
        assert_eq!(told["client"], "192.0.2.7");
        let why = |index: usize| told["backends"][index]["why"].as_str().unwrap();
        assert!(why(2).starts_with("down since 20") && why(2).ends_with("connection refused"));
        assert_eq!(why(3), "its state is maintenance, by the config");
        assert_eq!(told["backends"][3]["can_serve"], false);
    }
}

#[test]
fn readiness_follows_the_backends_and_the_drain() {
    let mut a = Dummy::start("a");
    let rest = [ADMIN, "shutdown: { pre_stop_delay: 1h }"];
    let refusing = RefusingPort::new();
    let unused = format!(
        "  - {{ name: q, backends: [\"{}\"] }}\n",
        refusing.address()
    );
    let text = config(&[a.address()], &[FAST], &rest).replace(ADMIN, &(unused + ADMIN));
    let evener = Evener::start(&text);
    let admin = Admin::of(&evener);
    // No client waits for a pool to which no listener leads.
    assert_eq!(admin.status()["pools"][1]["mode"], "down");
    assert_eq!(admin.get("/healthz").status, 200);
    assert_eq!(admin.get("/readyz").status, 200);
    a.stop();
    eventually("not ready", || {
        (admin.get("/readyz").status == 503).then_some(())
    });
    assert!(admin.get("/readyz").body.contains("pool p has no backend"));
    assert_eq!(admin.get("/healthz").status, 200);
    a.restart();
    eventually("ready again", || {
        (admin.get("/readyz").status == 200).then_some(())
    });
    evener.signal(Signal::TERM);
    eventually("not ready", || {
        (admin.get("/readyz").status == 503).then_some(())
    });
    assert_eq!(admin.status()["state"], "draining");
    assert_eq!(admin.get("/healthz").status, 200);
    // Nobody makes changes any more, and nobody waits for them.
    let answer = admin.post("/api/v1/reload", "");
    assert!(
        answer.status == 503 && answer.body.contains("shutting down"),
        "{answer:?}"
    );
    evener.signal(Signal::TERM);
    assert_eq!(evener.wait_exit().code(), Some(130));
}

#[test]
fn a_change_that_waits_when_evener_is_stopped_is_refused_at_once() {
    let (a, black_hole) = (Dummy::start("a"), BlackHole::new());
    let slow = "health_check: { interval: 1h, timeout: 30s }";
    let evener = Evener::start(&config(&[a.address()], &[slow], &[ADMIN]));
    let asked = Admin::of(&evener);
    // The first reload waits for a probe for half a minute, and the second one for the first.
    let hole = format!("{{ name: hole, address: \"{}\" }}", black_hole.address());
    let backends = [a.address().to_string(), hole];
    evener.rewrite_config(&config(&backends, &[slow], &[ADMIN]));
    evener.signal(Signal::HUP);
    let has_thread = |begin: &str| {
        eventually(begin, || {
            let names = evener.thread_names();
            names
                .iter()
                .any(|name| name.starts_with(begin))
                .then_some(())
        });
    };
    has_thread("probe hole");
    std::thread::scope(|scope| {
        let second = scope.spawn(|| asked.post("/api/v1/reload", ""));
        has_thread("admin conn");
        evener.signal(Signal::TERM);
        assert_eq!(evener.wait_exit().code(), Some(0));
        assert_eq!(second.join().unwrap().status, 503);
    });
}

#[test]
fn what_can_not_be_is_refused_and_nothing_changes() {
    let all = dummies(["a"]);
    let (_evener, admin) = start(&named(&all, &["a"]), &[OFF]);
    let before = admin.backend("a");
    for (path, body, status, says) in [
        (path_of("b"), "{\"weight\": 1}", 404, "backends: a"),
        (
            "/api/v1/pools/q/backends/a".into(),
            "{\"weight\": 1}",
            404,
            "pools: p",
        ),
        (path_of("a"), "{\"weight\": 1000000}", 422, "out of range"),
        (path_of("a"), "{\"state\": \"gone\"}", 422, "states: ready"),
        (path_of("a"), "state=drain", 422, "not JSON"),
        (
            "/api/v1/reload?dry_run=maybe".into(),
            "",
            400,
            "true or false",
        ),
        ("/api/v1/status".into(), "{}", 405, "GET"),
        ("/api/v2/reload".into(), "{}", 404, "/api/v1/status"),
    ] {
        let answer = admin.post(&path, body);
        assert_eq!(answer.status, status, "{path} {answer:?}");
        assert!(answer.body.contains(says), "{path} {answer:?}");
    }
    let unknown = admin.get("/api/v1/explain?pool=q");
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.body.contains("there is no pool `q`; pools: p"),
        "{unknown:?}"
    );
    let unknown = admin.get("/api/v1/explain?listener=x&sni=a.example");
    assert!(
        unknown
            .body
            .contains("there is no listener `x`; listeners: in"),
        "{unknown:?}"
    );
    assert_eq!(admin.get("/api/v1/explain?client=me").status, 400);
    assert_eq!(admin.backend("a"), before);
    // A GET changes nothing, whatever it says.
    assert_eq!(admin.get("/api/v1/reload").status, 405);
    assert_eq!(admin.status()["config"]["last_reload_at"], Value::Null);
}

#[test]
fn metrics_are_as_prometheus_wants_them() {
    let all = dummies(["a", "b"]);
    let (evener, admin) = start(&named(&all, &["a", "b"]), &[FAST]);
    shares(&evener, 6);
    eventually("all sessions to end", || {
        (admin.status()["connections"]["active"] == 0).then_some(())
    });
    let text = admin.get("/metrics").body;
    let (mut types, mut samples) = (HashMap::new(), HashMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(
                types.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{name} twice"
            );
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let name = series.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            let known = types.contains_key(name)
                || base.is_some_and(|base| types.get(base).is_some_and(|kind| kind == "histogram"));
            assert!(known, "no type: {line}");
            assert!(
                samples.insert(series.to_owned(), value).is_none(),
                "twice: {series}"
            );
        }
    }
    let sum = |start: &str| -> f64 {
        samples
            .iter()
            .filter(|(series, _)| series.starts_with(start))
            .map(|(_, value)| value)
            .sum()
    };
    assert_eq!(
        sum("evener_listener_connections_total{listener=\"in\"}"),
        6.0
    );
    assert_eq!(sum("evener_backend_connections_total{"), 6.0);
    assert_eq!(sum("evener_backend_connections_active{"), 0.0);
    assert_eq!(sum("evener_sessions_closed_total{"), 6.0);
    assert_eq!(sum("evener_session_duration_seconds_count"), 6.0);
    assert_eq!(sum("evener_backend_connect_duration_seconds_count{"), 6.0);
    assert_eq!(sum("evener_backend_up{"), 2.0);
    assert_eq!(sum("evener_backend_state{"), 2.0);
    assert!(sum("evener_health_checks_total{result=\"good\"}") >= 2.0);
    assert!(sum("evener_threads") > 0.0 && sum("process_open_fds") > 3.0);
    // So little that it may be less than a tick.
    assert!(samples.contains_key("process_cpu_seconds_total"));
    assert!(sum("process_start_time_seconds") > 1e9);
    // Who connects is in no label.
    assert!(!text.contains("client=\""), "{text}");
}

/// The names and types of the table for operators, and of what a real evener answers.
#[test]
fn the_page_for_operators_has_every_metric_and_no_other() {
    let all = dummies(["a"]);
    let (_evener, admin) = start(&named(&all, &["a"]), &[FAST]);
    let text = admin.get("/metrics").body;
    let types = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE evener_"));
    let mut real: Vec<String> = types.map(|rest| format!("evener_{rest}")).collect();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md"));
    let page = page.unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `evener_"));
    let mut told: Vec<String> = rows
        .flat_map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let names = cells[1].split(", ").map(|name| name.trim_matches('`'));
            names
                .map(|name| format!("{name} {}", cells[2]))
                .collect::<Vec<_>>()
        })
        .collect();
    real.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, real);
}
