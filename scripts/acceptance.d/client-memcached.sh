#!/usr/bin/env bash
# memcached with memccapable, which tries all of its protocol, text and binary.
source "$(dirname "${BASH_SOURCE[0]}")/clients"
need memcached memcached
need memccapable libmemcached-tools

choose_port server
start server memcached -u nobody -l 0.0.0.0 -p "${ports[server]}" -U 0
wait_for_listener "${ports[server]}"
stand_in_front

capabilities() {
    timeout 60 memccapable -h 127.0.0.1 -p "$port" >"$scratch/memccapable.log" 2>&1 || return 1
    ! grep FAIL "$scratch/memccapable.log" || return 1
    figure="$(grep -c '\[pass\]' "$scratch/memccapable.log") passed"
}
each "memccapable" capabilities
