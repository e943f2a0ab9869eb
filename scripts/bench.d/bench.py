"""evener beside other balancers: which test runs when, for whom, and what is written where.

`scripts/bench` installs and builds what this needs and calls it. In each round of a test every balancer
is measured once, in an order that rotates, so the drift of the machine hits all of them alike and
medians can be compared.

The pure parts have tests: python3 -m doctest scripts/bench.d/*.py
"""

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import metrics
import peers
import table
import work
from processes import Children, Failed, Ports, the_only_bench

ROOT = Path(__file__).resolve().parents[2]
# A balancer that has held thousands of sessions keeps some of the memory, so these start afresh for each run.
# And of small messages, two processes of one binary differ by up to a fifth, each as long as it lives (how its
# threads and sockets lie in the caches, it seems), so one process for all rounds would compare luck.
FRESH_FOR_EACH_RUN = {"idle", "growth", "held", "mixed", *(f"small-{clients}" for clients in metrics.SMALL_CLIENTS)}
ONCE = {"held", "size"}
# Memory first: connection tests leave TIME_WAIT sockets behind that would shrink away under it.
RUN_FIRST = ("start", "size", "idle")
# With and without evener's line for each.
CONNECTION_TESTS = ("connections", "unlogged")
WITHOUT_DIRECT = {"growth", "held", "start", "size"}
# Names that say nothing about where a binary comes from.
COMMON_NAMES = {"evener", "release", "debug", "target"}
PEER_NAMES = ("haproxy", "nginx", "go", "direct")


def label_of(text, tree):
    """Label and path of an item of `--evener`.

    >>> label_of("parent=/tmp/evener-parent", "t"), label_of("/work/wt-a/target/release/evener", "t")
    (('parent', '/tmp/evener-parent'), ('wt-a', '/work/wt-a/target/release/evener'))
    >>> label_of("tree", "target/release/evener"), label_of("now=tree", "target/release/evener")
    (('evener', 'target/release/evener'), ('now', 'target/release/evener'))
    """
    label, found, path = text.partition("=")
    if not found:
        path = text
        telling = [part for part in Path(path).parts if part not in COMMON_NAMES]
        label = "evener" if path == "tree" or not telling else telling[-1]
    return label, tree if path == "tree" else path


