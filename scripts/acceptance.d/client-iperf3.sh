#!/usr/bin/env bash
# iperf3 in both directions at once: control and data connections of one test, to one server.
source "$(dirname "${BASH_SOURCE[0]}")/clients"
need iperf3 iperf3

choose_port server
start server iperf3 -s -p "${ports[server]}"
wait_for_listener "${ports[server]}"
stand_in_front

both_ways() {
    local output
    output="$(timeout 30 iperf3 -c 127.0.0.1 -p "$port" -t 2 --bidir -f g 2>&1)" ||
        { printf '%s\n' "$output" >"$scratch/iperf3.log" && return 1; }
    figure="$(awk '/receiver/ { sum += $(NF - 2) } END { printf "%.0f Gbit/s", sum }' <<<"$output")"
}
each_long "iperf3 --bidir" both_ways
