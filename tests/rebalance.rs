//! Sessions that are closed little by little: a rebalance, a drain with `--close`, the removal of a backend.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test plays clients and backends with plain std sockets"
)]

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use rustix::process::Signal;
use serde_json::Value;
use support::{
    Admin, End, Evener, Finished, Server, config, connect, eventually, is_live, read_until_end,
};

const ADMIN: &str = "admin: { bind: \"127.0.0.1:0\" }";
const POOL: [&str; 2] = ["balance: least_connections", "health_check: off"];

/// A client and the backend's end of its session.
struct Session {
    client: TcpStream,
    backend: TcpStream,
}

impl Session {
    /// Through to this server; the answer proves that it is in the list of sessions.
    #[track_caller]
    fn open(evener: &Evener, server: &Server) -> Session {
        let mut client = connect(evener.address(0));
        let mut backend = server.accept();
        is_live(&mut client, &mut backend);
        Session { client, backend }
    }

    #[track_caller]
    fn is_live(&mut self) {
        is_live(&mut self.client, &mut self.backend);
    }

    /// Both sides have seen the end, and nothing before it.
    #[track_caller]
    fn is_closed(&self) {
        assert_eq!(read_until_end(&self.client), (Vec::new(), End::Fin));
        assert_eq!(read_until_end(&self.backend), (Vec::new(), End::Fin));
    }
}

/// An evener with these servers, which are called a, b, c; those behind the first are drained.
fn start(servers: &[Server], rest: &[&str]) -> (Evener, Admin) {
    let evener = Evener::start(&text(servers, rest));
    let admin = Admin::of(&evener);
    (evener, admin)
}

fn text(servers: &[Server], rest: &[&str]) -> String {
    let backend = |(index, server): (usize, &Server)| {
        let name = ["a", "b", "c"][index];
        let state = if index == 0 { "ready" } else { "drain" };
        let address = server.address();
        format!("{{ name: {name}, address: \"{address}\", state: {state} }}")
    };
    let backends: Vec<String> = servers.iter().enumerate().map(backend).collect();
    let rest: Vec<&str> = rest.iter().copied().chain([ADMIN]).collect();
    config(&backends, &POOL, &rest)
}

fn servers<const N: usize>() -> [Server; N] {
    [(); N].map(|()| Server::start())
}

/// The command, to this evener.
#[track_caller]
fn tell(evener: &Evener, command: &str) -> Finished {
    let admin = evener
        .address_after("admin server at http://", 0)
        .to_string();
    let mut words: Vec<&str> = command.split(' ').collect();
    words.extend(["--admin", &admin]);
    Evener::command(&words)
}

#[track_caller]
fn told(evener: &Evener, command: &str) -> String {
    let done = tell(evener, command);
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (Some(0), ""),
        "{command}"
    );
    done.stdout
}

fn rebalance(admin: &Admin) -> Value {
    admin.status()["pools"][0]["rebalance"].clone()
}

fn active(admin: &Admin) -> HashMap<String, u64> {
    let status = admin.status();
    let backends = status["pools"][0]["backends"].as_array().unwrap();
    let pair = |backend: &Value| {
        let name = backend["name"].as_str().unwrap().to_owned();
        (name, backend["active"].as_u64().unwrap())
    };
    backends.iter().map(pair).collect()
}

#[test]
fn what_a_backend_has_beyond_its_share_is_moved_to_the_one_that_is_back() {
    let all = servers::<3>();
    let (evener, admin) = start(&all, &[]);
    told(&evener, "ready p/b");
    let baseline = evener.baseline();
    let mut sessions = HashMap::new();
    for _ in 0..12 {
        let client = connect(evener.address(0));
        let backend = eventually("the backend's end", || {
            let (a, b) = (&all[0], &all[1]);
            a.accept_within(Duration::ZERO)
                .or_else(|| b.accept_within(Duration::from_millis(1)))
        });
        let mut session = Session { client, backend };
        session.is_live();
        sessions.insert(sessions.len() + 1, session);
    }
    told(&evener, "ready p/c");
    let said = told(&evener, "rebalance p --rate 100/s --idle-for 0s");
    let begin =
        "rebalance of pool p: 4 connections are to be closed, 100/s, idle ones first (a 2, b 2)";
    assert_eq!(said, format!("{begin}\n"));
    evener.wait_log(begin);
    evener.wait_log("rebalance of pool p is done: 4 connections were closed");
    // The oldest of each have gone, in order; the others have noticed nothing.
    for line in evener.wait_log_count("ended: rebalanced KD", 4) {
        let (_, rest) = line.split_once("session ").unwrap();
        let id: usize = rest.split_once(' ').unwrap().0.parse().unwrap();
        assert!(id <= 4, "{line}");
        sessions.remove(&id).unwrap().is_closed();
    }
    assert_eq!(rebalance(&admin), Value::Null);
    sessions.values_mut().for_each(Session::is_live);
    // Their clients come again.
    let again: Vec<Session> = (0..4).map(|_| Session::open(&evener, &all[2])).collect();
    let even = HashMap::from(["a", "b", "c"].map(|name| (name.to_owned(), 4)));
    assert_eq!(active(&admin), even);
    let said = told(&evener, "rebalance p --rate 5/s");
    assert_eq!(said, "pool p: there is nothing to close\n");
    drop((sessions, again));
    evener.check_invariants(&baseline);
}

