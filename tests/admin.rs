//! The admin server over real sockets, with a handler of the test's own: what a client, a slow client,
//! a hostile page and a stranger each get.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients with plain std sockets"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use evener::admin::{Admin, Door, DoorError, Handler, Method, Request, Response};
use evener::config::Config;
use evener::limits::ADMIN_CONNECTIONS;
use evener::log::{Log, LogThread};
use evener::systemd::Heritage;
use serde_json::{Value, json};
use support::{DEADLINE, TempDir, eventually};

const TOKEN: &str = "correct-horse-battery";

/// Echoes what it was asked; `/panic`, `/page` and `/wait` do what they say.
struct Echo {
    /// `/wait` says that it has begun, and ends when it is told to.
    begun: Sender<()>,
    go_on: Receiver<()>,
}

impl Handler for Echo {
    fn handle(&self, request: &Request) -> Response {
        match request.path.first().map(String::as_str) {
            Some("panic") => std::panic::resume_unwind(Box::new("as the test asked")),
            Some("page") => Response::html("<p>").with_header("Content-Security-Policy", "own"),
            Some("large") => Response::text("x".repeat(8 << 20)),
            Some("nowhere") => Response::error(404, "nothing is there; try /"),
            Some("wait") => {
                self.begun.send(()).unwrap();
                self.go_on.recv_timeout(DEADLINE).unwrap();
                Response::text("at last")
            }
            _ => Response::json(&json!({
                "method": match request.method {
                    Method::Get => "get",
                    Method::Post => "post",
                    Method::Delete => "delete",
                    Method::Other => return Response::method_not_allowed("GET, HEAD"),
                },
                "path": request.path,
                "query": request.query,
                "body": String::from_utf8_lossy(&request.body),
            })),
        }
    }
}

/// An admin server, and the log that it writes to.
struct Served {
    admin: Option<Admin>,
    log: Log,
    log_thread: Option<LogThread>,
    begun: Receiver<()>,
    go_on: Sender<()>,
    dir: TempDir,
}

impl Served {
    /// Under this `admin:` section, in which DIR is a directory of its own.
    fn with(section: &str) -> Served {
        let dir = TempDir::new();
        fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let config = config(section, dir.path());
        let (log, log_thread) = Log::start(&config.log, std::io::sink()).unwrap();
        let (begun_sender, begun) = bounded(1);
        let (go_on, go_on_receiver) = bounded(1);
        let handler = Arc::new(Echo {
            begun: begun_sender,
            go_on: go_on_receiver,
        });
        let door = Door::open(&config, &mut Heritage::default(), &log)
            .unwrap()
            .unwrap();
        Served {
            admin: Some(
                Admin::start(door, handler, &log, crossbeam_channel::bounded(0).1).unwrap(),
            ),
            log,
            log_thread: Some(log_thread),
            begun,
            go_on,
            dir,
        }
    }

    fn new() -> Served {
        Served::with("{ bind: '127.0.0.1:0' }")
    }

    fn admin(&self) -> &Admin {
        self.admin.as_ref().unwrap()
    }

