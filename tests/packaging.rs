//! What is packaged says the same as the program: manual pages, completions and unit files are written
//! by hand, so each option, command and key of the program is looked for in them; and the metrics and
//! labels of the dashboard and of the alerts are looked for in what evener answers.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what can't be read fails the test, as it should"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{Admin, Dummy, Evener, TempDir, config, eventually, run};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The options of a help text: `-c` and `--config`, each once.
fn options(help: &str) -> Vec<String> {
    let options = help.lines().filter_map(|line| {
        let line = line.strip_prefix("  ")?.trim_start();
        line.starts_with('-').then_some(line)
    });
    // What is behind two spaces describes the option; before it stand its names and its value.
    let names = options.flat_map(|line| {
        let names = line.split("  ").next().unwrap_or(line);
        names.split([',', ' ']).filter(|word| word.starts_with('-'))
    });
    let mut names: Vec<String> = names.map(String::from).collect();
    names.sort();
    names.dedup();
    assert!(names.len() > 5, "{names:?}");
    names
}

/// The commands of evener's help text: `evener check FILE` has one, `evener [OPTIONS]` has none.
fn commands(help: &str) -> Vec<String> {
    let usage = help.lines().skip_while(|line| *line != "USAGE").skip(1);
    let usage = usage.take_while(|line| !line.trim().is_empty());
    let mut commands: Vec<String> = usage
        .filter_map(|line| line.trim_start().strip_prefix("evener "))
        .flat_map(|line| line.split("  ").next().unwrap_or(line).split([' ', '|']))
        .filter(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase()))
        .map(String::from)
        .collect();
    // Those for a running evener have a section of their own, a line each.
    let others = help
        .lines()
        .skip_while(|line| !line.starts_with("COMMANDS"))
        .skip(1);
    let others = others.take_while(|line| !line.trim().is_empty());
    let first_words = others.filter_map(|line| line.strip_prefix("    ")?.split(' ').next());
    commands.extend(
        first_words
            .filter(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase()))
            .map(String::from),
    );
    commands.sort();
    commands.dedup();
    assert!(commands.contains(&"status".into()), "{commands:?}");
    assert!(commands.contains(&"check".into()), "{commands:?}");
    commands
}

