//! Backends that are given by host name: their addresses come and go with the answers, and nobody waits
//! for an answer.
//!
//! The library runs in the test's own process, with a table in the place of the system's resolver.
//! `scripts/acceptance.d/dns.sh` shows the same with the real binary and a real DNS server.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, never, unbounded};
use evener::config::cli::Source;
use evener::dummy::{Backend, Options};
use evener::log::Log;
use evener::names::Lookup;
use evener::server::{self, StartError, Surroundings};
use evener::systemd::{Heritage, Manager};
use serde_json::Value;
use support::{
    End, Server, TempDir, connect, eventually, http_get, is_live, read_until_end, try_connect,
    who_serves,
};

/// What the resolver knows. A name that hangs is answered when it is told to be.
#[derive(Clone, Default)]
struct Zone(Arc<(Mutex<Names>, Condvar)>);

#[derive(Default)]
struct Names {
    answers: HashMap<String, Result<Vec<IpAddr>, String>>,
    asked: usize,
}

impl Zone {
    fn set(&self, host: &str, last: &[u8]) {
        let addresses = last.iter().map(|n| IpAddr::from([127, 0, 0, *n])).collect();
        self.answer(host, Ok(addresses));
    }

    fn fail(&self, host: &str, error: &str) {
        self.answer(host, Err(error.into()));
    }

    fn answer(&self, host: &str, answer: Result<Vec<IpAddr>, String>) {
        let (names, changed) = &*self.0;
        names.lock().unwrap().answers.insert(host.into(), answer);
        changed.notify_all();
    }

    /// From now on, until it is given an answer.
    fn hang(&self, host: &str) {
        self.0.0.lock().unwrap().answers.remove(host);
    }

    fn asked(&self) -> usize {
        self.0.0.lock().unwrap().asked
    }

    /// Waits until each name has been asked for twice more: then an answer that was there before is known.
    fn is_asked(&self, names: usize) {
        let before = self.asked();
        eventually("more questions", || {
            (self.asked() >= before + 2 * names).then_some(())
        });
    }

    fn lookup(&self) -> Lookup {
        let zone = Arc::clone(&self.0);
        Lookup::new(move |host| {
            let (names, changed) = &*zone;
            let mut names = names.lock().unwrap();
            names.asked += 1;
            loop {
                match names.answers.get(host) {
                    Some(Ok(found)) => {
                        return Ok(found.iter().map(|ip| SocketAddr::new(*ip, 0)).collect());
                    }
                    Some(Err(error)) => return Err(io::Error::other(error.clone())),
                    None => names = changed.wait(names).unwrap(),
                }
            }
        })
    }
}

/// An evener in this process. Dropping it shuts it down.
struct InProcess {
    zone: Zone,
    dir: TempDir,
    lines: Arc<Mutex<Vec<u8>>>,
    signals: Sender<()>,
    reloads: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// The log in memory.
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl InProcess {
    fn start(zone: &Zone, config_yaml: &str) -> InProcess {
        InProcess::try_start(zone, config_yaml).unwrap()
    }

    fn try_start(zone: &Zone, config_yaml: &str) -> Result<InProcess, StartError> {
        let dir = TempDir::new();
        let path = dir.path().join("evener.yaml");
        std::fs::write(&path, config_yaml).unwrap();
        let source = Source::File { path, admin: None };
        let config = source.load().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (log, log_thread) = Log::start(&config.log, Sink(Arc::clone(&lines))).unwrap();
        let (signals, signalled) = unbounded();
        let (reloads, asked_to_reload) = unbounded();
        let around = Surroundings {
            signals: signalled,
            reloads: asked_to_reload,
            upgrades: never(),
            manager: Manager::from_environment(),
            lookup: zone.lookup(),
            program: Err(io::Error::other("none")),
        };
        let server = server::Server::start(source, config, &log, &around, Heritage::default())?;
        let thread = std::thread::spawn(move || {
            server.run(&around, None);
            log_thread.finish();
        });
        Ok(InProcess {
            zone: zone.clone(),
            dir,
            lines,
            signals,
            reloads,
            thread: Some(thread),
        })
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&self.lines.lock().unwrap()).into_owned()
    }

