#!/usr/bin/env bash
# The PROXY protocol with HAProxy on either side of evener, v1 and v2: the client's address arrives, and
# so does the address that it connected to; health checks of both disturb neither.
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need haproxy haproxy
need curl curl

# The client comes from here, everything else from 127.0.0.1.
readonly CLIENT_IP=127.0.0.5

for name in dummy in1 in2 evener1 evener2 out to1 to2 between first six; do
    choose_port "$name"
done

# --- HAProxy sends, evener receives ---

start dummy "$bin/backend" "${ports[dummy]}" --name dummy --proxy
wait_for dummy "started on port"

# HAProxy's own checks bring a header, too (v2: LOCAL). Each has a listener and so a log of its own.
for version in 1 2; do
    start_evener "evener$version" <<YAML
listeners:
  - name: in
    bind: "127.0.0.1:${ports[evener$version]}"
    accept_proxy_protocol: { from: [127.0.0.1], timeout: 3s }
pools:
  - { send_proxy_protocol: v$version, backends: ["127.0.0.1:${ports[dummy]}"] }
admin: off
YAML
done

cat >"$scratch/haproxy.cfg" <<CFG
global
    log stdout format raw daemon
defaults
    log global
    mode tcp
    option log-health-checks
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen in1
    bind 127.0.0.1:${ports[in1]}
    server evener1 127.0.0.1:${ports[evener1]} send-proxy check inter 200ms check-send-proxy
listen in2
    bind 127.0.0.1:${ports[in2]}
    server evener2 127.0.0.1:${ports[evener2]} send-proxy-v2 check inter 200ms check-send-proxy
listen between
    bind 127.0.0.1:${ports[between]} accept-proxy
    server evener2 127.0.0.1:${ports[evener2]} send-proxy-v2
frontend out
    mode http
    bind 127.0.0.1:${ports[out]} accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port] %[dst]:%[dst_port]"
CFG
start haproxy haproxy -db -f "$scratch/haproxy.cfg"
wait_for_port "${ports[in1]}"
wait_for_port "${ports[in2]}"

for version in 1 2; do
    ask "$CLIENT_IP" "http://127.0.0.1:${ports[in$version]}/"
    expect_answer "Hello from Backend Server on port: dummy"$'\n'"Client: $client"
    wait_for "evener$version" " $client -> "
    ok "HAProxy sends v$version, evener takes it and sends v$version on: $client arrives"

    wait_for haproxy "Health check for server in$version/evener$version succeeded"
    wait_for "evener$version" " ended: normal "
    expect_not_logged "evener$version" bad_proxy_header
    ok "HAProxy's check-send-proxy with v$version passes"

    ask "$CLIENT_IP" "http://127.0.0.1:${ports[evener$version]}/"
    expect_answer "Hello from Backend Server on port: dummy"$'\n'"Client: $client"
    wait_for "evener$version" " $client -> 127.0.0.1:${ports[dummy]} ended: normal -- listener=in pool=default in="
    ok "whoever is not the proxy is served without a header (v$version)"
done

# --- evener sends, HAProxy receives ---

for version in 1 2; do
    start_evener "to$version" <<YAML
listeners: [{ bind: "127.0.0.1:${ports[to$version]}" }]
pools:
  - send_proxy_protocol: v$version
    health_check: { interval: 100ms, timeout: 100ms }
    backends: ["127.0.0.1:${ports[out]}"]
admin: off
YAML
    ask "$CLIENT_IP" "http://127.0.0.1:${ports[to$version]}/"
    expect_answer "$client 127.0.0.1:${ports[to$version]}"
    ok "evener sends v$version, HAProxy's accept-proxy takes it: $answer"
done

# Twenty probes each by then.
sleep 2
for version in 1 2; do
    expect_not_logged "to$version" "is DOWN"
done
expect_not_logged haproxy PROXY
# A probe without a header is complained about, so there was something to be silent about.
is_taken "${ports[out]}"
wait_for haproxy PROXY
ok "evener's health checks with a header leave no complaint in HAProxy's log"

# --- a chain, and IPv6 ---

start_evener first <<YAML
listeners: [{ bind: "127.0.0.1:${ports[first]}" }]
pools:
  - { send_proxy_protocol: v1, health_check: off, backends: ["127.0.0.1:${ports[between]}"] }
admin: off
YAML
ask "$CLIENT_IP" "http://127.0.0.1:${ports[first]}/"
expect_answer "Hello from Backend Server on port: dummy"$'\n'"Client: $client"
ok "through evener (v1), HAProxy (v2) and evener (v2) the first client stays known: $client"

if has_ipv6; then
    for version in 1 2; do
        start_evener "six$version" <<YAML
listeners: [{ bind: "[::1]:${ports[six]}" }]
pools:
  - { send_proxy_protocol: v$version, backends: ["127.0.0.1:${ports[out]}"] }
admin: off
YAML
        ask ::1 "http://[::1]:${ports[six]}/"
        # HAProxy writes IPv6 addresses without brackets, curl with or without.
        answer="${answer//[\[\]]/}" client="${client//[\[\]]/}"
        expect_answer "$client ::1:${ports[six]}"
        ok "evener tells HAProxy about an IPv6 client over IPv4 with v$version: $answer"
        stop "six$version"
    done
fi