/// Does a manual page have an entry for this option (`.It Fl c , Fl -config Ar file`)?
fn has_option(page: &str, option: &str) -> bool {
    let name = format!("Fl {}", option.strip_prefix('-').unwrap_or(option));
    let entries = page.lines().filter(|line| line.starts_with(".It "));
    entries.into_iter().any(|entry| {
        let mut ends = entry
            .match_indices(&name)
            .map(|(at, _)| &entry[at + name.len()..]);
        ends.any(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

fn has_entry(page: &str, macro_and_word: &str) -> bool {
    let entry = format!(".It {macro_and_word}");
    page.lines()
        .any(|line| line == entry || line.starts_with(&format!("{entry} ")))
}

fn help_of(program: &str) -> String {
    run(program, &["--help"]).stdout
}

#[test]
fn the_manual_has_every_option_and_every_command() {
    let (help, page) = (
        help_of(env!("CARGO_BIN_EXE_evener")),
        read("packaging/man/evener.8"),
    );
    for option in options(&help) {
        assert!(has_option(&page, &option), "evener.8 has no {option}");
    }
    for command in commands(&help) {
        assert!(
            has_entry(&page, &format!("Cm {command}")),
            "evener.8 has no {command}"
        );
    }
    assert!(!has_option(&page, "--confi") && !has_entry(&page, "Cm chec"));
}

#[test]
fn the_manual_of_the_dummy_has_every_option() {
    let (help, page) = (
        help_of(env!("CARGO_BIN_EXE_backend")),
        read("packaging/man/backend.1"),
    );
    for option in options(&help) {
        assert!(has_option(&page, &option), "backend.1 has no {option}");
    }
}

/// The keys that a config may have in one place, by what evener says to one that it does not know. None
/// where a single value stands.
fn keys(config: &str) -> Vec<String> {
    let dir = TempDir::new();
    let file = dir.path().join("evener.yaml");
    fs::write(&file, config).unwrap();
    let finished = Evener::command(&["check", file.to_str().unwrap()]);
    if finished.stderr.contains("is a mapping, not a single value") {
        return Vec::new();
    }
    let line = finished
        .stderr
        .lines()
        .find_map(|line| line.split_once("known keys: "));
    let line = line
        .unwrap_or_else(|| panic!("{config}: {}", finished.stderr))
        .1;
    line.split(", ").map(String::from).collect()
}

#[test]
fn the_manual_of_the_config_has_every_key() {
    let page = read("packaging/man/evener.yaml.5");
    let mut sections: Vec<(String, String)> = keys("nonsense: 1")
        .into_iter()
        .map(|section| match section.as_str() {
            "listeners" | "pools" => (format!("{section}: [{{ nonsense: 1 }}]"), section),
            _ => (format!("{section}: {{ nonsense: 1 }}"), section),
        })
        .collect();
    for (config, section) in [
        ("pools: [{ health_check: { nonsense: 1 } }]", "health_check"),
        (
            "pools: [{ health_check: { type: http, nonsense: 1 } }]",
            "health_check",
        ),
        ("pools: [{ agent: { nonsense: 1 } }]", "agent"),
        (
            "pools: [{ outlier_detection: { nonsense: 1 } }]",
            "outlier_detection",
        ),
        ("pools: [{ backends: [{ nonsense: 1 }] }]", "backends"),
        ("listeners: [{ routes: [{ nonsense: 1 }] }]", "routes"),
        ("listeners: [{ socket: { nonsense: 1 } }]", "socket"),
        ("pools: [{ socket: { nonsense: 1 } }]", "socket"),
    ] {
        sections.push((config.into(), section.into()));
    }
    for (config, section) in sections {
        let title = format!(".Ss {section}\n");
        let text = page.split_once(&title);
        let text = text
            .unwrap_or_else(|| panic!("evener.yaml.5 has no section {section}"))
            .1;
        let text = text.split("\n.Ss ").next().unwrap();
        for key in keys(&config) {
            let has = has_entry(text, &format!("Ic {key}"));
            assert!(has, "evener.yaml.5 has no {key} in {section}");
        }
    }
}

/// What bash offers for these words, the last of which is being typed.
fn offered(words: &[&str]) -> Vec<String> {
    let script = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  _evener; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/completions/evener.bash");
    let mut bash = Command::new("bash");
    let output = bash
        .args(["--norc", "-c", script])
        .arg(file)
        .args(words)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let offered = String::from_utf8(output.stdout).unwrap();
    offered.lines().map(String::from).collect()
}

#[test]
fn bash_offers_every_command_and_every_option() {
    let help = help_of(env!("CARGO_BIN_EXE_evener"));
    let first = offered(&["evener", ""]);
    for command in commands(&help) {
        assert!(first.contains(&command), "{command} is not in {first:?}");
    }
    let mut offered_somewhere = Vec::new();
    for command in [
        "",
        "demo",
        "status",
        "explain",
        "drain",
        "rebalance",
        "reload",
    ] {
        offered_somewhere.extend(offered(&["evener", command, "--"]));
    }
    for option in options(&help)
        .iter()
        .filter(|option| option.starts_with("--"))
    {
        assert!(
            offered_somewhere.contains(option),
            "{option} is not in {offered_somewhere:?}"
        );
    }
    assert_eq!(offered(&["evener", "che"]), ["check"]);
    assert_eq!(
        offered(&["evener", "--balance", "least"]),
        ["least_connections"]
    );
    assert_eq!(offered(&["evener", "reload", "--dry"]), ["--dry-run"]);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.tom");
    let offered = offered(&["evener", "check", manifest.to_str().unwrap()]);
    assert!(
        offered.iter().any(|file| file.ends_with("Cargo.toml")),
        "{offered:?}"
    );
}

#[test]
fn the_other_shells_know_the_commands_that_bash_knows() {
    let commands = offered(&["evener", ""]);
    assert!(commands.len() > 5, "{commands:?}");
    let (zsh, fish) = (
        read("packaging/completions/_evener"),
        read("packaging/completions/evener.fish"),
    );
    for command in commands {
        assert!(zsh.contains(&format!("    '{command}:")), "zsh: {command}");
        assert!(fish.contains(&format!(" -a {command} ")), "fish: {command}");
    }
}

#[test]
fn the_packaged_config_is_valid_and_harmless() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/evener.yaml");
    let checked = Evener::command(&["check", file.to_str().unwrap()]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    // Nobody but this machine can reach what was installed and not configured yet.
    let binds = read("packaging/evener.yaml");
    let mut binds = binds
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    assert!(binds.any(|line| line.contains("bind: \"127.0.0.1:8080\"")));
}

#[test]
fn every_example_is_valid_and_says_what_it_is_for() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/examples");
    let files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert!(!files.is_empty());
    let readme = read("README.md");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{file:?} has no head");
        let name = file.file_name().unwrap().to_str().unwrap();
        let link = format!("(packaging/examples/{name})");
        assert!(readme.contains(&link), "{name} is not in the README");
        let finished = Evener::command(&["check", file.to_str().unwrap()]);
        assert_eq!(finished.code, Some(0), "{file:?}: {}", finished.stderr);
        assert!(!finished.stdout.contains("warning"), "{}", finished.stdout);
    }
}

#[test]
fn the_units_leave_room_for_sessions_and_ask_for_the_signs_that_evener_gives() {
    let unit = read("packaging/systemd/evener.service");
    let value = |key: &str| {
        let line = unit
            .lines()
            .rfind(|line| line.starts_with(&format!("{key}=")));
        line.and_then(|line| line.split_once('='))
            .unwrap_or_else(|| panic!("no {key}="))
            .1
    };
    // Two threads and two descriptors each; the kernel's default maps have room for 8,090 sessions.
    for limit in ["TasksMax", "LimitNOFILE"] {
        assert!(
            value(limit).parse::<u64>().unwrap() > 2 * 8_090 + 2_000,
            "{limit}"
        );
    }
    assert_eq!(value("Type"), "notify-reload");
    assert_eq!(value("CapabilityBoundingSet"), "CAP_NET_BIND_SERVICE");
    assert!(value("ExecStart").ends_with("--config /etc/evener/evener.yaml"));
    assert!(value("WatchdogSec").parse::<u64>().is_ok());
}

/// The `bind` of each listener, as evener prints the effective config.
fn binds(file: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let printed = Evener::command(&["--config", file.to_str().unwrap(), "--print-config"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let listeners = printed.stdout.split("\nlisteners:\n").nth(1).unwrap();
    let lines = listeners.lines().take_while(|line| line.starts_with(' '));
    let binds = lines.filter_map(|line| line.split_once("bind: "));
    let binds: BTreeSet<String> = binds
        .map(|(_, value)| value.trim_matches('"').to_owned())
        .collect();
    assert!(!binds.is_empty(), "{}", printed.stdout);
    binds
}

/// As they are shipped: what systemd opens is what evener binds, so that enabling the socket is all.
#[test]
fn each_socket_of_the_unit_is_one_of_the_config() {
    let unit = read("packaging/systemd/evener.socket");
    let streams = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ListenStream="));
    let streams: BTreeSet<String> = streams.map(String::from).collect();
    assert_eq!(streams, binds("packaging/evener.yaml"));
}

/// The words of an expression of PromQL that may name a metric of evener.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("evener_") || word.starts_with("process_"))
        .map(String::from)
        .collect()
}

/// The labels that an expression asks for: those in braces, and those behind `by` and `on`.
fn labels_in(expression: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for part in expression.split('{').skip(1) {
        let matchers = part.split('}').next().unwrap().split(", ");
        labels.extend(matchers.map(|one| one.split(['=', '!']).next().unwrap().to_owned()));
    }
    for word in ["by (", "on (", "without ("] {
        for part in expression.split(word).skip(1) {
            let names = part.split(')').next().unwrap().split(", ");
            labels.extend(names.map(String::from));
        }
    }
    labels
}

/// Every value of this key, however deep.
fn values_of(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key).and_then(Value::as_str).map(String::from));
            map.values().for_each(|value| values_of(value, key, found));
        }
        Value::Array(values) => values.iter().for_each(|value| values_of(value, key, found)),
        _ => {}
    }
}

