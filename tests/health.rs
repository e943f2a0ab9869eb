//! Health checks with real sockets: what each type calls good and bad and says of it, what it sends
//! and how it leaves, how often it asks, and what an agent can ask for.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays servers and agents with plain std sockets"
)]

mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::{
    Admin, Dummy, End, Evener, Process, RefusingPort, Server, addresses, config, dummies,
    eventually, eventually_ok, read_some, read_until_end, reset, who_serves,
};

const ADMIN: &str = "admin: { bind: \"127.0.0.1:0\" }";

/// What a server does with a connection.
type Script = Box<dyn Fn(TcpStream) + Send + Sync>;

/// How many tests have taken an address.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Each test, which is a thread, has an address of its own: a port alone may have been another test's,
    /// whose evener still probes it, and connections are counted here.
    static OWN_ADDRESS: Ipv4Addr = {
        let number = TAKEN.fetch_add(1, Relaxed);
        Ipv4Addr::new(127, 2, (number / 250) as u8, (number % 250) as u8 + 1)
    };
}

/// A server that does with each connection what it is told, on a thread of its own, and counts them.
struct Scripted {
    address: SocketAddr,
    script: Arc<Mutex<Arc<Script>>>,
    connections: Arc<AtomicUsize>,
    /// Dropped first, which ends the thread.
    server: Option<Arc<Server>>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    fn start(script: impl Fn(TcpStream) + Send + Sync + 'static) -> Scripted {
        Scripted::start_at(OWN_ADDRESS.with(Ipv4Addr::clone), script)
    }

    fn start_at(ip: Ipv4Addr, script: impl Fn(TcpStream) + Send + Sync + 'static) -> Scripted {
        let server = Arc::new(Server::start_at((ip, 0).into()));
        let script: Arc<Mutex<Arc<Script>>> = Arc::new(Mutex::new(Arc::new(Box::new(script))));
        let connections = Arc::new(AtomicUsize::new(0));
        let weak = Arc::downgrade(&server);
        let thread = thread::spawn({
            let (script, connections) = (Arc::clone(&script), Arc::clone(&connections));
            move || {
                while let Some(server) = weak.upgrade() {
                    if let Some(stream) = server.accept_within(Duration::from_millis(20)) {
                        connections.fetch_add(1, Relaxed);
                        let script = Arc::clone(&script.lock().unwrap());
                        thread::spawn(move || script(stream));
                    }
                }
            }
        });
        Scripted {
            address: server.address(),
            script,
            connections,
            server: Some(server),
            thread: Some(thread),
        }
    }

    /// One that says this at once, whatever it is asked, and then FIN.
    fn says(text: impl AsRef<[u8]>) -> Scripted {
        Scripted::start(saying(text))
    }

    fn does(&self, script: impl Fn(TcpStream) + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(Box::new(script));
    }

    fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn saying(text: impl AsRef<[u8]>) -> Script {
    let text = text.as_ref().to_vec();
    Box::new(move |mut stream: TcpStream| {
        // Whoever probes may have heard enough.
        let _ = stream.write_all(&text);
        let _ = stream.shutdown(Shutdown::Write);
        read_until_end(&stream);
    })
}

/// Reads a request up to its empty line.
fn read_head(mut stream: &TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|bytes| bytes == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A check whose first probe decides. The timeout is for the busiest machine: nobody here is late.
fn check(keys: &str) -> String {
    format!("health_check: {{ {keys}, timeout: 8s, interval: 1h }}")
}

/// The same, for those who are.
fn late(keys: &str) -> String {
    format!("health_check: {{ {keys}, timeout: 2s, interval: 1h }}")
}

/// A pool of one backend for each case, its name and what becomes of it: `up` or `down`, and the reason.
fn judged(check: &str, cases: &[(&str, SocketAddr, &str, &str)]) {
    let backends: Vec<String> = cases
        .iter()
        .map(|(name, address, ..)| format!("{{ name: {name}, address: \"{address}\" }}"))
        .collect();
    let evener = Evener::start(&config(&backends, &[check], &[ADMIN]));
    let admin = Admin::of(&evener);
    for (name, _, health, reason) in cases {
        // The first probe has decided when the listeners are open.
        let backend = admin.backend(name);
        assert_eq!(backend["health"], *health, "{name}: {backend:#}");
        let said = backend["reason"].as_str().unwrap();
        assert!(said.starts_with(reason), "{name}: {said}, not {reason}");
    }
}

#[test]
fn http_goes_by_the_status_and_survives_every_kind_of_answer() {
    let endless = Scripted::start(|mut stream| {
        read_head(&stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let trickled = Scripted::start(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nServer: ");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let silent = Scripted::start(|stream| drop(read_until_end(&stream)));
    let resetting = Scripted::start(|stream| {
        read_head(&stream);
        reset(stream);
    });
    let ok = Scripted::says("HTTP/1.1 200 OK\r\n\r\n");
    let moved = Scripted::says("HTTP/1.0 302 Found\r\nLocation: /\r\n\r\nelsewhere");
    let busy = Scripted::says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let ssh = Scripted::says("SSH-2.0-OpenSSH_9.2\x1b[2J\r\n");
    let huge = Scripted::says(format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(50_000)));
    let long = Scripted::says(format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(500_000)));
    let cut = Scripted::says("HTTP/1.1 200 OK\r\nA");
    let mute = Scripted::says("");
    let nobody = RefusingPort::new();
    judged(
        &check("type: http"),
        &[
            ("ok", ok.address, "up", "HTTP status 200"),
            ("moved", moved.address, "up", "HTTP status 302"),
            ("endless", endless.address, "up", "HTTP status 200"),
            ("busy", busy.address, "down", "HTTP status 503"),
            (
                "ssh",
                ssh.address,
                "down",
                "no HTTP: it answers `SSH-2.0-OpenSSH_9.2\\x1b[2J",
            ),
            (
                "huge",
                huge.address,
                "down",
                "the HTTP answer has more than 100 headers",
            ),
            (
                "long",
                long.address,
                "down",
                "the head of the HTTP answer is longer than 8 KiB",
            ),
            (
                "cut",
                cut.address,
                "down",
                "closed before the end of the HTTP head",
            ),
            ("mute", mute.address, "down", "closed without an answer"),
            (
                "resetting",
                resetting.address,
                "down",
                "connection reset instead of an answer",
            ),
            ("nobody", nobody.address(), "down", "connection refused"),
        ],
    );
    judged(
        &late("type: http"),
        &[
            ("silent", silent.address, "down", "no answer within 2s"),
            (
                "trickled",
                trickled.address,
                "down",
                "no complete answer within 2s; it begins with `HTTP/1.1 200 OK",
            ),
        ],
    );
}

#[test]
fn a_status_is_good_if_it_is_one_of_those_that_are_expected() {
    let of = |status: u16| Scripted::says(format!("HTTP/1.1 {status} x\r\n\r\n"));
    let (ok, teapot, gone) = (of(200), of(418), of(404));
    judged(
        &check("type: http, expect_status: '404, 410-420'"),
        &[
            ("ok", ok.address, "down", "HTTP status 200"),
            ("teapot", teapot.address, "up", "HTTP status 418"),
            ("gone", gone.address, "up", "HTTP status 404"),
        ],
    );
}

/// The question to a Redis.
const PING: &str = r"type: send_expect, send: 'PING\r\n', expect: '+PONG'";

/// Answers `question` with `answer`, as often as it is asked, and ends when the client does.
fn answering(question: &'static [u8], answer: &'static [u8]) -> Scripted {
    Scripted::start(move |mut stream| {
        let mut asked = vec![0; question.len()];
        while stream.read_exact(&mut asked).is_ok() && asked == question {
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    })
}

#[test]
fn send_expect_finds_the_answer_anywhere_in_its_first_part() {
    let redis = answering(b"PING\r\n", b"+PONG\r\n");
    let greets = answering(b"PING\r\n", b"hello\r\n+PONG\r\n");
    let loading = answering(b"PING\r\n", b"-LOADING Redis is loading the dataset\r\n");
    let closing = Scripted::says("-ERR max number of clients reached\r\n");
    let endless = Scripted::start(|mut stream| while stream.write_all(&[b'.'; 4096]).is_ok() {});
    let parted = Scripted::start(|mut stream| {
        for part in ["+", "PO", "NG", "\r\n"] {
            stream.write_all(part.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        read_until_end(&stream);
    });
    let silent = Scripted::start(|stream| drop(read_until_end(&stream)));
    judged(
        &check(PING),
        &[
            ("redis", redis.address, "up", "answered `+PONG`"),
            ("greets", greets.address, "up", "answered `+PONG`"),
            ("parted", parted.address, "up", "answered `+PONG`"),
            (
                "closing",
                closing.address,
                "down",
                "no `+PONG` in the answer, which begins with `-ERR max",
            ),
            (
                "endless",
                endless.address,
                "down",
                "no `+PONG` in the first 16 KiB of the answer",
            ),
        ],
    );
    judged(
        &late(PING),
        &[
            (
                "loading",
                loading.address,
                "down",
                "no complete answer within 2s; it begins with `-LOADING",
            ),
            ("silent", silent.address, "down", "no answer within 2s"),
        ],
    );
}

#[test]
fn send_expect_listens_to_a_server_that_speaks_first() {
    let postfix = Scripted::start(|mut stream| {
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        let (said, end) = read_until_end(&stream);
        assert_eq!((said.as_slice(), end), (b"".as_slice(), End::Fin));
    });
    let busy = Scripted::says("421 too busy\r\n");
    let binary = Scripted::says(b"\x00\xff\x0a");
    judged(
        &check("type: send_expect, expect: '220 '"),
        &[
            ("postfix", postfix.address, "up", "answered `220 `"),
            (
                "busy",
                busy.address,
                "down",
                "no `220 ` in the answer, which begins with `421 too busy",
            ),
            (
                "binary",
                binary.address,
                "down",
                "no `220 ` in the answer, which begins with `\\x00\\xff",
            ),
        ],
    );
    judged(
        &check(r"type: send_expect, expect: '\x00\xff'"),
        &[("binary", binary.address, "up", "answered `\\x00\\xff`")],
    );
}

/// The first connection of a server, up to its request, and how it ended after this answer.
fn first_request(server: &Server, answer: &str) -> (String, End) {
    let mut stream = server.accept();
    let head = read_head(&stream);
    stream.write_all(answer.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let (rest, end) = read_until_end(&stream);
    assert_eq!(String::from_utf8_lossy(&rest), "");
    (head, end)
}

#[test]
fn an_http_probe_asks_as_it_is_told_and_leaves_quietly() {
    let server = Server::start();
    let (at, port) = (server.address(), server.address().port());
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", "body ".repeat(2_000));
    let asked = |check: &str, pool: &str, backend: SocketAddr| {
        let check = self::check(&format!("type: http, {check}"));
        let config = config(&[backend], &[check.as_str(), pool], &[]);
        thread::scope(|scope| {
            let evener = scope.spawn(|| Evener::start(&config));
            let request = first_request(&server, &answer);
            drop(evener.join().unwrap());
            request
        })
    };
    let version = env!("CARGO_PKG_VERSION");
    let plain = |host: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: evener/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
    };
    let host = at.to_string();
    assert_eq!(asked("path: /", "retries: 1", at), (plain(&host), End::Fin));

    let (head, end) = asked(
        "method: HEAD, path: '/up?a=b', host: db.example",
        "retries: 1",
        at,
    );
    assert!(
        head.starts_with("HEAD /up?a=b HTTP/1.1\r\nHost: db.example\r\n"),
        "{head}"
    );
    assert_eq!(end, End::Fin);

    // Another port and address than the backend's; there is nobody there.
    let elsewhere = ([127, 0, 0, 9], 9).into();
    let other = format!("port: {port}, address: 127.0.0.1");
    assert_eq!(
        asked(&other, "retries: 1", elsewhere),
        (plain(&host), End::Fin)
    );

    let (head, _) = asked("path: /", "send_proxy_protocol: v1", at);
    assert_eq!(head, format!("PROXY UNKNOWN\r\n{}", plain(&host)));
    let (head, _) = asked("send_proxy_protocol: off", "send_proxy_protocol: v1", at);
    assert_eq!(head, plain(&host));
    let (head, _) = asked("send_proxy_protocol: v1", "send_proxy_protocol: off", at);
    assert!(head.starts_with("PROXY UNKNOWN\r\nGET /"), "{head}");
}

#[test]
fn a_frozen_server_is_found_by_what_it_does_not_say() {
    let backend = Process::start(
        env!("CARGO_BIN_EXE_backend"),
        &["0", "--banner", "220 ready", "--echo"],
    );
    let line = backend.wait_log("Backend Server started on port: ");
    let port = line.rsplit(' ').next().unwrap();
    let mut config =
        String::from("listeners:\n  - { bind: \"127.0.0.1:0\", pool: talks }\npools:\n");
    for (pool, check) in [
        ("connects", "type: tcp, timeout: 8s"),
        ("talks", "type: send_expect, expect: '220 ', timeout: 1s"),
    ] {
        let _ = writeln!(
            config,
            "  - {{ name: {pool}, backends: [\"127.0.0.1:{port}\"], health_check: \
             {{ {check}, interval: 50ms, rise: 1, fall: 2 }} }}"
        );
    }
    let evener = Evener::start(&(config + ADMIN));
    backend.signal(Signal::STOP);
    let line = evener.wait_log("is DOWN");
    assert!(
        line.contains("pool talks; 2 probes in a row: no answer within 1s"),
        "{line}"
    );
    let of_pool = |index: usize| Admin::of(&evener).status()["pools"][index]["backends"][0].clone();
    assert_eq!(of_pool(0)["health"], "up", "its kernel still accepts");
    backend.signal(Signal::CONT);
    evener.wait_log("is UP (pool talks");
    assert_eq!(evener.lines_with("pool connects;"), [""; 0]);
}

const GOOD: &str = "HTTP/1.1 200 OK\r\n\r\n";
const BAD: &str = "HTTP/1.1 500 Oh\r\n\r\n";

#[test]
fn a_backend_in_doubt_is_probed_at_the_fast_interval() {
    // The steady one is the clock: it is probed every second, and the one in doubt a hundred times as often.
    let (steady, doubtful) = (Scripted::says(GOOD), Scripted::says(GOOD));
    let check = "health_check: { type: http, interval: 1s, fast_interval: 10ms, timeout: 8s, rise: 20, fall: 30 }";
    let evener = Evener::start(&config(&[steady.address, doubtful.address], &[check], &[]));
    eventually("the second probe", || {
        (doubtful.connections() >= 2).then_some(())
    });
    for (answer, news, streak) in [(BAD, "is DOWN", 30), (GOOD, "is UP", 20)] {
        let (clock, probes) = (steady.connections(), doubtful.connections());
        doubtful.does(saying(answer));
        evener.wait_log(news);
        let (clock, probes) = (
            steady.connections() - clock,
            doubtful.connections() - probes,
        );
        assert!(probes >= streak, "{probes} probes for {news}");
        assert!(
            clock * 3 <= probes,
            "{probes} while the steady one had {clock}"
        );
    }
}

#[test]
fn a_backend_that_is_down_is_probed_at_the_down_interval() {
    let (up, down) = (Scripted::says(GOOD), Scripted::says(BAD));
    let check = "health_check: { type: http, interval: 20ms, down_interval: 1h, timeout: 8s }";
    let evener = Evener::start(&config(&[up.address, down.address], &[check], &[]));
    evener.wait_log("is DOWN");
    let clock = up.connections();
    eventually("fifty probes of the other", || {
        (up.connections() >= clock + 50).then_some(())
    });
    // The second is at a random point of the hour that follows the first.
    assert_eq!(down.connections(), 1);
}

#[test]
fn probes_leave_nothing_behind() {
    let server = Scripted::says(GOOD);
    let silent = Scripted::start(|stream| drop(read_until_end(&stream)));
    let check = "health_check: { type: http, interval: 20ms, timeout: 100ms }";
    let evener = Evener::start(&config(&[server.address, silent.address], &[check], &[]));
    let baseline = evener.baseline().probing(2);
    let now = server.connections();
    eventually("fifty probes", || {
        (server.connections() >= now + 50).then_some(())
    });
    evener.check_invariants(&baseline);
}

/// An agent beside two dummies at the same IP address, and an evener that asks it: of both backends,
/// since it goes by the address of the backend and the port of the pool.
struct Advised {
    agent: Scripted,
    evener: Evener,
    admin: Admin,
    _backends: [Dummy; 2],
}

impl Advised {
    /// The backend `other` has no agent: it is in a pool of its own address family of one.
    fn start(line: &str, check: &str) -> Advised {
        // The dummies are at this address.
        let agent = Scripted::start_at(Ipv4Addr::LOCALHOST, saying(line));
        let backends = dummies(["a", "b"]);
        let of: Vec<String> = addresses(&backends)
            .iter()
            .zip(["a", "b"])
            .map(|(address, name)| {
                format!("{{ name: {name}, address: \"{address}\", weight: 10 }}")
            })
            .collect();
        let port = agent.address.port();
        let ask = format!("agent: {{ port: {port}, interval: 20ms, timeout: 8s }}");
        let evener = Evener::start(&config(&of, &[check, &ask], &[ADMIN]));
        let admin = Admin::of(&evener);
        Advised {
            agent,
            evener,
            admin,
            _backends: backends,
        }
    }

    fn says(&self, line: &str) {
        self.agent.does(saying(line));
    }

    /// Waits until a backend is so in the status.
    #[track_caller]
    fn wait(&self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let what = format!("{key}: {value}");
        eventually_ok(&what, support::DEADLINE, || {
            let backend = self.admin.backend("a");
            let is_so = match key.split_once('.') {
                Some((outer, inner)) => backend[outer][inner] == value,
                None => backend[key] == value,
            };
            if is_so {
                Ok(())
            } else {
                Err(format!("{backend:#}"))
            }
        });
    }
}

const PROBED: &str = "health_check: { interval: 50ms, timeout: 8s }";

#[test]
fn an_agent_asks_for_less_and_takes_it_back() {
    let advised = Advised::start("up ready 50%\n", PROBED);
    // It was asked before the first client came.
    let backend = advised.admin.backend("a");
    assert_eq!(backend["agent"]["says"], "up ready 50%");
    assert_eq!(
        (&backend["weight"], &backend["effective_weight"]),
        (&10.into(), &5.into())
    );

    advised.says("1%\r\n");
    advised.wait("effective_weight", 1);
    assert_eq!(advised.admin.backend("a")["agent"]["state"], "ready");

    advised.says("drain\n");
    advised.wait("effective_state", "drain");
    let backend = advised.admin.backend("a");
    assert_eq!(backend["admin_state"], "ready");
    assert_eq!(backend["takes_sessions"], false);
    let why = advised.admin.get("/api/v1/explain?pool=p").json();
    assert_eq!(
        why["backends"][0]["why"],
        "its state is drain, by its agent"
    );
    advised
        .evener
        .wait_log("the agent of backend a (pool p) at ");

    advised.says("maint");
    advised.wait("effective_state", "maintenance");
    advised.wait("health", "starting");

    advised.says("ready 100%\n");
    advised.wait("takes_sessions", true);
    assert!(who_serves(advised.evener.address(0)).is_ok());
}

#[test]
fn an_agent_takes_its_backend_down_at_once_and_only_it_brings_it_back() {
    let advised = Advised::start("up\n", PROBED);
    advised.says("down #no disk\n");
    let line = advised.evener.wait_log("is DOWN");
    assert!(line.contains("(pool p, backend "), "{line}");
    assert!(line.contains("; its agent says: down, no disk; "), "{line}");
    advised.wait("agent.down", "its agent says: down, no disk");
    // Good probes do not help, and neither does an agent that has gone.
    let stats = || advised.admin.get("/metrics").body;
    let good = || {
        let body = stats();
        let line = body
            .lines()
            .find_map(|line| line.strip_prefix("evener_health_checks_total{result=\"good\"} "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let before = good();
    eventually("ten good probes", || (good() >= before + 10).then_some(()));
    advised.wait("health", "down");
    advised.says("nonsense\n");
    let asked = advised.agent.connections();
    advised
        .evener
        .wait_log("gives no answer that makes sense: it says `nonsense`");
    eventually("ten more questions", || {
        (advised.agent.connections() >= asked + 10).then_some(())
    });
    advised.wait("health", "down");
    let silences = advised.evener.lines_with("makes sense");
    assert_eq!(silences.len(), 2, "once for each backend: {silences:?}");

    advised.says("up\n");
    advised.evener.wait_log_count(" is UP (", 2);
    advised.wait("takes_sessions", true);
}

#[test]
fn the_administrator_overrules_the_agent() {
    let advised = Advised::start("drain\n", PROBED);
    advised.wait("effective_state", "drain");
    let set = |state: &str| {
        let body = format!("{{\"state\": \"{state}\"}}");
        let answer = advised.admin.post("/api/v1/pools/p/backends/a", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    set("ready");
    advised.wait("takes_sessions", true);
    // It goes on saying the same, which is known.
    let asked = advised.agent.connections();
    eventually("ten more questions", || {
        (advised.agent.connections() >= asked + 10).then_some(())
    });
    advised.wait("takes_sessions", true);
    advised.says("maint\n");
    advised.wait("effective_state", "maintenance");
    set("drain");
    advised.says("ready\n");
    advised.wait("agent.state", "ready");
    advised.wait("effective_state", "drain");
}

#[test]
fn an_agent_needs_no_probes_and_goes_with_its_config() {
    let advised = Advised::start("fail drain 20%\n", "health_check: off");
    advised.wait("health", "down");
    advised.says("up\n");
    advised.wait("health", "up");
    advised.wait("effective_state", "drain");
    let old = std::fs::read_to_string(advised.evener.config_path()).unwrap();
    let without: Vec<&str> = old
        .lines()
        .filter(|line| !line.contains("agent:"))
        .collect();
    advised.evener.rewrite_config(&without.join("\n"));
    advised.evener.signal(Signal::HUP);
    advised.evener.wait_log("config reloaded");
    advised.wait("agent", Value::Null);
    advised.wait("takes_sessions", true);
    advised.wait("effective_weight", 10);
}

#[test]
fn a_check_that_changes_by_a_reload_changes_the_next_probe() {
    let server = Scripted::start(|mut stream| {
        let mut first = [0; 3];
        let answer = match read_some(&stream, &mut first) {
            Ok(3) if first == *b"GET" => "HTTP/1.1 500 Oh\r\n\r\n",
            _ => "",
        };
        let _ = stream.write_all(answer.as_bytes());
    });
    let with = |check: &str| {
        let check =
            format!("health_check: {{ {check}, interval: 20ms, timeout: 8s, rise: 1, fall: 1 }}");
        config(&[server.address], &[&check], &[])
    };
    let evener = Evener::start(&with("type: tcp"));
    evener.rewrite_config(&with("type: http"));
    evener.signal(Signal::HUP);
    let line = evener.wait_log("is DOWN");
    assert!(line.contains("1 probe: HTTP status 500"), "{line}");
    evener.rewrite_config(&with("type: tcp"));
    evener.signal(Signal::HUP);
    evener.wait_log("is UP");
}
