//! Configs that must load, and what they must load to.

use super::super::{
    Agent, BackendAddress, Config, LogFormat, LogLevel, Performance, ProbeHeader, Scheduler,
    WhenDown,
};
use crate::policy::bulk::Method;
use crate::policy::health::AdminState;
use crate::policy::patience::BusyPoll;
use crate::policy::proxy_protocol::Version;
use std::time::Duration;

fn load(text: &str) -> Config {
    match Config::from_yaml("evener.yaml", text) {
        Ok(config) => config,
        Err(errors) => panic!("{}", super::printed(&errors)),
    }
}

/// Every key of the format. What this version does not act upon has the value that says so.
pub(super) const COMPLETE: &str = r#"# a comment
listeners:
  - name: web
    bind: "0.0.0.0:8080"            # one or a list
    pool: web
    max_connections: 4000
    max_connections_per_ip: off
    connection_rate_per_ip: off
    access: off
    accept_proxy_protocol: { from: [10.0.0.0/8, 192.0.2.7, "2001:db8::/32"], timeout: 1500ms }
    routes: [{ sni: [DB.example.org., "*.example.org"], pool: web }]
    routes_timeout: 1s
  - name: both
    bind: [":9090", "[::1]:9091"]
    pool: web
    max_connections: "off"
    accept_proxy_protocol: off
pools:
  - name: web
    balance: least_connections
    retries: 1
    when_down: close
    on_down: keep
    send_proxy_protocol: v2
    slow_start: off
    panic_threshold: 12.5%
    hash_ipv6_prefix: 64
    hash_balance_factor: 125%
    hedge_after: off
    health_check: { type: tcp, interval: 3s, timeout: 1500ms, rise: 1, fall: 5, jitter: 2.5%,
                    fast_interval: 500ms, down_interval: off, address: 10.0.0.9, port: 8001,
                    send_proxy_protocol: v1 }
    agent: { port: 8099, interval: 5s, timeout: 100ms }
    outlier_detection: off
    backends:
      - { name: a, address: "127.0.0.1:8000", weight: 3, max_connections: off, max_queue: off }
      - { address: "db.internal:5432", resolve_interval: off }
      - { address: "[::1]:8002", backup: true, state: maintenance }
      - 127.0.0.1:8003
timeouts: { connect: 2s, idle: off, half_close: 'off', queue: off, max_lifetime: off }
shutdown: { pre_stop_delay: 5s, drain_timeout: off }
admin: { bind: 'unix:/run/evener/admin.sock', token_file: /etc/evener/token }
log: { format: json, level: debug, connections: false, progress_interval: off }
limits: { max_connections: 20000 }
performance: { relay: copy, busy_poll: off, scheduler: inherit }
sandbox: best_effort
user: www-data
group: off
"#;

const SMALLEST: &str =
    "listeners: [{ bind: ':8080' }]\npools: [{ backends: ['127.0.0.1:8000'] }]\n";