/// The reasons why sessions end that an expression asks for.
fn reasons_in(expression: &str) -> Vec<String> {
    let parts = expression
        .split("evener_sessions_closed_total{")
        .skip(1)
        .filter_map(|part| part.split_once("reason=~\"")?.1.split('"').next());
    parts
        .flat_map(|words| words.split('|'))
        .map(String::from)
        .collect()
}

/// What a real evener answers, that has what series are for: limits and a queue.
fn real_answer() -> String {
    let backend = Dummy::start("a");
    let admin = ["admin: { bind: \"127.0.0.1:0\" }"];
    let address = backend.address();
    let limited = format!("{{ address: \"{address}\", max_connections: 9 }}");
    let text =
        config(&[limited], &[], &admin).replace("pool: p }", "pool: p, max_connections: 9 }");
    let evener = Evener::start(&text);
    Admin::of(&evener).get("/metrics").body
}

/// The names of all series that a real evener has, and the names of all their labels.
fn names_and_labels(answer: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let series = answer.lines().filter(|line| !line.starts_with('#'));
    // A metric without a series is one, too: no host name is watched here.
    let types = answer
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let types = types.filter_map(|line| Some(line.split_once(' ')?.0.to_owned()));
    let (mut names, mut labels) = (types.collect::<BTreeSet<_>>(), BTreeSet::new());
    for one in series {
        names.insert(one.split(['{', ' ']).next().unwrap().to_owned());
        let inner = one
            .split_once('{')
            .and_then(|(_, rest)| rest.rsplit_once('}'));
        let pairs = inner.map_or("", |(inner, _)| inner).split("\",");
        labels.extend(pairs.filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())));
    }
    (names, labels)
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_evener_has() {
    let dashboard: Value = serde_json::from_str(&read("packaging/grafana/evener.json")).unwrap();
    let mut expressions = Vec::new();
    values_of(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 30, "{expressions:?}");
    values_of(&dashboard["templating"], "query", &mut expressions);
    let alerts = read("packaging/prometheus/alerts.yaml");
    let alerts = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    let alerts: Vec<String> = alerts.map(String::from).collect();
    assert!(alerts.len() >= 10, "{alerts:?}");
    expressions.extend(alerts);

    let answer = real_answer();
    let (names, mut labels) = names_and_labels(&answer);
    // Prometheus adds these when it scrapes.
    labels.extend(["job", "instance"].map(String::from));
    for expression in &expressions {
        for name in metrics_in(expression) {
            assert!(names.contains(&name), "no metric {name}: {expression}");
        }
        for label in labels_in(expression) {
            assert!(labels.contains(&label), "no label {label:?}: {expression}");
        }
        for reason in reasons_in(expression) {
            let series = format!("evener_sessions_closed_total{{reason=\"{reason}\"}}");
            assert!(
                answer.contains(&series),
                "no reason {reason:?}: {expression}"
            );
        }
    }
    let example = "sum by (le, x) (evener_a{b=~\"c\", d!=\"e\"}) / process_f";
    assert_eq!(
        Vec::from_iter(metrics_in(example)),
        ["evener_a", "process_f"]
    );
    assert_eq!(Vec::from_iter(labels_in(example)), ["b", "d", "le", "x"]);
    let example = "rate(evener_sessions_closed_total{instance=~\"$i\", reason=~\"a|b\"}[2m])";
    assert_eq!(reasons_in(example), ["a", "b"]);
}

