//! Texts that people and their programs write: the config, its values, the body of a change.

use evener::config::{Config, ConfigError, closing, diff};

use super::is_shown_as_it_is;

/// Places of a config where one value stands, each with a value that is right there.
#[rustfmt::skip] // A table is read by the row.
const PLACES: [(Section, &str, &str); 40] = [
    (Section::Top, "timeouts: { connect: VALUE }", "2s"),
    (Section::Top, "timeouts: { idle: VALUE }", "off"),
    (Section::Top, "limits: { max_connections: VALUE }", "auto"),
    (Section::Top, "shutdown: { drain_timeout: VALUE }", "1h 30m"),
    (Section::Top, "log: { level: VALUE }", "debug"),
    (Section::Top, "log: { connections: VALUE }", "true"),
    (Section::Top, "admin: { bind: VALUE }", "127.0.0.1:8081"),
    (Section::Top, "user: VALUE", "nobody"),
    (Section::Top, "sandbox: VALUE", "best_effort"),
    (Section::Top, "performance: { relay: VALUE }", "splice"),
    (Section::Listener, "bind: VALUE", "[::]:8080"),
    (Section::Listener, "max_connections: VALUE", "10"),
    (Section::Listener, "connection_rate_per_ip: VALUE", "20/s"),
    (Section::Listener, "access: { rules: [VALUE] }", "deny 10.0.0.0/8"),
    (Section::Listener, "accept_proxy_protocol: { from: [VALUE] }", "10.0.0.0/8"),
    (Section::Listener, "routes: [{ sni: [VALUE], pool: p }]", "*.example.org"),
    (Section::Listener, "socket: { receive_buffer: VALUE }", "64KiB"),
    (Section::Listener, "name: VALUE", "web"),
    (Section::Pool, "name: VALUE", "p"),
    (Section::Pool, "balance: VALUE", "maglev"),
    (Section::Pool, "retries: VALUE", "3"),
    (Section::Pool, "when_down: VALUE", "hold"),
    (Section::Pool, "on_down: VALUE", "close"),
    (Section::Pool, "panic_threshold: VALUE", "50%"),
    (Section::Pool, "slow_start: VALUE", "30s"),
    (Section::Pool, "hedge_after: VALUE", "200ms"),
    (Section::Pool, "send_proxy_protocol: VALUE", "v2"),
    (Section::Pool, "health_check: { interval: VALUE }", "1500ms"),
    (Section::Pool, "health_check: { jitter: VALUE }", "10%"),
    (Section::Pool, "health_check: { type: http, path: VALUE }", "/healthz?a=b"),
    (Section::Pool, "health_check: { type: http, host: VALUE }", "example.org"),
    (Section::Pool, "health_check: { type: http, expect_status: VALUE }", "200-299, 401"),
    (Section::Pool, "health_check: { type: send_expect, send: VALUE, expect: ok }", "PING\\r\\n"),
    (Section::Pool, "health_check: { type: send_expect, expect: VALUE }", "+PONG\\x00"),
    (Section::Pool, "agent: { port: VALUE }", "9000"),
    (Section::Backend, "address: VALUE", "db.example.org:5432"),
    (Section::Backend, "address: \"127.0.0.1:2\", weight: VALUE", "100"),
    (Section::Backend, "address: \"127.0.0.1:2\", state: VALUE", "drain"),
    (Section::Backend, "address: \"127.0.0.1:2\", name: VALUE", "b 2"),
    (Section::Backend, "address: \"127.0.0.1:2\", max_connections: VALUE", "7"),
];

/// Where in a config a key stands.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Top,
    Listener,
    Pool,
    Backend,
}

impl Section {
    /// A whole config with this key in it, in the place of its own of the same name.
    fn config_with(self, key: &str) -> String {
        let name_of = |key: &str| key.split(':').next().unwrap().to_owned();
        let keys = |section, own: &[&str]| {
            let mut keys = own.to_vec();
            if self == section {
                keys.retain(|own| name_of(own) != name_of(key));
                keys.push(key);
            }
            keys.join(", ")
        };
        let top = keys(Section::Top, &[]);
        let listener = keys(Section::Listener, &["name: in", "bind: \":1\"", "pool: p"]);
        let pool = keys(Section::Pool, &["name: p"]);
        let backend = keys(Section::Backend, &["address: \"127.0.0.1:2\""]);
        format!(
            "{top}\nlisteners: [{{ {listener} }}]\n\
             pools: [{{ {pool}, backends: [{{ {backend} }}] }}]\n"
        )
    }
}

/// Text of a config file: what loads is printed as something that loads again and says the same, and what
/// does not is told in messages that can be shown.
pub fn config(bytes: &[u8]) {
    match load(&String::from_utf8_lossy(bytes)) {
        Ok(config) => {
            let printed = config.to_yaml();
            let again = load(&printed).unwrap_or_else(|errors| panic!("{errors:?}\n{printed}"));
            assert!(again == config, "it says something else now:\n{printed}");
            assert!(diff::differences(&config, &again).is_empty());
            for warning in config.warnings() {
                is_shown_as_it_is(&warning);
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            for error in errors {
                is_shown_as_it_is(&error.one_line());
                error.to_string().lines().for_each(is_shown_as_it_is);
            }
        }
    }
}

fn load(text: &str) -> Result<Config, Vec<ConfigError>> {
    Config::from_yaml("evener.yaml", text)
}

/// The first byte chooses where in a config the rest of them stand as a value. Where nothing is left, the value
/// is one that is right there, and loads.
pub fn values(bytes: &[u8]) {
    let Some((which, value)) = bytes.split_first() else {
        return;
    };
    let (section, key, right) = PLACES[usize::from(*which) % PLACES.len()];
    // Text in quotes means the same in JSON and YAML, as long as it has no characters that YAML forbids.
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let config_with = |text: &str| section.config_with(&key.replace("VALUE", &quoted(text)));
    if value.is_empty() {
        let text = config_with(right);
        load(&text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    }
    config(config_with(&String::from_utf8_lossy(value)).as_bytes());
}

/// Bodies of the changes that the admin server takes.
pub fn change_body(bytes: &[u8]) {
    match evener::fuzzing::change_body(bytes) {
        Ok(None) => {}
        Ok(Some(close)) => {
            if let Err(what) = closing::terms(&close.rate, close.idle_for.as_deref()) {
                is_shown_as_it_is(&what);
            }
        }
        Err(what) => is_shown_as_it_is(&what),
    }
}