/// What `meanwhile` gives, while another thread keeps this session at work.
fn at_work<T>(session: &mut Session, meanwhile: impl FnOnce() -> T) -> T {
    let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let stopped = stopped;
            while stopped.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                session.is_live();
            }
        });
        let result = meanwhile();
        drop(stop);
        result
    })
}

#[test]
fn idle_sessions_go_first() {
    let all = servers::<2>();
    let (evener, admin) = start(&all, &[]);
    let mut sessions: Vec<Session> = (0..4).map(|_| Session::open(&evener, &all[0])).collect();
    // The oldest is at work, the others are idle.
    let mut busy = sessions.remove(0);
    at_work(&mut busy, || {
        eventually("idle sessions", || {
            let connections = admin.get("/api/v1/connections").json();
            let idle = connections["connections"].as_array().unwrap().iter();
            let idle = idle.filter(|one| one["idle_seconds"].as_f64().unwrap() >= 2.0);
            (idle.count() >= 3).then_some(())
        });
        told(&evener, "ready p/b");
        told(&evener, "rebalance p --rate 100/s --idle-for 2s");
        evener.wait_log("rebalance of pool p is done: 2");
    });
    sessions[0].is_closed();
    sessions[1].is_closed();
    sessions[2].is_live();
    busy.is_live();
}

#[test]
fn a_rebalance_tells_how_far_it_is_can_be_replaced_and_stopped() {
    let all = servers::<2>();
    let (evener, admin) = start(&all, &[]);
    let mut sessions: Vec<Session> = (0..8).map(|_| Session::open(&evener, &all[0])).collect();
    told(&evener, "ready p/b");
    // The first is closed at once, the next one is due in a minute.
    let path = "/api/v1/pools/p/rebalance";
    let answer = admin.post(path, "{\"rate\": \"1/m\", \"idle_for\": \"0s\"}");
    assert_eq!(answer.status, 200, "{answer:?}");
    let progress = eventually("the first one", || {
        let progress = rebalance(&admin);
        (progress["closed"] == 1).then_some(progress)
    });
    assert_eq!(
        (&progress["left"], &progress["rate"]),
        (&3.into(), &"1/m".into())
    );
    sessions.remove(0).is_closed();
    assert!(told(&evener, "status").contains("pool p (least_connections, rebalancing 3 at 1/m)"));
    // Of 7 sessions, 4 are the share of each.
    let said = told(&evener, "rebalance p --rate 2/m --idle-for 0s");
    let stopped = "rebalance of pool p was stopped: 1 connections were closed, 3 were left\n";
    assert!(said.starts_with(stopped), "{said}");
    assert!(
        said.contains(": 3 connections are to be closed, 2/m"),
        "{said}"
    );
    eventually("the second one", || {
        (rebalance(&admin)["left"] == 2).then_some(())
    });
    sessions.remove(0).is_closed();
    let said = told(&evener, "rebalance p --stop");
    let stopped = "rebalance of pool p was stopped: 1 connections were closed, 2 were left";
    assert_eq!(said, format!("{stopped}\n"));
    evener.wait_log(stopped);
    assert_eq!(rebalance(&admin), Value::Null);
    sessions.iter_mut().for_each(Session::is_live);
    assert_eq!(
        told(&evener, "rebalance p --stop"),
        "pool p: there is nothing to close\n"
    );
}

#[test]
fn a_drained_backend_is_emptied_in_order_if_that_is_asked_for() {
    let all = servers::<1>();
    let (evener, admin) = start(&all, &[]);
    let baseline = evener.baseline();
    let mut sessions: Vec<Session> = (0..5).map(|_| Session::open(&evener, &all[0])).collect();
    // What is on its way to a client that reads later gets there before the end.
    const SENT: usize = 4 << 20;
    let slow = sessions.remove(0);
    let mut writer = slow.backend.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&vec![7; SENT]).unwrap());
    eventually("more than the client's buffer holds", || {
        let backend = admin.backend("a");
        (backend["bytes_out"].as_u64().unwrap() > 64 << 10).then_some(())
    });
    let said = told(&evener, "drain p/a --close --rate 100/s --idle-for 0s");
    assert!(said.starts_with("p/a is drain, up"), "{said}");
    evener.wait_log("drain of backend a (pool p): 5 connections are to be closed, 100/s");
    sessions.iter().for_each(Session::is_closed);
    evener.wait_log_count("ended: drained KD", 4);
    let closing = admin.backend("a")["closing"].clone();
    assert_eq!(
        (&closing["left"], &closing["rate"]),
        (&1.into(), &"100/s".into())
    );
    assert!(told(&evener, "status").contains("drain (ready), closing 1 at 100/s"));
    let mut read = vec![0; SENT];
    (&slow.client).read_exact(&mut read).unwrap();
    writing.join().unwrap();
    slow.is_closed();
    evener.wait_log("drain of backend a (pool p) is done: 5 connections were closed");
    assert_eq!(admin.backend("a")["closing"], Value::Null);
    evener.check_invariants(&baseline);
}

