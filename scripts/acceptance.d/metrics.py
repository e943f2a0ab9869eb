"""What metrics.sh looks at: /metrics through Prometheus' own parser, and the names in the dashboard and
in the alerts.

    metrics.py WEB_PORT ADMIN_PORT SCRATCH     look at a running evener; leaves SCRATCH/metrics.txt
    metrics.py --expressions PACKAGING SCRATCH compare with that; leaves SCRATCH/expressions.yaml
"""

import json
import re
import socket
import statistics
import sys
import threading
import time
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

# What a scrape of 1,000 backends may take, and how often it is measured: a busy machine may be slow,
# but not every time.
SCRAPE_SECONDS_MAX = 0.050
SCRAPES = 15
DEADLINE_SECONDS = 30


def ok(text):
    print(f"ok   {text}")


def check(condition, text):
    if not condition:
        raise SystemExit(f"FAIL {text}")


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        check(answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), "content type")
        return answer.read().decode()


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(text, name, **labels):
    """The sum of the samples of this name with these labels."""
    samples = [
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    check(samples, f"no {name} {labels}")
    return sum(sample.value for sample in samples)


def eventually(what, look):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not look():
        check(time.monotonic() < deadline, f"{what}: not within {DEADLINE_SECONDS} s")
        time.sleep(0.05)


def get(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return answer.read()


class Client(threading.Thread):
    """Asks without pause, in a thread of its own, until the `with` is over; a failure is raised there."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.answers, self.failure = port, 0, None
        self.over = threading.Event()

    def run(self):
        try:
            while not self.over.is_set():
                check(get(self.port).startswith(b"Hello from"), "a strange answer")
                self.answers += 1
        except (Exception, SystemExit) as failure:
            self.failure = failure

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(DEADLINE_SECONDS)
        check(not self.is_alive(), "a request during the scrapes has no end")
        check(self.failure is None, f"a request during the scrapes failed: {self.failure}")


def kind_by_name(family):
    """The type that the names of the samples stand for."""
    names = {sample.name.removeprefix(family.name) for sample in family.samples}
    return {"_total": "counter", "_bucket": "histogram"}.get(min(names, default=""), "gauge")


def check_families(text):
    for name, family in families(text).items():
        # A listener without a limit has no sample of it.
        if family.samples:
            kind = kind_by_name(family)
            check(family.type == kind, f"{name} has type {family.type}, its samples are of a {kind}")
        check(family.documentation, f"{name} has no help")
        for sample in family.samples:
            if family.type == "counter":
                check(sample.name.endswith("_total"), f"{sample.name} is a counter")
                check(sample.value >= 0, f"{sample.name} is negative")
        if family.type == "histogram":
            check_histogram(family)
    ok(f"Prometheus' parser reads {len(families(text))} families, each with the right type and with help")


def check_histogram(family):
    series = {}
    for sample in family.samples:
        labels = dict(sample.labels)
        bound = labels.pop("le", None)
        one = series.setdefault(tuple(sorted(labels.items())), {"buckets": []})
        if bound is not None:
            one["buckets"].append((float(bound), sample.value))
        else:
            one[sample.name.rsplit("_", 1)[1]] = sample.value
    for labels, one in series.items():
        bounds = [bound for bound, _ in one["buckets"]]
        counts = [count for _, count in one["buckets"]]
        check(bounds == sorted(bounds) and bounds[-1] == float("inf"), f"{family.name} {labels}")
        check(counts == sorted(counts) and counts[-1] == one["count"], f"{family.name} {labels}")


def look(web, admin, scratch):
    def ended():
        return value(scrape(admin), "evener_sessions_closed_total", reason="normal")

    # Whoever waited for the port was a session, too.
    eventually("rest", lambda: value(scrape(admin), "evener_connections_active") == 0)
    before = ended()
    for _ in range(20):
        get(web)
    eventually("the sessions in the counts", lambda: ended() == before + 20)
    text = scrape(admin)
    check_families(text)
    check(value(text, "evener_backend_up", backend='b "quoted" \\') == 1, "a quoted name")

    with socket.create_connection(("127.0.0.1", web), timeout=10) as client:
        before = value(text, "evener_backend_sent_bytes_total", pool="web")
        client.sendall(b"GET / HTTP/1.1\r\n")
        eventually(
            "the bytes of a live session",
            lambda: value(scrape(admin), "evener_backend_sent_bytes_total", pool="web")
            == before + 16,
        )
        check(value(scrape(admin), "evener_connections_active") == 1, "one session")
    ok("byte counters move while a session lives")

    seconds = []
    with Client(web) as client:
        for _ in range(SCRAPES):
            begin = time.monotonic()
            text = scrape(admin)
            seconds.append(time.monotonic() - begin)
        # Also on a machine so busy that the client had no turn yet.
        eventually("an answer during the scrapes", lambda: scrape(admin) and client.answers > 0)
    ok(f"{client.answers} requests were answered meanwhile, and none failed")
    check(min(seconds) < SCRAPE_SECONDS_MAX, f"a scrape takes {min(seconds) * 1000:.0f} ms")
    ok(
        f"a scrape of 1,002 backends ({len(text) // 1000} kB) takes"
        f" {statistics.median(seconds) * 1000:.0f} ms, at best {min(seconds) * 1000:.0f}"
    )
    Path(scratch, "metrics.txt").write_text(text)


NAME = re.compile(r"\b(?:evener|process)_[a-z_]+\b")


def expressions(packaging, scratch):
    known = set()
    for family in text_string_to_metric_families(Path(scratch, "metrics.txt").read_text()):
        known.update(sample.name for sample in family.samples)
        known.add(family.name)
    dashboard = json.loads(Path(packaging, "grafana/evener.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    found += [one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    alerts = Path(packaging, "prometheus/alerts.yaml").read_text()
    for expression in [*found, *re.findall(r"expr: (.*)", alerts)]:
        for name in NAME.findall(expression):
            check(name in known, f"{name} is no metric of evener: {expression}")
    rules = [
        {"record": f"dashboard:{number}", "expr": filled(expression)}
        for number, expression in enumerate(found)
        if not expression.startswith("label_values(")
    ]
    check(len(rules) > 20, "too few expressions to be true")
    # JSON is YAML.
    groups = {"groups": [{"name": "dashboard", "rules": rules}]}
    Path(scratch, "expressions.yaml").write_text(json.dumps(groups))


def filled(expression):
    """The expression with what Grafana puts in for its variables."""
    return re.sub(r"\$(instance|listener|pool)", ".*", expression).replace("$__rate_interval", "1m")


if __name__ == "__main__":
    if sys.argv[1] == "--expressions":
        expressions(sys.argv[2], sys.argv[3])
    else:
        look(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