def parse_arguments():
    """The command line; see `scripts/bench --help`."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures evener beside other balancers.")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s instead of 7 of 3 s")
    parser.add_argument("--only", metavar="NAME,…", help=f"tests, or what their names begin with: {' '.join(metrics.TESTS)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each test measures each balancer")
    parser.add_argument("--seconds", type=int, metavar="N", help="how long each run takes")
    parser.add_argument("--peers", metavar="NAME,…", help=f"of {','.join(PEER_NAMES)}, or none", default=",".join(PEER_NAMES))
    parser.add_argument(
        "--evener", metavar="[LABEL=]PATH,…", default="tree",
        help="evener binaries that take part; `tree` is this tree's; the first is judged and compared with the others",
    )
    for option in ("--tree", "--static", "--go-proxy"):
        parser.add_argument(option, default="", help=argparse.SUPPRESS)  # set by scripts/bench
    parser.add_argument("--no-install", action="store_true", help="never install anything")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 7)
    arguments.seconds = arguments.seconds or (1 if arguments.quick else 3)
    try:
        arguments.tests = metrics.chosen_tests(arguments.only)
    except ValueError as unknown:
        parser.error(f"--only: no test is called or begins with '{unknown}', try one of: {' '.join(metrics.TESTS)}")
    return arguments


def make_peers(arguments, site):
    """All balancers that take part, eveners first."""
    made = []
    for item in arguments.evener.split(","):
        label, path = label_of(item, arguments.tree)
        if not os.access(path, os.X_OK):
            raise Failed(f"--evener: no program at '{path}', try `cargo build --release` there")
        if label in (*PEER_NAMES, *(peer.name for peer in made)):
            raise Failed(f"--evener: two columns would be called '{label}', try LABEL={path}")
        made.append(peers.Evener(label, os.path.abspath(path), *site))
    factories = {
        "haproxy": lambda: peers.HAProxy("haproxy", *site),
        "nginx": lambda: peers.Nginx("nginx", *site),
        "go": lambda: peers.Go("go", arguments.go_proxy, *site),
        "direct": lambda: peers.Direct("direct", *site),
    }
    for name in arguments.peers.split(",") if arguments.peers != "none" else []:
        if name not in factories:
            raise Failed(f"--peers: '{name}' is not one of {', '.join(PEER_NAMES)} or none")
        made.append(factories[name]())
    return made


class Bench:
    """A bench under way: its plan, its peers, and the runs so far."""

    def __init__(self, arguments, plan, backends, everybody, raw):
        self.arguments = arguments
        self.plan = plan
        self.backends = backends
        self.peers = everybody
        self.raw = raw
        self.runs = []
        self.begun = time.monotonic()

    def participants(self, test, turn):
        """Who is measured in a round of a test, in the order of this round."""
        chosen = [peer for peer in self.peers if not (peer.kind == "direct" and test in WITHOUT_DIRECT)]
        if turn > 0 and test != "idle" and (self.arguments.quick or test.startswith(CONNECTION_TESTS)):
            # It only shows what the generators can do; that needs no median when time or ports are short.
            chosen = [peer for peer in chosen if peer.kind != "direct"]
        if test == "growth":
            # The longest test, and the two designs that it is about: threads against events.
            chosen = [peer for peer in chosen if peer.kind in ("evener", "haproxy")]
        shift = turn % max(1, len(chosen))
        return chosen[shift:] + chosen[:shift]

    def note(self, test, peer, turn, measured):
        """Keeps the result of a run, or why there is none."""
        try:
            values = measured()
        except (Failed, OSError, LookupError, ValueError) as error:
            values = {"error": str(error) or repr(error)}
        run = {"test": test, "peer": peer.name, "round": turn, **values}
        self.runs.append(run)
        print(json.dumps(run), file=self.raw, flush=True)
        return "error" not in values

    def run_test(self, test):
        """All rounds of a test."""
        print(f"[{time.monotonic() - self.begun:4.0f} s] {test}", file=sys.stderr, flush=True)
        rounds = 1 if test in ONCE else self.arguments.rounds
        try:
            if test == "start":
                self.run_start(rounds)
            elif test == "size":
                for peer in self.participants(test, 0):
                    self.note(test, peer, 0, lambda: work.size(peer, self.arguments.static))
            else:
                self.run_rounds(test, rounds)
        finally:
            for peer in self.peers:
                peer.stop()

    def run_rounds(self, test, rounds):
        """The usual course of a test: everybody is measured once in each round."""
        function, extra = work.of_test(test)
        for turn in range(rounds):
            for peer in self.participants(test, turn):
                self.note(test, peer, turn, lambda: self.measure(test, peer, function, extra))

    def measure(self, test, peer, function, extra):
        """One run; the balancer is started before its first."""
        if not peer.child:
            peer.logs_sessions = not test.startswith("unlogged")
            peer.start()
            work.warm_up(peer.http, extra[0] if test.startswith(("small", *CONNECTION_TESTS)) else 1)
        if test in ("mixed", "bulk-1", "bulk-8"):
            self.backends.bulk_server(peer.bulk_backend)
        try:
            with the_only_bench():
                return function(self.plan, peer, *extra)
        except Failed:
            self.backends.end_bulk_server(peer.bulk_backend)
            peer.stop()
            raise
        finally:
            if test in FRESH_FOR_EACH_RUN:
                peer.stop()

    def run_start(self, rounds):
        """Starts everybody one after the other, then reads the memory of all after one rest."""
        for turn in range(rounds):
            serving = [
                peer for peer in self.participants("start", turn) if self.note("start", peer, turn, lambda: work.start(peer))
            ]
            time.sleep(work.REST_SECONDS)
            for peer in serving:
                self.note("start", peer, turn, lambda: work.rest(peer))
            for peer in self.peers:
                peer.stop()
        for peer in self.participants("start", 0):
            if peer.kind == "evener" and self.arguments.static:
                self.note("start", peer, 0, lambda: work.rest_of_static(peer, self.arguments.static))


def head_line(arguments, everybody, date, seconds):
    """What was measured, where and when."""
    def git(*command):
        return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, timeout=10).stdout.strip()

    commit = (git("rev-parse", "--short", "HEAD") or "unknown") + (" (dirty)" if git("status", "--porcelain") else "")
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    versions = ", ".join(peer.version() for peer in everybody if peer.kind != "direct")
    tools = f"wrk {peers.version_of(['wrk', '-v'], 'wrk ')}, iperf {peers.version_of(['iperf3', '--version'], 'iperf ')}"
    binaries = ", ".join(f"{peer.name} = {peer.program}" for peer in everybody if peer.kind == "evener")
    return (
        f"evener bench: {model} × {os.cpu_count()} cores, Linux {platform.release()}, commit {commit}, {date}; {versions};"
        f" {tools}; {arguments.rounds} rounds of {arguments.seconds} s, took {seconds:.0f} s; {binaries}"
    )


def main():
    """Runs the bench and writes the table."""
    arguments = parse_arguments()
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    date = time.strftime("%Y-%m-%dT%H-%M-%S")
    results_directory = ROOT / "target" / "bench"
    results_directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="evener-bench-") as scratch,
        open(results_directory / f"{date}.jsonl", "w") as raw,
        Children(scratch) as children,
    ):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, children.interrupt)
        ports = Ports()
        backends = peers.Backends(children, ports)
        everybody = make_peers(arguments, (backends, children, ports))
        plan = work.Plan(children, arguments.seconds, *((1, 10) if arguments.quick else (5, 65)))
        print(json.dumps({"arguments": vars(arguments)}), file=raw)
        bench = Bench(arguments, plan, backends, everybody, raw)
        for test in sorted(arguments.tests, key=lambda test: test not in RUN_FIRST):
            bench.run_test(test)
    head = head_line(arguments, everybody, date, time.monotonic() - bench.begun)
    text = table.report(table.Results(bench.runs, everybody), arguments.tests, head)
    (results_directory / "latest.md").write_text(text + "\n")
    print(text)
    return 1 if any("error" in run for run in bench.runs) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"error: {error}")
