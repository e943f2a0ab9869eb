//! The words of a config that evener does not take, and what it answers to them: keys and values
//! that are promised for a later version, the words that other balancers use, and typing mistakes.

use super::error::{Problem, quoted};

/// A key that the config format has and this version does not act upon. It is accepted when its
/// value says that it is not used, so that a complete config can be written down today.
pub(super) struct LaterKey {
    section: &'static str,
    key: &'static str,
    /// The value that means "not used".
    pub(super) unused: &'static str,
}

const fn later(section: &'static str, key: &'static str, unused: &'static str) -> LaterKey {
    LaterKey {
        section,
        key,
        unused,
    }
}

const LATER_KEYS: &[LaterKey] = &[
    later("the config", "admin", "off"),
    later("the config", "sandbox", "off"),
    later("the config", "user", "off"),
    later("the config", "group", "off"),
    later("listener", "access", "off"),
    later("listener", "accept_proxy_protocol", "off"),
    later("listener", "max_connections_per_ip", "off"),
    later("listener", "connection_rate_per_ip", "off"),
    later("listener", "routes", "off"),
    later("pool", "on_down", "keep"),
    later("pool", "send_proxy_protocol", "off"),
    later("pool", "slow_start", "off"),
    later("pool", "panic_threshold", "0%"),
    later("pool", "outlier_detection", "off"),
    later("pool", "hedge_after", "off"),
    later("health_check", "fast_interval", "off"),
    later("health_check", "down_interval", "off"),
    later("backend", "max_connections", "off"),
    later("backend", "max_queue", "off"),
    later("backend", "backup", "false"),
    later("backend", "resolve_interval", "off"),
    later("timeouts", "queue", "off"),
    later("timeouts", "max_lifetime", "off"),
    later("log", "progress_interval", "off"),
];

/// Values of a key that later versions know.
const LATER_VALUES: &[(&str, &[&str])] = &[
    ("balance", &["source_hash", "maglev"]),
    ("when_down", &["refuse", "hold", "fail_open"]),
    ("type", &["http", "send_expect"]),
];

/// Keys as other balancers call them, and ours. A word may stand twice: the right one is the one
/// that the section has.
const KEY_ALIASES: &[(&str, &[&str])] = &[
    (
        "listeners",
        &[
            "listener",
            "frontend",
            "frontends",
            "server",
            "servers",
            "entrypoints",
            "entryPoints",
            "listen",
        ],
    ),
    (
        "pools",
        &[
            "pool",
            "backend",
            "backends",
            "upstream",
            "upstreams",
            "cluster",
            "clusters",
            "services",
        ],
    ),
    (
        "bind",
        &["address", "addresses", "addr", "listen", "host", "port"],
    ),
    (
        "pool",
        &[
            "backend",
            "backends",
            "default_backend",
            "upstream",
            "cluster",
            "service",
            "target_group",
            "proxy_pass",
        ],
    ),
    (
        "max_connections",
        &[
            "maxconn",
            "max_conn",
            "max_conns",
            "connection_limit",
            "max_sessions",
        ],
    ),
    (
        "balance",
        &[
            "lb_policy",
            "policy",
            "algorithm",
            "strategy",
            "load_balancing",
            "load_balancer",
            "lb",
        ],
    ),
    (
        "backends",
        &[
            "servers",
            "server",
            "backend",
            "endpoints",
            "targets",
            "members",
            "hosts",
            "nodes",
        ],
    ),
    (
        "health_check",
        &[
            "healthcheck",
            "healthCheck",
            "health_checks",
            "health",
            "check",
            "probe",
            "checks",
        ],
    ),
    (
        "retries",
        &["retry", "max_retries", "max_connect_attempts", "attempts"],
    ),
    (
        "address",
        &[
            "addr", "host", "server", "url", "target", "endpoint", "ip", "port", "bind",
        ],
    ),
    ("state", &["admin_state", "mode"]),
    ("weight", &["load_balancing_weight", "share"]),
    ("interval", &["inter", "every", "period", "check_interval"]),
    (
        "rise",
        &["healthy_threshold", "passes", "success_threshold"],
    ),
    (
        "fall",
        &[
            "unhealthy_threshold",
            "fails",
            "max_fails",
            "failure_threshold",
        ],
    ),
    (
        "connect",
        &[
            "connect_timeout",
            "dial_timeout",
            "dialTimeout",
            "backend_connection_timeout",
            "proxy_connect_timeout",
        ],
    ),
    (
        "idle",
        &[
            "idle_timeout",
            "tunnel",
            "client",
            "server",
            "proxy_timeout",
            "client_idle_timeout",
            "backend_idle_timeout",
        ],
    ),
    (
        "half_close",
        &[
            "client_fin",
            "client-fin",
            "server_fin",
            "server-fin",
            "half_closed",
            "terminationDelay",
        ],
    ),
    (
        "drain_timeout",
        &[
            "drain",
            "grace_period",
            "grace",
            "hard_stop_after",
            "hard-stop-after",
            "timeout",
            "drain_time",
        ],
    ),
    (
        "pre_stop_delay",
        &["delay", "pre_stop", "lame_duck", "grace_timeout"],
    ),
    ("level", &["loglevel", "log_level", "severity", "verbosity"]),
    ("connections", &["access", "access_log", "sessions"]),
    ("log", &["logging", "logs"]),
    ("limits", &["global", "limit"]),
    ("timeouts", &["timeout"]),
];

