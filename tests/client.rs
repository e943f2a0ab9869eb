//! The commands that talk to a running evener: the real binary on one side, and on the other the real
//! admin server with a handler of the test's own, which answers as the API does.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays servers with plain std sockets"
)]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use evener::admin::{Admin, Door, Handler, Method, Request, Response};
use evener::config::Config;
use evener::limits::ADMIN_CONNECTIONS;
use evener::log::{Log, LogThread};
use evener::systemd::Heritage;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};
use support::{
    Dummy, Evener, RefusingPort, Server, TempDir, config, connect, eventually, who_serves,
};

const EVENER: &str = env!("CARGO_BIN_EXE_evener");
const TOKEN: &str = "correct-horse-battery";

/// Answers as the API does, and remembers what it was told to change.
#[derive(Default)]
struct Api {
    orders: Mutex<Vec<String>>,
}

impl Handler for Api {
    fn handle(&self, request: &Request) -> Response {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        if request.method != Method::Get {
            let body = String::from_utf8_lossy(&request.body);
            let order = format!("{:?} {path:?} {:?} {body}", request.method, request.query);
            self.orders.lock().unwrap().push(order);
        }
        match (request.method, path.as_slice()) {
            (Method::Get, ["api", "v1", "status"]) => Response::json(&status()),
            (Method::Get, ["api", "v1", "connections"]) => Response::json(&connections()),
            (Method::Get, ["api", "v1", "explain"]) => match request.parameter("pool") {
                Some("web & co") => Response::json(&json!({
                    "pool": "web & co", "balance": "first",
                    "client": request.parameter("client"), "next": "a", "how": "the first",
                    "backends": [{"name": "a", "address": "10.0.0.1:80", "chosen": true,
                                  "can_serve": true, "why": "up"}]})),
                _ => Response::error(404, "there is no such pool\u{1b}[2J; see `evener status`"),
            },
            (Method::Post, ["api", "v1", "pools", "web & co", "backends", name]) => Response::json(
                &json!({"name": name, "admin_state": "drain", "health": "up",
                                       "weight": 3, "active": 2}),
            ),
            (Method::Delete, ["api", "v1", "connections", "12"]) => {
                Response::json(&json!({"id": 12, "killed": true}))
            }
            (Method::Delete, _) => Response::error(404, "there is no connection 13"),
            (Method::Post, ["api", "v1", "reload"]) => match request.parameter("dry_run") {
                Some("true") => {
                    Response::json(&json!({"dry_run": true, "changes": ["pool web: + b"]}))
                }
                _ => Response::json(&json!({"error": "the config is wrong",
                                            "errors": ["evener.yaml:3:1: unknown key `a`"],
                                            "report": "error: unknown key `a`\n --> evener.yaml:3:1"}))
                .with_status(422),
            },
            _ => Response::error(404, "there is nothing here"),
        }
    }
}

fn backend(name: &str) -> Value {
    json!({"name": name, "address": "10.0.0.1:80", "weight": 3, "configured_weight": 3,
           "health": "up", "reason": "connected", "changed_at": "2026-11-22T18:00:00Z",
           "admin_state": "ready", "configured_state": "ready", "active": 2, "total": 100,
           "connect_failures": 0, "bytes_in": 2048, "bytes_out": 5_242_880, "takes_sessions": true})
}

fn status() -> Value {
    json!({
        "version": "0.1.0", "pid": 4711, "uptime_seconds": 192.5, "state": "running",
        "config": {"file": null, "generation": 1, "loaded_at": "2026-11-22T18:00:10Z",
                   "last_reload_successful": true, "last_reload_error": null},
        "connections": {"active": 4, "limit": 8000}, "threads": 17,
        "listeners": [{"name": "web", "bind": [":80"], "pool": "web & co", "active": 4,
                       "total": 200, "rejected": 0, "limit": null, "state": "open"}],
        "pools": [
            {"name": "web & co", "balance": "round_robin",
             "backends": [backend("a"), backend("db:1/ö"), backend("evil\u{1b}]0;x\u{7}")], "leaving": []},
            {"name": "api", "balance": "round_robin", "backends": [backend("a")], "leaving": []},
        ]
    })
}

fn connections() -> Value {
    json!({"connections": [
        {"id": 12, "listener": "web", "pool": "web & co", "client": "192.0.2.7:50000",
         "backend": "a", "address": "10.0.0.1:80", "age_seconds": 75.2, "idle_seconds": 0.3,
         "bytes_in": 1000, "bytes_out": 3_000_000, "half_closed": false,
         "threads": [101, 102], "cpu_seconds": 0.125}]})
}

