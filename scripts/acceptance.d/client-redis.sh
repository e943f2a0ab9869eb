#!/usr/bin/env bash
# Redis: the benchmark, a client that blocks in BLPOP, and a subscriber that is left alone meanwhile.
source "$(dirname "${BASH_SOURCE[0]}")/clients"
need redis-server redis-server
need redis-benchmark redis-tools

choose_port server
start server redis-server --port "${ports[server]}" --bind 0.0.0.0 --protected-mode no --save '' --appendonly no
wait_for_listener "${ports[server]}"
stand_in_front

benchmark() {
    local output
    output="$(redis-benchmark -h 127.0.0.1 -p "$port" -n "$REQUESTS" -c 50 -q -t set,get 2>&1)" || return 1
    ! grep -qi error <<<"$output" || return 1
    figure="$(tr '\r' '\n' <<<"$output" | sed -n 's/^GET: \([0-9]*\)[.0-9]* requests per second.*/\1 GET\/s/p' | tail -n 1)"
    [[ -n $figure ]]
}
# Both blocked while another one is at work: whatever comes next, they hear of it.
block_and_subscribe() {
    local popped="$scratch/popped" heard="$scratch/heard" blocked subscribed
    redis-cli -p "${ports[server]}" del list >/dev/null
    timeout 20 redis-cli -p "$port" blpop list 0 >"$popped" &
    blocked=$!
    timeout 20 redis-cli -p "$port" subscribe news >"$heard" &
    subscribed=$!
    sleep 2
    until grep -q subscribe "$heard"; do
        kill -0 "$subscribed" || return 1
        sleep 0.05
    done
    redis-cli -p "$port" rpush list something >/dev/null || return 1
    wait "$blocked" || return 1
    grep -qx something "$popped" || return 1
    redis-cli -p "$port" publish news today >/dev/null || return 1
    local deadline=$((SECONDS + WAIT_SECONDS_MAX))
    until grep -qx today "$heard"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
    kill "$subscribed" 2>/dev/null
    wait "$subscribed" 2>/dev/null || true
}
REQUESTS=60000
each "redis-benchmark, 50 clients" benchmark
each_long "redis-cli in BLPOP and in SUBSCRIBE, left alone for 2 s" block_and_subscribe
