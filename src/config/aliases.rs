//! The words of other balancers for what evener calls otherwise. They are not accepted, so that a
//! config is read the same by everybody; they make the error say the right word.

/// Our word, and theirs. One of theirs may stand in several rows: the right one is the one that the
/// section or the key has.
pub(super) type Aliases = [(&'static str, &'static [&'static str])];

/// For keys.
#[rustfmt::skip] // A table is read by the row.
pub(super) const KEY_ALIASES: &Aliases = &[
    ("listeners", &["listener", "frontend", "frontends", "server", "servers", "entrypoints", "entryPoints", "listen"]),
    ("pools", &["pool", "backend", "backends", "upstream", "upstreams", "cluster", "clusters", "services"]),
    ("bind", &["address", "addresses", "addr", "listen", "host", "port"]),
    ("pool", &["backend", "backends", "default_backend", "upstream", "cluster", "service", "target_group", "proxy_pass"]),
    ("max_connections", &["maxconn", "max_conn", "max_conns", "connection_limit", "max_sessions"]),
    ("max_connections_per_ip", &["limit_conn", "max_conn_per_ip", "maxconn_per_ip", "src_conn_cur", "inflightconn"]),
    ("connection_rate_per_ip", &["limit_req", "rate_limit", "src_conn_rate", "conn_rate", "local_ratelimit"]),
    ("access", &["acl", "acls", "ip_allow_list", "ipAllowList", "ipWhiteList", "whitelist", "allowlist", "blacklist", "tcp_request"]),
    ("rules", &["acl", "list", "source_ranges", "sourceRange"]),
    ("balance", &["lb_policy", "policy", "algorithm", "strategy", "load_balancing", "load_balancer", "lb"]),
    ("backends", &["servers", "server", "backend", "endpoints", "targets", "members", "hosts", "nodes"]),
    ("health_check", &["healthcheck", "healthCheck", "health_checks", "health", "check", "probe", "checks"]),
    ("accept_proxy_protocol", &["accept_proxy", "accept-proxy", "proxy_protocol", "proxyProtocol", "use_proxy_proto"]),
    ("from", &["set_real_ip_from", "trusted", "trustedIPs", "trusted_ips", "allow"]),
    ("send_proxy_protocol", &["send_proxy", "send-proxy", "send-proxy-v2", "proxy_protocol", "proxyProtocol"]),
    ("routes", &["ssl_preread", "server_names", "sni", "sni_hosts", "HostSNI", "use_backend", "filter_chains", "routers", "map"]),
    ("sni", &["server_names", "server_name", "sni_hosts", "HostSNI", "hosts", "host", "hostname", "hostnames", "names", "req_ssl_sni", "match"]),
    ("routes_timeout", &["preread_timeout", "inspect_delay", "inspect-delay", "matching_timeout", "listener_filters_timeout", "sni_timeout"]),
    ("retries", &["retry", "max_retries", "max_connect_attempts", "attempts"]),
    ("address", &["addr", "host", "server", "url", "target", "endpoint", "ip", "port", "bind"]),
    ("state", &["admin_state", "mode"]),
    ("weight", &["load_balancing_weight", "share"]),
    ("interval", &["inter", "every", "period", "check_interval"]),
    ("rise", &["healthy_threshold", "passes", "success_threshold"]),
    ("fall", &["unhealthy_threshold", "fails", "max_fails", "failure_threshold"]),
    ("connect", &["connect_timeout", "dial_timeout", "dialTimeout", "backend_connection_timeout", "proxy_connect_timeout"]),
    ("idle", &["idle_timeout", "tunnel", "client", "server", "proxy_timeout", "client_idle_timeout", "backend_idle_timeout"]),
    ("half_close", &["client_fin", "client-fin", "server_fin", "server-fin", "half_closed", "terminationDelay"]),
    ("drain_timeout", &["drain", "grace_period", "grace", "hard_stop_after", "hard-stop-after", "timeout", "drain_time"]),
    ("pre_stop_delay", &["delay", "pre_stop", "lame_duck", "grace_timeout"]),
    ("level", &["loglevel", "log_level", "severity", "verbosity"]),
    ("connections", &["access", "access_log", "sessions"]),
    ("admin", &["api", "stats", "ctl", "controller", "management", "admin_api", "dashboard"]),
    ("token_file", &["token", "password", "secret", "auth", "token_path"]),
    ("progress_interval", &["access_log_flush_interval", "tcp_access_log_interval"]),
    ("log", &["logging", "logs"]),
    ("limits", &["global", "limit"]),
    ("timeouts", &["timeout"]),
];

/// For values.
#[rustfmt::skip] // A table is read by the row.
pub(super) const VALUE_ALIASES: &Aliases = &[
    ("round_robin", &["roundrobin", "rr", "static-rr", "robin"]),
    ("weighted_round_robin", &["wrr", "weighted", "weighted_roundrobin"]),
    ("least_connections", &["leastconn", "least_conn", "least_request", "lc", "wlc", "leastconns", "least"]),
    ("power_of_two", &["p2c", "two_choices", "power_of_two_choices", "random_two"]),
    ("source_hash", &["source", "ip_hash", "iphash", "src_ip", "sh", "hash"]),
    ("first", &["priority", "failover"]),
    ("reset", &["rst", "abort", "reject"]),
    ("v1", &["1"]),
    ("v2", &["2"]),
    ("close", &["fin", "end"]),
    ("fail_open", &["failopen", "open"]),
    ("ready", &["up", "active", "enabled", "on", "online"]),
    ("drain", &["draining", "soft_stop"]),
    ("maintenance", &["maint", "down", "disabled", "offline"]),
    ("allow", &["accept", "permit", "pass", "whitelist"]),
    ("deny", &["reject", "drop", "block", "forbid", "blacklist"]),
    ("text", &["plain", "human", "logfmt", "console"]),
    ("tcplog", &["haproxy", "clf"]),
    ("warn", &["warning"]),
    ("error", &["err", "fatal", "critical"]),
    ("debug", &["trace", "verbose", "all"]),
];