    fn count(&self, fragment: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(fragment))
            .count()
    }

    /// Waits for so many lines with this in them, and gives the last of these.
    #[track_caller]
    fn wait_log(&self, fragment: &str, count: usize) -> String {
        eventually(&format!("{count} lines with {fragment:?}"), || {
            let log = self.log();
            let mut lines = log.lines().filter(|line| line.contains(fragment));
            lines.nth(count - 1).map(str::to_owned)
        })
    }

    fn address_after(&self, fragment: &str) -> SocketAddr {
        let line = self.wait_log(fragment, 1);
        let text = line.split(fragment).nth(1).unwrap();
        let end = text.find(['/', ' ', '"']).unwrap_or(text.len());
        text[..end].parse().unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.address_after("Load Balancer started on ")
    }

    fn admin(&self, method: &str, path: &str, body: &str) -> String {
        let address = self.address_after("admin server at http://");
        let mut stream = connect(address);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let answer = support::read_to_end_with_deadline(&stream).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (_head, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.admin("GET", "/api/v1/status", "")).unwrap()
    }

    /// The backends of the only pool, by what `look` says of each.
    fn backends(&self, look: impl Fn(&Value) -> Option<String>) -> Vec<String> {
        let status = self.status();
        let backends = status["pools"][0]["backends"].as_array().unwrap();
        backends.iter().filter_map(look).collect()
    }

    /// The names of those that are up.
    fn up(&self) -> Vec<String> {
        self.backends(|backend| {
            (backend["health"] == "up").then(|| backend["name"].as_str().unwrap().to_owned())
        })
    }

    #[track_caller]
    fn wait_up(&self, names: &[&str]) {
        eventually(&format!("{names:?} to be up"), || {
            (self.up() == names).then_some(())
        });
    }

    fn reload(&self, config_yaml: &str, outcome: &str) {
        let before = self.count(outcome);
        std::fs::write(self.dir.path().join("evener.yaml"), config_yaml).unwrap();
        self.reloads.send(()).unwrap();
        self.wait_log(outcome, before + 1);
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        let _ = self.signals.send(());
        let _ = self.signals.send(());
        let ended = self.thread.take().unwrap().join();
        if std::thread::panicking() {
            eprintln!("--- evener wrote:\n{}---", self.log());
        } else {
            ended.unwrap();
        }
        // Nobody is left who waits for an answer.
        let _ = &self.zone;
    }
}

/// Backends on one port of 127.0.0.1 to 127.0.0.`N`, each named by its address.
fn row(count: u8) -> (u16, Vec<Backend>) {
    eventually("one port that is free on all addresses", || {
        let start = |last: u8, port: u16| {
            Backend::start(Options {
                bind: [127, 0, 0, last].into(),
                port,
                name: Some(last.to_string()),
                ..Options::default()
            })
        };
        let first = start(1, 0).unwrap();
        let port = first.address().port();
        let mut all = vec![first];
        for last in 2..=count {
            all.push(start(last, port).ok()?);
        }
        Some((port, all))
    })
}

/// A raw server at 127.0.0.1, and its port.
fn raw() -> (u16, Server) {
    let server = Server::start();
    (server.address().port(), server)
}

/// One pool whose only entry is `db.test`, with a resolve interval of 100 ms.
fn config(port: u16, more_of_backend: &str, rest: &str) -> String {
    format!(
        "listeners: [{{ name: in, bind: '127.0.0.1:0', pool: p }}]\n\
         pools:\n  - name: p\n    health_check: {{ interval: 50ms, timeout: 1s, rise: 1, fall: 2 }}\n\
         \x20   backends:\n      - {{ name: db, address: 'db.test:{port}', resolve_interval: 100ms{more_of_backend} }}\n\
         admin: {{ bind: '127.0.0.1:0' }}\n{rest}"
    )
}

fn answers(address: SocketAddr, count: usize) -> Vec<String> {
    let mut all: Vec<String> = (0..count).map(|_| who_serves(address).unwrap()).collect();
    all.sort();
    all
}

