#!/usr/bin/env bash
# `socket.transparent` in a network of three machines, each a network namespace: a client, evener and a backend.
# Of a pool: the backend sees the client's own address, and its answers find their way back through evener. Of a
# listener: evener takes connections to an address that is not its own. Both with IPv4 and IPv6. Without the
# capability: what is said. And `socket.interface` of a pool: of two machines with the same address, each behind a
# cable of its own, it reaches the one behind the cable it names.
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need ip iproute2
need python3 python3
need setpriv util-linux
((EUID == 0)) || fail "network namespaces take root, try: sudo scripts/acceptance --only transparent"

readonly CLIENT_IP6=fd00:1::2 FRONT_IP6=fd00:1::1 BACK_IP6=fd00:2::1 BACKEND_IP6=fd00:2::2 ELSEWHERE_IP6=fd00:3::3
readonly CLIENT_IP=10.99.1.2 FRONT_IP=10.99.1.1 BACK_IP=10.99.2.1 BACKEND_IP=10.99.2.2 ELSEWHERE_IP=10.99.3.3
# Names of this run alone.
readonly CLIENT_NS="ev-client-$$" EVENER_NS="ev-evener-$$" BACKEND_NS="ev-backend-$$" TWIN_NS="ev-twin-$$"

end_case() {
    local namespace
    clean_up
    for namespace in "$CLIENT_NS" "$EVENER_NS" "$BACKEND_NS" "$TWIN_NS"; do
        ip netns delete "$namespace" 2>/dev/null || true
    done
}
trap end_case EXIT

# NAMESPACE COMMAND: runs it there.
in_ns() {
    ip netns exec "$@"
}

# Two machines and the cable between them: NAMESPACE INTERFACE ADDRESS IPV6-ADDRESS, twice.
connect_machines() {
    ip -n "$1" link add "$2" type veth peer name "$6" netns "$5"
    set_up "$1" "$2" "$3" "$4"
    set_up "$5" "$6" "$7" "$8"
}

# One end of it. Nobody else can have the IPv6 address, so it is not tried out first.
set_up() {
    ip -n "$1" address add "$3/24" dev "$2"
    ip -n "$1" address add "$4/64" dev "$2" nodad
    ip -n "$1" link set "$2" up
}

for namespace in "$CLIENT_NS" "$EVENER_NS" "$BACKEND_NS" "$TWIN_NS"; do
    ip netns add "$namespace" || fail "no network namespace"
    ip -n "$namespace" link set lo up
done
connect_machines "$CLIENT_NS" eth0 "$CLIENT_IP" "$CLIENT_IP6" "$EVENER_NS" front "$FRONT_IP" "$FRONT_IP6"
connect_machines "$BACKEND_NS" eth0 "$BACKEND_IP" "$BACKEND_IP6" "$EVENER_NS" back "$BACK_IP" "$BACK_IP6"
# The second way to the same addresses, which the kernel would not choose by itself.
connect_machines "$TWIN_NS" eth0 "$BACKEND_IP" "$BACKEND_IP6" "$EVENER_NS" twin 10.99.2.9 fd00:2::9

# What the documentation says. The backend answers by way of evener, and evener takes those answers, which
# are for the client's address, for its own.
ip -n "$CLIENT_NS" route add default via "$FRONT_IP"
ip -n "$BACKEND_NS" route add default via "$BACK_IP"
ip -n "$EVENER_NS" rule add iif back lookup 100
ip -n "$EVENER_NS" rule add iif front to "$ELSEWHERE_IP" lookup 100
ip -n "$EVENER_NS" route add local default dev lo table 100
ip -n "$CLIENT_NS" -6 route add default via "$FRONT_IP6"
ip -n "$BACKEND_NS" -6 route add default via "$BACK_IP6"
ip -n "$EVENER_NS" -6 rule add iif back lookup 100
ip -n "$EVENER_NS" -6 rule add iif front to "$ELSEWHERE_IP6" lookup 100
ip -n "$EVENER_NS" -6 route add local default dev lo table 100

