//! Configs that must not load, and the answer that each must get.

use super::super::Config;
use super::good::COMPLETE;
use super::{errors, printed};
use proptest::prelude::*;

/// Config with `@` before what is wrong, the beginning of the message, a part of the help.
type Case = (&'static str, &'static str, &'static str);

/// Puts a text where a good config has something else.
fn mistake(kind: &str, text: &str) -> String {
    match kind {
        "listener" => {
            format!(
                "listeners: [{{ bind: ':8080', {text} }}]\npools: [{{ backends: ['10.0.0.1:80'] }}]\n"
            )
        }
        "bind" => {
            format!("listeners: [{{ bind: {text} }}]\npools: [{{ backends: ['10.0.0.1:80'] }}]\n")
        }
        "pool" => {
            format!(
                "listeners: [{{ bind: ':8080' }}]\npools: [{{ {text}, backends: ['10.0.0.1:80'] }}]\n"
            )
        }
        "backends" => {
            format!("listeners: [{{ bind: ':8080' }}]\npools: [{{ backends: {text} }}]\n")
        }
        "root" => format!(
            "listeners: [{{ bind: ':8080' }}]\npools: [{{ backends: ['10.0.0.1:80'] }}]\n{text}\n"
        ),
        _ => text.to_string(),
    }
}

/// The place of the `@`, and the text without it.
fn place_of_mark(marked: &str) -> (usize, usize, String) {
    let at = marked
        .find('@')
        .unwrap_or_else(|| panic!("no @ in {marked}"));
    let before = &marked[..at];
    let line_start = before.rfind('\n').map_or(0, |index| index + 1);
    let column = before[line_start..].chars().count() + 1;
    (
        before.matches('\n').count() + 1,
        column,
        marked.replacen('@', "", 1),
    )
}

fn run(kind: &str, cases: &[Case]) {
    for (marked, what, help) in cases {
        let (line, column, text) = place_of_mark(&mistake(kind, marked));
        let errors = errors(&text);
        let shown = printed(&errors);
        assert_eq!(errors.len(), 1, "one mistake, one error\n{text}\n{shown}");
        let place = format!("--> evener.yaml:{line}:{column}\n");
        assert!(shown.contains(&place), "expected {place}{shown}");
        assert!(
            shown.starts_with(&format!("error: {what}")),
            "expected {what}\n{shown}"
        );
        assert!(
            errors[0].help.as_deref().unwrap_or("").contains(help),
            "expected {help}\n{shown}"
        );
    }
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn listeners() {
    run(
        "listener",
        &[
            ("mode: @0666", "mode is for unix sockets", "unix:/run/evener/web.sock"),
            ("@poool: default", "unknown key `poool` in listener", "did you mean `pool`? known keys: name, bind, mode, pool"),
            ("@maxconn: 5", "unknown key `maxconn` in listener", "evener calls it `max_connections`"),
            ("@backend: b", "unknown key `backend` in listener", "evener calls it `pool`"),
            ("name: @''", "name is empty", "1 to 64 characters"),
            ("name: @[a]", "name is a list, not a single value", "quotes"),
            ("name: @\"a\\nb\"", "name `a\\nb` has a control character", "none of them a control"),
            ("pool: @defualt", "there is no pool `defualt`", "did you mean `default`? pools: default"),
            ("max_connections: @0", "max_connections `0` is out of range", "1 to 1000000; or `off`"),
            ("max_connections: @many", "max_connections `many` is not a whole number", "or `off`"),
            ("accept_proxy_protocol: @{ timeout: 1s }", "this accept_proxy_protocol has no `from`", "for example `from: [10.0.0.0/8]`"),
            ("accept_proxy_protocol: { from: @[] }", "from is an empty list", "`[a, b]`"),
            ("accept_proxy_protocol: { from: @10.0.0.0/8 }", "from is the single value `10.0.0.0/8`, not a list", "`[a, b]`"),
            ("accept_proxy_protocol: @yes", "accept_proxy_protocol is the single value `yes`", "`{ from: [10.0.0.0/8] }`"),
            ("accept_proxy_protocol: @[10.0.0.0/8]", "accept_proxy_protocol is a list", "write `off`"),
            ("accept_proxy_protocol: { from: [10.0.0.0/8, @10.0.0.1/8] }", "from `10.0.0.1/8` has bits behind its prefix", "\"10.0.0.0/8\" for the network, \"10.0.0.1\" for the one address"),
            ("accept_proxy_protocol: { from: [@proxy.internal] }", "from `proxy.internal` is no IP address and no network", "for example 10.0.0.0/8"),
            ("accept_proxy_protocol: { from: [10.0.0.0/8], timeout: @0s }", "timeout `0s` is out of range", "1ms"),
            ("accept_proxy_protocol: { @set_real_ip_from: 10.0.0.1, from: [10.0.0.0/8] }", "unknown key `set_real_ip_from` in accept_proxy_protocol", "evener calls it `from`"),
            ("@accept-proxy: true", "unknown key `accept-proxy` in listener", "evener calls it `accept_proxy_protocol`"),
            ("@proxy_protocol: true", "unknown key `proxy_protocol` in listener", "evener calls it `accept_proxy_protocol`"),
            // A few columns off: it was meant for the section before it.
            ("routes_timeout: 1s, access: { default: deny }, @rules: [deny 10.0.0.1]", "unknown key `rules` in listener", "it is a key of access: indent it as the others there"),
            ("@tcp: { nodelay: true }", "unknown key `tcp` in listener", "evener calls it `socket`"),
            ("socket: @on", "socket is the single value `on`, not a mapping", ""),
            ("socket: { @source: 10.0.0.1 }", "unknown key `source` in socket", "known keys: keepalive"),
            ("socket: { @rcvbuf: 64k }", "unknown key `rcvbuf` in socket", "evener calls it `receive_buffer`"),
            ("socket: { @tproxy: on }", "unknown key `tproxy` in socket", "evener calls it `transparent`"),
            ("socket: { keepalive: @60s }", "keepalive is the single value `60s`", "`keepalive: { idle: 60s }`"),
            ("socket: { keepalive: { @probes: 3 } }", "unknown key `probes` in keepalive", "evener calls it `count`"),
            ("socket: { keepalive: { idle: @60 } }", "idle `60` has no unit", "`60s`"),
            ("socket: { keepalive: { idle: @1500ms } }", "idle `1500ms` is none that the kernel takes", "whole seconds, up to 32767s"),
            ("socket: { keepalive: { interval: @1d } }", "interval `1d` is none that the kernel takes", "32767s"),
            ("socket: { keepalive: { count: @0 } }", "count `0` is out of range", "1 to 127"),
            ("socket: { user_timeout: @0s }", "user_timeout `0s` is out of range", "or `off`"),
            ("socket: { receive_buffer: @4k }", "receive_buffer `4k` is out of range", "from 16k to 64M"),
            ("socket: { receive_buffer: @5000000000M }", "receive_buffer `5000000000M` is out of range", "from 16k to 64M"),
            ("socket: { send_buffer: @64kb }", "send_buffer `64kb` is not a size", "64k, 1M, or a number of bytes; or `auto`"),
            ("socket: { send_buffer: @k }", "send_buffer `k` is not a size", "64k"),
            ("socket: { nodelay: @yes }", "nodelay `yes` is not known", "write `true` or `false`"),
            ("socket: { interface: @averylonginterface }", "interface `averylonginterface` is no name of a network interface", "`interface: eth1`"),
            ("socket: { backlog: @0 }", "backlog `0` is out of range", "or `auto`"),
            ("socket: { defer_accept: @500ms }", "defer_accept `500ms` is out of range", "from 1s"),
            ("@server_names: a", "unknown key `server_names` in listener", "evener calls it `routes`"),
            ("@ssl_preread: on", "unknown key `ssl_preread` in listener", "evener calls it `routes`"),
            ("@inspect_delay: 5s", "unknown key `inspect_delay` in listener", "evener calls it `routes_timeout`"),
            ("routes: @[]", "routes is an empty list", "write `off`, or a list"),
            ("routes: @db", "routes is the single value `db`, not a list", "{ sni: [\"db.example.org\"], pool: db }"),
            ("routes: @{ sni: a, pool: default }", "routes is a mapping, not a list", "{ sni: [\"db.example.org\"], pool: db }"),
            ("routes: [@{ pool: default }]", "this route has no `sni`", "*.example.org"),
            ("routes: [@{ sni: a }]", "this route has no `pool`", "`pool: NAME`"),
            ("routes: [{ sni: a, pool: @defualt }]", "there is no pool `defualt`", "did you mean `default`? pools: default"),
            ("routes: [{ @HostSNI: a, sni: b, pool: default }]", "unknown key `HostSNI` in route", "evener calls it `sni`"),
            ("routes: [{ @server_names: a, sni: b, pool: default }]", "unknown key `server_names` in route", "evener calls it `sni`"),
            ("routes: [{ @sni_hosts: a, sni: b, pool: default }]", "unknown key `sni_hosts` in route", "evener calls it `sni`"),
            ("routes: [{ sni: @{ a: b }, pool: default }]", "sni is a mapping, not a single value", ""),
            ("routes: [{ sni: [a.org, @A.org.], pool: default }]", "sni `a.org` has a route before", "one pool"),
            ("routes: [{ sni: '*.a.org', pool: default }, { sni: [b.org, @'*.A.org'], pool: default }]", "sni `*.a.org` has a route before", "one pool"),
            ("routes: [{ sni: @'', pool: default }]", "sni `` is empty", "*.example.org"),
            ("routes: [{ sni: @'*', pool: default }]", "sni `*` is no name", "the listener's own `pool`"),
            ("routes: [{ sni: @'a.*.org', pool: default }]", "sni `a.*.org` has a `*` in a wrong place", "at the front"),
            ("routes: [{ sni: @'a*.org', pool: default }]", "sni `a*.org` has a `*` in a wrong place", "at the front"),
            ("routes: [{ sni: @192.0.2.1, pool: default }]", "sni `192.0.2.1` is an IP address", "by address"),
            ("routes: [{ sni: @'a.org:443', pool: default }]", "sni `a.org:443` is not a host name", "without a port"),
            ("routes: [{ sni: @münchen.de, pool: default }]", "sni `münchen.de` is not ASCII", "`xn--...`"),
            ("routes_timeout: @3", "routes_timeout `3` has no unit", "`3s`"),
            ("max_connections_per_ip: @0", "max_connections_per_ip `0` is out of range", "or `off`"),
            ("connection_rate_per_ip: @20", "connection_rate_per_ip `20` is not a rate", "\"20/s\", \"100/m\"; or `off`"),
            ("connection_rate_per_ip: @20/h", "connection_rate_per_ip `20/h` is not a rate", "in a second or a minute"),
            ("connection_rate_per_ip: @0/s", "connection_rate_per_ip `0` is out of range", "1 to 10000"),
            ("access: @deny", "access is the single value `deny`, not a mapping", ""),
            ("access: { default: @refuse }", "default `refuse` is not known", "known: allow, deny"),
            ("access: { default: @block }", "default `block` is not known", "evener calls it `deny`"),
            ("access: { @rule: [] }", "unknown key `rule` in access", "did you mean `rules`?"),
            ("access: { rules: @deny 10.0.0.0/8 }", "rules is the single value `deny 10.0.0.0/8`, not a list", "first that matches"),
            ("access: { rules: [allow 10.0.0.0/8, @deny 192.0.2.1/24] }", "rule `192.0.2.1/24` is an address within a network", "write `192.0.2.0/24` for the network, or `192.0.2.1` for the one address"),
            ("access: { rules: [@'deny 2001:db8::1/32'] }", "rule `2001:db8::1/32` is an address within a network", "`2001:db8::/32`"),
            ("access: { rules: [@deny] }", "rule `deny` is not a rule", "\"deny 192.0.2.0/24\""),
            ("access: { rules: [@deny 10.0.0.0/8 10.1.0.0/16] }", "rule `deny 10.0.0.0/8 10.1.0.0/16` is not a rule", "one network"),
            ("access: { rules: [@reject 10.0.0.0/8] }", "rule `reject` is not known", "evener calls it `deny`"),
            ("access: { rules: [@deny 10.0.0.0/33] }", "rule `10.0.0.0/33` is not a network", "address/bits"),
            ("access: { rules: [@deny example.com] }", "rule `example.com` is not a network", "address/bits"),
        ],
    );
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn binds() {
    run(
        "bind",
        &[
            ("@8080", "bind `8080` is only a port", "\":8080\""),
            ("@'::1:8080'", "bind `::1:8080`", "\"[::1:8080]:8080\""),
            ("@'*:80'", "bind `*:80` has no IP address", "\":80\""),
            ("@localhost:80", "bind `localhost:80` has no IP address", "\"127.0.0.1:80\""),
            ("@unix:run/a.sock", "bind `run/a.sock` is no absolute path", "unix:/run/evener/web.sock"),
            ("['unix:/run/a.sock', @'unix:/run/a.sock']", "bind `unix:/run/a.sock` is taken: listener `unix:/run/a.sock` has", "of its own"),
            ("[':80', @'0.0.0.0:80']", "bind `0.0.0.0:80` is taken: listener `:80` has `:80`", "of its own"),
            ("@[]", "bind is a list, not a single value", ""),
        ],
    );
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn pools() {
    run(
        "pool",
        &[
            ("socket: { @backlog: 5 }", "unknown key `backlog` in socket", "known keys: keepalive"),
            ("socket: { source: @10.0.0.256 }", "source `10.0.0.256` is no address of this machine", "10.0.0.5:40000-49999"),
            ("socket: { source: @0.0.0.0 }", "source `0.0.0.0` is no address of this machine", "or `off`"),
            ("socket: { source: @'10.0.0.1:5000' }", "source `10.0.0.1:5000` is no address of this machine", "10.0.0.5:40000-49999"),
            ("socket: { source: @'10.0.0.1:5000-4000' }", "source `10.0.0.1:5000-4000` is no address of this machine", ""),
            ("socket: { source: @'[10.0.0.1]:5000-6000' }", "source `[10.0.0.1]:5000-6000` is no address of this machine", ""),
            ("socket: { source: @'10.0.0.1:0-6000' }", "source `10.0.0.1:0-6000` is no address of this machine", ""),
            ("socket: { transparent: true, source: @10.0.0.1 }", "socket has both `source` and `transparent`", "the client's address"),
            ("balance: @leastconn", "balance `leastconn` is not known", "evener calls it `least_connections`; known: round_robin, "),
            ("balance: @round_robbin", "balance `round_robbin` is not known", "did you mean `round_robin`?"),
            ("outlier_detection: @true", "outlier_detection is the single value `true`", "outlier_detection: off"),
            ("outlier_detection: { consecutive_failures: @0 }", "consecutive_failures `0` is out of range", "1 to 100"),
            ("outlier_detection: { ejection_time: @0s }", "ejection_time `0s` is out of range", "from 1ms"),
            ("outlier_detection: { max_ejection_percent: @101% }", "max_ejection_percent `101` is out of range", "0 to 100"),
            ("outlier_detection: { @base_ejection_time: 30s }", "unknown key `base_ejection_time` in outlier_detection", "ejection_time"),
            ("balance: @ip_hash", "balance `ip_hash` is not known", "evener calls it `source_hash`"),
            ("balance: @RING_HASH", "balance `RING_HASH` is not known", "evener calls it `source_hash`"),
            ("balance: @MAGLEV", "balance `MAGLEV` is not known", "did you mean `maglev`?"),
            ("hash_ipv6_prefix: @0", "hash_ipv6_prefix `0` is out of range", "from 1 to 128"),
            ("hash_ipv6_prefix: @/64", "hash_ipv6_prefix `/64` is not a whole number", "from 1 to 128"),
            ("hash_balance_factor: @99%", "hash_balance_factor `99%` is out of range", "a share from 100% to 900%; or `off`"),
            ("hash_balance_factor: @1.25", "hash_balance_factor `1.25` is not a share", "100%"),
            ("@hash-balance-factor: 125", "unknown key `hash-balance-factor` in pool", "did you mean `hash_balance_factor`?"),
            ("@ipv6_prefix: 64", "unknown key `ipv6_prefix` in pool", "evener calls it `hash_ipv6_prefix`"),
            ("when_down: @wait", "when_down `wait` is not known", "reset, close, refuse, hold, fail_open"),
            ("when_down: @explode", "when_down `explode` is not known", "known: reset, close"),
            ("retries: @101", "retries `101` is out of range", "0 to 100"),
            ("retries: @-1", "retries `-1` is not a whole number", "0 to 100"),
            ("health_check: { @intervall: 2s }", "unknown key `intervall` in health_check", "did you mean `interval`? known keys: type, interval, timeout, rise, fall, jitter"),
            ("health_check: { @inter: 2s }", "unknown key `inter` in health_check", "evener calls it `interval`"),
            ("health_check: { interval: @2 }", "interval `2` has no unit", "`2s` or `2ms`"),
            ("health_check: { interval: @2 parsecs }", "interval `2 parsecs` is not a duration", "with its unit"),
            ("health_check: { interval: @1ms }", "interval `1ms` is out of range", "from 10ms to 366days"),
            ("health_check: { timeout: @0s }", "timeout `0s` is out of range", "from 1ms"),
            ("health_check: { timeout: @off }", "timeout `off` is not a duration", "from 1ms"),
            ("health_check: { rise: @0 }", "rise `0` is out of range", "1 to 100"),
            ("health_check: { jitter: @60% }", "jitter `60%` is out of range", "0% to 50%"),
            ("health_check: { jitter: @0.1 }", "jitter `0.1` is not a share", "0% to 50%"),
            ("health_check: { type: @htpp }", "type `htpp` is not known", "did you mean `http`? known: tcp, http, send_expect, off"),
            ("health_check: { type: @htttp, path: /x, expect: y }", "type `htttp` is not known", "did you mean `http`?"),
            ("health_check: { type: @httpchk }", "type `httpchk` is not known", "evener calls it `http`"),
            ("health_check: { type: @http_health_check }", "type `http_health_check` is not known", "evener calls it `http`"),
            ("health_check: { type: @tcp-check }", "type `tcp-check` is not known", "evener calls it `send_expect`"),
            ("health_check: { @uri: /x, type: http }", "unknown key `uri` in health_check", "evener calls it `path`"),
            ("health_check: { @fastinter: 1s }", "unknown key `fastinter` in health_check", "evener calls it `fast_interval`"),
            ("health_check: { @unhealthy_threshold: 2 }", "unknown key `unhealthy_threshold` in health_check", "evener calls it `fall`"),
            ("health_check: { fast_interval: @1ms }", "fast_interval `1ms` is out of range", "or `off`"),
            ("health_check: { path: @/ }", "path is for `type: http`, and this is `type: tcp`", "write `type: http`"),
            ("health_check: { type: http, expect: @x }", "expect is for `type: send_expect`, and this is `type: http`", "remove it"),
            ("health_check: { type: http, path: @healthz }", "path `healthz` is no path of a request", "begins with `/`"),
            ("health_check: { type: http, path: @'/a b' }", "path `/a b` is no path of a request", "no blanks"),
            ("health_check: { type: http, path: @\"/\\r\\nX: y\" }", "path `/\\r\\nX: y` is no path of a request", "no blanks"),
            ("health_check: { type: http, host: @a/b }", "host `a/b` is no host", "www.example.com"),
            ("health_check: { type: http, host: @'' }", "host `` is no host", "or `off`"),
            ("health_check: { type: http, method: @get }", "method `get` is not known", "evener calls it `GET`; known: GET, HEAD"),
            ("health_check: { type: http, method: @POST }", "method `POST` is not known", "known: GET, HEAD"),
            ("health_check: { type: http, expect_status: @ok }", "expect_status `ok` is no status and no range", "\"200, 204, 401\""),
            ("health_check: { type: http, expect_status: @399-200 }", "expect_status `399-200` is no status and no range", "100 to 599"),
            ("health_check: { type: http, expect_status: @'200,' }", "expect_status `200,` is no status and no range", "100 to 599"),
            ("health_check: { type: http, expect_status: @600 }", "expect_status `600` is no status and no range", "100 to 599"),
            ("health_check: { type: http, expect_status: @'0200' }", "expect_status `0200` is no status and no range", "100 to 599"),
            ("health_check: @{ type: send_expect }", "this health_check has no `expect`", "\"+PONG\""),
            ("health_check: { type: send_expect, expect: @'' }", "expect is empty", "1 to 1024 bytes"),
            ("health_check: { type: send_expect, expect: @'a\\q' }", "expect `\\q` is no escape", "\\r \\n \\t"),
            ("health_check: { type: send_expect, expect: @'\\x4' }", "expect `\\x4` is no escape", "two digits"),
            ("health_check: { type: send_expect, expect: @é }", "expect `é` has `é`, which is not ASCII", "in single quotes: '\\xff'"),
            ("health_check: { type: send_expect, expect: @\"\\xff\" }", "expect `ÿ` has `ÿ`, which is not ASCII", "in single quotes: '\\xff'"),
            ("health_check: { port: @0 }", "port `0` is out of range", "1 to 65535; or `off`"),
            ("health_check: { address: @'10.0.0.1:80' }", "address `10.0.0.1:80` is no IP address", "`port: 8001`; or `off`"),
            ("health_check: { send_proxy_protocol: @true }", "send_proxy_protocol `true` is not known", "known: pool, off, v1, v2"),
            ("agent: @{ interval: 1s }", "this agent has no `port`", "port: 8099"),
            ("agent: @8099", "agent is the single value `8099`, not a mapping", ""),
            ("agent: { @agent-port: 8099, port: 1 }", "unknown key `agent-port` in agent", "evener calls it `port`"),
            ("@agent-check: { port: 8099 }", "unknown key `agent-check` in pool", "evener calls it `agent`"),
            ("health_check: @tcp", "health_check is the single value `tcp`", "health_check: { interval: 2s }"),
            ("hedge_after: @0s", "hedge_after `0s` is out of range", "from 1ms to 366days"),
            ("hedge_after: @250", "hedge_after `250` has no unit", "`250s` or `250ms`"),
            ("hedge_after: @5s", "hedge_after `5s` is not below timeouts.connect, `5s`", "hedge_after: 250ms"),
            ("@hedge_delay: 1s", "unknown key `hedge_delay` in pool", "evener calls it `hedge_after`"),
            ("panic_threshold: @101%", "panic_threshold `101%` is out of range", "0% to 100%"),
            ("on_down: @reset", "on_down `reset` is not known", "known: keep, close"),
            ("send_proxy_protocol: @v3", "send_proxy_protocol `v3` is not known", "known: off, v1, v2"),
            ("send_proxy_protocol: @true", "send_proxy_protocol `true` is not known", "known: off, v1, v2"),
            ("send_proxy_protocol: @2", "send_proxy_protocol `2` is not known", "evener calls it `v2`"),
            ("@send-proxy-v2: true", "unknown key `send-proxy-v2` in pool", "evener calls it `send_proxy_protocol`"),
            ("@lb_policy: random", "unknown key `lb_policy` in pool", "evener calls it `balance`"),
        ],
    );
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn backends() {
    run(
        "backends",
        &[
            ("@[]", "backends is an empty list", "`- `"),
            ("@10.0.0.1:80", "backends is the single value `10.0.0.1:80`, not a list", "[a, b]"),
            ("[@'8000']", "backend `8000` is only a port", "127.0.0.1:8000"),
            ("[@':8000']", "backend `:8000` has no host", "127.0.0.1:8000"),
            ("[{ address: @'fe80::1:80' }]", "address `fe80::1:80` has no port", "brackets"),
            ("[{ address: @'10.0.0.1:0' }]", "address `10.0.0.1:0` has port 0", "1 to 65535"),
            ("[{ address: @'http://a:80/' }]", "address `http://a:80/` is a URL", "write \"a:80\""),
            ("[@{ weight: 3 }]", "this backend has no `address`", "for example"),
            ("[@[a:1]]", "backend is a list", ""),
            ("[{ address: a:1, weight: @257 }]", "weight `257` is out of range", "0 to 256"),
            ("[{ address: a:1, weight: @1.5 }]", "weight `1.5` is not a whole number", "0 to 256"),
            ("[{ address: a:1, state: @maint }]", "state `maint` is not known", "evener calls it `maintenance`; known: ready, drain, maintenance"),
            ("[{ address: a:1, max_connections: @0 }]", "max_connections `0` is out of range", "1 to 1000000; or `off`"),
            ("[{ address: a:1, max_queue: @-1 }]", "max_queue `-1` is not a whole number", "0 to 1000000; or `off`"),
            ("[{ address: a:1, backup: @yes }]", "backup `yes` is", "true"),
            ("[{ address: a:1, resolve_interval: @30 }]", "resolve_interval `30` has no unit", "30s"),
            ("[{ address: a:1, resolve_interval: @1ms }]", "resolve_interval `1ms` is out of range", "100ms to 366days"),
            ("[{ address: 10.0.0.1:1, resolve_interval: @30s }]", "resolve_interval has nothing to resolve: 10.0.0.1:1", "`off`"),
            ("[{ address: localhost:1, resolve_interval: @30s }]", "resolve_interval has nothing to resolve: localhost:1", "`off`"),
            ("[{ address: a:1, @resolvers: b }]", "unknown key `resolvers` in backend", "evener calls it `resolve_interval`"),
            ("[{ address: a:1, @server: b }]", "unknown key `server` in backend", "evener calls it `address`"),
            ("[a:1, @A:1]", "backend `A:1` is in pool `default` twice", "`weight`"),
            ("[a:1, { name: @'a:1', address: b:1 }]", "the name `a:1` is taken by a backend before", "of its own"),
            ("[@127.0.0.1:8080]", "backend `127.0.0.1:8080` is evener's own listener `:8080`", "come back"),
            ("[{ address: @localhost:8080 }]", "backend `localhost:8080` is evener's own listener", "come back"),
        ],
    );
    let zero = "listeners: [{ bind: ':8080' }]\npools:\n  - @backends:\n      - { address: a:1, weight: 0 }\n";
    run("", &[(zero, "every backend of pool `default` has weight 0", "1 or more")]);
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn the_other_sections() {
    run(
        "root",
        &[
            ("@frontends: []", "unknown key `frontends` in config", "evener calls it `listeners`"),
            ("@timeout: {}", "unknown key `timeout` in config", "evener calls it `timeouts`"),
            ("admin: @on", "admin is the single value `on`", "`admin: off`"),
            ("admin: { @port: 9900 }", "unknown key `port` in admin", "evener calls it `bind`"),
            ("admin: { bind: @9900 }", "bind `9900` is only a port", "\":9900\""),
            ("admin: { bind: @'unix:admin.sock' }", "bind `admin.sock` is no absolute path", "unix:/run/evener/admin.sock"),
            ("admin: { token_file: @'' }", "token_file is empty", "or `off`"),
            ("admin: { bind: @':9900' }", "admin bind `:9900` lets other machines in without a token", "token_file"),
            ("admin: { bind: @'192.0.2.1:9900', token_file: off }", "admin bind `192.0.2.1:9900` lets other machines in", "127.0.0.1"),
            ("admin: { bind: @'127.0.0.1:8080' }", "admin bind `127.0.0.1:8080` is taken: listener `:8080` has it", "of its own"),
            ("timeouts: { @idel: 1s }", "unknown key `idel` in timeouts", "did you mean `idle`?"),
            ("timeouts: { connect: @off }", "connect `off` is not a duration", "from 1ms"),
            ("timeouts: { idle: @0s }", "idle `0s` is out of range", "or `off`"),
            ("timeouts: { idle: @400days }", "idle `400days` is out of range", "366days"),
            ("timeouts: @5s", "timeouts is the single value `5s`, not a mapping", "key: value"),
            ("timeouts: { queue: @0s }", "queue `0s` is out of range", "or `off`"),
            ("timeouts: { max_lifetime: @1d12 }", "max_lifetime `1d12`", "or `off`"),
            ("shutdown: { drain_timeout: @25 }", "drain_timeout `25` has no unit", "`25s`"),
            ("log: { connections: @yes }", "connections `yes` is not known", "`true` or `false`"),
            ("log: { level: @warning }", "level `warning` is not known", "evener calls it `warn`"),
            ("log: { format: @xml }", "format `xml` is not known", "known: text, json"),
            ("limits: { max_connections: @off }", "max_connections `off` is not a whole number", "or `auto`"),
            ("performance: { relay: @zero_copy }", "relay `zero_copy` is not known", "known: auto, copy, splice"),
            ("performance: { busy_poll: @50us }", "busy_poll `50us` is not known", "known: auto, off"),
            ("performance: { scheduler: @fifo }", "scheduler `fifo` is not known", "known: batch, inherit"),
            ("@pools: []", "key `pools` is given twice", "the first is in line 2"),
            ("@<<: { a: b }", "merge keys", "&name"),
            ("@---", "a second YAML document", "remove"),
        ],
    );
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn what_is_no_config_at_all() {
    run(
        "",
        &[
            ("@", "the config is empty", "listeners: [{ bind"),
            ("listeners: [{ @bind: }]\npools: [{ backends: [a:1] }]", "bind has no value", "leave the key out"),
            ("@# nothing but a comment\n", "the config is empty", ""),
            ("@just some words", "config is the single value `just some words`, not a mapping", "key: value"),
            ("@- a\n- b\n", "config is a list, not a mapping", ""),
            ("@pools: [{ backends: [a:1] }]", "this config has no `listeners`", "the smallest config"),
            ("a: !!str @b", "YAML tags", "quotes"),
            ("? @[a]\n: b", "this can't be a key", "plain word"),
            ("a: &x [@*x]", "this alias stands for a value that contains it", "write it out"),
        ],
    );
}

#[test]
fn what_is_no_yaml_is_shown_where_it_breaks() {
    for (text, line, help) in [
        (
            "listeners:\n  - bind: [::]:8080\n",
            2,
            "an IPv6 address needs quotes",
        ),
        (
            "listeners:\n  - bind: [2001:db8::1]:80\n",
            2,
            "an IPv6 address needs quotes",
        ),
        ("a: [::1\n", 1, "an IPv6 address needs quotes"),
        ("listeners:\n\t- bind: :8080\n", 2, "never with tabs"),
        (
            "listeners: [{ bind: ':8080' }\npools: []\n",
            2,
            "without their partner",
        ),
        ("a: b: c\n", 1, "`: `"),
        ("a: *nowhere\n", 1, ""),
        ("a: \"open\n", 1, ""),
    ] {
        let errors = errors(text);
        let shown = printed(&errors);
        assert!(shown.starts_with("error: this is not YAML: "), "{shown}");
        let place = errors[0].place.clone().unwrap();
        assert!(place.line == line || place.line == line + 1, "{shown}");
        assert!(shown.contains(help), "{shown}");
    }
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn several_mistakes_are_told_in_one_go_and_in_order() {
    let text = "
listeners:
  - { bind: ':80', pool: nowhere, max_connections: x }
  - { name: ':80', bind: ':81' }
pools:
  - { name: a, retries: x, backends: [a:1] }
  - { backends: [b] }
log: { level: loud }
";
    let lines: Vec<usize> = errors(text).iter().map(|error| error.place.as_ref().unwrap().line).collect();
    assert_eq!(lines, [3, 3, 4, 4, 6, 7, 7, 8], "{}", printed(&errors(text)));
}

#[test]
fn names_and_numbers_of_a_page_are_cropped() {
    let page = "x".repeat(100_000);
    for kind in ["listener", "pool", "root"] {
        let shown = printed(&errors(&mistake(kind, &format!("{page}: 1"))));
        assert!(shown.len() < 1000, "{} bytes", shown.len());
    }
    let shown = printed(&errors(&mistake(
        "pool",
        &format!("retries: {page}, name: {page}"),
    )));
    assert!(shown.len() < 2000, "{} bytes", shown.len());
}

#[rustfmt::skip] // A table is read by the row.
#[test]
fn bombs_end_soon() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        aliases.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(printed(&errors(&aliases)).contains("more than 50000 values"));
    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        assert!(!errors(&deep).is_empty());
    }
    let keys: String = (0..50_000).map(|number| format!("k{number}: 1\n")).collect();
    assert!(!errors(&keys).is_empty());
}

#[test]
fn files_that_can_not_be_read_are_named() {
    let directory = std::env::temp_dir().join(format!("evener-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let load = |name: &str, bytes: Option<&[u8]>| {
        let path = directory.join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        printed(&Config::load(&path).unwrap_err())
    };
    assert!(load("missing.yaml", None).contains("missing.yaml`: No such file"));
    assert!(load("", None).contains("directory"));
    assert!(load("latin1.yaml", Some(b"a: 1\n# h\xfctte\n")).contains("latin1.yaml:2:4"));
    assert!(load("large.yaml", Some(&vec![b'#'; 1_100_000])).contains("larger than 1 MiB"));
    assert!(load("empty.yaml", Some(b"")).contains("the config is empty"));
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Every error must be printable: line by line, with the place inside the text.
fn answers(text: &str) -> Result<(), TestCaseError> {
    if let Err(errors) = Config::from_yaml("f", text) {
        prop_assert!(!errors.is_empty());
        for error in errors {
            let shown = error.to_string();
            prop_assert!(
                shown.starts_with("error: ") && shown.lines().count() <= 6,
                "{}",
                shown
            );
            prop_assert!(!error.one_line().contains('\n'));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,80}|[-a-z:?\\[\\]{},&*!|>'\"%@#\n\r\t ]{0,80}") {
        answers(&text)?;
    }

    #[rustfmt::skip] // A table is read by the row.
#[test]
    fn a_damaged_config_gets_an_answer(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, "[-a-z0-9:\\[\\]{},&*!'\"%\n\r\t \u{e9}]{0,4}"), 1..4),
    ) {
        let mut text: Vec<char> = COMPLETE.chars().collect();
        for (at, length, with) in cuts {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, with.chars());
        }
        answers(&text.into_iter().collect::<String>())?;
    }
}
