//! Health checks that must load, and what they must load to.

use super::super::{Config, HealthCheck, HttpMethod, Probe};

fn config(pool: &str) -> Config {
    let pools = format!("pools: [{{ {pool}, backends: ['127.0.0.1:8000'] }}]\n");
    match Config::from_yaml(
        "t",
        &("listeners: [{ bind: ':8080' }]\n".to_owned() + &pools),
    ) {
        Ok(config) => config,
        Err(errors) => panic!("{}", super::printed(&errors)),
    }
}

fn health_check(text: &str) -> HealthCheck {
    let config = config(&format!("health_check: {text}"));
    config.pools[0].health_check.clone().unwrap()
}

#[test]
fn an_http_check_has_defaults_that_find_a_plain_server() {
    let Probe::Http(http) = health_check("{ type: http }").probe else {
        panic!("it is HTTP");
    };
    assert_eq!((http.method, http.path.as_str()), (HttpMethod::Get, "/"));
    assert_eq!(http.host, None);
    assert_eq!(http.expect_status.to_string(), "200-399");
    let text = "{ type: http, method: HEAD, path: '/up?x=1', host: 'a.example:81', expect_status: '200, 401-403' }";
    let Probe::Http(http) = health_check(text).probe else {
        panic!("it is HTTP");
    };
    assert_eq!(
        (http.method, http.path.as_str()),
        (HttpMethod::Head, "/up?x=1")
    );
    assert_eq!(http.host.as_deref(), Some("a.example:81"));
    assert_eq!(http.expect_status.to_string(), "200, 401-403");
    let Probe::Http(http) = health_check("{ type: http, host: off, expect_status: 204 }").probe
    else {
        panic!("it is HTTP");
    };
    assert_eq!(
        (http.host, http.expect_status.to_string()),
        (None, "204".to_owned())
    );
}

/// What stands in the file, and the bytes that it means: each way that YAML has to write a text.
#[test]
fn bytes_in_every_kind_of_quotes() {
    for (in_file, bytes) in [
        (r#""PING\r\n""#, b"PING\r\n".as_slice()),
        (r#""PING\\r\\n""#, b"PING\r\n"),
        (r"'PING\r\n'", b"PING\r\n"),
        (r"PING\r\n", b"PING\r\n"),
        (r"+PONG", b"+PONG"),
        (r"'220 '", b"220 "),
        (r"220", b"220"),
        (r"'\x00\xff\0'", b"\0\xff\0"),
        (r#""\\x00\\xff""#, b"\0\xff"),
        (r#""\x41\0""#, b"A\0"),
        (r"'a\\b'", b"a\\b"),
        (r#""a\\\\b""#, b"a\\b"),
        (r#"'say \"hi\"'"#, b"say \"hi\""),
        (r#""say \"hi\"""#, b"say \"hi\""),
    ] {
        for key in ["expect", "expect: x, send"] {
            let text = format!("{{ type: send_expect, {key}: {in_file} }}");
            let Probe::SendExpect { send, expect } = health_check(&text).probe else {
                panic!("it is send_expect");
            };
            let read = if key == "expect" { expect } else { send };
            assert_eq!(read, bytes, "{in_file}");
        }
    }
    let nothing = health_check("{ type: send_expect, send: '', expect: '220' }").probe;
    assert!(matches!(nothing, Probe::SendExpect { send, .. } if send.is_empty()));
}

#[test]
fn off_is_off_and_an_agent_goes_without_probes() {
    let config = self::config("health_check: { type: off, path: /x }, agent: { port: 8099 }");
    assert_eq!(config.pools[0].health_check, None);
    assert_eq!(config.pools[0].agent.as_ref().unwrap().port, 8099);
    assert_eq!(self::config("agent: off").pools[0].agent, None);
}

#[test]
fn intervals_that_make_no_sense_are_told() {
    let warnings = |text| config(&format!("health_check: {text}")).warnings();
    assert_eq!(
        warnings("{ fast_interval: 500ms, down_interval: 10s }"),
        [""; 0]
    );
    // As often is not less often, and as long is not longer.
    assert_eq!(warnings("{ fast_interval: 2s, timeout: 2s }"), [""; 0]);
    let slow = warnings("{ fast_interval: 3s }");
    assert!(
        slow[0].contains("fast_interval 3s is longer than interval 2s"),
        "{slow:?}"
    );
    assert!(warnings("{ timeout: 3s }")[0].contains("may take longer"));
}
