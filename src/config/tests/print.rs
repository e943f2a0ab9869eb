//! What is printed loads again: generated configs, and one that is read by a person.

use super::super::defaults::*;
use super::super::*;
use crate::policy::balance;
use crate::policy::bulk::Method;
use crate::policy::health::AdminState;
use crate::policy::outlier::Rules;
use crate::policy::patience::BusyPoll;
use crate::policy::routes::Pattern;
use crate::policy::socket::{KeepAlive, SocketOptions, Source};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use std::path::PathBuf;

fn name() -> impl Strategy<Value = String> {
    // Anything that the reader allows: every character but control characters.
    prop_oneof![
        "[a-z]{1,8}",
        "\\PC{1,16}",
        Just("null".to_string()),
        Just("~".to_string()),
        Just("off".to_string()),
        Just("- \"a\": #'\\ ".to_string()),
        Just("\u{feff}\u{2028}\u{a0}x ".to_string()),
    ]
    .prop_filter("no control characters", |name| {
        !name.chars().any(char::is_control)
    })
}

fn time(min_ms: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![min_ms..5_000, min_ms..=366 * 86_400_000].prop_map(Duration::from_millis)
}

fn connections() -> impl Strategy<Value = Option<u32>> {
    option::of(CONNECTIONS_RANGE)
}

fn accept_proxy() -> impl Strategy<Value = Option<AcceptProxy>> {
    let network = prop_oneof![
        (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(ip, prefix)| (ip.into(), prefix)),
        (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(ip, prefix)| (ip.into(), prefix)),
    ];
    let network = network.prop_map(|(ip, prefix): (std::net::IpAddr, u8)| {
        ipnet::IpNet::new(ip, prefix).unwrap().trunc()
    });
    let accept = (vec(network, 1..4), any::<bool>(), time(1));
    option::of(accept.prop_map(|(from, from_unix, timeout)| AcceptProxy {
        from,
        from_unix,
        timeout,
    }))
}

fn admission() -> impl Strategy<Value = Admission> {
    use crate::policy::access::{Rule, Rules, Verdict, canonical};
    use crate::policy::rate::{Per, Rate};
    let verdict = || prop::sample::select(Verdict::ALL.to_vec());
    let ip = prop_oneof![
        any::<u32>().prop_map(|bits| std::net::IpAddr::from(bits.to_be_bytes())),
        any::<u128>().prop_map(|bits| std::net::IpAddr::from(bits.to_be_bytes())),
    ];
    let rule = (verdict(), ip, 0..=32_u8).prop_map(|(verdict, ip, bits)| Rule {
        verdict,
        network: canonical(ipnet::IpNet::new(ip, bits).unwrap().trunc()),
    });
    let access = (verdict(), vec(rule, 0..4)).prop_map(|(default, rules)| Rules { default, rules });
    let per = prop::sample::select(Per::ALL.to_vec());
    let rate = (RATE_RANGE, per).prop_map(|(count, per)| Rate { count, per });
    (option::of(access), connections(), option::of(rate)).prop_map(|(access, most, rate)| {
        Admission {
            access,
            max_connections_per_ip: most,
            connection_rate_per_ip: rate,
        }
    })
}

/// A listener's own pool, if it has one, and its routes.
fn listener_pools(pools: Vec<String>) -> impl Strategy<Value = (Option<String>, Routes)> {
    let names = btree_set("(\\*\\.)?[a-z0-9_-]{1,9}\\.[a-z]{2,4}", 1..4);
    let timeout = (1..5000_u64).prop_map(Duration::from_millis);
    let pool = prop::sample::select(pools);
    let route = (names, pool.clone());
    (pool, any::<bool>(), vec(route, 0..3), timeout).prop_map(|(pool, has_own, routes, timeout)| {
        let mut list: Vec<Route> = Vec::new();
        for (names, pool) in routes {
            let names = names.iter().map(|name| Pattern::parse(name).unwrap());
            let is_new = |name: &Pattern| !list.iter().any(|route| route.sni.contains(name));
            let sni: Vec<Pattern> = names.filter(is_new).collect();
            if !sni.is_empty() {
                list.push(Route { sni, pool });
            }
        }
        let own = (has_own || list.is_empty()).then_some(pool);
        (own, Routes { list, timeout })
    })
}