#[test]
fn the_dashboard_can_be_imported_and_no_panel_covers_another() {
    let dashboard: Value = serde_json::from_str(&read("packaging/grafana/evener.json")).unwrap();
    // Grafana 9 begins with 36.
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    let mut variables = Vec::new();
    values_of(&dashboard["templating"]["list"], "name", &mut variables);
    assert_eq!(variables, ["datasource", "instance", "listener", "pool"]);
    let mut sources = Vec::new();
    values_of(&dashboard, "uid", &mut sources);
    sources.retain(|uid| uid != "evener");
    assert!(
        sources.len() > 30 && sources.iter().all(|uid| uid == "${datasource}"),
        "{sources:?}"
    );
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel:#}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel:#}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "two panels at {x}, {y}: {panel:#}");
            }
        }
    }
}

/// Runs the check script for this address; is it content?
fn check_evener(address: &str) -> bool {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/keepalived/check-evener"
    );
    let curl = Command::new("curl").arg("--version").output();
    assert!(
        curl.is_ok(),
        "the check script needs curl, and so does this test"
    );
    Command::new(script)
        .arg(address)
        .status()
        .unwrap()
        .success()
}

#[test]
fn keepalived_hears_whether_evener_is_ready() {
    let mut dummy = Dummy::start("a");
    let dir = TempDir::new();
    let socket = format!("unix:{}", dir.path().join("admin.sock").display());
    for (bind, at) in [
        ("127.0.0.1:0", None),
        (socket.as_str(), Some(socket.as_str())),
    ] {
        let section = format!("admin: {{ bind: \"{bind}\" }}");
        let check = "health_check: { interval: 50ms, fall: 1, rise: 1 }";
        let evener = Evener::start(&config(&[dummy.address()], &[check], &[&section]));
        let address = match at {
            Some(address) => address.to_owned(),
            None => evener
                .address_after("admin server at http://", 0)
                .to_string(),
        };
        assert!(check_evener(&address), "{address}");
        dummy.stop();
        eventually("not ready", || (!check_evener(&address)).then_some(()));
        dummy.restart();
        eventually("ready", || check_evener(&address).then_some(()));
        drop(evener);
        assert!(!check_evener(&address), "nobody is there");
    }
}

