"""Hours of clients under servers that come and go, and what evener holds at the end of them.

500 sessions beat once a second and 50 connections a second come and go, while every few seconds a server
is killed, frozen, drained, weighed anew or taken out of the config. Every session that is lost has to be one
of the server to which that was done. And what evener holds (threads, descriptors, memory, sessions) has to
be the same in the last quarter of the time as in the first.
"""

import argparse
import collections
import json
import random
import signal
import statistics
import sys
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "bench.d"))

from clients import Clients  # noqa: E402
from processes import Children, Failed, Ports  # noqa: E402

SERVERS = ["s1", "s2", "s3", "s4", "s5"]
AWAY_SECONDS = 3
DRAIN_SECONDS = 5
# From what was done to a server to its last consequence, on a busy machine.
GRACE_SECONDS = 3
# By how much the last quarter may be above the first: a share of it, and so many more. Memory: it takes a while
# until each of a thousand threads has used as much of its stack as it ever does.
ALLOWED = {"threads": (0.02, 6), "descriptors": (0.02, 6), "memory_kib": (0.03, 2048), "sessions": (0.02, 6)}
SETTLE_SECONDS_MAX = 20
# One a second.
WARM_UP_SAMPLES = 90


class Churn:
    """Does things to the servers and to evener, and keeps a list of them."""

    def __init__(self, children, evener, ports, options):
        self.children, self.evener_program, self.options = children, evener, options
        self.ports = {name: ports.take() for name in SERVERS}
        self.listen, self.admin = ports.take(), ports.take()
        self.servers, self.done, self.random = {}, [], random.Random(options.seed)
        self.removed, self.weights = None, dict.fromkeys(SERVERS, 1)
        self.counts = collections.Counter()

    def start(self):
        """Starts the servers, then evener."""
        for name in SERVERS:
            self.start_server(name)
        self.write_config()
        config = str(self.children.scratch / "config")
        self.evener = self.children.start([self.evener_program, "--config", config], "evener")
        self.children.wait_listening(self.evener, ("127.0.0.1", self.listen))

    def start_server(self, name):
        """Starts one, and waits until it listens."""
        port = self.ports[name]
        command = [self.options.backend, str(port), "--echo", "--banner", name]
        self.servers[name] = self.children.start(command, name)
        self.children.wait_listening(self.servers[name], ("127.0.0.1", port))

    def write_config(self):
        """The config as it is to be now."""
        backends = "".join(
            f'      - {{ name: {name}, address: "127.0.0.1:{self.ports[name]}", weight: {self.weights[name]} }}\n'
            for name in SERVERS
            if name != self.removed
        )
        (self.children.scratch / "config").write_text(
            f'listeners: [{{ name: in, bind: "127.0.0.1:{self.listen}" }}]\n'
            "pools:\n"
            "  - name: p\n"
            f"    balance: {self.options.balance}\n"
            "    health_check: { interval: 500ms, timeout: 500ms, rise: 1, fall: 2 }\n"
            f"    backends:\n{backends}"
            f"shutdown: {{ drain_timeout: {DRAIN_SECONDS}s }}\n"
            "log: { level: warn }\n"
            f'admin: {{ bind: "127.0.0.1:{self.admin}" }}\n'
        )

    def note(self, name, what, seconds):
        """Something was done to a server now, which may cost sessions for so long."""
        self.counts[what] += 1
        self.done.append((name, what, time.monotonic(), time.monotonic() + seconds + GRACE_SECONDS))

    def change(self, name, **wish):
        """Asks evener for another state or weight of a server."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.admin}/api/v1/pools/p/backends/{name}",
            json.dumps(wish).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).read()

    def reload(self):
        """Puts the config in force that was just written."""
        self.write_config()
        headers = {"Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.admin}/api/v1/reload"
        urllib.request.urlopen(urllib.request.Request(url, b"", headers), timeout=10).read()
        self.counts["reload"] += 1

    def kill(self, *names):
        """A crash, and a start after a while."""
        for name in names:
            self.note(name, "killed", AWAY_SECONDS)
            self.children.end(self.servers[name])
        time.sleep(AWAY_SECONDS)
        for name in names:
            self.start_server(name)

    def freeze(self, name):
        """Stands still for a while; nobody is to notice more than that."""
        self.counts["frozen"] += 1
        self.servers[name].send_signal(signal.SIGSTOP)
        time.sleep(AWAY_SECONDS)
        self.servers[name].send_signal(signal.SIGCONT)

    def drain(self, name):
        """Takes nothing new for a while; its sessions stay."""
        self.counts["drained"] += 1
        self.change(name, state="drain")
        time.sleep(AWAY_SECONDS)
        self.change(name, state="ready")

    def weigh(self, name):
        """Another weight by a reload; nobody is to notice."""
        self.weights[name] = self.random.randrange(1, 5)
        self.reload()

    def remove(self, name):
        """Out of the config, and back into it when its sessions have been ended."""
        self.note(name, "removed", DRAIN_SECONDS)
        self.removed = name
        self.reload()
        time.sleep(DRAIN_SECONDS + 1)
        self.removed = None
        self.reload()

    def run(self, ended):
        """One thing after the other, until the end. First the worst: all sessions come anew at once, twice, so
        that there is as much of everything as there ever will be."""
        for names in (SERVERS[1:], SERVERS[:1]) * 2:
            ended.wait(self.options.churn_seconds)
            self.kill(*names)
        actions = [self.kill, self.freeze, self.drain, self.weigh, self.remove]
        while not ended.wait(self.options.churn_seconds):
            # One at a time: the others are there, so that nobody is ever turned away.
            self.random.choice(actions)(self.random.choice(SERVERS))

    def accounts_for(self, loss):
        """Was something done to that server, then? To any of them, for one that had not named itself yet."""
        return any(
            begin - 1 <= loss.at <= end and loss.server in (None, name) for name, _, begin, end in self.done
        )


def held(churn):
    """What evener holds now."""
    proc = Path(f"/proc/{churn.evener.pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    text = urllib.request.urlopen(f"http://127.0.0.1:{churn.admin}/metrics", timeout=10).read().decode()
    values = collections.Counter()
    for line in text.splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            values[series.split("{")[0]] += float(value)
    return {
        "threads": int(status["Threads"]),
        "descriptors": len(list((proc / "fd").iterdir())),
        "memory_kib": int(status["VmRSS"].split()[0]),
        "sessions": int(values["evener_connections_active"]),
        "on_backends": int(values["evener_backend_connections_active"]),
        "accepted": int(values["evener_listener_connections_total"]),
        "ended": int(values["evener_sessions_closed_total"]),
    }


def sample(churn, samples, ended):
    """Looks once a second."""
    while not ended.wait(1):
        samples.append((time.monotonic(), held(churn)))


def close_wait(pid):
    """How many sockets of the process are in CLOSE_WAIT."""
    links = (str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink())
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    lines = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:])
    return sum(1 for columns in lines if columns[3] == "08" and columns[9] in inodes)


def settled(churn, before):
    """What is not as it was before, in words; nothing is the aim."""
    deadline, wrong = time.monotonic() + SETTLE_SECONDS_MAX, ["nothing seen"]
    while wrong and time.monotonic() < deadline:
        time.sleep(0.5)
        now = held(churn)
        wrong = [f"{name} are {now[name]}" for name in ("sessions", "on_backends") if now[name]]
        # A probe of each server may be on its way.
        for name in ("threads", "descriptors"):
            if now[name] > before[name] + len(SERVERS):
                wrong.append(f"{name} are {now[name]}, {before[name]} at first")
        if now["accepted"] != now["ended"]:
            wrong.append(f"{now['accepted']} accepted, {now['ended']} ended")
        if stuck := close_wait(churn.evener.pid):
            wrong.append(f"{stuck} sockets in CLOSE_WAIT")
    return wrong


def quarters(samples):
    """The medians of each quarter of the time, by what was looked at."""
    size = max(1, len(samples) // 4)
    parts = [samples[size * index : size * (index + 1)] for index in range(4)]
    return {name: [statistics.median(one[name] for _, one in part) for part in parts] for name in ALLOWED}


def drift(table):
    """What has grown, in words."""
    wrong = []
    for name, (first, *_, last) in table.items():
        share, more = ALLOWED[name]
        if last > first * (1 + share) + more:
            wrong.append(f"{name} went from {first:.0f} to {last:.0f}")
    return wrong


def threads(*targets):
    """Runs each beside us; one that breaks breaks the soak."""
    errors = []

    def guarded(target, words):
        try:
            target(*words)
        except Exception as error:  # noqa: BLE001 - told at the end, whatever it is
            errors.append(f"{target.__name__}: {error!r}")

    running = [threading.Thread(target=guarded, args=(target, words)) for target, *words in targets]
    for thread in running:
        thread.start()
    return running, errors


def soak(children, options):
    """All of it; what went wrong, in words."""
    churn = Churn(children, options.evener, Ports(), options)
    churn.start()
    time.sleep(3)
    before = held(churn)
    clients = Clients(("127.0.0.1", churn.listen), options.heartbeats, options.connections)
    samples, ended = [], threading.Event()
    running, wrong = threads((churn.run, ended), (sample, churn, samples, ended))
    seconds = options.minutes * 60
    clients.run(seconds)
    ended.set()
    for thread in running:
        thread.join()
    clients.close()
    wrong += settled(churn, before)
    # The first of it is for getting there.
    table = quarters(samples[min(WARM_UP_SAMPLES, len(samples) // 5) :])
    wrong += drift(table)
    strange = [loss for loss in clients.losses if not churn.accounts_for(loss)]
    wrong += [f"nothing accounts for {loss}" for loss in strange[:10]]
    expected_beats = 0.9 * seconds * options.heartbeats
    if clients.beats < expected_beats:
        wrong.append(f"{clients.beats} beats came back, at least {expected_beats:.0f} were expected")
    done = ", ".join(f"{count} {what}" for what, count in sorted(churn.counts.items()))
    lines = [
        f"{options.minutes:g} minutes, seed {options.seed}: {clients.beats} beats and {clients.served} connections answered; {done}.",
        f"{len(clients.losses)} sessions and connections were lost, {len(strange)} of them without a cause.",
        "",
        "| median of | first quarter | second | third | last |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {name} | " + " | ".join(f"{value:.0f}" for value in row) + " |" for name, row in table.items()]
    text = "\n".join(lines) + "\n"
    Path(options.table).write_text(text)
    print(text)
    if words := children.last_words("evener"):
        print(f"evener on standard error: {words}")
    return wrong


def main():
    """Exit code 1 if anything was not as it has to be."""
    parser = argparse.ArgumentParser()
    for name in ("evener", "backend", "scratch", "table"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--heartbeats", type=int, default=500)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--churn-seconds", type=float, default=4)
    parser.add_argument("--balance", default="round_robin")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    try:
        with Children(options.scratch) as children:
            wrong = soak(children, options)
    except Failed as error:
        wrong = [str(error)]
    if wrong:
        sys.exit("\n".join(f"error: {one}" for one in wrong))
    print("All good.")


if __name__ == "__main__":
    main()