#[test]
fn what_sockets_are_told() {
    let config = load(
        "listeners: [{ bind: ':8080', socket: { keepalive: { idle: 2m }, backlog: 64, defer_accept: 3s, transparent: true } }]\n\
         pools: [{ backends: ['127.0.0.1:8000'], socket: { keepalive: off, receive_buffer: 64k, send_buffer: 1MiB, \
         source: '[2001:db8::5]:40000-40009', user_timeout: 1500ms, interface: eth1, nodelay: off } }]\n",
    );
    let listener = &config.listeners[0].socket;
    let keepalive = listener.common.keepalive.unwrap();
    let seconds = [keepalive.idle, keepalive.interval].map(|time| time.as_secs());
    assert_eq!((seconds, keepalive.count), ([120, 10], 6));
    assert_eq!(
        (
            listener.backlog,
            listener.defer_accept,
            listener.common.transparent
        ),
        (Some(64), Some(Duration::from_secs(3)), true)
    );
    let pool = &config.pools[0].socket;
    let source = pool.source.as_ref().unwrap();
    assert_eq!(source.address.to_string(), "2001:db8::5");
    assert_eq!(source.ports, Some(40000..=40009));
    let common = &pool.common;
    assert_eq!(
        (common.receive_buffer, common.send_buffer, common.keepalive),
        (Some(65_536), Some(1_048_576), None)
    );
    assert_eq!(common.user_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(
        (common.interface.as_deref(), common.nodelay),
        (Some("eth1"), false)
    );
}

#[test]
fn routes() {
    let with = |text: &str| {
        let listener = format!("listeners: [{{ name: a, bind: ':8080', {text} }}]\n");
        load(&(listener + "pools: [{ name: web, backends: ['127.0.0.1:8000'] }]\n"))
    };
    let config = with(
        "routes: [{ sni: [DB.example.org., '*.example.org'], pool: web }, { sni: x, pool: web }]",
    );
    let listener = &config.listeners[0];
    assert_eq!(listener.pool, None, "whoever has no route is reset");
    let names = |route: &super::super::Route| -> Vec<String> {
        route.sni.iter().map(ToString::to_string).collect()
    };
    let routes = &listener.routes;
    assert_eq!(names(&routes.list[0]), ["db.example.org", "*.example.org"]);
    assert_eq!(names(&routes.list[1]), ["x"]);
    assert_eq!(routes.timeout, Duration::from_secs(3));
    assert!(config.warnings().is_empty(), "the pool is used");
    let off = with("routes: off, routes_timeout: 1s");
    assert_eq!(off.listeners[0].pool.as_deref(), Some("web"));
    assert!(!off.listeners[0].routes.is_on());
}

#[test]
fn who_is_let_in() {
    let with = |text: &str| {
        let listener = format!("listeners: [{{ name: a, bind: ':8080', {text} }}]\n");
        load(&(listener + "pools: [{ backends: ['127.0.0.1:8000'] }]\n"))
    };
    let config = with(
        "access: { rules: [deny 192.0.2.1, '  allow   10.0.0.0/8 ', 'deny ::ffff:10.0.0.0/104', 'deny ::1'] }, \
         connection_rate_per_ip: 20/s, max_connections_per_ip: 3",
    );
    let admission = &config.listeners[0].admission;
    let access = admission.access.as_ref().unwrap();
    let rules: Vec<String> = access.rules.iter().map(ToString::to_string).collect();
    assert_eq!(access.default.word(), "allow");
    assert_eq!(
        rules,
        [
            "deny 192.0.2.1/32",
            "allow 10.0.0.0/8",
            "deny 10.0.0.0/8",
            "deny ::1/128"
        ]
    );
    assert_eq!(admission.max_connections_per_ip, Some(3));
    assert_eq!(
        admission.connection_rate_per_ip.unwrap().to_string(),
        "20/s"
    );
    let warnings = config.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("`deny 10.0.0.0/8` never decides, since `allow 10.0.0.0/8`"));

    let nobody = with("access: { default: deny }").warnings();
    assert!(nobody[0].contains("lets nobody in"), "{nobody:?}");
    assert_eq!(
        with("access: { default: deny, rules: [allow 10.0.0.1] }").warnings(),
        [""; 0]
    );
}

#[test]
fn the_smallest_config_gets_every_default() {
    let config = load(SMALLEST);
    assert_eq!(config.listeners[0].name, ":8080");
    assert_eq!(config.listeners[0].pool.as_deref(), Some("default"));
    let pool = &config.pools[0];
    assert_eq!(
        (pool.name.as_str(), pool.balance.name, pool.retries),
        ("default", "round_robin", 2)
    );
    assert_eq!(pool.when_down, WhenDown::Reset);
    let check = pool.health_check.as_ref().unwrap();
    assert_eq!(
        (check.interval, check.timeout),
        (Duration::from_secs(2), Duration::from_secs(1))
    );
    assert_eq!((check.rise, check.fall, check.jitter), (2, 3, 0.1));
    let backend = &pool.backends[0];
    assert_eq!(
        (backend.name.as_str(), backend.weight, backend.state),
        ("127.0.0.1:8000", 1, AdminState::Ready)
    );
    assert_eq!(config.timeouts.idle, Some(Duration::from_secs(600)));
    assert_eq!(config.shutdown.drain_timeout, Some(Duration::from_secs(25)));
    assert_eq!(config.limits.max_connections, None);
    assert_eq!(config.admin, Some(super::super::defaults::admin()));
    assert_eq!(config.performance, Performance::default());
    assert!(config.warnings().is_empty());
}

