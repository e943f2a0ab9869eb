#!/usr/bin/env bash
# The manifest for Kubernetes, read as Kubernetes reads it, but without a cluster: each object has the fields
# that the API demands, what refers to something by name finds it, evener likes the config inside, and
# there is time to drain before the kubelet kills. Then evener runs with that config: probes need no token,
# commands have it as in the pod, and a real Prometheus scrapes with the job in packaging/prometheus.
#
#     scripts/acceptance --only kubernetes
source "$(dirname "${BASH_SOURCE[0]}")/lib"
need prometheus prometheus
packaging="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../packaging" && pwd)"
manifest="$packaging/kubernetes/evener.yaml"
# Debian's own Python, which has Debian's parser.
python=/usr/bin/python3
if ! "$python" -c 'import yaml' 2>/dev/null; then
    install_packages python3-yaml
fi

for name in db admin backend prometheus; do
    choose_port "$name"
done
"$python" - "$packaging" "$scratch" "${ports[db]}" "${ports[admin]}" "${ports[backend]}" <<'PYTHON' || fail "the manifest is wrong"
import pathlib, re, sys, yaml

packaging, scratch = map(pathlib.Path, sys.argv[1:3])
objects = {}
for one in yaml.safe_load_all(open(packaging / "kubernetes/evener.yaml")):
    key = one["kind"], one["metadata"]["name"]
    assert key not in objects, f"{key} is there twice"
    objects[key] = one

KINDS = {"ConfigMap": "v1", "Secret": "v1", "Service": "v1", "Deployment": "apps/v1"}
for (kind, name), one in objects.items():
    assert one["apiVersion"] == KINDS[kind], (kind, one["apiVersion"])
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name), name

spec = objects["Deployment", "evener"]["spec"]
pod = spec["template"]["spec"]
labels = spec["template"]["metadata"]["labels"]
assert spec["replicas"] == 2
assert spec["selector"]["matchLabels"].items() <= labels.items(), "the deployment does not select its pods"
(container,) = pod["containers"]
assert container["name"] and container["image"]
ports = {port["name"]: port["containerPort"] for port in container["ports"]}
for probe, path in ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz"):
    get = container[probe]["httpGet"]
    assert get["path"] == path and get["port"] in ports, (probe, get)

volumes = {volume["name"]: volume for volume in pod["volumes"]}
assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes), "mounts and volumes differ"
for volume in volumes.values():
    if "configMap" in volume:
        assert ("ConfigMap", volume["configMap"]["name"]) in objects, volume
    else:
        assert ("Secret", volume["secret"]["secretName"]) in objects, volume
for variable in container["env"]:
    ref = variable["valueFrom"]["secretKeyRef"]
    assert ref["key"] in objects["Secret", ref["name"]]["stringData"], ref

config = objects["ConfigMap", "evener"]["data"]["evener.yaml"]
parsed = yaml.safe_load(config)
front = objects["Service", "evener"]["spec"]
assert front["type"] in ("LoadBalancer", "NodePort")
assert front["selector"].items() <= labels.items(), "the service does not select the pods"
assert all(port["targetPort"] in ports for port in front["ports"])
back = objects["Service", "db-pods"]["spec"]
assert back["clusterIP"] in ("None", None) and back["selector"], "the backends' service is not headless"
host, port = parsed["pools"][0]["backends"][0]["address"].rsplit(":", 1)
assert host.split(".")[0] == "db-pods" and int(port) == back["ports"][0]["port"], host
assert parsed["listeners"][0]["bind"] == f":{ports['db']}"
assert parsed["admin"]["bind"].endswith(f":{ports['admin']}")

stop = sum(int(parsed["shutdown"][key].rstrip("s")) for key in ("pre_stop_delay", "drain_timeout"))
assert pod["terminationGracePeriodSeconds"] > stop, f"killed before {stop} s are over"

# The Prometheus operator's object asks for the same pods, port and key.
(monitor,) = yaml.safe_load_all(open(packaging / "kubernetes/podmonitor.yaml"))
assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
assert labels[monitor["spec"]["jobLabel"]] == "evener", "the alerts ask for the job evener"
(endpoint,) = monitor["spec"]["podMetricsEndpoints"]
assert endpoint["port"] in ports and endpoint["path"] == "/metrics"
ref = endpoint["authorization"]["credentials"]
assert ref["key"] in objects["Secret", ref["name"]]["stringData"], ref
assert "annotations" not in spec["template"]["metadata"], "an annotation has no token"
# Who runs evener may read the token, and nobody else.
assert volumes["token"]["secret"]["defaultMode"] == 0o440 and "fsGroup" in pod["securityContext"]

