#!/usr/bin/env bash
# Several machines at work behind one address, with Debian's BIRD: packaging/ecmp as it is shipped announces
# the address while evener is ready. Two machines and a router, each in a network namespace: the
# router has a way over both, clients are served, and the way over a machine goes when its evener is killed.
#
#     scripts/acceptance --only ecmp
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need bird bird2
need ip iproute2
need curl curl
((EUID == 0)) || fail "network namespaces take root, try: sudo -E scripts/acceptance --only ecmp"
packaging="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../packaging" && pwd)"
readonly ADDRESS=10.98.9.9 PREFIX="evecmp$$"

clean_up_network() {
    clean_up
    local name
    for name in router a b; do
        ip netns delete "$PREFIX-$name" 2>/dev/null || true
    done
}
trap clean_up_network EXIT

in_ns() {
    local namespace="$1"
    shift
    ip netns exec "$PREFIX-$namespace" "$@"
}

# As start does; `ip netns exec` becomes the command, so the process id is the command's own.
start_in() {
    local namespace="$1" name="$2"
    shift 2
    start "$name" ip netns exec "$PREFIX-$namespace" "$@"
}

eventually() {
    local what="$1" deadline=$((SECONDS + WAIT_SECONDS_MAX))
    shift
    until "$@" 2>/dev/null; do
        ((SECONDS < deadline)) || fail "$what: not within $WAIT_SECONDS_MAX s"
        sleep 0.1
    done
}

# Over which machines does the router reach the address? Their last numbers, in order.
ways() {
    in_ns router ip route show "$ADDRESS" | grep -o 'via 10\.98\.[0-9]*' | grep -o '[0-9]*$' | sort | tr '\n' ' '
}
ways_are() {
    [[ "$(ways)" == "$1" ]]
}
serves() {
    in_ns router curl --silent --fail --max-time 2 --output /dev/null "http://$ADDRESS/"
}

bird -p -c "$packaging/ecmp/bird.conf" >"$scratch/bird.log" 2>&1 || fail "bird does not like packaging/ecmp/bird.conf"
ok "bird reads packaging/ecmp/bird.conf"

ip netns add "$PREFIX-router"
in_ns router ip link set lo up
in_ns router sysctl --quiet net.ipv4.fib_multipath_hash_policy=1
{
    echo "router id 10.98.0.1; log stderr all; protocol device {}"
    echo "protocol kernel { merge paths on; ipv4 { export where source = RTS_BGP; }; }"
} >"$scratch/bird-router.conf"
cat >"$scratch/evener.yaml" <<'YAML'
listeners: [{ bind: "0.0.0.0:80" }]
pools: [{ health_check: { interval: 500ms }, backends: ["127.0.0.1:8001"] }]
log: { connections: false }
YAML

for machine in a:1 b:2; do
    name="${machine%%:*}"
    net="10.98.${machine##*:}"
    ip netns add "$PREFIX-$name"
    in_ns router ip link add "to-$name" type veth peer name eth0 netns "$PREFIX-$name"
    in_ns router ip address add "$net.254/24" dev "to-$name"
    in_ns router ip link set "to-$name" up
    in_ns "$name" ip link set lo up
    in_ns "$name" ip address add "$net.1/24" dev eth0
    in_ns "$name" ip link set eth0 up
    in_ns "$name" ip route add default via "$net.254"
    in_ns "$name" ip address add "$ADDRESS/32" dev lo
    # As shipped, but for the addresses of this network.
    sed -e "s/192\.0\.2\.100/$ADDRESS/; s/192\.0\.2\.254/$net.254/; s/192\.0\.2\.1;/$net.1;/" \
        "$packaging/ecmp/bird.conf" >"$scratch/bird-$name.conf"
    echo "protocol bgp $name { local as 65000; neighbor $net.1 as 65001; ipv4 { import all; export none; }; }" \
        >>"$scratch/bird-router.conf"
    start_in "$name" "backend-$name" "$bin/backend" 8001
    start_in "$name" "evener-$name" "$bin/evener" --config "$scratch/evener.yaml"
    start_in "$name" "bird-$name" bird -f -c "$scratch/bird-$name.conf" -s "$scratch/bird-$name.ctl"
    eventually "bird on $name" test -S "$scratch/bird-$name.ctl"
    start_in "$name" "announce-$name" env BIRD_SOCKET="$scratch/bird-$name.ctl" "$packaging/ecmp/announce-evener"
done
start_in router bird-router bird -f -c "$scratch/bird-router.conf" -s "$scratch/bird-router.ctl"

eventually "a way over both machines" ways_are "1 2 "
for ((i = 0; i < 20; i++)); do
    serves || fail "the router's own client is not served"
done
ok "both are ready: the router has a way over each, and 20 of 20 requests are answered"

kill -KILL "${pids[evener-a]}"
wait "${pids[evener-a]}" 2>/dev/null || true
unset "pids[evener-a]"
eventually "the way over a to go" ways_are "2 "
for ((i = 0; i < 20; i++)); do
    serves || fail "not served by b alone"
done
ok "evener on a is killed: the way over a goes, and b answers 20 of 20 requests"

start_in a evener-a "$bin/evener" --config "$scratch/evener.yaml"
eventually "the way over a to come back" ways_are "1 2 "
ok "evener on a is back: so is the way over it"

stop announce-b
eventually "the way over b to go" ways_are "1 "
ok "announce-evener on b is stopped: it takes the address back"
