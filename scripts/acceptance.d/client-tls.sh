#!/usr/bin/env bash
# TLS passes through untouched: curl takes a file from openssl s_server, and it is the file.
source "$(dirname "${BASH_SOURCE[0]}")/clients"
need openssl openssl

readonly FILE_BYTES=64000000
choose_port server
head -c "$FILE_BYTES" /dev/urandom >"$scratch/file"
expected="$(sha256sum <"$scratch/file")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -keyout "$scratch/key.pem" -out "$scratch/cert.pem" 2>"$scratch/openssl.log" || fail "no certificate"
cd "$scratch"
start server openssl s_server -accept "${ports[server]}" -cert cert.pem -key key.pem -WWW -quiet
wait_for_listener "${ports[server]}"
stand_in_front

download() {
    local sum
    sum="$(curl --silent --show-error --fail --cacert cert.pem --limit-rate 30M --max-time 30 \
        --resolve "localhost:$port:127.0.0.1" "https://localhost:$port/file" | sha256sum)"
    [[ $sum == "$expected" ]]
}
each_long "TLS, 64 MB from openssl s_server to curl at 30 MB/s, sha256" download