/// Values as other balancers call them, and ours.
const VALUE_ALIASES: &[(&str, &[&str])] = &[
    ("round_robin", &["roundrobin", "rr", "static-rr", "robin"]),
    (
        "weighted_round_robin",
        &["wrr", "weighted", "weighted_roundrobin"],
    ),
    (
        "least_connections",
        &[
            "leastconn",
            "least_conn",
            "least_request",
            "lc",
            "wlc",
            "leastconns",
            "least",
        ],
    ),
    (
        "power_of_two",
        &["p2c", "two_choices", "power_of_two_choices", "random_two"],
    ),
    (
        "source_hash",
        &["source", "ip_hash", "iphash", "src_ip", "sh", "hash"],
    ),
    ("first", &["priority", "failover"]),
    ("reset", &["rst", "abort", "reject"]),
    ("close", &["fin", "end"]),
    ("fail_open", &["failopen", "open"]),
    ("ready", &["up", "active", "enabled", "on", "online"]),
    ("drain", &["draining", "soft_stop"]),
    ("maintenance", &["maint", "down", "disabled", "offline"]),
    ("text", &["plain", "human", "logfmt", "console"]),
    ("warn", &["warning"]),
    ("error", &["err", "fatal", "critical"]),
    ("debug", &["trace", "verbose", "all"]),
];

/// The entry of a key that is for later.
pub(super) fn later_key(section: &str, key: &str) -> Option<&'static LaterKey> {
    LATER_KEYS
        .iter()
        .find(|later| later.section == section && later.key == key)
}

/// Is this value of this key for later?
pub(super) fn is_later_value(key: &str, value: &str) -> bool {
    LATER_VALUES
        .iter()
        .any(|(later, values)| *later == key && values.contains(&value))
}

/// Says that evener will have this one day. `thing` is what was written.
pub(super) fn not_implemented(thing: &str, help: impl Into<String>) -> Problem {
    let version = env!("CARGO_PKG_VERSION");
    Problem::new(
        format!("{} is not implemented in evener {version}", quoted(thing)),
        help,
    )
}

/// The answer to a key that a section does not have.
pub(super) fn unknown_key(key: &str, section: &str, known: &[&'static str]) -> Problem {
    let what = format!("unknown key {} in {section}", quoted(key));
    Problem::new(what, suggestion(key, known, KEY_ALIASES, "known keys"))
}

/// The answer to a word that is none of the possible values.
pub(super) fn unknown_value(value: &str, known: &[&'static str]) -> Problem {
    let what = format!("{} is not known", quoted(value));
    Problem::new(what, suggestion(value, known, VALUE_ALIASES, "known"))
}

fn suggestion(
    word: &str,
    known: &[&'static str],
    aliases: &[(&'static str, &[&str])],
    title: &str,
) -> String {
    let mut list = known.join(", ");
    if known.is_empty() {
        list.push_str("none");
    }
    let alias = || {
        let aliased = |right: &str| {
            aliases
                .iter()
                .any(|(ours, theirs)| *ours == right && theirs.contains(&word))
        };
        known.iter().copied().find(|right| aliased(right))
    };
    if let Some(right) = alias() {
        format!("evener calls it `{right}`; {title}: {list}")
    } else if let Some(near) = closest(word, known.iter().copied()) {
        format!("did you mean `{near}`? {title}: {list}")
    } else {
        format!("{title}: {list}")
    }
}

/// The candidate that differs from the word by so little that it was probably meant: a third of
/// its letters, one at least. Case and `-` for `_` count as nothing.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Distances take time in the product of the lengths, and nobody mistypes a page.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            let plain = candidate.replace('-', "_");
            (strsim::damerau_levenshtein(&word, &plain), candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["interval", "timeout", "rise", "fall", "half-close"];
        for (word, near) in [
            ("intervall", Some("interval")),
            ("INTERVAL", Some("interval")),
            ("tiemout", Some("timeout")),
            ("half_close", Some("half-close")),
            ("fal", Some("fall")),
            ("weight", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), near, "{word}");
        }
        assert_eq!(closest(&"interval".repeat(10_000), known), None);
    }

    #[test]
    fn no_alias_is_one_of_our_own_words_for_the_same_place() {
        for table in [KEY_ALIASES, VALUE_ALIASES] {
            for (ours, theirs) in table {
                assert!(!theirs.contains(ours), "{ours}");
            }
        }
    }
}
