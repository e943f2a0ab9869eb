//! Every default and every bound of the program, in this one place: unit, meaning and where the
//! number comes from. What the config leaves out is what stands here.

use super::{
    Admin, AdminBind, Admission, Backend, BackendAddress, Bind, Hashing, HealthCheck, ListenOn,
    Listener, Log, LogFormat, LogLevel, OnDown, Pool, Probe, ProbeHeader, Routes, Shutdown,
    Timeouts, WhenDown,
};
use crate::policy::answer;
use crate::policy::answer::http::Statuses;
use crate::policy::balance::{Policy, round_robin};
use crate::policy::health::AdminState;
use crate::policy::outlier::Rules;
use crate::policy::schedule::JITTER_MAX;
use crate::policy::socket::{ConnectOptions, ListenOptions};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Where evener listens with no config: port 8080, IPv4 and IPv6 (the usual port of development servers).
pub const LISTEN: &str = ":8080";
/// The backends with no config: the three that the walk-through in the README starts.
pub const BACKENDS: [&str; 3] = ["127.0.0.1:8000", "127.0.0.1:8001", "127.0.0.1:8002"];
/// Where evener can be asked and told with no config: this machine only. The port is in none of the
/// lists of common programs.
pub const ADMIN: &str = "127.0.0.1:9900";
/// Mode of a listener's unix socket: evener's own user and group. Everybody is for who says so.
pub const SOCKET_MODE: u32 = 0o660;
/// Name of a pool that was given none; only a single pool may do without.
pub const POOL_NAME: &str = "default";
/// Share of a backend relative to the others of its pool (HAProxy, nginx, Envoy).
pub const WEIGHT: u32 = 1;
/// Further attempts to connect, each on another backend while there is one. HAProxy's default of 3
/// counts attempts on the same server; with other servers first, 2 are enough to pass two dead ones.
pub const RETRIES: u32 = 2;

/// Below this share of live backends health is ignored; 0 is never. Envoy's 50 % sends clients to
/// servers that are known to be dead, which is for whoever asks for it.
pub const PANIC_THRESHOLD: f64 = 0.0;
/// What it may be.
pub const PANIC_THRESHOLD_RANGE: RangeInclusive<f64> = 0.0..=1.0;

/// Connections in a row that fail before a backend is ejected. Envoy waits for 5; each of them costs a
/// client a retry, and a local fault does not count.
pub const CONSECUTIVE_FAILURES: u32 = 3;
/// How long the first ejection lasts. Envoy's 30 s are for servers without health checks; with them, a good
/// probe ends it.
pub const EJECTION_TIME: Duration = Duration::from_secs(10);
/// How long any does, at most (Envoy `max_ejection_time`).
pub const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);
/// How much of a pool may be ejected, percent. Envoy's 10 spares none of a pool of nine; the other half is
/// enough to serve, and when more than half fail, the fault is likely to be elsewhere.
pub const MAX_EJECTION_PERCENT: u32 = 50;
/// What a percentage may be.
pub const PERCENT_RANGE: RangeInclusive<u32> = 0..=100;
/// Bits of an IPv6 client's address that a hash goes by: all, as in HAProxy and nginx. With 64, a host
/// that changes its address within its network (RFC 8981, about once a day) would keep its backend; but
/// in a data centre all clients may be of one /64, and one backend would get them all.
pub const HASH_IPV6_PREFIX: u32 = 128;
/// What it may be.
pub const HASH_IPV6_PREFIX_RANGE: RangeInclusive<u32> = 1..=128;
/// What `hash_balance_factor` may be: below 1 there would be no room for all.
pub const HASH_BALANCE_FACTOR_RANGE: RangeInclusive<f64> = 1.0..=9.0;

/// From one probe of a backend to the next (HAProxy `inter`).
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(2);
/// How long a probe may take. Half the interval: a probe ends before the next begins.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
/// Good probes in a row that bring a backend up (HAProxy `rise`).
pub const HEALTH_RISE: u32 = 2;
/// Bad probes in a row that take a backend down (HAProxy `fall`).
pub const HEALTH_FALL: u32 = 3;
/// Share of the interval by which a probe is moved at random: enough that the probes of several
/// balancers drift apart, too little to be seen in how fast a failure is found.
pub const HEALTH_JITTER: f64 = 0.1;
/// What an HTTP probe asks for.
pub const HTTP_PATH: &str = "/";

