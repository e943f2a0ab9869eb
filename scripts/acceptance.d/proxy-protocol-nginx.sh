#!/usr/bin/env bash
# The PROXY protocol with nginx on either side of evener: its stream proxy sends v1, its HTTP server and its
# stream proxy take v1 and v2. The client's address arrives in both, and a long answer arrives whole.
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need nginx nginx libnginx-mod-stream
need curl curl

# The client comes from here, everything else from 127.0.0.1.
readonly CLIENT_IP=127.0.0.5

for name in dummy evener sends web stream stream_dummy web1 web2 stream1 stream2; do
    choose_port "$name"
done

start dummy "$bin/backend" "${ports[dummy]}" --name dummy --proxy
wait_for dummy "started on port"

# Debian's nginx has the stream module beside it.
module=/usr/lib/nginx/modules/ngx_stream_module.so
[[ -e $module ]] || fail "no $module, try as root: apt-get install libnginx-mod-stream"

cat >"$scratch/nginx.conf" <<CONF
load_module $module;
# One process, so that ending it ends all of it.
daemon off;
master_process off;
pid $scratch/nginx.pid;
error_log $scratch/nginx.log info;
events {}
http {
    access_log off;
    client_body_temp_path $scratch/body;
    proxy_temp_path $scratch/proxy;
    fastcgi_temp_path $scratch/fastcgi;
    uwsgi_temp_path $scratch/uwsgi;
    scgi_temp_path $scratch/scgi;
    server {
        listen 127.0.0.1:${ports[web]} proxy_protocol;
        set_real_ip_from 127.0.0.1;
        real_ip_header proxy_protocol;
        root $scratch/files;
        location = / {
            return 200 "\$remote_addr:\$remote_port \$proxy_protocol_addr:\$proxy_protocol_port \$proxy_protocol_server_addr:\$proxy_protocol_server_port";
        }
    }
}
stream {
    log_format client "stream \$proxy_protocol_addr:\$proxy_protocol_port \$status";
    server {
        listen 127.0.0.1:${ports[sends]};
        proxy_pass 127.0.0.1:${ports[evener]};
        proxy_protocol on;
    }
    server {
        listen 127.0.0.1:${ports[stream]} proxy_protocol;
        access_log $scratch/stream.log client;
        set_real_ip_from 127.0.0.1;
        proxy_pass 127.0.0.1:${ports[dummy]};
        proxy_protocol on;
    }
}
CONF
mkdir "$scratch/files"
head -c 3000000 /dev/urandom >"$scratch/files/long"
: >"$scratch/stream.log"
start nginx nginx -p "$scratch" -c "$scratch/nginx.conf"
wait_for_port "${ports[sends]}"

# --- nginx sends, evener receives ---

start_evener evener <<YAML
listeners:
  - name: in
    bind: "127.0.0.1:${ports[evener]}"
    accept_proxy_protocol: { from: [127.0.0.1], timeout: 3s }
pools:
  - { send_proxy_protocol: v2, backends: ["127.0.0.1:${ports[dummy]}"] }
admin: off
YAML
ask "$CLIENT_IP" "http://127.0.0.1:${ports[sends]}/"
expect_answer "Hello from Backend Server on port: dummy"$'\n'"Client: $client"
wait_for evener " $client -> "
ok "nginx's stream proxy sends v1, evener takes it and sends v2 on: $client arrives"

# --- evener sends, nginx receives ---

for version in 1 2; do
    start_evener "web$version" <<YAML
listeners: [{ bind: "127.0.0.1:${ports[web$version]}" }]
pools:
  - send_proxy_protocol: v$version
    health_check: { interval: 100ms, timeout: 100ms }
    backends: ["127.0.0.1:${ports[web]}"]
admin: off
YAML
    ask "$CLIENT_IP" "http://127.0.0.1:${ports[web$version]}/"
    expect_answer "$client $client 127.0.0.1:${ports[web$version]}"
    ok "evener sends v$version, nginx's HTTP server takes it: $answer"

    curl --silent --show-error --fail --max-time 30 --interface "$CLIENT_IP" \
        --output "$scratch/got" "http://127.0.0.1:${ports[web$version]}/long" 2>>"$scratch/curl.log" ||
        fail "no long answer with v$version"
    cmp "$scratch/files/long" "$scratch/got" || fail "the long answer with v$version is not what it was"
    ok "an answer of 3 MB behind a v$version header arrives whole"

    start_evener "stream$version" <<YAML
listeners: [{ bind: "127.0.0.1:${ports[stream$version]}" }]
pools:
  - { send_proxy_protocol: v$version, health_check: off, backends: ["127.0.0.1:${ports[stream]}"] }
admin: off
YAML
    ask "$CLIENT_IP" "http://127.0.0.1:${ports[stream$version]}/"
    expect_answer "Hello from Backend Server on port: dummy"$'\n'"Client: $client"
    deadline=$((SECONDS + WAIT_SECONDS_MAX))
    until grep -qF "stream $client 200" "$scratch/stream.log"; do
        ((SECONDS < deadline)) || fail "nginx's log has no \$proxy_protocol_addr $client"
        sleep 0.05
    done
    ok "evener sends v$version, nginx's stream proxy logs and passes on \$proxy_protocol_addr $client"
done

# Twenty probes each by then.
sleep 2
for version in 1 2; do
    expect_not_logged "web$version" "is DOWN"
done
expect_not_logged nginx "broken header"
# Something else than a header is complained about, so there was something to be silent about.
curl --silent --max-time 5 "http://127.0.0.1:${ports[web]}/" >>"$scratch/curl.log" 2>&1 || true
wait_for nginx "broken header"
ok "evener's health checks with a header leave no complaint in nginx's log"
