#!/usr/bin/env bash
# Routes by the name in a TLS hello, with OpenSSL and curl as clients and three openssl s_server behind: each
# client ends at the server of the name that it asks for, and checks its certificate. TLS 1.2 and 1.3, hellos
# of 10 KiB, clients without a name, and clients that speak something else.
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need openssl openssl
need curl curl

# The servers, each with a certificate for its own name.
for name in db web other; do
    choose_port "$name"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$name.example.org" \
        -addext "subjectAltName=DNS:$name.example.org,DNS:*.$name.example.org" \
        -keyout "$scratch/$name.key" -out "$scratch/$name.pem" 2>>"$scratch/openssl.log" ||
        fail "openssl made no certificate"
    start "$name" openssl s_server -accept "127.0.0.1:${ports[$name]}" -www \
        -cert "$scratch/$name.pem" -key "$scratch/$name.key"
    wait_for "$name" "ACCEPT"
done
cat "$scratch"/{db,web,other}.pem >"$scratch/all.pem"

choose_port evener
choose_port strict
start_evener evener <<CONFIG
listeners:
  - name: tls
    bind: "127.0.0.1:${ports[evener]}"
    pool: other
    routes:
      - { sni: [db.example.org], pool: db }
      - { sni: ["*.web.example.org", web.example.org], pool: web }
  - name: strict
    bind: "127.0.0.1:${ports[strict]}"
    routes: [{ sni: db.example.org, pool: db }]
pools:
  - { name: db, health_check: off, backends: ["127.0.0.1:${ports[db]}"] }
  - { name: web, health_check: off, backends: ["127.0.0.1:${ports[web]}"] }
  - { name: other, health_check: off, backends: ["127.0.0.1:${ports[other]}"] }
admin: off
CONFIG

# The name in the certificate that an OpenSSL client with ARGUMENTS gets.
subject() {
    openssl s_client -connect "127.0.0.1:${ports[evener]}" "$@" </dev/null 2>>"$scratch/openssl.log" |
        openssl x509 -noout -subject 2>>"$scratch/openssl.log" | sed 's/.*CN *= *//; s/\..*//'
}

expect() {
    local expected="$1" got
    shift
    got="$(subject "$@")"
    [[ $got == "$expected" ]] || fail "expected the certificate of $expected with $*, got '$got'"
}

for version in -tls1_2 -tls1_3; do
    expect db "$version" -servername db.example.org
    expect db "$version" -servername DB.example.ORG
    expect web "$version" -servername web.example.org
    expect web "$version" -servername a.web.example.org
    expect web "$version" -servername b.a.web.example.org
    expect other "$version" -servername nobody.example.org
    expect other "$version" -noservername
    ok "openssl $version reaches the server that it names, or the one for the rest"
done

# An ALPN list of some 10 KiB, in one record that comes in several segments.
many="$(seq -f 'protocol-number-%05g' 1 450 | paste -sd,)"
expect db -servername db.example.org -alpn "$many"
expect other -noservername -alpn "$many"
ok "a hello of 10 KiB arrives whole"

# Records of 512 bytes: the hello comes in more than one.
expect db -servername db.example.org -alpn "$many" -max_send_frag 512
ok "so does one in twenty records"

# curl checks the certificate against the name.
for version in 1.2 1.3; do
    for name in db.example.org x.web.example.org other.example.org; do
        curl --silent --show-error --fail --max-time 10 --cacert "$scratch/all.pem" \
            "--tlsv$version" --tls-max "$version" --resolve "$name:${ports[evener]}:127.0.0.1" \
            --output "$scratch/answer" "https://$name:${ports[evener]}/" 2>>"$scratch/curl.log" ||
            fail "curl gets no answer of $name with TLS $version"
    done
done
ok "curl finds the right certificate under each name, with TLS 1.2 and 1.3"

if curl --silent --max-time 10 "http://127.0.0.1:${ports[strict]}/" 2>>"$scratch/curl.log"; then
    fail "a client that speaks HTTP was served"
fi
wait_for evener "ended: no_route PR listener=strict pool=- in=0B"
wait_for evener "listener=tls pool=web sni=b.a.web.example.org"
expect_not_logged evener "panicked"
ok "who speaks no TLS is reset where there is no pool for the rest, and the log has every route"