#[test]
fn every_key_is_read() {
    let config = load(COMPLETE);
    assert_eq!(config.listeners[0].max_connections, Some(4000));
    let both = &config.listeners[1];
    assert_eq!((both.bind.len(), both.max_connections), (2, None));
    assert!(both.bind[0].tcp().unwrap().dual_stack && !both.bind[1].tcp().unwrap().dual_stack);
    let admin = config.admin.as_ref().unwrap();
    assert_eq!(admin.bind.to_string(), "unix:/run/evener/admin.sock");
    assert_eq!(
        admin.token_file.as_deref(),
        Some(std::path::Path::new("/etc/evener/token"))
    );
    let accept = config.listeners[0].accept_proxy_protocol.as_ref().unwrap();
    let from: Vec<String> = accept.from.iter().map(ToString::to_string).collect();
    assert_eq!(from, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    assert_eq!(accept.timeout, Duration::from_millis(1500));
    assert_eq!(both.accept_proxy_protocol, None);
    let pool = &config.pools[0];
    assert_eq!(pool.send_proxy_protocol, Some(Version::V2));
    let hashing = &pool.hashing;
    assert_eq!(
        (hashing.ipv6_prefix, hashing.balance_factor),
        (64, Some(1.25))
    );
    assert_eq!(
        (pool.balance.name, pool.retries, pool.when_down),
        ("least_connections", 1, WhenDown::Close)
    );
    let check = pool.health_check.as_ref().unwrap();
    assert_eq!(
        (check.interval, check.timeout),
        (Duration::from_secs(3), Duration::from_millis(1500))
    );
    assert_eq!((check.rise, check.fall, check.jitter), (1, 5, 0.025));
    assert_eq!(check.fast_interval, Some(Duration::from_millis(500)));
    assert_eq!((check.down_interval, check.port), (None, Some(8001)));
    assert_eq!(check.address, Some([10, 0, 0, 9].into()));
    assert_eq!(check.header, ProbeHeader::Own(Some(Version::V1)));
    let agent = Agent {
        port: 8099,
        interval: Duration::from_secs(5),
        timeout: Duration::from_millis(100),
    };
    assert_eq!(pool.agent, Some(agent));
    let names: Vec<&str> = pool
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["a", "db.internal:5432", "[::1]:8002", "127.0.0.1:8003"]
    );
    let host = "db.internal".to_string();
    assert_eq!(
        pool.backends[1].address,
        BackendAddress::Name { host, port: 5432 }
    );
    assert_eq!(
        (pool.backends[0].weight, pool.backends[2].state),
        (3, AdminState::Maintenance)
    );
    assert_eq!(
        (config.timeouts.connect, config.timeouts.idle),
        (Duration::from_secs(2), None)
    );
    assert_eq!(
        (config.timeouts.half_close, config.shutdown.drain_timeout),
        (None, None)
    );
    assert_eq!(config.shutdown.pre_stop_delay, Duration::from_secs(5));
    assert_eq!(
        (config.log.format, config.log.level),
        (LogFormat::Json, LogLevel::Debug)
    );
    assert!(!config.log.connections);
    assert_eq!(config.limits.max_connections, Some(20_000));
    let expected = Performance {
        relay: Method::Copy,
        busy_poll: BusyPoll::Off,
        scheduler: Scheduler::Inherit,
    };
    assert_eq!(config.performance, expected);
}

#[test]
fn the_ways_that_yaml_has_to_say_the_same() {
    let smallest = load(SMALLEST);
    for text in [
        // Line ends, byte-order mark, document marks, another order, JSON.
        &SMALLEST.replace('\n', "\r\n"),
        &format!("\u{feff}{SMALLEST}"),
        &format!("---\n{SMALLEST}...\n"),
        "pools:\n- backends:\n  - 127.0.0.1:8000\nlisteners:\n- bind: :8080\n",
        r#"{"listeners": [{"bind": ":8080"}], "pools": [{"backends": ["127.0.0.1:8000"]}]}"#,
        "listeners: [bind: :8080]\npools: [backends: [&a 127.0.0.1:8000]]\n",
    ] {
        assert_eq!(load(text), smallest, "{text}");
    }
}

#[test]
fn a_section_whose_lines_are_commented_out_is_a_section_of_defaults() {
    let text = "timeouts:\n  # idle: 1s\nlog:\nlimits: ~\nshutdown: null\n";
    let smallest = load(SMALLEST);
    assert_eq!(load(&format!("{SMALLEST}{text}")), smallest);
    let empty_check = SMALLEST.replace("[{ back", "[{ health_check: , back");
    assert_eq!(load(&empty_check), smallest);
}

#[test]
fn off_is_a_word_quoted_or_not_and_other_booleans_are_not_guessed() {
    for off in [
        "off",
        "'off'",
        "\"off\"",
        "{ type: off }",
        "{ type: 'off', interval: 5s }",
    ] {
        let text = SMALLEST.replace("[{ back", &format!("[{{ health_check: {off}, back"));
        assert_eq!(load(&text).pools[0].health_check, None, "{text}");
    }
    // A name is a name, whatever YAML 1.1 made of it.
    for name in [
        "on",
        "off",
        "yes",
        "no",
        "true",
        "12",
        "0x10",
        "1e3",
        "\"null\"",
        "2024-01-01",
    ] {
        let text = SMALLEST.replace("[{ bind", &format!("[{{ name: {name}, bind"));
        assert_eq!(load(&text).listeners[0].name, name.trim_matches('"'));
    }
}