    fn address(&self) -> SocketAddr {
        let address = self.admin().address();
        let bare = address.strip_prefix("http://").unwrap();
        bare.trim_end_matches('/').parse().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Sends this and returns all that comes back.
    fn talk(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(&mut stream)
    }

    /// A request with a good host, and these header lines.
    fn ask(&self, line: &str, headers: &str) -> Answer {
        let host = self.address();
        self.talk(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"))
    }

    fn join(&mut self) {
        self.admin.take().unwrap().join();
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

fn config(section: &str, dir: &Path) -> Config {
    let section = section.replace("DIR", dir.to_str().unwrap());
    let text = format!(
        "listeners: [{{ bind: '127.0.0.1:1' }}]\npools: [{{ backends: ['127.0.0.1:2'] }}]\n\
         admin: {section}\n"
    );
    Config::from_yaml("test", &text).unwrap_or_else(|errors| panic!("{}", errors[0]))
}

/// An answer, taken apart.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// Reads to the end, which has to be there: one answer, and the connection is closed.
    #[track_caller]
    fn read(stream: &mut impl Read) -> Answer {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        Answer::parse(&text)
    }

    #[track_caller]
    fn parse(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| status.parse().ok());
        Answer {
            status: status.unwrap_or_else(|| panic!("no answer: {text:?}")),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// An error says what is wrong, as JSON.
    #[track_caller]
    fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("Content-Type: application/json"));
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

const CHANGE: &str = "Content-Type: application/json\r\nContent-Length: 7\r\n";

#[test]
fn a_request_is_understood_in_whatever_pieces_it_comes() {
    let served = Served::new();
    let host = served.address();
    let request =
        format!("POST /a%2Fb/c?x=%26 HTTP/1.1\r\nHost: {host}\r\n{CHANGE}\r\n{{\"a\":1}}");
    let expected =
        json!({"method": "post", "path": ["a/b", "c"], "query": [["x", "&"]], "body": "{\"a\":1}"});
    for cut in 1..request.len() {
        let mut stream = served.connect();
        stream.set_nodelay(true).unwrap();
        let (first, rest) = request.split_at(cut);
        stream.write_all(first.as_bytes()).unwrap();
        stream.write_all(rest.as_bytes()).unwrap();
        assert_eq!(Answer::read(&mut stream).json(), expected, "cut at {cut}");
    }
    let mut stream = served.connect();
    stream.set_nodelay(true).unwrap();
    for byte in request.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(Answer::read(&mut stream).json(), expected, "byte by byte");
}

#[test]
fn answers_are_complete_and_carry_the_security_headers() {
    let served = Served::new();
    let get = served.ask("GET /x", "");
    assert_eq!(get.status, 200);
    for header in [
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "X-Frame-Options: DENY",
        "Content-Security-Policy: default-src 'none'",
        "Connection: close",
    ] {
        assert!(get.head.contains(header), "{header}: {}", get.head);
    }
    let head = served.ask("HEAD /x", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(
        head.head
            .contains(&format!("Content-Length: {}", get.body.len()))
    );
    let page = served.ask("GET /page", "");
    assert!(
        page.head.contains("Content-Security-Policy: own"),
        "{}",
        page.head
    );
    assert!(!page.head.contains("default-src"), "{}", page.head);
    // More than any socket buffer holds.
    assert_eq!(served.ask("GET /large", "").body.len(), 8 << 20);
    let old = served.talk("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.status, 200, "who speaks HTTP/1.0 may know no Host");
    served.ask("GET /nowhere", "").error(404);
}

#[test]
fn who_waits_for_a_word_before_the_body_gets_it_unless_refused() {
    let served = Served::new();
    let host = served.address();
    let head = format!("POST /x HTTP/1.1\r\nHost: {host}\r\n{CHANGE}Expect: 100-continue\r\n\r\n");
    let mut stream = served.connect();
    stream.write_all(head.as_bytes()).unwrap();
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut word = vec![0; go_on.len()];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(word, go_on.as_bytes());
    stream.write_all(b"{\"a\":1}").unwrap();
    assert_eq!(Answer::read(&mut stream).json()["body"], "{\"a\":1}");

    let refused = head.replace("application/json", "text/plain");
    served.talk(&refused).error(415);
}

#[test]
fn each_fault_gets_its_own_answer() {
    let served = Served::new();
    let long = format!("X: {}\r\n", "x".repeat(9000));
    for (line, headers, status) in [
        ("PUT /x", "", 405),
        ("GET x", "", 400),
        (
            "POST /x",
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
            411,
        ),
        (
            "POST /x",
            "Content-Type: application/json\r\nTransfer-Encoding: gzip\r\n",
            501,
        ),
        (
            "POST /x",
            "Content-Type: application/json\r\nContent-Length: 65537\r\n",
            413,
        ),
        ("POST /x", "Content-Length: 0\r\n", 415),
        ("GET /x", &long, 431),
    ] {
        let answer = served.ask(line, headers);
        assert!(answer.error(status).len() > 10, "{answer:?}");
        assert_eq!(answer.head.contains("\r\nAllow: "), status == 405);
    }
    served.talk("GET / HTTP/2.0\r\n\r\n").error(505);
    served.talk("\u{16}\u{3}\u{1}\u{2}garbage").error(400);
    assert_eq!(served.ask("GET /", "").status, 200);
}

#[test]
fn a_refused_upload_still_reads_its_answer() {
    // Closing with bytes unread is a reset, which would take the answer away from its reader.
    let served = Served::new();
    let host = served.address();
    for _ in 0..20 {
        let body = "x".repeat(60_000);
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        served.talk(&request).error(415);
    }
}

#[test]
fn a_second_request_behind_the_first_is_not_answered() {
    let served = Served::new();
    let one = format!("GET /1 HTTP/1.1\r\nHost: {}\r\n\r\n", served.address());
    let answer = served.talk(&format!("{one}{}", one.replace("/1", "/panic")));
    assert_eq!(answer.json()["path"], json!(["1"]));
    assert_eq!(answer.body.matches("HTTP/1.1").count(), 0);
    let answer = served.talk(&format!("{one}\0\u{ff}garbage\r\n\r\n"));
    assert_eq!(answer.json()["path"], json!(["1"]));
}

#[test]
fn a_page_that_stands_for_this_machine_under_its_own_name_is_refused() {
    let served = Served::new();
    let port = served.address().port();
    let with_host = |host: &str| served.talk(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    with_host(&format!("evil.example:{port}")).error(421);
    with_host("127.0.0.1:1").error(421);
    assert_eq!(with_host(&format!("localhost:{port}")).status, 200);
    served.talk("GET / HTTP/1.1\r\n\r\n").error(400);
}

#[test]
fn a_foreign_page_changes_nothing() {
    let served = Served::new();
    let own = format!("Origin: http://{}\r\n", served.address());
    let change =
        |headers: &str| served.ask("POST /x", &format!("{CHANGE}{headers}\r\n{{\"a\":1}}"));
    // A blank line ends the headers here, and the body follows; the one of `ask` is behind it.
    assert_eq!(change(&own).status, 200);
    assert_eq!(change("").status, 200);
    change("Origin: http://evil.example\r\n").error(403);
    change("Origin: null\r\n").error(403);
    change("Sec-Fetch-Site: cross-site\r\n").error(403);
    served
        .ask("DELETE /x", "Sec-Fetch-Site: cross-site\r\n")
        .error(403);
    assert_eq!(served.ask("DELETE /x", "").json()["method"], "delete");
    assert_eq!(
        served
            .ask("GET /x", "Sec-Fetch-Site: cross-site\r\n")
            .status,
        200
    );
}

#[test]
fn without_the_token_only_the_page_and_the_probes_are_answered() {
    let served = Served::with("{ bind: '127.0.0.1:0', token_file: DIR/token }");
    let refused = served.ask("GET /x", "");
    refused.error(401);
    assert!(
        refused.head.contains("\r\nWWW-Authenticate: Bearer"),
        "{}",
        refused.head
    );
    served
        .ask("GET /x", "Authorization: Bearer wrong-horse-battery\r\n")
        .error(401);
    served.ask("DELETE /x", "").error(401);
    let good = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(served.ask("GET /x", &good).status, 200);
    assert_eq!(served.ask("DELETE /x", &good).status, 200);
    assert_eq!(served.ask("GET /healthz", "").status, 200);
    assert_eq!(served.ask("GET /readyz", "").status, 200);
    assert_eq!(served.ask("GET /", "").status, 200);
}

#[test]
fn a_reload_may_change_the_token_under_the_same_address() {
    let served = Served::new();
    assert_eq!(served.ask("GET /x", "").status, 200);
    let dir = served.dir.path();
    let section = format!("{{ bind: '{}', token_file: DIR/token }}", served.address());
    let admin = config(&section, dir).admin.unwrap();
    assert!(!served.admin().is_at(&admin.bind), "its config says port 0");
    let token = Door::read_token(&admin, &served.log).unwrap();
    served.admin().set_token(token);
    served.ask("GET /x", "").error(401);
    let good = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(served.ask("GET /x", &good).status, 200);
    served.admin().set_token(None);
    assert_eq!(served.ask("GET /x", "").status, 200);
}

#[test]
fn a_panic_in_a_handler_ends_that_connection_only() {
    let served = Served::new();
    served.ask("GET /panic", "").error(500);
    assert_eq!(served.ask("GET /x", "").status, 200);
}

#[test]
fn slow_clients_fill_the_server_and_are_gone_after_their_time() {
    let served = Served::new();
    let mut slow: Vec<TcpStream> = (0..ADMIN_CONNECTIONS).map(|_| served.connect()).collect();
    // One byte at a time would never meet a timeout of each read. It ends when it is cut off.
    let dripping: Vec<JoinHandle<()>> = slow
        .iter()
        .map(|stream| stream.try_clone().unwrap())
        .map(|mut stream| {
            std::thread::spawn(move || {
                let mut head = b"GET / HTTP/1.1\r\nX: ".to_vec();
                while stream.write_all(&head).is_ok() {
                    head = b"x".to_vec();
                    std::thread::sleep(Duration::from_millis(100));
                }
            })
        })
        .collect();
    // Connections are accepted in turn, so this one comes after those. It has not to ask anything.
    let mut one_more = served.connect();
    Answer::read(&mut one_more).error(503);
    for stream in &mut slow {
        let mut text = String::new();
        // The reset that ends the drip may come behind the answer.
        let _ = stream.read_to_string(&mut text);
        Answer::parse(&text).error(408);
    }
    drop(slow);
    for drip in dripping {
        drip.join().unwrap();
    }
    eventually("room again", || {
        (served.ask("GET /", "").status == 200).then_some(())
    });
}

#[test]
fn who_does_not_read_its_answer_is_given_up() {
    let mut served = Served::new();
    let mut stream = served.connect();
    let request = format!("GET /large HTTP/1.1\r\nHost: {}\r\n\r\n", served.address());
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();
    // The end waits for every connection's thread, so it would not come.
    served.join();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    assert!(text.len() < 8 << 20, "cut off");
}

#[test]
fn closing_answers_what_was_asked_and_joins_everything() {
    let mut served = Served::new();
    let mut asking = served.connect();
    let request = format!("GET /wait HTTP/1.1\r\nHost: {}\r\n\r\n", served.address());
    asking.write_all(request.as_bytes()).unwrap();
    served.begun.recv_timeout(DEADLINE).unwrap();
    let mut silent = served.connect();
    // As a handler may.
    served.admin().close();
    let address = served.address();
    // What waits in the backlog is reset or refused, depending on when it came.
    eventually("a closed door", || TcpStream::connect(address).err());
    assert!(!served.admin().has_ended());
    served.go_on.send(()).unwrap();
    assert_eq!(Answer::read(&mut asking).body, "at last");
    let mut nothing = Vec::new();
    let _ = silent.read_to_end(&mut nothing);
    assert_eq!(nothing, b"");
    eventually("its end", || served.admin().has_ended().then_some(()));
    served.join();
}

#[test]
fn a_second_server_takes_over_at_another_address() {
    let mut served = Served::new();
    let old = served.address();
    let config = config("{ bind: 'unix:DIR/sock' }", served.dir.path());
    let door = Door::open(&config, &mut Heritage::default(), &served.log)
        .unwrap()
        .unwrap();
    let (begun, _) = bounded(1);
    let (_, go_on) = bounded(1);
    let handler = Arc::new(Echo { begun, go_on });
    let new = Admin::start(door, handler, &served.log, crossbeam_channel::bounded(0).1).unwrap();
    assert_eq!(served.ask("GET /", "").status, 200, "both answer");
    served.join();
    assert!(TcpStream::connect(old).is_err());
    let path = served.dir.path().join("sock");
    assert_eq!(over_unix(&path, "GET / HTTP/1.1\r\n\r\n").status, 200);
    new.join();
}

fn over_unix(path: &Path, request: &str) -> Answer {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    Answer::read(&mut stream)
}

#[test]
fn a_unix_socket_is_for_its_owner_takes_any_host_and_leaves_nothing_behind() {
    let mut served = Served::with("{ bind: 'unix:DIR/sock' }");
    let path = served.dir.path().join("sock");
    assert_eq!(served.admin().address(), format!("unix:{}", path.display()));
    let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let any = over_unix(&path, "GET / HTTP/1.1\r\nHost: whatever\r\n\r\n");
    assert_eq!(any.status, 200);
    over_unix(&path, "POST / HTTP/1.1\r\n\r\n").error(415);
    served.admin().close();
    assert!(!path.exists());
    served.join();
}

#[test]
fn an_address_that_was_asked_for_and_is_taken_is_an_error_and_the_default_is_none() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dir = TempDir::new();
    let at = taken.local_addr().unwrap();
    let (log, log_thread) = Log::start(&config("off", dir.path()).log, std::io::sink()).unwrap();
    let asked_for = config(&format!("{{ bind: '{at}' }}"), dir.path());
    let error = Door::open(&asked_for, &mut Heritage::default(), &log).unwrap_err();
    assert!(matches!(error, DoorError::Bind { .. }));
    assert!(error.to_string().contains(&at.to_string()), "{error}");

    let mut by_default = asked_for.clone();
    by_default.admin.as_mut().unwrap().configured = false;
    assert!(
        Door::open(&by_default, &mut Heritage::default(), &log)
            .unwrap()
            .is_none()
    );
    assert!(
        Door::open(&config("off", dir.path()), &mut Heritage::default(), &log)
            .unwrap()
            .is_none()
    );
    log_thread.finish();
}

#[test]
fn a_token_that_is_none_is_an_error() {
    let dir = TempDir::new();
    let file = dir.path().join("token");
    let config = config("{ bind: '127.0.0.1:0', token_file: DIR/token }", dir.path());
    let (log, log_thread) = Log::start(&config.log, std::io::sink()).unwrap();
    for (text, what) in [(None, "No such file"), (Some("short"), "fewer than 16")] {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        let error = Door::open(&config, &mut Heritage::default(), &log).unwrap_err();
        assert!(matches!(error, DoorError::Token { .. }));
        assert!(error.to_string().contains(what), "{error}");
    }
    log_thread.finish();
}