fn socket_options() -> impl Strategy<Value = SocketOptions> {
    let seconds = || (1..=32767_u64).prop_map(Duration::from_secs);
    let keepalive = (seconds(), seconds(), 1..=127_u32);
    let buffer = || option::of(16_u32 << 10..=64 << 20);
    let interface =
        option::of("[a-z][a-z0-9.@-]{0,14}".prop_filter("not off", |name| name != "off"));
    (
        option::of(keepalive),
        option::of(time(1)),
        (buffer(), buffer()),
        any::<bool>(),
        interface,
    )
        .prop_map(
            |(keepalive, user_timeout, buffers, nodelay, interface)| SocketOptions {
                keepalive: keepalive.map(|(idle, interval, count)| KeepAlive {
                    idle,
                    interval,
                    count,
                }),
                user_timeout,
                receive_buffer: buffers.0,
                send_buffer: buffers.1,
                nodelay,
                interface,
                transparent: !nodelay,
            },
        )
}

fn listen_options() -> impl Strategy<Value = ListenOptions> {
    let defer = option::of((1..=32767_u64).prop_map(Duration::from_secs));
    let backlog = option::of(1..=1_048_576_u32);
    (socket_options(), backlog, defer).prop_map(|(common, backlog, defer_accept)| ListenOptions {
        common,
        backlog,
        defer_accept,
    })
}

fn connect_options() -> impl Strategy<Value = ConnectOptions> {
    let address = prop_oneof![Just("192.0.2.1"), Just("2001:db8::1")];
    let ports = option::of((1..=40_000_u16, 0..=20_000_u16));
    let source = option::of((address, ports));
    (socket_options(), source).prop_map(|(mut common, source)| {
        common.transparent &= source.is_none();
        let source = source.map(|(address, ports)| Source {
            address: address.parse().unwrap(),
            ports: ports.map(|(first, more)| first..=first + more),
        });
        ConnectOptions { common, source }
    })
}

fn listeners(pools: Vec<String>) -> impl Strategy<Value = Vec<Listener>> {
    let hosts = prop::sample::select(vec![
        ":",
        "0.0.0.0:",
        "[::1]:",
        "127.0.0.1:",
        "unix:/run/e v/",
    ]);
    let rows = vec(
        (
            vec(hosts, 1..3),
            listener_pools(pools),
            connections(),
            accept_proxy(),
            admission(),
            0..=0o777_u32,
            listen_options(),
        ),
        4,
    );
    (btree_set(name(), 1..4), rows).prop_map(|(names, rows)| {
        let mut port = 20_000;
        let mut bind = |host: &str| {
            port += 1;
            unix::listen_on(&format!("{host}{port}")).unwrap()
        };
        let mut listeners = Vec::new();
        for (
            name,
            (
                hosts,
                (pool, routes),
                max_connections,
                accept_proxy_protocol,
                admission,
                mode,
                socket,
            ),
        ) in names.into_iter().zip(rows)
        {
            let bind: Vec<ListenOn> = hosts.into_iter().map(&mut bind).collect();
            let has_path = bind.iter().any(|on| on.tcp().is_none());
            listeners.push(Listener {
                name,
                bind,
                mode: if has_path { mode } else { SOCKET_MODE },
                pool,
                routes,
                max_connections,
                accept_proxy_protocol,
                admission,
                socket,
            });
        }
        listeners
    })
}