/// An admin server with that handler.
struct Served {
    admin: Option<Admin>,
    log_thread: Option<LogThread>,
    api: Arc<Api>,
    dir: TempDir,
    /// What `--admin` has to say.
    at: String,
}

impl Served {
    fn new() -> Served {
        Served::with("{ bind: '127.0.0.1:0' }")
    }

    /// Under this `admin:` section, in which DIR is a directory of its own with a token in it.
    fn with(section: &str) -> Served {
        let dir = TempDir::new();
        fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let section = section.replace("DIR", dir.path().to_str().unwrap());
        let text = format!(
            "listeners: [{{ bind: '127.0.0.1:1' }}]\npools: [{{ backends: ['127.0.0.1:2'] }}]\n\
             admin: {section}\n"
        );
        let config = Config::from_yaml("test", &text).unwrap();
        let (log, log_thread) = Log::start(&config.log, std::io::sink()).unwrap();
        let api = Arc::new(Api::default());
        let door = Door::open(&config, &mut Heritage::default(), &log)
            .unwrap()
            .unwrap();
        let admin = Admin::start(
            door,
            Arc::clone(&api) as Arc<dyn Handler>,
            &log,
            crossbeam_channel::bounded(0).1,
        )
        .unwrap();
        let address = admin.address();
        let at = address.strip_prefix("http://").unwrap_or(address);
        Served {
            at: at.trim_end_matches('/').to_owned(),
            admin: Some(admin),
            log_thread: Some(log_thread),
            api,
            dir,
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(EVENER);
        command.args(words).args(["--admin", &self.at]);
        command.env_remove("EVENER_TOKEN").stdin(Stdio::null());
        command
    }

    /// Runs a command that has to succeed, and returns what it printed.
    #[track_caller]
    fn ask(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
        stdout
    }

    /// Runs a command that has to fail, and returns its complaint.
    #[track_caller]
    fn refuse(&self, words: &[&str]) -> String {
        complaint(&mut self.command(words))
    }

    fn orders(&self) -> Vec<String> {
        self.api.orders.lock().unwrap().clone()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(admin) = self.admin.take() {
            admin.join();
        }
        if let Some(log_thread) = self.log_thread.take() {
            log_thread.finish();
        }
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn complaint(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(
        (output.status.code(), stdout.as_str()),
        (Some(1), ""),
        "{stderr}"
    );
    assert!(stderr.starts_with("error: "), "{stderr}");
    stderr
}

#[test]
fn questions_are_answered_as_tables_and_as_json() {
    let served = Served::new();
    let text = served.ask(&["status"]);
    assert!(
        text.contains("evener 0.1.0, pid 4711, running for 3m12s"),
        "{text}"
    );
    assert!(text.contains("4 connections of 8000, 17 threads"), "{text}");
    assert!(text.contains("pool web & co (round_robin)"), "{text}");
    assert!(text.contains("2.0 KiB  5.0 MiB  connected"), "{text}");
    let json: Value = serde_json::from_str(&served.ask(&["status", "--json"])).unwrap();
    assert_eq!(json, status());

    let text = served.ask(&["connections"]);
    assert!(
        text.contains("192.0.2.7:50000  web & co  a 10.0.0.1:80  1m15s"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&served.ask(&["connections", "--json"])).unwrap();
    assert_eq!(json, connections());

    let text = served.ask(&["explain", "web & co", "--client", "2001:db8::1"]);
    assert!(
        text.contains("the next client 2001:db8::1 would get a"),
        "{text}"
    );
    assert_eq!(served.orders(), [""; 0], "a question changes nothing");
}

#[test]
fn what_the_server_says_cannot_play_with_the_terminal() {
    let served = Served::new();
    let texts = [
        served.ask(&["status"]),
        served.ask(&["status", "--json"]),
        served.ask(&["top"]),
        served.refuse(&["explain", "nowhere"]),
    ];
    for text in texts {
        let obeyed = text.chars().find(|char| char.is_control() && *char != '\n');
        assert_eq!(obeyed, None, "{text}");
        assert!(
            text.contains("evil") || text.contains("\\u{1b}[2J"),
            "{text}"
        );
    }
}

#[test]
fn orders_reach_the_backend_that_is_meant() {
    let served = Served::new();
    let told = served.ask(&["drain", "web & co/db:1/ö"]);
    assert_eq!(
        told,
        "web & co/db:1/ö is drain, up, weight 3, 2 connections\n"
    );
    served.ask(&["ready", "db:1/ö"]);
    served.ask(&["maintain", "web & co/a"]);
    served.ask(&["weight", "web & co/a", "0"]);
    let json: Value = serde_json::from_str(&served.ask(&["drain", "db:1/ö", "--json"])).unwrap();
    assert_eq!(json["admin_state"], "drain");
    let path = |name: &str| format!(r#"["api", "v1", "pools", "web & co", "backends", "{name}"]"#);
    let (db, a) = (path("db:1/ö"), path("a"));
    let expected = [
        format!("Post {db} [] {{\"state\":\"drain\"}}"),
        format!("Post {db} [] {{\"state\":\"ready\"}}"),
        format!("Post {a} [] {{\"state\":\"maintenance\"}}"),
        format!("Post {a} [] {{\"weight\":0}}"),
        format!("Post {db} [] {{\"state\":\"drain\"}}"),
    ];
    assert_eq!(served.orders(), expected);

    let several = served.refuse(&["drain", "a"]);
    assert!(several.contains("web & co/a, api/a"), "{several}");
    let none = served.refuse(&["drain", "web & co/c"]);
    assert!(none.contains("there is no backend `web & co/c`"), "{none}");
    assert_eq!(served.orders().len(), expected.len(), "nothing was ordered");
}

#[test]
fn connections_are_killed_by_number_and_a_reload_says_what_it_does() {
    let served = Served::new();
    assert_eq!(served.ask(&["kill", "12"]), "connection 12 was reset\n");
    let gone = served.refuse(&["kill", "13"]);
    assert!(gone.contains(&format!(
        "evener on {} refuses: there is no connection 13",
        served.at
    )));
    let dry = served.ask(&["reload", "--dry-run"]);
    assert_eq!(
        dry,
        "the config is valid; a reload would change:\n  pool web: + b\n"
    );
    let wrong = served.refuse(&["reload"]);
    assert!(
        wrong.contains("refuses the new config\n  error: unknown key `a`\n   --> evener.yaml:3:1"),
        "{wrong}"
    );
}

#[test]
fn when_the_admin_server_is_full_the_message_says_so() {
    let served = Served::new();
    let connections = (0..ADMIN_CONNECTIONS).map(|_| TcpStream::connect(&served.at).unwrap());
    let idle: Vec<TcpStream> = connections.collect();
    for _ in 0..3 {
        let full = served.refuse(&["status"]);
        assert!(
            full.contains("16 admin connections are open; try again"),
            "{full}"
        );
    }
    drop(idle);
}

#[test]
fn the_token_comes_from_a_file_or_the_environment() {
    let served = Served::with("{ bind: 'unix:DIR/sock', token_file: DIR/token }");
    assert!(served.at.starts_with("unix:/"));
    let none = served.refuse(&["status"]);
    assert!(
        none.contains("--token-file FILE, or in EVENER_TOKEN"),
        "{none}"
    );
    let file = served.dir.path().join("token");
    served.ask(&["status", "--token-file", file.to_str().unwrap()]);
    let with = |token: &str| {
        let mut command = served.command(&["kill", "12"]);
        command.env("EVENER_TOKEN", token);
        command
    };
    assert!(with(TOKEN).output().unwrap().status.success());
    let wrong = complaint(&mut with("wrong-horse-battery"));
    assert!(
        wrong.contains("is this the token of this evener?"),
        "{wrong}"
    );
    let broken = complaint(&mut with("a\nb"));
    assert!(broken.contains("the token can't be sent"), "{broken}");
    assert_eq!(served.orders().len(), 1);
    let gone = served.refuse(&["status", "--token-file", "/nowhere"]);
    assert!(gone.contains("can't read the token in /nowhere"), "{gone}");
}

#[test]
fn where_nobody_answers_the_message_says_what_to_try() {
    let port = RefusingPort::new();
    let ask = |address: &str| complaint(Command::new(EVENER).args(["status", "--admin", address]));
    let refused = ask(&port.address().to_string());
    let what = format!(
        "no evener answers on {}: Connection refused",
        port.address()
    );
    assert!(refused.contains(&what), "{refused}");
    assert!(refused.contains("--admin ADDR"), "{refused}");
    let gone = ask("unix:/nowhere/evener.sock");
    assert!(
        gone.contains("no evener answers on unix:/nowhere/evener.sock"),
        "{gone}"
    );

    // Something else listens there: it closes, or speaks another language.
    for answer in [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stranger = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let message = ask(&address);
        assert!(
            message.contains(&format!("what answers on {address} is no evener")),
            "{message}"
        );
        stranger.join().unwrap();
    }
}

/// A program on a terminal of its own, of 60 columns and 12 lines.
struct OnTerminal {
    child: Child,
    master: File,
    seen: String,
}

impl OnTerminal {
    fn start(mut command: Command) -> OnTerminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let size = Winsize {
            ws_row: 12,
            ws_col: 60,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let end = || Stdio::from(OwnedFd::from(slave.try_clone().unwrap()));
        let child = command.stdin(end()).stdout(end()).spawn().unwrap();
        OnTerminal {
            child,
            master: File::from(master),
            seen: String::new(),
        }
    }

    /// Reads until this text has been written, for so many times in all.
    fn wait_for(&mut self, text: &str, times: usize) {
        eventually(text, || {
            let mut bytes = [0; 4096];
            // The program writes each second, or has written its last, so this does not block for
            // long; and when it has ended, the terminal is an error.
            let count = self.master.read(&mut bytes).unwrap_or(0);
            self.seen
                .push_str(&String::from_utf8_lossy(&bytes[..count]));
            (self.seen.matches(text).count() >= times).then_some(())
        });
    }

    fn end(&mut self) -> Option<i32> {
        let status = eventually("the end", || self.child.try_wait().unwrap());
        status.code()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

#[test]
fn top_draws_on_its_own_screen_and_gives_the_terminal_back() {
    let served = Served::new();
    for by_key in [true, false] {
        let mut top = OnTerminal::start(served.command(&["top"]));
        // The second page has rates.
        top.wait_for("running for 3m12s", 2);
        assert!(top.seen.starts_with(ENTER), "{:?}", top.seen);
        if by_key {
            top.master.write_all(b"q").unwrap();
        } else {
            let pid = rustix::process::Pid::from_child(&top.child);
            rustix::process::kill_process(pid, Signal::INT).unwrap();
        }
        top.wait_for(LEAVE, 1);
        assert_eq!(top.end(), Some(0));
        let pages: Vec<&str> = top.seen.split("\u{1b}[H").skip(1).collect();
        for page in pages {
            let page = page
                .replace("\u{1b}[K", "")
                .replace("\u{1b}[J", "")
                .replace(LEAVE, "");
            assert!(page.split("\r\n").count() <= 12, "{page}");
            assert!(
                page.split("\r\n").all(|line| line.chars().count() <= 60),
                "{page}"
            );
        }
    }
}

#[test]
fn top_into_a_file_is_one_page() {
    let served = Served::new();
    let text = served.ask(&["top"]);
    assert!(text.starts_with("evener 0.1.0"), "{text}");
    assert!(text.contains("192.0.2.7:50000"), "{text}");
    assert!(text.lines().all(|line| !line.contains('\u{1b}')), "{text}");
}

/// A config of one listener and one pool with one backend, called `a`, and this `admin:` section.
fn config_with(backend: &Dummy, admin: &str) -> String {
    let named = format!("{{ name: a, address: \"{}\" }}", backend.address());
    config(
        &[named],
        &["health_check: off"],
        &[&format!("admin: {admin}")],
    )
}

/// Runs a command against this address.
#[track_caller]
fn ask_at(address: &str, words: &[&str]) -> String {
    let mut command = Command::new(EVENER);
    command.args(words).args(["--admin", address]);
    let output = command.env_remove("EVENER_TOKEN").output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(
        (output.status.code(), stderr.as_str()),
        (Some(0), ""),
        "{words:?}"
    );
    stdout
}

#[test]
fn a_real_evener_is_asked_and_obeys() {
    let backend = Dummy::start("a");
    let evener = Evener::start(&config_with(&backend, "{ bind: '127.0.0.1:0' }"));
    let at = evener
        .address_after("admin server at http://", 0)
        .to_string();
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    assert!(ask_at(&at, &["status"]).contains("pool p (round_robin)\nBACKEND"));
    let held = connect(evener.address(0));
    let client = held.local_addr().unwrap().to_string();
    let id = eventually("the connection", || {
        let answer = ask_at(&at, &["connections", "--json"]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        // The one before may still be on its way out.
        let mut all = answer["connections"].as_array().unwrap().iter();
        all.find(|connection| connection["client"] == client)?["id"].as_u64()
    });
    assert!(ask_at(&at, &["explain", "p"]).contains("would get a"));
    assert!(ask_at(&at, &["top"]).contains(&client));
    assert_eq!(
        ask_at(&at, &["kill", &id.to_string()]),
        format!("connection {id} was reset\n")
    );
    eventually("nobody", || {
        ask_at(&at, &["connections"])
            .contains("no connections")
            .then_some(())
    });

    assert!(ask_at(&at, &["drain", "p/a"]).contains("p/a is drain"));
    assert!(who_serves(evener.address(0)).is_err());
    assert!(ask_at(&at, &["ready", "a"]).contains("p/a is ready"));
    assert!(ask_at(&at, &["weight", "a", "7"]).contains("weight 7"));
    assert!(ask_at(&at, &["status"]).contains("7 (1)"));
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
    assert!(ask_at(&at, &["reload", "--dry-run"]).contains("would change nothing"));
    evener.rewrite_config("nothing: good");
    let wrong = complaint(Command::new(EVENER).args(["reload", "--admin", &at]));
    assert!(
        wrong.contains("refuses the new config") && wrong.contains("1 | nothing: good"),
        "{wrong}"
    );
}

#[test]
fn a_reload_moves_the_admin_server_and_still_answers_who_asked_for_it() {
    let backend = Dummy::start("a");
    let evener = Evener::start(&config_with(&backend, "{ bind: '127.0.0.1:0' }"));
    let tcp = evener.address_after("admin server at http://", 0);
    let path = evener.dir().join("sock");
    let unix = format!("unix:{}", path.display());
    evener.rewrite_config(&config_with(&backend, &format!("{{ bind: '{unix}' }}")));
    assert!(ask_at(&tcp.to_string(), &["reload"]).starts_with("reloaded:"));
    eventually("the old door is shut", || TcpStream::connect(tcp).err());
    assert!(ask_at(&unix, &["status"]).contains("generation 2"));
    // Who has the config needs to know nothing else; who has set the variable, neither.
    let by = |command: &mut Command| texts(&command.arg("status").output().unwrap()).0;
    let by_config = by(Command::new(EVENER)
        .arg("--config")
        .arg(evener.config_path()));
    assert!(by_config.contains("generation 2"), "{by_config}");
    let by_environment = by(Command::new(EVENER).env("EVENER_ADMIN", &unix));
    assert!(by_environment.contains("generation 2"), "{by_environment}");

    evener.rewrite_config(&config_with(&backend, "off"));
    assert!(ask_at(&unix, &["reload"]).starts_with("reloaded:"));
    eventually("no file", || (!path.exists()).then_some(()));
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");
}

#[test]
fn an_evener_that_is_full_still_answers_here() {
    let backend = Server::start();
    let text = config(
        &[backend.address()],
        &["health_check: off"],
        &[
            "limits: { max_connections: 1 }",
            "admin: { bind: '127.0.0.1:0' }",
        ],
    );
    let evener = Evener::start(&text);
    let at = evener
        .address_after("admin server at http://", 0)
        .to_string();
    let _held = connect(evener.address(0));
    let _served = backend.accept();
    let _waits = connect(evener.address(0));
    evener.wait_log("is full at 1 connections");
    assert!(ask_at(&at, &["status"]).contains("1 connections of 1,"));
}

#[test]
fn without_its_default_address_evener_runs_and_with_any_other_it_does_not() {
    let backend = Dummy::start("a");
    let evener = eventually("an evener whose default address is taken", || {
        // Whoever has it, it is taken; unless they let go of it just now, and then once more.
        let _taken = TcpListener::bind("127.0.0.1:9900");
        let evener = Evener::start(&config_with(&backend, "{ token_file: off }"));
        let warning = "no admin server: the default address 127.0.0.1:9900 can't be had";
        (!evener.lines_with(warning).is_empty()).then_some(evener)
    });
    assert_eq!(who_serves(evener.address(0)).unwrap(), "a");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let finished = Evener::command(&["-l", "127.0.0.1:0", "--admin", &address, "127.0.0.1:9"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let what = format!("error: the admin server can't listen on {address}: Address already in use");
    assert!(finished.stderr.contains(&what), "{finished:?}");
}
