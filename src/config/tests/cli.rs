//! Command lines, and what they are read to.

use super::super::cli::{Command, Source, UsageError, help, parse};
use super::super::closing::Close;
use super::super::{AdminAddress, AdminBind, AdminOption, Ask, Config, What};
use crate::policy::balance;
use crate::policy::health::AdminState;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

fn read(line: &str) -> Result<Command, UsageError> {
    parse(line.split_whitespace().map(OsString::from))
}

fn config(line: &str) -> Config {
    match read(line).unwrap_or_else(|error| panic!("{error}")) {
        Command::Run { source, .. } => source.load().unwrap(),
        Command::Demo { config, .. } => *config,
        other => panic!("{other:?}"),
    }
}

fn backends(config: &Config) -> Vec<(&str, u32)> {
    config.pools[0]
        .backends
        .iter()
        .map(|backend| (backend.name.as_str(), backend.weight))
        .collect()
}

#[test]
fn nothing_at_all_is_the_walk_through() {
    for line in ["", "demo", "--admin off"] {
        let config = config(line);
        assert_eq!(config.listeners[0].name, ":8080");
        assert!(config.listeners[0].bind[0].tcp().unwrap().dual_stack);
        let expected = [
            ("127.0.0.1:8000", 1),
            ("127.0.0.1:8001", 1),
            ("127.0.0.1:8002", 1),
        ];
        assert_eq!(backends(&config), expected);
        assert_eq!(config.pools[0].balance.name, "round_robin");
        // It is a config like one from a file: printed, it loads again.
        assert_eq!(
            Config::from_yaml("printed", &config.to_yaml()).as_ref(),
            Ok(&config)
        );
    }
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn listeners_policy_and_backends() {
    let config = config("-l :80 --listen=[::1]:81 -b random a:1=3 --print-config 10.0.0.1:2 -- [::1]:3=0");
    let names: Vec<&str> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(names, [":80", "[::1]:81"]);
    assert_eq!(config.pools[0].balance.name, "random");
    assert_eq!(backends(&config), [("a:1", 3), ("10.0.0.1:2", 1), ("[::1]:3", 0)]);
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn commands() {
    let file = PathBuf::from("a.yaml");
    let run = |admin, print_config| Command::Run { source: Source::File { path: file.clone(), admin }, print_config };
    assert_eq!(read("-c a.yaml").unwrap(), run(None, false));
    assert_eq!(read("--config=a.yaml --print-config --admin=off").unwrap(), run(Some(AdminOption::Off), true));
    assert_eq!(read("check a.yaml").unwrap(), Command::Check { file: file.clone() });
    assert_eq!(read("check demo").unwrap(), Command::Check { file: PathBuf::from("demo") });
    assert_eq!(read("--help").unwrap(), Command::Help);
    assert_eq!(read("check -h").unwrap(), Command::Help);
    assert_eq!(read("-V").unwrap(), Command::Version);
    let demo = config("demo -l :9000 -b least_connections");
    assert_eq!((demo.listeners[0].name.as_str(), demo.pools[0].balance.name), (":9000", "least_connections"));
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn questions_and_orders() {
    let ask = |line: &str| match read(line).unwrap_or_else(|error| panic!("{error}")) {
        Command::Ask(ask) => ask,
        other => panic!("{other:?}"),
    };
    let what = |line: &str| ask(line).what;
    let state = |state| What::State { backend: "web/a".into(), state, close: None };
    let close = |idle_for: Option<&str>| {
        Some(Close { rate: "5/s".into(), idle_for: idle_for.map(String::from) })
    };
    assert_eq!(
        what("drain web/a --close --rate 5/s --idle-for 3s"),
        What::State { backend: "web/a".into(), state: AdminState::Drain, close: close(Some("3s")) }
    );
    let rebalance = |close| What::Rebalance { pool: "web".into(), close };
    assert_eq!(what("rebalance web --rate 5/s"), rebalance(close(None)));
    assert_eq!(what("rebalance --stop web"), rebalance(None));
    assert_eq!(what("status"), What::Status);
    assert_eq!(what("top"), What::Top);
    assert_eq!(what("connections --json"), What::Connections);
    assert_eq!(
        what("explain tls --sni db.example.org"),
        What::ExplainRoute { listener: "tls".into(), sni: "db.example.org".into() }
    );
    assert_eq!(what("explain web"), What::Explain { pool: "web".into(), client: None });
    assert_eq!(
        what("explain --client=192.0.2.7 web"),
        What::Explain { pool: "web".into(), client: Some([192, 0, 2, 7].into()) }
    );
    assert_eq!(what("drain web/a"), state(AdminState::Drain));
    assert_eq!(what("ready web/a"), state(AdminState::Ready));
    assert_eq!(what("maintain web/a"), state(AdminState::Maintenance));
    assert_eq!(what("weight web/a 0"), What::Weight { backend: "web/a".into(), weight: 0 });
    assert_eq!(what("kill 12"), What::Kill { id: 12 });
    assert_eq!(what("reload"), What::Reload { dry_run: false });
    assert_eq!(what("reload --dry-run"), What::Reload { dry_run: true });
    let Ask { address, token_file, json, .. } = ask("status");
    assert_eq!((address, token_file, json), (None, None, false));
    let before = ask("--admin unix:/run/e.sock status --json --token-file t");
    assert_eq!(before.address, Some(AdminAddress::Unix("/run/e.sock".into())));
    assert_eq!((before.token_file, before.json), (Some("t".into()), true));
    let address = |line: &str| ask(line).address.unwrap().to_string();
    assert_eq!(address("status --admin :9901"), "127.0.0.1:9901");
    assert_eq!(address("status --admin lb1:9901"), "lb1:9901");
    assert_eq!(ask("status -c e.yaml").config, Some("e.yaml".into()));
    assert_eq!(ask("--config e.yaml kill 3").config, Some("e.yaml".into()));
    assert_eq!(read("reload -h").unwrap(), Command::Help);
    assert_eq!(read("help").unwrap(), Command::Help);
    assert_eq!(read("--config e.yaml help").unwrap(), Command::Help);
}

#[test]
fn the_admin_address_of_the_command_line_goes_before_the_file() {
    assert!(config("--admin off").admin.is_none());
    assert!(!config("").admin.unwrap().configured, "the default");
    let admin = config("--admin unix:/run/evener.sock").admin.unwrap();
    assert_eq!(admin.bind, AdminBind::Unix("/run/evener.sock".into()));
    assert!(admin.configured);

    let path = std::env::temp_dir().join(format!("evener-admin-{}.yaml", std::process::id()));
    let text = "listeners: [{ bind: ':8080' }]\npools: [{ backends: [a:1] }]\n\
                admin: { bind: '127.0.0.1:1', token_file: t }";
    std::fs::write(&path, text).unwrap();
    let load = |option: &str| match read(&format!("-c {} {option}", path.display())).unwrap() {
        Command::Run { source, .. } => source.load(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        load("").unwrap().admin.unwrap().bind.to_string(),
        "127.0.0.1:1"
    );
    assert!(load("--admin off").unwrap().admin.is_none());
    let admin = load("--admin 0.0.0.0:2").unwrap().admin.unwrap();
    assert_eq!(
        (admin.bind.to_string(), admin.token_file),
        ("0.0.0.0:2".into(), Some("t".into()))
    );
    let errors = load("--admin :8080").unwrap_err();
    assert!(
        errors[0].to_string().contains("listener `:8080` has it"),
        "{errors:?}"
    );
    std::fs::remove_file(path).unwrap();
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn bad_command_lines_say_what_would_be_right() {
    for (line, what, help) in [
        ("--lisen :80", "unknown option `--lisen`", "did you mean `--listen`?"),
        ("-x", "unknown option `-x`", ""),
        ("--listen", "--listen has no value", "`--listen ADDR`"),
        ("-l 8080", "--listen `8080` is only a port", "\":8080\""),
        ("-l localhost:80", "--listen `localhost:80` has no IP address", "127.0.0.1:80"),
        ("-b leastconn", "--balance `leastconn` is not known", "evener calls it `least_connections`"),
        ("-b leastcon", "--balance `leastcon` is not known", "did you mean `least_connections`?"),
        ("-b ring_hash", "--balance `ring_hash` is not known", "evener calls it `source_hash`"),
        ("-b first -b random", "--balance is given twice", "once"),
        ("-c a -c b", "--config is given twice", "once"),
        ("-c a a:1", "--config and backends can't be given together", "the file says everything"),
        ("-c a -l :1", "--config and --listen can't be given together", "leave out --config"),
        ("-c a -b first", "--config and --balance can't be given together", "leave out --config"),
        ("--admin :9900", "admin bind `:9900` lets other machines in without a token", "127.0.0.1"),
        ("--admin 9900", "--admin `9900` is only a port", "\":9900\"; or `off`"),
        ("--admin off --admin off", "--admin is given twice", "once"),
        ("-l :9900 --admin [::1]:9900", "admin bind `[::1]:9900` is taken: listener `:9900` has it", "of its own"),
        ("dmeo", "`dmeo` is neither a command nor a backend", "did you mean `demo`?"),
        ("statsu", "`statsu` is neither a command nor a backend", "did you mean `status`?"),
        ("status web", "`status` does not take that many words", "`evener status`"),
        ("explain", "`explain` needs more", "`evener explain POOL [--client IP]`"),
        ("drain a b", "`drain` does not take that many words", "`evener drain POOL/BACKEND [--close --rate N/s]`"),
        ("drain a --close", "`drain --close` needs a --rate", "--close --rate 10/s"),
        ("drain a --idle-for 3s", "`drain` closes nothing without --close", "--close --rate 10/s"),
        ("ready a --close", "`ready` has no option `--close`", ""),
        ("rebalance", "`rebalance` needs more", "`evener rebalance POOL --rate N/s`"),
        ("rebalance web", "`rebalance` needs a --rate", "--stop"),
        ("rebalance web --rate 5", "rate `5` is not a rate", "\"20/s\""),
        ("rebalance web --rate 5/s --idle-for 3", "idle_for `3` has no unit", "`3s`"),
        ("rebalance web --stop --rate 5/s", "--stop goes with no other option", "--stop"),
        ("rebalance web --rate 5/s --rate 6/s", "--rate is given twice", "once"),
        ("drain a --client ::1", "`drain` has no option `--client`", ""),
        ("explain web --client web", "--client `web` is no IP address", "192.0.2.7"),
        ("weight a 1000", "weight `1000` is out of range", "0 to 256"),
        ("kill c12", "`c12` is no connection", "`evener connections`"),
        ("reload --dry-rum", "`reload` has no option `--dry-rum`", "did you mean `--dry-run`?"),
        ("top --json", "`top` has no --json", "status --json"),
        ("status --admin 9900", "--admin `9900` is only a port", "127.0.0.1:9900"),
        ("status --admin off", "--admin `off` has no port", ""),
        ("status --admin unix:a", "--admin `a` is no absolute path", "unix:/run"),
        ("-l :80 status", "`status` asks a running evener", "`evener status`"),
        ("a:1 status", "backend `status` has no port", ""),
        ("db.internal", "backend `db.internal` has no port", "db.internal:8000"),
        (":8000", "backend `:8000` has no host", "127.0.0.1:8000"),
        ("a:1=x", "weight `x` is not a whole number", "0 to 256"),
        ("a:1=300", "weight `300` is out of range", "0 to 256"),
        ("a:1 a:1", "backend `a:1` is in pool `default` twice", "weight"),
        ("a:1=0", "every backend of pool `default` has weight 0", "1 or more"),
        ("127.0.0.1:8080", "backend `127.0.0.1:8080` is evener's own listener", "come back"),
        ("-l :80 -l 0.0.0.0:80", "bind `0.0.0.0:80` is taken", "of its own"),
        ("demo a:1", "`demo` starts its backends itself", "write IP:PORT"),
        ("--guide", "--guide is the tour of the demo", "evener demo --guide"),
        ("demo -c a", "`demo` takes no --config", "evener --config"),
        ("check", "`check` needs a file", "evener check FILE"),
        ("check a b", "FILE of `check` is given twice", ""),
        ("check a -c b", "`check` takes a file and no options", ""),
        ("check a --admin off", "`check` takes a file and no options", ""),
        ("--print-config=yes", "", ""),
    ] {
        let shown = match read(line) {
            Ok(command) => panic!("{line} was accepted: {command:?}"),
            Err(error) => error.to_string(),
        };
        assert!(shown.starts_with(&format!("error: {what}")), "{line}: {shown}");
        assert!(shown.contains(help), "{line}: {shown}");
        assert!(shown.ends_with("\ntry `evener --help`"), "{line}: {shown}");
    }
}

#[test]
fn arguments_that_are_not_utf8() {
    let word = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    // A file may have any name; a backend may not.
    assert!(matches!(
        parse([word(b"-c"), word(b"h\xfctte.yaml")]),
        Ok(Command::Run { .. })
    ));
    let error = parse([word(b"h\xfctte:80")]).unwrap_err().to_string();
    assert!(error.contains("is not UTF-8 text"), "{error}");
    assert!(parse([word(b"--h\xfctte")]).is_err());
}

#[test]
fn the_manual_is_complete_and_fits_a_terminal() {
    for policy in balance::names() {
        assert!(help().contains(policy), "{policy}");
    }
    for line in help().lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