fn backends() -> impl Strategy<Value = Vec<Backend>> {
    let states = [
        AdminState::Ready,
        AdminState::Drain,
        AdminState::Maintenance,
    ];
    let backend = (
        option::of(name()),
        any::<bool>(),
        1..=256_u32,
        prop::sample::select(states.to_vec()),
    );
    vec(backend, 1..5).prop_map(|rows| {
        let mut backends: Vec<Backend> = Vec::new();
        for (index, (name, is_ip, weight, state)) in rows.into_iter().enumerate() {
            let port = 1000 + index as u16;
            let host = format!("{}.example", "h".repeat(60));
            let ip = BackendAddress::Ip(([10, 0, 0, 1], port).into());
            let address = if is_ip && index % 2 == 1 {
                BackendAddress::Unix(format!("/run/app {index}.sock").into())
            } else if is_ip {
                ip
            } else {
                BackendAddress::Name { host, port }
            };
            let unnamed = Backend::new(address);
            let name = name.filter(|name| backends.iter().all(|other| other.name != *name));
            backends.push(Backend {
                name: name.unwrap_or(unnamed.name),
                weight,
                state,
                backup: index % 2 == 1,
                resolve_interval: (!is_ip && index % 3 > 0).then_some(Duration::from_millis(1234)),
                ..unnamed
            });
        }
        backends
    })
}

fn probe() -> impl Strategy<Value = Probe> {
    use crate::policy::answer::http::Statuses;
    let bytes = |range: std::ops::RangeInclusive<usize>| vec(any::<u8>(), range);
    let method = prop::sample::select(vec![HttpMethod::Get, HttpMethod::Head]);
    let status = (100..=599_u16, 0..50_u16).prop_map(|(first, more)| first..=599.min(first + more));
    let statuses = vec(status, 1..4).prop_map(Statuses::new);
    let http = (
        method,
        "/[!-~]{0,20}",
        option::of("[a-z.]{3,20}:[0-9]"),
        statuses,
    );
    prop_oneof![
        Just(Probe::Tcp),
        http.prop_map(
            |(method, path, host, expect_status)| Probe::Http(HttpProbe {
                method,
                path,
                host,
                expect_status,
            })
        ),
        (bytes(0..=30), bytes(1..=30))
            .prop_map(|(send, expect)| Probe::SendExpect { send, expect }),
    ]
}

fn agent() -> impl Strategy<Value = Option<Agent>> {
    option::of(
        (1..=u16::MAX, time(10), time(1)).prop_map(|(port, interval, timeout)| Agent {
            port,
            interval,
            timeout,
        }),
    )
}

fn health_check() -> impl Strategy<Value = HealthCheck> {
    let headers = [None, Some(Version::V1), Some(Version::V2)].map(ProbeHeader::Own);
    let mut headers = headers.to_vec();
    headers.push(ProbeHeader::OfPool);
    let whom = (
        option::of(any::<[u8; 16]>().prop_map(std::net::IpAddr::from)),
        option::of(1..=u16::MAX),
        prop::sample::select(headers),
    );
    let intervals = (time(10), option::of(time(10)), option::of(time(10)));
    let rest = (intervals, time(1), STREAK_RANGE, STREAK_RANGE, 0..=5000_u32);
    (probe(), whom, rest).prop_map(
        |(probe, (address, port, header), (intervals, timeout, rise, fall, jitter))| {
            let (interval, fast_interval, down_interval) = intervals;
            let jitter = f64::from(jitter) / 10_000.0;
            HealthCheck {
                probe,
                address,
                port,
                header,
                fast_interval,
                down_interval,
                interval,
                timeout,
                rise,
                fall,
                jitter,
            }
        },
    )
}

fn outlier_detection() -> impl Strategy<Value = Rules> {
    (STREAK_RANGE, time(1), time(1), PERCENT_RANGE).prop_map(
        |(consecutive_failures, ejection_time, max_ejection_time, max_ejection_percent)| Rules {
            consecutive_failures,
            ejection_time,
            max_ejection_time,
            max_ejection_percent,
        },
    )
}

fn hashing() -> impl Strategy<Value = Hashing> {
    (1..=128_u32, option::of(10_000..=90_000_u32)).prop_map(|(ipv6_prefix, factor)| Hashing {
        ipv6_prefix,
        balance_factor: factor.map(|factor| f64::from(factor) / 10_000.0),
    })
}