choose_port backend
choose_port plain
choose_port transparent
choose_port transparent6
choose_port twin
# NAME NAMESPACE WORD: a server of both families there; to each client it says the word and whom it takes it for.
start_server() {
    start "$1" ip netns exec "$2" python3 -c "
import socket
server = socket.create_server(('::', ${ports[backend]}), family=socket.AF_INET6, dualstack_ipv6=True)
print('ready', flush=True)
while True:
    client, address = server.accept()
    client.sendall(b'$3 ' + address[0].removeprefix('::ffff:').encode() + b'\n')
    client.shutdown(socket.SHUT_WR)
    client.recv(1)
    client.close()
"
    wait_for "$1" "ready"
}
start_server backend "$BACKEND_NS" "you are"
start_server twin "$TWIN_NS" "twin of"

cat >"$scratch/evener.yaml" <<CONFIG
listeners:
  - { name: plain, bind: "$FRONT_IP:${ports[plain]}", pool: plain }
  - { name: transparent, bind: "0.0.0.0:${ports[transparent]}", pool: transparent, socket: { transparent: true } }
  - { name: transparent6, bind: "[::]:${ports[transparent6]}", pool: transparent6, socket: { transparent: true } }
  - { name: twin, bind: "$FRONT_IP:${ports[twin]}", pool: twin }
pools:
  - { name: plain, backends: ["$BACKEND_IP:${ports[backend]}"] }
  - { name: transparent, socket: { transparent: true }, backends: ["$BACKEND_IP:${ports[backend]}"] }
  - { name: transparent6, socket: { transparent: true }, backends: ["[$BACKEND_IP6]:${ports[backend]}"] }
  - { name: twin, socket: { interface: twin }, backends: ["$BACKEND_IP:${ports[backend]}"] }
admin: off
CONFIG
start evener ip netns exec "$EVENER_NS" "$bin/evener" --config "$scratch/evener.yaml"
wait_for evener "Load Balancer started on $FRONT_IP"

# Whom the backend takes a client of ADDRESS for.
greeting() {
    in_ns "$CLIENT_NS" timeout 10 bash -c "exec 3<>/dev/tcp/$1/$2; cat <&3" || fail "no answer from $1"
}

answer="$(greeting "$FRONT_IP" "${ports[plain]}")"
expect_answer "you are $BACK_IP"
ok "without the option the backend sees evener"

answer="$(greeting "$FRONT_IP" "${ports[transparent]}")"
expect_answer "you are $CLIENT_IP"
ok "with it the backend sees the client's address"

answer="$(greeting "$ELSEWHERE_IP" "${ports[transparent]}")"
expect_answer "you are $CLIENT_IP"
ok "a transparent listener takes connections to an address of nobody here"

for address in "$FRONT_IP6" "$ELSEWHERE_IP6"; do
    answer="$(greeting "$address" "${ports[transparent6]}")"
    expect_answer "you are $CLIENT_IP6"
done
ok "the same with IPv6"

answer="$(greeting "$FRONT_IP" "${ports[twin]}")"
expect_answer "twin of 10.99.2.9"
ok "a pool with an interface reaches the server behind that one"

expect_not_logged evener "DOWN"
ok "probes come from evener's own address"

# As an ordinary user, and then with the one capability that it takes.
chmod 755 "$scratch"
chmod 644 "$scratch/evener.yaml"
install -m 755 "$bin/evener" "$scratch/evener"
stop evener
: >"$scratch/evener.log"
as_nobody() {
    in_ns "$EVENER_NS" setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
if as_nobody --inh-caps=-all timeout 20 "$scratch/evener" --config "$scratch/evener.yaml" 2>"$scratch/refused.log"; then
    fail "evener started without the capability"
fi
grep -qF "listener transparent: socket.transparent: Operation not permitted" "$scratch/refused.log" &&
    grep -qF "CAP_NET_ADMIN or CAP_NET_RAW" "$scratch/refused.log" ||
    fail "the error does not say what is lacking"
ok "without the capability the start fails, and says so"

start evener ip netns exec "$EVENER_NS" setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all,+net_raw \
    --ambient-caps=-all,+net_raw "$scratch/evener" --config "$scratch/evener.yaml"
wait_for evener "Load Balancer started on $FRONT_IP"
answer="$(greeting "$FRONT_IP" "${ports[transparent]}")"
expect_answer "you are $CLIENT_IP"
ok "CAP_NET_RAW is enough for an ordinary user"
