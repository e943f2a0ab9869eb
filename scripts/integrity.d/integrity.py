"""Sends the same transfers through every balancer, over loopback and over a bad link, and says what arrived.

Both ends stand here, and the balancer beside them or, for the bad link, in a network namespace behind
link.py: so what a client sends crosses that link to the balancer, and again to the server.
"""

import argparse
import collections
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "bench.d"))

from balancers import all_of_them  # noqa: E402
from processes import Children, Failed, Ports  # noqa: E402

NEAR, FAR = "10.98.0.1", "10.98.0.2"
AT_ONCE = 32
RUN_SECONDS_MAX = 1800


class Helper:
    """A program of ours that is told things on its standard input, and answers on standard output."""

    def __init__(self, children, name, *words):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.child = children.start([sys.executable, "-B", str(HERE / words[0]), *words[1:]], name, **pipes)
        self.children = children

    def tell(self, line):
        """One line to it."""
        self.child.stdin.write(f"{line}\n")
        self.child.stdin.flush()

    def hear(self):
        """One line of it."""
        line = self.child.stdout.readline()
        if not line:
            raise Failed(f"{self.child.title} has ended: {self.children.last_words(self.child.title)}")
        return line.strip()

    def end(self):
        """Lets it come to its end."""
        self.children.end(self.child)


def transfer(children, through, server, options):
    """Makes all transfers; how each of the two ends fared, as a word for each transfer."""
    words = ["send", through, str(options.transfers), str(AT_ONCE), str(options.bytes)]
    sender = children.start(
        [sys.executable, "-B", str(HERE / "transfer.py"), *words], "sender", stdout=subprocess.PIPE
    )
    answer = json.loads(children.finish(sender, RUN_SECONDS_MAX))
    server.tell("report")
    served = json.loads(server.hear())
    fates = collections.Counter()
    for number, word in answer["seen"].items():
        words = {word, served.get(number, "truncated")}
        # Of two that differ, the one that is not `ok`.
        fates[max(words - {"ok"}, default="ok")] += 1
    rate = options.transfers * options.bytes * 2 / answer["seconds"] / 1e6
    return fates, rate


def run(children, balancer, at_far, ports, options):
    """One balancer over one link."""
    # What a balancer in the other namespace reaches is this side's address of the link.
    near, far = (NEAR, FAR) if at_far else ("127.0.0.1", "127.0.0.1")
    server_at, bind = f"{near}:{ports.take()}", f"{far}:{ports.take()}"
    server = Helper(children, "server", "transfer.py", "serve", server_at)
    server.tell(options.bytes)
    server.hear()
    command = balancer.written(children.scratch / balancer.name.replace(" ", "-"), bind, server_at)
    within = ["ip", "netns", "exec", options.namespace] if at_far else []
    child = children.start([*within, *command], balancer.name)
    host, port = bind.split(":")
    children.wait_listening(child, (host, int(port)))
    try:
        return transfer(children, bind, server, options)
    finally:
        children.end(child)
        server.end()


def told(fates, rate, options):
    """A cell of the table."""
    bad = options.transfers - fates["ok"]
    why = ", ".join(f"{count} {word}" for word, count in sorted(fates.items()) if word != "ok")
    return f"{bad} bad ({why})" if bad else f"0 bad of {options.transfers}, {rate:.0f} MB/s"


def main():
    """The table; exit code 1 if a transfer through evener went wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--evener", required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--scratch", required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--transfers", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=4 << 20)
    parser.add_argument("--only", default="")
    parser.add_argument("--links", default="loopback,bad")
    parser.add_argument("--mtu", type=int, default=9000)
    options = parser.parse_args()
    balancers = [one for one in all_of_them(options.evener) if options.only in one.name]
    links, cells, wrong = options.links.split(","), {}, 0
    ports = Ports()
    with Children(options.scratch) as children:
        for link in links:
            cable = None
            if link == "bad":
                words = [f"{NEAR}/24", f"{FAR}/24", options.namespace, "--mtu", str(options.mtu)]
                cable = Helper(children, "link", "link.py", *words)
                cable.hear()
            for balancer in balancers:
                fates, rate = run(children, balancer, bool(cable), ports, options)
                cells[balancer.name, link] = told(fates, rate, options)
                print(f"{link}, {balancer.name}: {cells[balancer.name, link]}", flush=True)
                if balancer.name.startswith("evener"):
                    wrong += options.transfers - fates["ok"]
            if cable:
                cable.child.stdin.close()
                print(f"the bad link: {cable.hear()}")
                cable.end()
    table = ["| " + " | ".join(["through", *links]) + " |", "| --- " * (len(links) + 1) + "|"]
    for balancer in balancers:
        row = [f"{balancer.name} ({balancer.version})", *(cells[balancer.name, link] for link in links)]
        table.append("| " + " | ".join(row) + " |")
    text = "\n".join(table) + "\n"
    Path(options.table).write_text(text)
    print(f"\n{text}")
    if wrong:
        sys.exit(f"error: {wrong} transfers through evener went wrong, see above")


if __name__ == "__main__":
    main()
