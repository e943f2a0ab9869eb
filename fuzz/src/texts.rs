//! Texts that people and their programs write: the config, its values, the body of a change.

use evener::config::{Config, ConfigError, closing, diff};

use super::is_shown_as_it_is;

/// Configs that differ in one value; the value stands for `VALUE`.
const WITH_A_VALUE: [&str; 14] = [
    "timeouts: { connect: VALUE }",
    "timeouts: { idle: VALUE, queue: VALUE, half_close: VALUE }",
    "pools: [{ name: p, retries: VALUE, backends: [\"127.0.0.1:1\"] }]",
    "pools: [{ name: p, panic_threshold: VALUE, backends: [\"127.0.0.1:1\"] }]",
    "pools: [{ name: p, balance: VALUE, when_down: VALUE, on_down: VALUE, backends: [\"127.0.0.1:1\"] }]",
    "pools: [{ name: p, slow_start: VALUE, hedge_after: VALUE, backends: [\"127.0.0.1:1\"] }]",
    "pools: [{ name: p, backends: [VALUE] }]",
    "pools: [{ name: VALUE, backends: [\"127.0.0.1:1\"] }]",
    "pools: [{ name: p, backends: [{ address: \"127.0.0.1:1\", weight: VALUE, state: VALUE, backup: VALUE, max_connections: VALUE }] }]",
    "pools: [{ name: p, backends: [\"127.0.0.1:1\"], health_check: { type: http, expect_status: VALUE, path: VALUE, interval: VALUE, jitter: VALUE } }]",
    "pools: [{ name: p, backends: [\"127.0.0.1:1\"], health_check: { type: send_expect, send: VALUE, expect: VALUE } }]",
    "listeners: [{ name: in, bind: VALUE, pool: p, routes: [{ sni: VALUE, pool: p }] }]",
    "listeners: [{ name: in, bind: \":1\", pool: p, connection_rate_per_ip: VALUE, access: [{ allow: VALUE }, { deny: VALUE }] }]",
    "listeners: [{ name: in, bind: \":1\", pool: p, socket: { receive_buffer: VALUE, keepalive: VALUE } }]",
];

/// What makes a whole config of the others.
const LISTENER: &str = "listeners: [{ name: in, bind: \":1\", pool: p }]";
const POOL: &str = "pools: [{ name: p, backends: [\"127.0.0.1:1\"] }]";

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

/// The first byte chooses where in a config the rest of them stand as a value.
pub fn values(bytes: &[u8]) {
    let Some((which, value)) = bytes.split_first() else {
        return;
    };
    let template = WITH_A_VALUE[usize::from(*which) % WITH_A_VALUE.len()];
    // Text in quotes means the same in JSON and YAML, as long as it has no characters that YAML forbids.
    let value = serde_json::to_string(&String::from_utf8_lossy(value)).unwrap();
    let mut text = template.replace("VALUE", &value);
    for (section, whole) in [("listeners:", LISTENER), ("pools:", POOL)] {
        if !template.starts_with(section) {
            text.push('\n');
            text.push_str(whole);
        }
    }
    config(text.as_bytes());
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