fn pools() -> impl Strategy<Value = Vec<Pool>> {
    let policies: Vec<&str> = balance::names().collect();
    let when_down = prop::sample::select(WhenDown::ALL.to_vec());
    let pool = (
        prop::sample::select(policies),
        RETRIES_RANGE,
        (when_down, 0..=10_000_u32),
        option::of(prop::sample::select(Version::ALL.to_vec())),
        (
            (hashing(), connect_options()),
            option::of(health_check()),
            agent(),
            (option::of(outlier_detection()), option::of(time(1))),
        ),
        backends(),
    );
    (btree_set(name(), 1..4), vec(pool, 4)).prop_map(|(names, rows)| {
        let pool = |(
            name,
            (
                balance,
                retries,
                (when_down, panic),
                send_proxy_protocol,
                ((hashing, socket), health_check, agent, (outlier_detection, slow_start)),
                backends,
            ),
        )| {
            let balance = balance::by_name(balance).unwrap();
            Pool {
                name,
                balance,
                retries,
                when_down,
                on_down: OnDown::ALL[retries as usize % 2],
                panic_threshold: f64::from(panic) / 10_000.0,
                send_proxy_protocol,
                socket,
                hashing,
                health_check,
                agent,
                outlier_detection,
                slow_start,
                hedge_after: None,
                backends,
            }
        };
        names.into_iter().zip(rows).map(pool).collect()
    })
}

fn admin() -> impl Strategy<Value = Option<Admin>> {
    let binds = prop::sample::select(vec!["127.0.0.1:9900", "[::1]:0", "unix:/run/e v/\"ö.sock"]);
    let token_file = || option::of(name().prop_filter("not off", |name| name != "off"));
    let asked_for = (binds, token_file()).prop_map(|(bind, token_file)| Admin {
        bind: super::super::admin::bind(bind).unwrap(),
        configured: true,
        token_file: token_file.map(PathBuf::from),
    });
    let default = token_file().prop_map(|token_file| Admin {
        token_file: token_file.map(PathBuf::from),
        ..super::super::defaults::admin()
    });
    option::of(prop_oneof![asked_for, default])
}

fn settings() -> impl Strategy<Value = (Timeouts, Shutdown, Log, Limits, Performance)> {
    let timeouts = (
        time(1),
        option::of(time(1)),
        option::of(time(1)),
        option::of(time(1)),
    )
        .prop_map(|(connect, idle, half_close, queue)| Timeouts {
            max_lifetime: half_close,
            connect,
            idle,
            half_close,
            queue,
        });
    let shutdown =
        (time(0), option::of(time(0))).prop_map(|(pre_stop_delay, drain_timeout)| Shutdown {
            pre_stop_delay,
            drain_timeout,
        });
    let formats = prop::sample::select(LogFormat::ALL.to_vec());
    let levels = prop::sample::select(LogLevel::ALL.to_vec());
    let log = (formats, levels, any::<bool>(), option::of(time(100))).prop_map(
        |(format, level, connections, progress_interval)| Log {
            progress_interval,
            format,
            level,
            connections,
        },
    );
    let limits = connections().prop_map(|max_connections| Limits { max_connections });
    let methods = prop::sample::select(Method::ALL.to_vec());
    let schedulers = prop::sample::select(Scheduler::ALL.to_vec());
    let busy_polls = prop::sample::select(BusyPoll::ALL.to_vec());
    let performance =
        (methods, busy_polls, schedulers).prop_map(|(relay, busy_poll, scheduler)| Performance {
            relay,
            busy_poll,
            scheduler,
        });
    (timeouts, shutdown, log, limits, performance)
}