#[test]
fn every_address_of_a_name_is_a_backend_with_the_settings_of_its_entry() {
    let (port, _all) = row(3);
    let zone = Zone::default();
    zone.set("db.test", &[3, 1, 2, 1]);
    let evener = InProcess::start(&zone, &config(port, ", weight: 2", ""));
    evener.wait_up(&["db@127.0.0.1", "db@127.0.0.2", "db@127.0.0.3"]);
    assert_eq!(answers(evener.address(), 6), ["1", "1", "2", "2", "3", "3"]);
    let weights = evener.backends(|backend| Some(backend["weight"].to_string()));
    assert_eq!(weights, ["2", "2", "2"]);
    let metrics = evener.admin("GET", "/metrics", "");
    for line in [
        "evener_name_resolves{name=\"db.test\"} 1",
        "evener_name_addresses{name=\"db.test\"} 3",
        &format!(
            "evener_backend_up{{pool=\"p\",backend=\"db@127.0.0.2\",address=\"127.0.0.2:{port}\"}} 1"
        ),
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[test]
fn a_name_that_does_not_resolve_yet_is_no_reason_not_to_start() {
    let (port, _all) = row(1);
    let zone = Zone::default();
    zone.fail("db.test", "no such host");
    let evener = InProcess::start(&zone, &config(port, "", ""));
    let line = evener.wait_log("name db.test does not resolve", 1);
    assert!(
        line.contains("no such host; it has no address until it does"),
        "{line}"
    );
    // A reset that comes at once may be seen by connect already.
    let turned_away = try_connect(evener.address()).map_or(End::Reset, |it| read_until_end(&it).1);
    assert_eq!(turned_away, End::Reset);
    assert!(
        evener
            .admin("GET", "/readyz", "")
            .contains("no backend that can serve")
    );

    zone.set("db.test", &[1]);
    evener.wait_log("names: + backend db@127.0.0.1", 1);
    eventually("a client that is served", || {
        who_serves(evener.address()).ok()
    });
    assert!(http_get(evener.address()).is_ok());
    // The config is still the first one.
    assert_eq!(evener.status()["config"]["generation"], 1);
}

#[test]
fn addresses_come_and_go_and_those_that_stay_do_not_notice() {
    let (port, _all) = row(3);
    let zone = Zone::default();
    zone.set("db.test", &[1, 2]);
    let evener = InProcess::start(&zone, &config(port, "", ""));
    evener.wait_up(&["db@127.0.0.1", "db@127.0.0.2"]);
    assert_eq!(answers(evener.address(), 4), ["1", "1", "2", "2"]);
    let of_2 = |evener: &InProcess| {
        let one = evener.backends(|one| (one["name"] == "db@127.0.0.2").then(|| one.to_string()));
        serde_json::from_str::<Value>(&one[0]).unwrap()
    };
    let before = of_2(&evener);
    assert_eq!(before["total"], 2);

    zone.set("db.test", &[3, 2]);
    evener.wait_up(&["db@127.0.0.2", "db@127.0.0.3"]);
    let line = evener.wait_log("name db.test resolves to 127.0.0.2, 127.0.0.3", 1);
    assert!(line.ends_with("; gone: 127.0.0.1"), "{line}");
    evener.wait_log("names: - backend db@127.0.0.1: no sessions", 1);
    let after = of_2(&evener);
    assert_eq!(
        (&before["total"], &before["changed_at"]),
        (&after["total"], &after["changed_at"])
    );
    assert_eq!(answers(evener.address(), 4), ["2", "2", "3", "3"]);
}

#[test]
fn sessions_of_an_address_that_is_gone_drain() {
    let (port, server) = raw();
    let zone = Zone::default();
    zone.set("db.test", &[1]);
    let rest = "shutdown: { drain_timeout: 1h }\n";
    let evener = InProcess::start(&zone, &config(port, "", rest));
    let mut client = connect(evener.address());
    let mut served = accept_ours(&server, &mut client);
    zone.set("db.test", &[77]);
    let line = evener.wait_log(
        "names: - backend db@127.0.0.1: 1 session will drain until ",
        1,
    );
    assert!(line.contains(": 1 session will drain until 2"), "{line}");
    is_live(&mut client, &mut served);
    let status = evener.status();
    let leaving = &status["pools"][0]["leaving"][0];
    assert_eq!(
        (&leaving["name"], &leaving["active"]),
        (&"db@127.0.0.1".into(), &1.into())
    );

    // It is back before its session has ended: the same backend, with its counts.
    zone.set("db.test", &[1]);
    evener.wait_up(&["db@127.0.0.1"]);
    let active = evener.backends(|backend| Some(backend["active"].to_string()));
    assert_eq!(active, ["1"]);

    // With a deadline that is near, whoever does not go is reset.
    evener.reload(
        &config(port, "", "shutdown: { drain_timeout: 100ms }\n"),
        "config reloaded",
    );
    is_live(&mut client, &mut served);
    zone.set("db.test", &[77]);
    assert_eq!(read_until_end(&client).1, End::Reset);
}

/// The connection that belongs to this client: probes come and go beside it.
fn accept_ours(server: &Server, client: &mut TcpStream) -> TcpStream {
    client.write_all(b"?").unwrap();
    loop {
        let served = server.accept();
        let mut first = [0];
        if support::read_some(&served, &mut first).is_ok_and(|bytes| bytes == 1) {
            return served;
        }
    }
}

#[test]
fn the_last_good_answer_is_kept_while_dns_fails() {
    let (port, _all) = row(2);
    let zone = Zone::default();
    zone.set("db.test", &[1, 2]);
    let evener = InProcess::start(&zone, &config(port, "", ""));
    evener.wait_up(&["db@127.0.0.1", "db@127.0.0.2"]);

    zone.fail("db.test", "server failure");
    let line = evener.wait_log("name db.test does not resolve", 1);
    assert!(
        line.ends_with("server failure; its last addresses are kept: 127.0.0.1, 127.0.0.2"),
        "{line}"
    );
    zone.is_asked(1);
    assert_eq!(answers(evener.address(), 4), ["1", "1", "2", "2"]);
    assert_eq!(evener.status()["names"][0]["error"], "server failure");
    assert!(
        evener
            .admin("GET", "/metrics", "")
            .contains("evener_name_resolves{name=\"db.test\"} 0")
    );
    // An empty answer is no better, and is told as another reason.
    zone.set("db.test", &[]);
    evener.wait_log("does not resolve: the name has no address", 1);
    zone.is_asked(1);

    zone.set("db.test", &[2, 1]);
    evener.wait_log("name db.test resolves to 127.0.0.1, 127.0.0.2", 2);
    assert_eq!(evener.status()["names"][0]["error"], Value::Null);
    assert_eq!(
        evener.count("does not resolve"),
        2,
        "each reason is told once"
    );
    assert_eq!(evener.count("names: "), 0, "no backend came or went");
}

#[test]
fn what_was_asked_for_at_run_time_and_by_a_reload_outlives_a_new_answer() {
    let (port, _all) = row(3);
    let zone = Zone::default();
    zone.set("db.test", &[1, 2]);
    let evener = InProcess::start(&zone, &config(port, "", ""));
    evener.wait_up(&["db@127.0.0.1", "db@127.0.0.2"]);
    let asked = evener.admin(
        "POST",
        "/api/v1/pools/p/backends/db@127.0.0.1",
        r#"{"state": "drain"}"#,
    );
    assert!(asked.contains("drain"), "{asked}");
    zone.set("db.test", &[1, 2, 3]);
    evener.wait_up(&["db@127.0.0.1", "db@127.0.0.2", "db@127.0.0.3"]);
    assert_eq!(answers(evener.address(), 4), ["2", "2", "3", "3"]);

    // An address that is back after a while is still the one that somebody has drained.
    zone.set("db.test", &[2, 3]);
    evener.wait_up(&["db@127.0.0.2", "db@127.0.0.3"]);
    zone.set("db.test", &[1, 3]);
    evener.wait_up(&["db@127.0.0.1", "db@127.0.0.3"]);
    assert_eq!(answers(evener.address(), 2), ["3", "3"]);

    // A reload says something new, and a later answer does not take it back.
    evener.reload(&config(port, ", weight: 5", ""), "config reloaded");
    zone.set("db.test", &[2, 3]);
    evener.wait_up(&["db@127.0.0.2", "db@127.0.0.3"]);
    let weights = evener.backends(|backend| Some(backend["weight"].to_string()));
    assert_eq!(weights, ["5", "5"]);
    assert_eq!(evener.status()["config"]["generation"], 2);
}

#[test]
fn a_reload_asks_for_known_names_again_and_does_not_wait_for_them() {
    let (port, _all) = row(2);
    let zone = Zone::default();
    zone.set("db.test", &[1]);
    let slow = config(port, "", "").replace("100ms", "1h");
    let evener = InProcess::start(&zone, &slow);
    evener.wait_up(&["db@127.0.0.1"]);
    zone.hang("db.test");
    evener.reload(&slow.replace("rise: 1", "rise: 2"), "config reloaded");
    assert_eq!(answers(evener.address(), 2), ["1", "1"]);
    zone.set("db.test", &[2]);
    evener.wait_up(&["db@127.0.0.2"]);
}

#[test]
fn while_a_lookup_hangs_everything_else_goes_on() {
    let (port, _all) = row(2);
    let zone = Zone::default();
    zone.set("db.test", &[1]);
    let evener = InProcess::start(&zone, &config(port, "", ""));
    evener.wait_up(&["db@127.0.0.1"]);
    zone.hang("db.test");
    zone.is_quiet_after_one_more();
    assert_eq!(answers(evener.address(), 2), ["1", "1"]);
    let probes = || {
        let metrics = evener.admin("GET", "/metrics", "");
        let line = metrics
            .lines()
            .find(|line| line.starts_with("evener_health_checks_total{result=\"good\"}"));
        line.unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let before = probes();
    eventually("more probes", || (probes() > before + 2).then_some(()));

    // A name that is new in a reload is waited for, for a bounded time; then it has no address yet.
    let more = "      - { name: late, address: 'late.test:1', resolve_interval: 100ms }\nadmin:";
    evener.reload(
        &config(port, "", "").replace("admin:", more),
        "config reloaded",
    );
    evener.wait_log("name late.test does not resolve: no answer within 5 s", 1);
    assert_eq!(answers(evener.address(), 2), ["1", "1"]);
    zone.set("late.test", &[2]);
    evener.wait_log("backend late@127.0.0.2", 1);
    zone.set("db.test", &[2]);
    evener.wait_log("- backend db@127.0.0.1", 1);
}

impl Zone {
    /// Waits until the name that hangs has been asked for: whatever was under way has been answered then.
    fn is_quiet_after_one_more(&self) {
        let before = self.asked();
        eventually("one more question", || {
            (self.asked() > before).then_some(())
        });
    }
}

#[test]
fn with_resolve_interval_off_an_unknown_name_is_an_error() {
    let (port, _all) = row(2);
    let zone = Zone::default();
    zone.fail("db.test", "no such host");
    let off = config(port, "", "").replace("100ms", "off");
    let error = InProcess::try_start(&zone, &off).err().unwrap().to_string();
    assert!(
        error.starts_with("can't find the address of backend db: no such host; check the name"),
        "{error}"
    );
    zone.set("db.test", &[1]);
    let evener = InProcess::start(&zone, &off);
    assert_eq!(
        evener.up(),
        ["db"],
        "an only address has the name of its entry"
    );

    zone.fail("db.test", "no such host");
    evener.reload(&off, "the new config is not taken");
    assert_eq!(answers(evener.address(), 1), ["1"]);
    zone.set("db.test", &[1, 2]);
    evener.reload(&off, "config reloaded");
    assert_eq!(evener.up(), ["db@127.0.0.1", "db@127.0.0.2"]);
    assert_eq!(evener.status()["names"], serde_json::json!([]));
}