#[test]
fn ready_ends_the_closing() {
    let all = servers::<1>();
    for (take_back, state) in [("ready p/a", "ready"), ("drain p/a", "drain")] {
        let (evener, admin) = start(&all, &[]);
        let mut sessions: Vec<Session> = (0..3).map(|_| Session::open(&evener, &all[0])).collect();
        told(&evener, "drain p/a --close --rate 1/m --idle-for 0s");
        sessions.remove(0).is_closed();
        told(&evener, take_back);
        assert_eq!(admin.backend("a")["closing"], Value::Null);
        assert_eq!(admin.backend("a")["admin_state"], state);
        let stopped =
            "drain of backend a (pool p) was stopped: 1 connections were closed, 2 were left";
        evener.wait_log(stopped);
        sessions.iter_mut().for_each(Session::is_live);
    }
}

#[test]
fn a_config_that_takes_a_backend_back_ends_the_closing() {
    let all = servers::<1>();
    let (evener, admin) = start(&all, &[]);
    let mut sessions: Vec<Session> = (0..3).map(|_| Session::open(&evener, &all[0])).collect();
    told(&evener, "drain p/a --close --rate 1/m --idle-for 0s");
    sessions.remove(0).is_closed();
    // The config says something new of this backend, which is the later word.
    evener.rewrite_config(&text(&all, &[]).replace("state: ready", "weight: 2"));
    evener.signal(Signal::HUP);
    evener.wait_log("drain of backend a (pool p) was stopped");
    assert_eq!(admin.backend("a")["admin_state"], "ready");
    sessions.iter_mut().for_each(Session::is_live);
}

#[test]
fn idle_sessions_of_a_removed_backend_are_closed_in_order_before_the_deadline() {
    let all = servers::<2>();
    let rest = ["shutdown: { drain_timeout: 4s }"];
    let (evener, _) = start(&all, &rest);
    let idle: Vec<Session> = (0..3).map(|_| Session::open(&evener, &all[0])).collect();
    let mut busy = Session::open(&evener, &all[0]);
    evener.rewrite_config(&text(&all[1..], &rest).replace("name: a", "name: b"));
    evener.signal(Signal::HUP);
    // Who is at work has all the time there is.
    at_work(&mut busy, || {
        evener.wait_log_count("ended: backend_removed KD", 3);
    });
    idle.iter().for_each(Session::is_closed);
    let aborted = evener.wait_log("its time is over: 1 connections aborted");
    assert!(aborted.contains("backend a (pool p)"), "{aborted}");
    assert_eq!(read_until_end(&busy.client).1, End::Reset);
    evener.wait_log_count("ended: backend_removed KD", 4);
}

#[test]
fn what_can_not_be_is_refused_and_nothing_is_closed() {
    let all = servers::<2>();
    let (evener, admin) = start(&all, &[]);
    let mut sessions: Vec<Session> = (0..4).map(|_| Session::open(&evener, &all[0])).collect();
    told(&evener, "ready p/b");
    let (pool, backend) = ("/api/v1/pools/p/rebalance", "/api/v1/pools/p/backends/a");
    for (path, body, status, says) in [
        (
            "/api/v1/pools/q/rebalance",
            "{\"rate\": \"5/s\"}",
            404,
            "pools: p",
        ),
        (pool, "{}", 422, "rate is missing"),
        (pool, "5/s", 422, "not JSON"),
        (pool, "{\"rate\": \"5\"}", 422, "rate `5` is not a rate"),
        (
            pool,
            "{\"rate\": \"5/s\", \"idle_for\": \"10\"}",
            422,
            "write `10s`",
        ),
        (
            backend,
            "{\"state\": \"ready\", \"close\": {\"rate\": \"5/s\"}}",
            422,
            "close goes with the state drain",
        ),
        (
            backend,
            "{\"state\": \"drain\", \"close\": {\"rate\": \"0/s\"}}",
            422,
            "rate `0` is out of range",
        ),
    ] {
        let answer = admin.post(path, body);
        assert_eq!(answer.status, status, "{path} {answer:?}");
        assert!(answer.body.contains(says), "{path} {answer:?}");
    }
    assert_eq!(admin.get(pool).status, 405);
    for (command, code, says) in [
        ("rebalance q --rate 5/s", 1, "there is no pool `q`"),
        ("rebalance p", 2, "`rebalance` needs a --rate"),
        (
            "drain p/a --rate 5/s",
            2,
            "`drain` closes nothing without --close",
        ),
    ] {
        let done = tell(&evener, command);
        assert_eq!(done.code, Some(code), "{command} {done:?}");
        assert!(done.stderr.contains(says), "{command} {done:?}");
    }
    assert_eq!(admin.backend("a")["admin_state"], "ready");
    assert_eq!(rebalance(&admin), Value::Null);
    sessions.iter_mut().for_each(Session::is_live);
}
