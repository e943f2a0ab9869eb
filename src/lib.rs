//! evener: a Layer-4 (TCP) load balancer of blocking sockets and operating-system threads.
//!
//! It spreads TCP connections over pools of backends, notices dead servers, and passes on every
//! byte, FIN and reset as it came. There is no async runtime, no event loop and no unsafe code in
//! this crate; what it needs of the kernel beyond `std` and `rustix` is in the small crate
//! `evener-sys`.
//!
//! # One session, from top to bottom
//!
//! ```text
//! client ──▶ listener thread    waits for room, accepts, asks who may come in, sets two threads aside
//!                 │
//!                 ▼
//!            session thread     takes a PROXY header, looks for a name, leases a backend, connects (the next one if it fails),
//!                 │             serves the opening exchange, then copies client ──▶ backend
//!                 ▼
//!            return thread      copies client ◀── backend, if the session lives on
//!
//! health thread  orders probes, owns every health state, publishes who can serve (RwLock)
//! reaper         ends sessions in which nothing moves any more; closes others little by little, if asked
//! log thread     receives events over a channel and writes them; nobody else does
//! main thread    waits for a signal, then runs the shutdown
//! ```
//!
//! # The map
//!
//! A file imports only from rows below its own; `tests/architecture.rs` checks it. Nothing below
//! knows anything above: callers log, leaves return what happened.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`server`], [`demo`] | start, reload and shutdown, in a written order; owns every `JoinHandle` |
//! | [`fuzzing`] | the door for the fuzz targets, to readers that are nobody else's business |
//! | [`client`] | asks a running evener, and tells it what to do |
//! | [`api`] | what the admin server answers: the status page, status, metrics, explanations, changes |
//! | [`admin`] | the admin server: HTTP, who may do what, its threads |
//! | [`control`] | what is running now, and how changes are asked for |
//! | [`acceptor`] | a listener thread: room first, then accept, then two threads |
//! | [`reaper`] | ends silent sessions, and carries out the orders of the closer |
//! | [`closer`] | orders to close sessions little by little: rebalance, drain, removal |
//! | [`session`] | **one session's life, read top to bottom** |
//! | [`health`] | the checker thread, and one probe |
//! | [`names`] | host names: the thread that has their addresses looked up, again and again |
//! | [`registry`] | the sessions that live now |
//! | [`admission`] | who is let in: access rules, limits for each client address |
//! | [`pool`] | backends, the published rotation, picking, leases |
//! | [`net`] | sockets and no policy: listen, connect, [`net::proxy_protocol`], [`net::client_hello`], [`net::relay`], [`net::splice`], [`net::end`], reset |
//! | [`privileges`] | whose process this is, and what is out of its reach |
//! | [`upgrade`] | a new version takes over the listening sockets of a running one |
//! | [`systemd`] | what evener and its service manager tell each other; sockets that it inherits |
//! | [`dummy`] | the backend of the demo, the tests and the benchmarks |
//! | [`log`] | the log thread and its channel |
//! | [`threads`] | parked threads, reused |
//! | [`stats`] | what is counted for the process |
//! | [`events`] | everything that can be logged: one closed enum |
//! | [`config`] | YAML and command line to a checked config; every default |
//! | [`limits`] | how many sessions this process can hold |
//! | [`policy`] | **pure decisions**: who is next, who is up, what is idle; no clock, socket, thread or lock |
//! | [`sync`] | locks and atomics, with **the ordering table**: read it before any other use of an atomic |
//!
//! # Threads
//!
//! | thread (as `ps -L` shows it) | owns | blocks in | ends because |
//! | --- | --- | --- | --- |
//! | `evener` | the server; makes every change | the channels of signals, requests and upgrades, the watchdog's clock | a signal came, or a new process serves |
//! | `ctrl-c` | | `sem_wait`, for the signal handler | the process ends |
//! | `sigusr2` | nothing | `sigwait`, for the order to upgrade | the process ends |
//! | `upgrade` | a new process, until that serves | `poll` of a pipe | the word or the end of that process, or a minute |
//! | `listen NAME` | nothing: hands everything on | `poll` for a client or the bell, or the gate when full | the gate is closed, the bell rung |
//! | `c12>…:8000`, before that `c12 header` and `c12 hello` | session 12; reads the client | `recv`, `send` or `splice`; `poll` while it waits for a PROXY header or a TLS hello, while connecting and in the opening; at the end a condition variable | both sides have ended |
//! | `c12<…:8000` | nothing: borrows the session | `recv` of the backend, `send` to the client, or `splice` | the same |
//! | `parked`, or for 50 ms its last name | nothing | `park`, for a job | not needed for two seconds, or shutdown |
//! | `health` | every health state | its channels, until the next probe is due | the channel of orders is disconnected |
//! | `probe …` | one connection | `poll` | the probe's timeout, or the checker hangs up |
//! | `names` | what is known of each host name | a channel, until the next question is due | the channel of orders is disconnected |
//! | `lookup HOST`, 8 at most | one question | the system's resolver | that has an answer, or gives up; or the process ends |
//! | `reaper` | its notes on each session | a channel, with a timeout | the stop channel is disconnected |
//! | `admin` | the admin connections | `accept` | the socket is shut down |
//! | `admin conn` | one admin connection | `recv`, `send`, or what its handler does | it has answered, or its 5 s are over |
//! | `hangup` | nothing | `sigwait`, for SIGHUP | the process ends |
//! | `log` | standard output | a channel, or `write` | it was told that this was all |
//! | `keys` (`evener top` only) | | `read` of the terminal | `q` is pressed, or the process ends |
//! | `demo`, `dummy …` (`evener demo` only) | the built-in backends | `read` of the terminal; `accept`, `read` | the process ends |
//!
#![doc = include_str!("doc/channels_and_locks.md")]
//! # What is deliberately absent
//!
//! TLS termination, HTTP routing, UDP, scripting. A queue between threads that copy: back-pressure
//! is the kernel's, by its socket buffers. A clock in the data path: the reaper has one for all.
#![doc = include_str!("doc/why_not_async.md")]
// What the world sends must not end a thread: where a place could be missing, the code says what then. The few
// exceptions have their reason beside them; tests may be as short as they like.
#![cfg_attr(
    not(test),
    warn(
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable
    )
)]

pub mod acceptor;
pub mod admin;
pub mod admission;
pub mod api;
pub mod client;
pub mod closer;
pub mod config;
pub mod control;
pub mod demo;
pub mod dummy;
pub mod events;
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
pub mod limits;
pub mod log;
pub mod names;
pub mod net;
pub mod policy;
pub mod pool;
pub mod privileges;
pub mod reaper;
pub mod registry;
pub mod server;
pub mod session;
pub mod stats;
pub mod sync;
pub mod systemd;
pub mod threads;
pub mod upgrade;