/// From one answer for a host name to the next question: the time to live that service discovery
/// gives its answers (Kubernetes' DNS: 30 s), so that asking more often would find the same.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);
/// The shortest: a resolver has other users.
pub const RESOLVE_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// One attempt to connect to one backend (Envoy `connect_timeout`).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// No byte in either direction (nginx `proxy_timeout`).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// No byte any more after one side has ended: long enough for an answer that is computed after the
/// question's end, short enough that peers which never close do not pile up.
pub const HALF_CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait for a backend that has room (HAProxy's `timeout queue` is its `timeout connect`, too).
pub const QUEUE_TIMEOUT: Duration = CONNECT_TIMEOUT;

/// From the accept to the end of a PROXY header (the specification, section 2: "at least 3 seconds to
/// cover a TCP retransmit").
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(3);

/// From the accept, or the PROXY header, to the name in a TLS hello: long enough for a segment to be sent
/// again twice (Caddy `matching_timeout`).
pub const ROUTES_TIMEOUT: Duration = Duration::from_secs(3);

/// From the stop signal to the closing of the listeners. None: only who has a balancer in front
/// that must notice first needs one.
pub const PRE_STOP_DELAY: Duration = Duration::ZERO;
/// How long sessions may end by themselves: within the 30 s that Kubernetes gives a pod.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// Is a line logged at the end of each session?
pub const LOG_CONNECTIONS: bool = true;

/// What a weight may be (HAProxy's range); 0 takes no new session.
pub const WEIGHT_RANGE: RangeInclusive<u32> = 0..=256;
/// What `retries` may be; more than that would hide a dead pool from its clients for minutes.
pub const RETRIES_RANGE: RangeInclusive<u32> = 0..=100;
/// What `rise` and `fall` may be.
pub const STREAK_RANGE: RangeInclusive<u32> = 1..=100;
/// What `max_connections` may be: two threads each, so a million is beyond every machine.
pub const CONNECTIONS_RANGE: RangeInclusive<u32> = 1..=1_000_000;
/// What `max_queue` may be: each who waits has two threads, too; 0 is no queue.
pub const QUEUE_RANGE: RangeInclusive<u32> = 0..=1_000_000;
/// A session in which nothing has moved for so long is idle, when many are to be closed: longer than a request
/// and the answer take, shorter than what most protocols use to keep a connection alive.
pub const CLOSE_IDLE_FOR: Duration = Duration::from_secs(10);
/// What a rate may be, in a second or a minute: the counting is exact to one in so many.
pub const RATE_RANGE: RangeInclusive<u32> = 1..=10_000;
/// What the buffers of a socket may be, in bytes. The smallest holds a TLS hello, which is looked at before any
/// of it is read.
pub const BUFFER_RANGE: RangeInclusive<u32> = 16 << 10..=64 << 20;
/// What `backlog` may be; the system's own limit is net.core.somaxconn.
pub const BACKLOG_RANGE: RangeInclusive<u32> = 1..=1 << 20;
/// What `count` of `keepalive` may be (MAX_TCP_KEEPCNT of the kernel).
pub const KEEPALIVE_COUNT_RANGE: RangeInclusive<u32> = 1..=127;
/// The longest time that the kernel takes for `keepalive` and `defer_accept` (MAX_TCP_KEEPIDLE).
pub const KERNEL_SECONDS_MAX: Duration = Duration::from_secs(32767);
/// Longest name of a network interface, bytes (IFNAMSIZ less its NUL).
pub const INTERFACE_CHARS_MAX: usize = 15;
/// What `jitter` may be: at its largest, the gap between two probes is half an interval to one and a half.
pub const JITTER_RANGE: RangeInclusive<f64> = 0.0..=JITTER_MAX;
/// The longest duration: 366 days. `off` says "for ever" better than a large number.
pub const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// The shortest timeout: the system's timers are not finer.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// The shortest time from one line about a session to the next: more often is a flood, not a log.
pub const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The shortest probe interval: more than 100 probes a second are load, not a check.
pub const HEALTH_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Longest path and host of an HTTP probe, bytes: the request fits into an empty socket buffer.
pub const HTTP_TEXT_BYTES_MAX: usize = 1024;
/// How much a probe may send, bytes: it fits into an empty socket buffer.
pub const SEND_BYTES_RANGE: RangeInclusive<usize> = 0..=4096;
/// How much a probe may expect, bytes; more than it looks at would never come.
pub const EXPECT_BYTES_RANGE: RangeInclusive<usize> = 1..=answer::bytes::BYTES_MAX / 16;
/// Longest name of a listener, pool or backend, characters: names stand in log lines and labels.
pub const NAME_CHARS_MAX: usize = 64;
/// Largest config file, bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The default balancing policy (that of HAProxy, nginx and Envoy).
pub fn balance() -> &'static Policy {
    &round_robin::POLICY
}

/// The statuses that are good: an answer, or a word where to find it.
pub fn http_statuses() -> Statuses {
    Statuses::new(vec![200..=399])
}

