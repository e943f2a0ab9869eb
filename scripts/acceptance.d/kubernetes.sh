#!/usr/bin/env bash
# The manifest for Kubernetes, read as Kubernetes reads it, but without a cluster: each object has the fields
# that the API demands, what refers to something by name finds it, evener likes the config inside, and
# there is time to drain before the kubelet kills.
#
#     scripts/acceptance --only kubernetes
source "$(dirname "${BASH_SOURCE[0]}")/lib"
manifest="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../packaging/kubernetes" && pwd)/evener.yaml"
# Debian's own Python, which has Debian's parser.
python=/usr/bin/python3
if ! "$python" -c 'import yaml' 2>/dev/null; then
    install_packages python3-yaml
fi

"$python" - "$manifest" "$scratch" <<'PYTHON' || fail "the manifest is wrong"
import pathlib, re, sys, yaml

objects = {}
for one in yaml.safe_load_all(open(sys.argv[1])):
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

scratch = pathlib.Path(sys.argv[2])
token = scratch / "token"
token.write_text(objects["Secret", "evener-token"]["stringData"]["token"] + "\n")
assert parsed["admin"]["token_file"] == "/etc/evener-token/token"
# Names are looked up as the config is checked, and there is no cluster to know them.
config = config.replace(parsed["admin"]["token_file"], str(token)).replace(host, "192.0.2.9")
(scratch / "evener.yaml").write_text(config)
PYTHON
ok "each object has what the API demands, and each name refers to something"

"$bin/evener" check "$scratch/evener.yaml" >"$scratch/check.log" 2>&1 || fail "evener does not like the config"
ok "evener likes the config of the manifest"