/// The exit code of the check script where bash and `timeout` are there, and no curl.
fn check_without_curl(address: &str, programs: &Path) -> Option<i32> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/keepalived/check-evener"
    );
    let mut command = Command::new(script);
    command.arg(address).env("PATH", programs);
    command.output().unwrap().status.code()
}

#[test]
fn the_check_script_does_without_curl() {
    let programs = TempDir::new();
    for program in ["bash", "timeout"] {
        let path = std::env::var_os("PATH").unwrap();
        let mut places = std::env::split_paths(&path).map(|dir| dir.join(program));
        let found = places.find(|file| file.exists()).unwrap();
        std::os::unix::fs::symlink(found, programs.path().join(program)).unwrap();
    }
    let check = |address: &str| check_without_curl(address, programs.path());
    let mut dummy = Dummy::start("a");
    let health = "health_check: { interval: 50ms, fall: 1, rise: 1 }";
    let admin = "admin: { bind: \"127.0.0.1:0\" }";
    let evener = Evener::start(&config(&[dummy.address()], &[health], &[admin]));
    let address = evener.address_after("admin server at http://", 0);
    let address = address.to_string();
    eventually("ready", || (check(&address) == Some(0)).then_some(()));
    dummy.stop();
    eventually("not ready", || (check(&address) == Some(1)).then_some(()));
    drop(evener);
    assert_eq!(check(&address), Some(1), "nobody is there");
    // What it can't ask is never taken for ready.
    assert_eq!(check("unix:/run/evener/admin.sock"), Some(2));
}

