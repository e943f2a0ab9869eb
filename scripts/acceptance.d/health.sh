#!/usr/bin/env bash
# Health checks of real servers: nginx by HTTP and by TCP, Redis by PING. A stopped Redis (SIGSTOP) is found by
# PING and not by TCP; an nginx that answers 503 is down and comes back; and after many probes of every kind
# the logs of both have no complaint.
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need nginx nginx
need redis-server redis-server
need redis-cli redis-tools
need curl curl

for name in evener web redis admin; do
    choose_port "$name"
done

mkdir "$scratch/files"
echo fine >"$scratch/files/healthz"
head -c 3000000 /dev/urandom >"$scratch/files/long"
cat >"$scratch/nginx.conf" <<CONF
# One process, so that ending it ends all of it.
daemon off;
master_process off;
pid $scratch/nginx.pid;
error_log $scratch/nginx-error.log info;
events {}
http {
    access_log $scratch/nginx-access.log;
    client_body_temp_path $scratch/body;
    proxy_temp_path $scratch/proxy;
    fastcgi_temp_path $scratch/fastcgi;
    uwsgi_temp_path $scratch/uwsgi;
    scgi_temp_path $scratch/scgi;
    server {
        listen 127.0.0.1:${ports[web]};
        server_name www.example.com;
        root $scratch/files;
        location = /healthz {
            if (-e $scratch/sick) { return 503; }
        }
        location = /none { return 204; }
    }
}
CONF
start nginx nginx -p "$scratch" -c "$scratch/nginx.conf"
wait_for_port "${ports[web]}"
# Whoever connects and says nothing, as this wait has done, is noted at the level info.
: >"$scratch/nginx-error.log"
start redis redis-server --port "${ports[redis]}" --bind 127.0.0.1 --save "" --dir "$scratch" --loglevel verbose
wait_for redis "Ready to accept connections"

start_evener evener <<YAML
listeners: [{ bind: "127.0.0.1:${ports[evener]}", pool: get }]
pools:
  - name: get
    health_check: { type: http, path: /healthz, host: www.example.com, expect_status: "200", interval: 50ms, timeout: 1s }
    backends: [{ name: get, address: "127.0.0.1:${ports[web]}" }]
  - name: head
    health_check: { type: http, method: HEAD, path: /long, interval: 50ms, timeout: 1s }
    backends: [{ name: head, address: "127.0.0.1:${ports[web]}" }]
  - name: none
    health_check: { type: http, path: /none, interval: 50ms, timeout: 1s }
    backends: [{ name: none, address: "127.0.0.1:${ports[web]}" }]
  - name: connect
    health_check: { interval: 50ms, timeout: 1s }
    backends: [{ name: connect, address: "127.0.0.1:${ports[redis]}" }]
  - name: ping
    health_check: { type: send_expect, send: 'PING\r\n', expect: '+PONG', interval: 50ms, timeout: 500ms, fall: 2 }
    backends: [{ name: ping, address: "127.0.0.1:${ports[redis]}" }]
admin: { bind: "127.0.0.1:${ports[admin]}" }
YAML

# Sets $health to how the only backend of a pool is.
ask_health() {
    health="$("$bin/evener" --admin "127.0.0.1:${ports[admin]}" status --json |
        python3 -c 'import json, sys
pools = json.load(sys.stdin)["pools"]
print(next(p["backends"][0]["health"] for p in pools if p["name"] == sys.argv[1]))' "$1")"
}

expect_health() {
    local deadline=$((SECONDS + WAIT_SECONDS_MAX))
    until ask_health "$1" && [[ $health == "$2" ]]; do
        ((SECONDS < deadline)) || fail "$1 is $health and not $2"
        sleep 0.05
    done
}

for pool in get head none connect ping; do
    expect_health "$pool" up
done
ok "nginx by GET and HEAD, Redis by TCP and PING: all up"

# --- errors are noticed, and their end ---

touch "$scratch/sick"
wait_for evener "HTTP status 503"
expect_health get down
rm "$scratch/sick"
expect_health get up
expect_health head up
ok "a 503 of nginx takes it down, and its end brings it back"

kill -STOP "${pids[redis]}"
wait_for evener "no answer within 500ms"
expect_health ping down
expect_health connect up
ok "a stopped Redis is found by PING; its kernel still takes connections"
kill -CONT "${pids[redis]}"
expect_health ping up
expect_not_logged evener "pool connect;"
ok "it is up again when it goes on"

# --- hundreds of probes later ---

# What this script itself did to find out that nginx listens is none of evener's.
: >"$scratch/nginx-error.log"

probes() {
    grep -c "evener/" "$scratch/nginx-access.log" || true
}
deadline=$((SECONDS + WAIT_SECONDS_MAX))
until (($(probes) > 300)); do
    ((SECONDS < deadline)) || fail "only $(probes) probes in nginx's log"
    sleep 0.1
done
[[ ! -s $scratch/nginx-error.log ]] || fail "nginx complains"
grep -q '"HEAD /long HTTP/1.1" 200 0 .*evener/' "$scratch/nginx-access.log" || fail "no HEAD in nginx's log"
! grep -v '" \(200\|204\|503\) ' "$scratch/nginx-access.log" >&2 || fail "nginx saw other requests"
ok "$(probes) probes of nginx: its error log is empty, down to the level info"
! grep -iE 'error|warn|protocol' "$scratch/redis.log" | grep -viE 'overcommit|WARNING: The TCP backlog|transparent|Could not create' >&2 ||
    fail "Redis complains"
left="$(redis-cli -p "${ports[redis]}" info clients | tr -d '\r' | sed -n 's/^connected_clients://p')"
# The one that asks, and the probes of this moment.
((left <= 3)) || fail "Redis has $left clients"
ok "Redis has no complaint, and $left clients, the one that asks included"