fn confinement() -> impl Strategy<Value = Confinement> {
    let user = proptest::option::of("[a-z_][a-z0-9_.-]{0,8}\\$?|[0-9]{1,9}|[@#!&*'\"]x");
    let users = user.prop_filter("that is no user", |user| user.as_deref() != Some("off"));
    let sandboxes = prop::sample::select(Sandbox::ALL.to_vec());
    (users, proptest::option::of("[a-np-z][a-z]{0,8}"), sandboxes).prop_map(
        |(user, group, sandbox)| Confinement {
            group: group.filter(|_| user.is_some()),
            user,
            sandbox,
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    pools().prop_flat_map(|pools| {
        let names = pools.iter().map(|pool| pool.name.clone()).collect();
        let parts = (
            listeners(names),
            Just(pools),
            settings(),
            admin(),
            confinement(),
        );
        parts.prop_map(|(listeners, mut pools, settings, admin, confinement)| {
            let (timeouts, shutdown, log, limits, performance) = settings;
            for pool in &mut pools {
                // It has to be below the timeout.
                pool.hedge_after = pool.slow_start.filter(|time| *time < timeouts.connect);
            }
            Config {
                listeners,
                pools,
                timeouts,
                shutdown,
                admin,
                log,
                limits,
                performance,
                confinement,
            }
        })
    })
}

proptest! {
    #[test]
    fn what_is_printed_loads_again_to_the_same(config in config()) {
        let yaml = config.to_yaml();
        match Config::from_yaml("printed", &yaml) {
            Ok(again) => prop_assert_eq!(again, config),
            Err(errors) => prop_assert!(false, "{}\n{}", errors[0], yaml),
        }
    }
}

#[test]
fn it_reads_well() {
    let text = "\
listeners: [{ bind: ':8080' }]
pools:
  - backends: ['127.0.0.1:8000', { name: b, address: db:5432, weight: 3 }]
timeouts: { idle: 90m }
";
    let yaml = Config::from_yaml("t", text).unwrap().to_yaml();
    let expected = "\
listeners:
  - name: \":8080\"
    bind: \":8080\"
    pool: default
    routes: off
    routes_timeout: 3s
    max_connections: off
    accept_proxy_protocol: off
    max_connections_per_ip: off
    connection_rate_per_ip: off
    access: off
    socket:
      keepalive: { idle: 1m, interval: 10s, count: 6 }
      user_timeout: off
      receive_buffer: auto
      send_buffer: auto
      nodelay: true
      interface: off
      transparent: false
      backlog: auto
      defer_accept: off
pools:
  - name: default
    balance: round_robin
    retries: 2
    when_down: reset
    on_down: keep
    panic_threshold: 0%
    send_proxy_protocol: off
    socket:
      keepalive: { idle: 1m, interval: 10s, count: 6 }
      user_timeout: off
      receive_buffer: auto
      send_buffer: auto
      nodelay: true
      interface: off
      transparent: false
      source: off
    hash_ipv6_prefix: 128
    hash_balance_factor: off
    health_check:
      type: tcp
      interval: 2s
      fast_interval: off
      down_interval: off
      timeout: 1s
      rise: 2
      fall: 3
      jitter: 10%
      address: off
      port: off
      send_proxy_protocol: pool
    agent: off
    slow_start: off
    hedge_after: off
    outlier_detection:
      consecutive_failures: 3
      ejection_time: 10s
      max_ejection_time: 5m
      max_ejection_percent: 50
    backends:
      - { address: \"127.0.0.1:8000\", weight: 1, state: ready, backup: false, max_connections: off, max_queue: off, resolve_interval: off }
      - { name: b, address: \"db:5432\", weight: 3, state: ready, backup: false, max_connections: off, max_queue: off, resolve_interval: 30s }
timeouts:
  connect: 5s
  idle: 1h 30m
  half_close: 30s
  queue: 5s
  max_lifetime: off
shutdown:
  pre_stop_delay: 0s
  drain_timeout: 25s
admin:
  # bind: \"127.0.0.1:9900\"  (the default: if it is taken, evener runs without)
  token_file: off
log:
  format: text
  level: info
  connections: true
  progress_interval: off
limits:
  max_connections: auto
performance:
  relay: auto
  busy_poll: auto
  scheduler: batch
user: off
group: off
sandbox: off
";
    assert_eq!(yaml.split_once('\n').unwrap().1, expected);
}