#[test]
fn a_shared_value_is_written_once() {
    let text = "
listeners: [{ bind: ':1', pool: a }, { bind: ':2', pool: b }]
pools:
  - { name: a, health_check: &slow { interval: 30s }, backends: ['10.0.0.1:80'] }
  - { name: b, health_check: *slow, backends: ['10.0.0.2:80'] }
";
    let config = load(text);
    assert_eq!(config.pools[0].health_check, config.pools[1].health_check);
    assert_eq!(
        config.pools[1].health_check.as_ref().unwrap().interval,
        Duration::from_secs(30)
    );
}

#[test]
fn what_looks_like_a_mistake_is_a_warning() {
    let text = "
listeners: [{ bind: ':1', pool: a }]
pools:
  - { name: a, health_check: { interval: 1s, timeout: 2s }, backends: ['10.0.0.1:80'] }
  - { name: b, backends: ['10.0.0.2:80'] }
";
    let warnings = load(text).warnings();
    assert_eq!(warnings.len(), 2);
    assert!(
        warnings[0].contains("pool `a`") && warnings[0].contains("timeout 2s"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].contains("no listener uses pool `b`"),
        "{warnings:?}"
    );
}

/// The warnings of a config with such a pool.
fn warnings(pool: &str) -> Vec<String> {
    load(&format!(
        "listeners: [{{ bind: ':1' }}]\npools: [{{ {pool}, backends: ['10.0.0.1:80'] }}]\n"
    ))
    .warnings()
}

#[test]
fn an_ejection_that_can_not_last_as_long_as_it_should_is_a_warning() {
    let ejecting = |time: &str, most: &str| {
        warnings(&format!(
            "outlier_detection: {{ ejection_time: {time}, max_ejection_time: {most} }}"
        ))
    };
    assert_eq!(ejecting("10s", "10s"), [""; 0]);
    assert_eq!(
        ejecting("11s", "10s"),
        [
            "pool `default`: outlier_detection has max_ejection_time 10s, so no ejection lasts for ejection_time 11s"
        ]
    );
}

#[test]
fn a_hash_that_nobody_computes_is_a_warning() {
    assert_eq!(
        warnings("hash_balance_factor: 125%"),
        [
            "pool `default`: hash_ipv6_prefix and hash_balance_factor are for source_hash and maglev; \
            round_robin does not look at them"
        ]
    );
    for right in [
        "balance: maglev, hash_balance_factor: 125%",
        "balance: source_hash, hash_ipv6_prefix: 56",
        "balance: random, hash_ipv6_prefix: 128",
    ] {
        assert_eq!(warnings(right), [""; 0], "{right}");
    }
}

#[test]
fn believing_everybody_is_a_warning_for_each_family() {
    let accepting = |from: &str| {
        load(&format!(
            "listeners: [{{ name: in, bind: ':1', accept_proxy_protocol: {{ from: [{from}] }} }}]\n\
             pools: [{{ backends: ['10.0.0.1:80'] }}]\n"
        ))
        .warnings()
    };
    assert_eq!(accepting("10.0.0.0/8, 0.0.0.0/1"), [""; 0]);
    assert_eq!(
        accepting("0.0.0.0/0, 10.0.0.0/8, \"::/0\""),
        ["0.0.0.0/0", "::/0"].map(|network| format!(
            "listener `in`: accept_proxy_protocol from {network} lets every client claim any address"
        ))
    );
}

#[test]
fn one_port_on_addresses_that_do_not_meet_is_fine() {
    load(
        "listeners: [{ bind: ['0.0.0.0:80', '[::]:80'] }]\npools: [{ backends: ['10.0.0.1:80'] }]\n",
    );
    load("listeners: [{ bind: '[::]:80' }]\npools: [{ backends: ['127.0.0.1:80'] }]\n");
    load("listeners: [{ bind: [':0', ':0'] }]\npools: [{ backends: ['127.0.0.1:80'] }]\n");
}

#[test]
fn a_name_may_have_as_many_characters_as_the_message_says() {
    let with = |name: &str| {
        let text = format!(
            "listeners: [{{ name: {name}, bind: ':1' }}]\npools: [{{ backends: ['10.0.0.1:80'] }}]\n"
        );
        Config::from_yaml("evener.yaml", &text)
    };
    assert!(with(&"ä".repeat(64)).is_ok());
    let error = with(&"ä".repeat(65))
        .unwrap_err()
        .swap_remove(0)
        .to_string();
    assert!(error.contains("a name has 1 to 64 characters"), "{error}");
}
