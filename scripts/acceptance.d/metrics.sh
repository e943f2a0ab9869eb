#!/usr/bin/env bash
# /metrics in Prometheus' own hands: its parser for Python reads every family, promtool finds nothing to
# object to, byte counters move while a session lives, and a scrape of 1,000 backends is quick and holds up
# no request. Then the alerts of packaging/prometheus: they check, and they fire when they should; and each
# expression of the alerts and of the Grafana dashboard parses and speaks of metrics that evener really has.
#
#     scripts/acceptance --only metrics
#     EVENER=target/release/evener scripts/acceptance.d/metrics.sh     by itself
if [[ -z ${ACCEPTANCE_BIN:-} ]]; then
    ACCEPTANCE_BIN="$(dirname "${EVENER:-target/release/evener}")"
fi
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need promtool prometheus
# Debian's own Python, which has Debian's parser.
python=/usr/bin/python3
if ! "$python" -c 'import prometheus_client' 2>/dev/null; then
    install_packages python3-prometheus-client
fi
packaging="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../packaging" && pwd)"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

choose_port web
choose_port admin
for name in a b; do
    choose_port "$name"
    start "$name" "$bin/backend" "${ports[$name]}"
    wait_for_port "${ports[$name]}"
done

# A thousand backends that nobody answers for, and two that serve.
{
    cat <<YAML
listeners: [{ name: web, bind: "127.0.0.1:${ports[web]}", pool: web }]
admin: { bind: "127.0.0.1:${ports[admin]}" }
log: { connections: false, level: error }
pools:
  - name: web
    health_check: { interval: 500ms, timeout: 400ms }
    backends:
      - { name: a, address: "127.0.0.1:${ports[a]}" }
      - { name: 'b "quoted" \', address: "127.0.0.1:${ports[b]}" }
  - name: many
    health_check: { interval: 1h }
    backends:
YAML
    for index in {1..1000}; do
        printf '      - "127.0.%d.%d:9"\n' $((index / 200 + 1)) $((index % 200 + 1))
    done
} >"$scratch/evener.yaml"
"$bin/evener" check "$scratch/evener.yaml" >"$scratch/check.log" 2>&1 || fail "the config is wrong"
start evener "$bin/evener" --config "$scratch/evener.yaml"
wait_for_port "${ports[web]}"
wait_for_port "${ports[admin]}"

"$python" -B "$here/metrics.py" "${ports[web]}" "${ports[admin]}" "$scratch" || fail "see above"

promtool check metrics <"$scratch/metrics.txt" >"$scratch/promtool.log" 2>&1 || {
    cat "$scratch/promtool.log" >&2
    fail "promtool objects to /metrics"
}
[[ ! -s $scratch/promtool.log ]] || fail "promtool has something to say: $(cat "$scratch/promtool.log")"
ok "promtool finds nothing to object to in /metrics"

promtool check rules "$packaging/prometheus/alerts.yaml" >"$scratch/promtool.log" 2>&1 ||
    fail "the alerts are wrong: $(cat "$scratch/promtool.log")"
(cd "$packaging/prometheus" && promtool test rules tests.yaml) >"$scratch/promtool.log" 2>&1 ||
    fail "the alerts fire when they should not, or not: $(cat "$scratch/promtool.log")"
promtool check config "$packaging/prometheus/scrape.yaml" >"$scratch/promtool.log" 2>&1 ||
    fail "the piece of a Prometheus config is wrong: $(cat "$scratch/promtool.log")"
ok "the alerts fire when they should, and only then"

"$python" -B "$here/metrics.py" --expressions "$packaging" "$scratch" || fail "see above"
promtool check rules "$scratch/expressions.yaml" >"$scratch/promtool.log" 2>&1 ||
    fail "an expression of the dashboard does not parse: $(cat "$scratch/promtool.log")"
ok "every expression of the dashboard parses, and its metrics are there"