#[test]
fn the_files_for_other_programs_speak_of_this_one() {
    let admin = evener::config::defaults::ADMIN;
    for (file, words) in [
        ("packaging/keepalived/check-evener", vec![admin, "/readyz"]),
        (
            "packaging/keepalived/keepalived.conf",
            vec!["/usr/share/evener/check-evener"],
        ),
        (
            "packaging/ecmp/announce-evener",
            vec![admin, "/usr/share/evener/check-evener", "service"],
        ),
        (
            "packaging/ecmp/bird.conf",
            vec!["protocol static service", "disabled yes"],
        ),
        (
            "packaging/prometheus/scrape.yaml",
            vec![admin, "alerts.yaml"],
        ),
        (
            "packaging/kubernetes/evener.yaml",
            vec![
                "/readyz",
                "/healthz",
                "pre_stop_delay: 10s, drain_timeout: 45s",
            ],
        ),
        (
            "packaging/prometheus/scrape-kubernetes.yaml",
            vec!["job_name: evener", "alerts.yaml", "credentials_file:"],
        ),
        (
            "packaging/kubernetes/podmonitor.yaml",
            vec!["name: evener-token, key: token", "port: admin"],
        ),
        ("scripts/build-deb", vec!["usr/share/evener/check-evener"]),
    ] {
        let text = read(file);
        for word in words {
            assert!(text.contains(word), "{file} has no {word}");
        }
    }
    // What has no token can't lead to /metrics.
    assert!(!read("packaging/kubernetes/evener.yaml").contains("prometheus.io/port"));
    // The config inside the manifest is one, once there is a token.
    let manifest = read("packaging/kubernetes/evener.yaml");
    let (_, rest) = manifest.split_once("evener.yaml: |\n").unwrap();
    let (config, _) = rest.split_once("\n---").unwrap();
    let dir = TempDir::new();
    fs::write(dir.path().join("token"), "0123456789abcdef").unwrap();
    let config = config.replace("/etc/evener-token", dir.path().to_str().unwrap());
    let file = dir.path().join("evener.yaml");
    fs::write(&file, config).unwrap();
    let checked = Evener::command(&["check", file.to_str().unwrap()]);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
}

/// The check of the image runs in the container, which has the token in its environment or not at all.
#[test]
fn the_health_check_of_the_image_works_with_and_without_a_token() {
    let dockerfile = read("packaging/docker/Dockerfile");
    let check = dockerfile
        .lines()
        .find(|line| line.starts_with("HEALTHCHECK "));
    let (_, command) = check.unwrap().split_once(" CMD ").unwrap();
    let words: Vec<String> = serde_json::from_str(command).unwrap();
    assert_eq!(words[0], "/evener");
    assert!(dockerfile.contains("EVENER_TOKEN=") && dockerfile.contains("EVENER_ADMIN="));

    let dir = TempDir::new();
    let (token, backend) = ("0123456789abcdef", Dummy::start("a"));
    let file = dir.path().join("token");
    fs::write(&file, token).unwrap();
    let with_token = format!(
        "admin: {{ bind: \"127.0.0.1:0\", token_file: \"{}\" }}",
        file.display()
    );
    for (admin, token, code) in [
        ("admin: { bind: \"127.0.0.1:0\" }", None, 0),
        (with_token.as_str(), Some(token), 0),
        (with_token.as_str(), None, 1),
    ] {
        let evener = Evener::start(&config(&[backend.address()], &[], &[admin]));
        let address = evener.address_after("admin server at http://", 0);
        let mut command = Command::new(env!("CARGO_BIN_EXE_evener"));
        command.args(&words[1..]).env_remove("EVENER_TOKEN");
        command.env("EVENER_ADMIN", address.to_string());
        command.envs(token.map(|token| ("EVENER_TOKEN", token)));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{admin}: {output:?}");
    }
}
