#!/usr/bin/env bash
# PostgreSQL: pgbench on connections that stay, and with a connection for each transaction.
source "$(dirname "${BASH_SOURCE[0]}")/clients"
((EUID == 0)) || fail "postgres runs as a user of its own, try: sudo scripts/acceptance --only postgres"
need pgbench postgresql
need runuser util-linux

choose_port server
programs="$(echo /usr/lib/postgresql/*/bin)"
data="$scratch/data"
chmod 755 "$scratch"
install -d -o postgres "$data"
runuser -u postgres -- "$programs/initdb" -D "$data" -A trust >"$scratch/initdb.log" 2>&1 || fail "no database"
start server runuser -u postgres -- "$programs/postgres" -D "$data" -p "${ports[server]}" -k "$data" \
    -c listen_addresses=0.0.0.0 -c fsync=off
wait_for_listener "${ports[server]}"
wait_for server "ready to accept connections"
stand_in_front
pgbench -q -i -h 127.0.0.1 -p "${ports[server]}" -U postgres postgres >"$scratch/pgbench.log" 2>&1 ||
    fail "no tables"

benchmark() {
    local output
    output="$(pgbench -h 127.0.0.1 -p "$port" -U postgres -n -c 8 -j 2 -S "$@" postgres 2>&1)" ||
        { printf '%s\n' "$output" >"$scratch/pgbench.log" && return 1; }
    grep -q 'failed transactions: 0 ' <<<"$output" || return 1
    figure="$(sed -n 's/^tps = \([0-9]*\).*/\1 tps/p' <<<"$output")"
}
each_long "pgbench -S, 8 clients" benchmark -T 2
each_long "pgbench -S -C, a connection for each transaction" benchmark -C -T 2