/// Real connections that fail take a backend out.
pub fn outlier_detection() -> Rules {
    Rules {
        consecutive_failures: CONSECUTIVE_FAILURES,
        ejection_time: EJECTION_TIME,
        max_ejection_time: MAX_EJECTION_TIME,
        max_ejection_percent: MAX_EJECTION_PERCENT,
    }
}

/// The default admin address: [`ADMIN`], without a token, because only this machine gets there.
pub fn admin() -> Admin {
    let address = SocketAddr::from(([127, 0, 0, 1], 9900));
    Admin {
        bind: AdminBind::Tcp(Bind {
            text: ADMIN.to_string(),
            address,
            dual_stack: false,
        }),
        configured: false,
        token_file: None,
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: CONNECT_TIMEOUT,
            idle: Some(IDLE_TIMEOUT),
            half_close: Some(HALF_CLOSE_TIMEOUT),
            queue: Some(QUEUE_TIMEOUT),
            max_lifetime: None,
        }
    }
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown {
            pre_stop_delay: PRE_STOP_DELAY,
            drain_timeout: Some(DRAIN_TIMEOUT),
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            format: LogFormat::Text,
            level: LogLevel::Info,
            connections: LOG_CONNECTIONS,
            progress_interval: None,
        }
    }
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp,
            address: None,
            port: None,
            header: ProbeHeader::OfPool,
            fast_interval: None,
            down_interval: None,
            interval: HEALTH_INTERVAL,
            timeout: HEALTH_TIMEOUT,
            rise: HEALTH_RISE,
            fall: HEALTH_FALL,
            jitter: HEALTH_JITTER,
        }
    }
}

impl Default for Routes {
    fn default() -> Routes {
        Routes {
            list: Vec::new(),
            timeout: ROUTES_TIMEOUT,
        }
    }
}

impl Default for Hashing {
    fn default() -> Hashing {
        Hashing {
            ipv6_prefix: HASH_IPV6_PREFIX,
            balance_factor: None,
        }
    }
}

impl Default for WhenDown {
    /// A client sees at once that there is no server, instead of an answer of no bytes.
    fn default() -> WhenDown {
        WhenDown::Reset
    }
}

impl Listener {
    /// A listener named after its address, for the pool of that name.
    pub fn new(bind: ListenOn, pool: &str) -> Listener {
        Listener {
            name: bind.to_string(),
            bind: vec![bind],
            mode: SOCKET_MODE,
            pool: Some(pool.to_string()),
            routes: Routes::default(),
            max_connections: None,
            accept_proxy_protocol: None,
            admission: Admission::default(),
            socket: ListenOptions::USUAL,
        }
    }
}

impl Pool {
    /// A pool of that name with these backends.
    pub fn new(name: &str, backends: Vec<Backend>) -> Pool {
        Pool {
            name: name.to_string(),
            balance: balance(),
            retries: RETRIES,
            when_down: WhenDown::default(),
            on_down: OnDown::default(),
            panic_threshold: PANIC_THRESHOLD,
            send_proxy_protocol: None,
            socket: ConnectOptions::USUAL,
            hashing: Hashing::default(),
            health_check: Some(HealthCheck::default()),
            agent: None,
            outlier_detection: Some(outlier_detection()),
            slow_start: None,
            hedge_after: None,
            backends,
        }
    }
}

impl Backend {
    /// A backend named after its address.
    pub fn new(address: BackendAddress) -> Backend {
        Backend {
            name: address.to_string(),
            resolve_interval: address.default_interval(),
            address,
            weight: WEIGHT,
            state: AdminState::Ready,
            backup: false,
            max_connections: None,
            max_queue: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_admin_address_is_what_its_text_says() {
        let AdminBind::Tcp(bind) = admin().bind else {
            unreachable!("it is a TCP address");
        };
        assert_eq!(bind.address.to_string(), ADMIN);
    }

    #[test]
    fn defaults_are_within_their_bounds() {
        assert!(WEIGHT_RANGE.contains(&WEIGHT) && RETRIES_RANGE.contains(&RETRIES));
        assert!(STREAK_RANGE.contains(&HEALTH_RISE) && STREAK_RANGE.contains(&HEALTH_FALL));
        assert!(JITTER_RANGE.contains(&HEALTH_JITTER) && HEALTH_TIMEOUT < HEALTH_INTERVAL);
        for timeout in [
            CONNECT_TIMEOUT,
            IDLE_TIMEOUT,
            HALF_CLOSE_TIMEOUT,
            QUEUE_TIMEOUT,
            PROXY_HEADER_TIMEOUT,
            ROUTES_TIMEOUT,
            DRAIN_TIMEOUT,
        ] {
            assert!(TIMEOUT_MIN <= timeout && timeout <= DURATION_MAX);
        }
    }
}
