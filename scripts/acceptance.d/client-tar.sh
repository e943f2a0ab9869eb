#!/usr/bin/env bash
# `tar | nc -N`: the client's FIN says that this was all, and only then comes the answer, the other way.
source "$(dirname "${BASH_SOURCE[0]}")/clients"
need nc netcat-openbsd
need socat socat
need tar tar

readonly FILE_BYTES=100000000
choose_port server
mkdir "$scratch/tree"
head -c "$FILE_BYTES" /dev/urandom >"$scratch/tree/file"
expected="$(tar -C "$scratch/tree" --sort=name -c . | sha256sum)"
# -t: how long it waits for the answer when the client has ended.
start server socat -t 30 "TCP-LISTEN:${ports[server]},fork,reuseaddr" "EXEC:sha256sum"
wait_for_listener "${ports[server]}"
stand_in_front

send_tree() {
    [[ "$(tar -C "$scratch/tree" --sort=name -c . | timeout 30 nc -N 127.0.0.1 "$port")" == "$expected" ]]
}
each "tar of 100 MB into nc -N, its sha256 back after the half-close" send_tree
