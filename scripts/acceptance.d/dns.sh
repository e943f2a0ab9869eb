#!/usr/bin/env bash
# Host names with a real resolver and a real DNS server, dnsmasq: evener starts before the name exists, takes
# in what comes and goes, drains what is gone, and keeps the last answer while the server fails, is
# silent or does not know the name any more. In a network and a mount namespace of its own, with a
# /etc/resolv.conf of its own.
#
#     scripts/acceptance --only dns
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need dnsmasq dnsmasq-base
need ip iproute2
need curl curl

if [[ -z ${IN_NAMESPACE:-} ]]; then
    ((EUID == 0)) || fail "namespaces take root, try: sudo -E scripts/acceptance --only dns"
    IN_NAMESPACE=yes unshare --net --mount "$0"
    exit
fi

# One that is stopped takes no SIGTERM.
trap 'kill -CONT "${pids[dnsmasq]:-$$}" 2>/dev/null || true; clean_up' EXIT

ip link set lo up
# One try of two seconds for each question, so that silence is noticed soon.
printf 'nameserver 127.0.0.1\noptions timeout:2 attempts:1\n' >"$scratch/resolv.conf"
printf 'hosts: dns\n' >"$scratch/nsswitch.conf"
mount --bind "$scratch/resolv.conf" /etc/resolv.conf
[[ ! -e /etc/nsswitch.conf ]] || mount --bind "$scratch/nsswitch.conf" /etc/nsswitch.conf
readonly NAME=app.test PORT=8000

# Starts dnsmasq with these further arguments: what it knows, and how it answers for the rest.
dns() {
    start dnsmasq dnsmasq --keep-in-foreground --no-resolv --no-hosts --conf-file=/dev/null \
        --listen-address=127.0.0.1 --bind-interfaces --user=root --pid-file= --log-facility=- --log-queries "$@"
}

# Another dnsmasq, which knows the name by these numbers: 127.0.0.N.
answers() {
    local n arguments=()
    stop dnsmasq
    for n in "$@"; do
        arguments+=("--host-record=$NAME,127.0.0.$n")
    done
    # Whatever else is asked for under .test does not exist.
    dns --local=/test/ "${arguments[@]}"
}

# The numbers of the backends that answer, in order, each once.
served_by() {
    local i
    for ((i = 0; i < 12; i++)); do
        curl --silent --max-time 5 http://127.0.0.1:8080/ || true
    done | sed -n 's/.*port: //p' | sort -u | tr '\n' ' '
}
served_by_is() {
    local deadline=$((SECONDS + WAIT_SECONDS_MAX))
    until [[ "$(served_by)" == "$1" ]]; do
        ((SECONDS < deadline)) || fail "served by '$(served_by)' and not by '$1'"
        sleep 0.1
    done
}

# How many lines of evener's log have TEXT.
count() {
    grep -cF -- "$1" "$scratch/evener.log" || true
}
wait_for_more() {
    local text="$1" before="$2" deadline=$((SECONDS + WAIT_SECONDS_MAX))
    until (($(count "$text") > before)); do
        ((SECONDS < deadline)) || fail "evener didn't say '$text' again within $WAIT_SECONDS_MAX s"
        sleep 0.1
    done
}

for n in 1 2 3; do
    start "backend$n" "$bin/backend" "$PORT" --bind "127.0.0.$n" --name "$n"
    wait_for "backend$n" "started on port"
done

# --- the name does not exist yet ---

dns --local=/test/
start_evener evener <<YAML
listeners: [{ bind: "127.0.0.1:8080", pool: app }]
pools:
  - name: app
    health_check: { interval: 200ms, timeout: 200ms, rise: 1 }
    backends: [{ name: app, address: "$NAME:$PORT", resolve_interval: 500ms }]
shutdown: { drain_timeout: 1h }
admin: { bind: "127.0.0.1:9900" }
log: { connections: false }
YAML
wait_for evener "name $NAME does not resolve"
ok "evener starts before the name exists: $(grep -F "does not resolve" "$scratch/evener.log" | cut -d' ' -f3-)"

answers 1 2
served_by_is "1 2 "
ok "the name appears with two addresses, and both serve"

# --- addresses come and go; whoever is connected to one that is gone drains ---

exec {session}<>/dev/tcp/127.0.0.1/8080
printf 'GET / HTTP/1.1\r\nHost: x\r\n' >&"$session"
# Half a request holds the session; it is in the status, and says on which backend it is.
held=""
deadline=$((SECONDS + WAIT_SECONDS_MAX))
until [[ -n $held ]]; do
    ((SECONDS < deadline)) || fail "no session in the list"
    held="$("$bin/evener" connections | grep -o 'app@127\.0\.0\.[12]' | head -n 1 || true)"
done
gone="${held##*.}"
stays=$((3 - gone))
answers "$stays" 3
served_by_is "$stays 3 "
# How many there are is left open: a request of served_by may be on that backend at the moment.
wait_for evener "names: - backend $held: "
grep -qE "names: - backend $held: [0-9]+ sessions? will drain" "$scratch/evener.log" || fail "nothing of $held drains"
printf '\r\n' >&"$session"
IFS= read -r -t 10 -u "$session" line || fail "the session on $held has broken off"
[[ $line == *"200 OK"* ]] || fail "the session on $held got '$line'"
exec {session}>&-
ok "127.0.0.$gone goes and 127.0.0.3 comes: the session on $held goes on and is answered"

# --- DNS fails, in each way there is; the last answer is kept ---

expect_kept() {
    served_by_is "$stays 3 "
    local status metrics
    status="$("$bin/evener" status)"
    [[ $status == *"name $NAME does not resolve"* ]] || fail "the status does not say so"
    metrics="$(curl --silent --max-time 5 http://127.0.0.1:9900/metrics)"
    [[ $metrics == *"evener_name_resolves{name=\"$NAME\"} 0"* ]] || fail "the metrics do not say so"
}
back() {
    local before
    before="$(count "name $NAME resolves to")"
    answers "$stays" 3
    wait_for_more "name $NAME resolves to" "$before"
}

before="$(count "does not resolve")"
answers
wait_for_more "does not resolve" "$before"
expect_kept
ok "the name is gone (NXDOMAIN): the last answer is kept"
back

before="$(count "does not resolve")"
stop dnsmasq
# Without anybody to ask itself, it answers REFUSED; the resolver treats that like SERVFAIL.
dns
wait_for_more "does not resolve" "$before"
expect_kept
ok "the server refuses to answer: the last answer is kept"
back

before="$(count "does not resolve")"
kill -STOP "${pids[dnsmasq]}"
wait_for_more "does not resolve" "$before"
probes() {
    curl --silent --max-time 5 http://127.0.0.1:9900/metrics |
        sed -n 's/^evener_health_checks_total{result="good"} //p'
}
good="$(probes)"
expect_kept
deadline=$((SECONDS + WAIT_SECONDS_MAX))
until (($(probes) > good + 4)); do
    ((SECONDS < deadline)) || fail "no probes while DNS is silent"
done
reloaded="$(count "config reloaded")"
kill -HUP "${pids[evener]}"
wait_for_more "config reloaded" "$reloaded"
ok "the server is silent (time out): the last answer is kept; clients, probes and a reload go on"
before="$(count "name $NAME resolves to")"
kill -CONT "${pids[dnsmasq]}"
wait_for_more "name $NAME resolves to" "$before"
expect_not_logged evener "panicked"
curl --silent http://127.0.0.1:9900/metrics | grep '^evener_name_'
ok "and it is back"