token = scratch / "token"
token.write_text(objects["Secret", "evener-token"]["stringData"]["token"] + "\n")
assert parsed["admin"]["token_file"] == "/etc/evener-token/token"
token.chmod(0o440)
# Names are looked up as the config is checked, and there is no cluster to know them.
config = config.replace(parsed["admin"]["token_file"], str(token))
config = config.replace(f"{host}:{port}", "127.0.0.1:" + sys.argv[5])
config = config.replace(f'":{ports["db"]}"', f'":{sys.argv[3]}"').replace(f":{ports['admin']}", ":" + sys.argv[4])
# One process, which nobody waits for: it may go at once.
config = config.replace("pre_stop_delay: 10s", "pre_stop_delay: 0s")
(scratch / "evener.yaml").write_text(config)

# The job for Prometheus, with the discovery of pods played by a list of one, as the kubelet names things.
job = (packaging / "prometheus/scrape-kubernetes.yaml").read_text()
found = yaml.safe_load(job)["scrape_configs"][0]
assert found["job_name"] == "evener" and found["kubernetes_sd_configs"] == [{"role": "pod"}]
pods = [{"targets": [f"127.0.0.1:{sys.argv[4]}"], "labels": {
    "__meta_kubernetes_pod_label_app": labels["app"], "__meta_kubernetes_pod_container_port_name": name,
    "__meta_kubernetes_namespace": "default", "__meta_kubernetes_pod_name": f"evener-{name}"}} for name in ports]
del found["kubernetes_sd_configs"]
found["static_configs"] = pods
found["scrape_interval"] = "1s"
found["authorization"]["credentials_file"] = str(token)
(scratch / "prometheus.yaml").write_text(yaml.safe_dump({"scrape_configs": [found]}))
PYTHON
ok "each object has what the API demands, and each name refers to something"

"$bin/evener" check "$scratch/evener.yaml" >"$scratch/check.log" 2>&1 || fail "evener does not like the config"
ok "evener likes the config of the manifest"

start backend "$bin/backend" "${ports[backend]}"
wait_for_port "${ports[backend]}"
start evener "$bin/evener" --config "$scratch/evener.yaml"
wait_for_port "${ports[db]}"
status_of() {
    curl --silent --noproxy '*' --max-time 10 --output /dev/null --write-out '%{http_code}' "${@:2}" \
        "http://127.0.0.1:${ports[admin]}$1" || true
}
token="$(cat "$scratch/token")"
[[ $(status_of /healthz) == 200 && $(status_of /readyz) == 200 ]] || fail "the probes need more than they bring"
[[ $(status_of /metrics) == 401 ]] || fail "/metrics needs no token"
[[ $(status_of /metrics -H "Authorization: Bearer $token") == 200 ]] || fail "/metrics does not take the token"
expect_not_logged evener '"level":"warn"'
ok "probes go without the token, /metrics needs it, and nothing is warned of"

for command in status "reload --dry-run" reload; do
    # shellcheck disable=SC2086 # two words
    EVENER_TOKEN="$token" "$bin/evener" $command --admin "127.0.0.1:${ports[admin]}" >"$scratch/command.log" 2>&1 ||
        fail "evener $command does not work with the variable of the pod"
done
ok "the commands of the manifest have the token in EVENER_TOKEN"

start prometheus prometheus --config.file="$scratch/prometheus.yaml" --storage.tsdb.path="$scratch/tsdb" \
    --web.listen-address="127.0.0.1:${ports[prometheus]}"
wait_for_port "${ports[prometheus]}"
query() {
    curl --silent --noproxy '*' --max-time 10 --get --data-urlencode "query=$1" \
        "http://127.0.0.1:${ports[prometheus]}/api/v1/query" || true
}
deadline=$((SECONDS + WAIT_SECONDS_MAX))
until query 'up{job="evener", namespace="default", pod="evener-admin"} == 1' | grep -q '"value"'; do
    ((SECONDS < deadline)) || fail "Prometheus does not get the metrics: $(query up)"
    sleep 0.1
done
# The port for clients is no target.
! query up | grep -q evener-db || fail "Prometheus asks the port for clients: $(query up)"
ok "a real Prometheus scrapes with the job and the token"
