#!/usr/bin/env bash
# wrk, h2load and hey against nginx: not one request fails.
source "$(dirname "${BASH_SOURCE[0]}")/clients"
need nginx nginx-light
need wrk wrk
need h2load nghttp2-client
need hey hey

# nginx speaks HTTP/1.1 at one port and HTTP/2 without TLS at another.
choose_port server
choose_port http2
cat >"$scratch/nginx.conf" <<CONF
daemon off;
pid $scratch/nginx.pid;
error_log stderr warn;
events { worker_connections 4000; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path $scratch/body;
    proxy_temp_path $scratch/proxy;
    fastcgi_temp_path $scratch/fastcgi;
    uwsgi_temp_path $scratch/uwsgi;
    scgi_temp_path $scratch/scgi;
    server { listen 0.0.0.0:${ports[server]}; location / { return 200 "hello\n"; } }
    server { listen 0.0.0.0:${ports[http2]} http2; location / { return 200 "hello\n"; } }
}
CONF
start server nginx -p "$scratch" -c "$scratch/nginx.conf"
wait_for_listener "${ports[server]}"
stand_in_front

with_wrk() {
    local output
    output="$(wrk -t 2 -c 64 -d 2s "http://127.0.0.1:$port/" 2>&1)" || return 1
    ! grep -E 'Socket errors|Non-2xx' <<<"$output" >&2 || return 1
    figure="$(sed -n 's/^Requests\/sec: *\([0-9]*\).*/\1\/s/p' <<<"$output")"
}
with_hey() {
    local output
    output="$(hey -z 2s -c 32 -disable-keepalive "http://127.0.0.1:$port/" 2>&1)" || return 1
    ! grep -A 5 'Error distribution' <<<"$output" >&2 || return 1
    grep -q '\[200\]' <<<"$output" || return 1
    figure="$(sed -n 's/^ *Requests\/sec:[ \t]*\([0-9]*\).*/\1\/s/p' <<<"$output")"
}
with_h2load() {
    local output
    output="$(h2load -t 2 -c 32 -m 10 -D 2 "http://127.0.0.1:$port/" 2>&1)" || return 1
    grep -q '0 failed, 0 errored, 0 timeout' <<<"$output" || return 1
    figure="$(sed -n 's/^finished in [^,]*, \([0-9]*\).*/\1\/s/p' <<<"$output")"
}
each_long "wrk, 64 connections that stay" with_wrk
each_long "hey, a connection for each request" with_hey

# The same two in front of the other port.
stop haproxy
stop evener
ports[server]="${ports[http2]}"
stand_in_front
each_long "h2load, HTTP/2, 32 connections" with_h2load
