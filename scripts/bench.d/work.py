"""The tests: each puts one kind of work through one peer, once, and returns its numbers.

A test gets a `Plan` and a running peer and returns a dictionary with the keys of metrics.py and,
under "context", what the machine did meanwhile. What goes wrong is raised as `Failed`.
"""

import contextlib
import select
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import measure
import metrics
from peers import HERE, at
from processes import START_SECONDS_MAX, Children, Failed, the_only_bench

# Grace for an external command beside the time it is asked to take.
COMMAND_SECONDS_EXTRA = 10
REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
IDLE_SESSIONS = 1_000
HOLD_SECONDS_MAX = 30
REST_SECONDS = 2.0
WARM_UP_ROUNDS = 10
# Longer, and the sockets in TIME_WAIT of a few runs would fill the kernel's table of them.
CONNECTIONS_SECONDS_MAX = 2
# Sockets in TIME_WAIT that an idle-session test may begin with. They end during it and free memory, at
# most a few hundred a second and 256 bytes each; the sessions that the test itself closes leave some, too.
TIME_WAIT_MAX_FOR_MEMORY = 20_000
# The bulk transfers of the mixed test begin so much earlier than the small messages, and end later.
MIXED_LEAD_SECONDS = 0.3


@dataclass
class Plan:
    """What every test needs: where processes are started, how long a run takes, how long it may wait before it."""

    children: Children
    seconds: int
    ports_seconds_max: float
    memory_seconds_max: float


def wrk_command(address, clients, seconds, close):
    """wrk with one thread for a few clients: two would only take turns with the balancer."""
    command = ["wrk", "--latency", "-t", str(1 if clients <= 8 else 2), "-c", str(clients), "-d", f"{seconds}s"]
    return [*command, *(["-H", "Connection: close"] if close else []), f"http://{at(address)}/"]


def iperf3_command(address, streams, seconds):
    """iperf3 as the client, with the receiver's numbers in JSON."""
    command = ["iperf3", "--json", "-c", address[0], "-p", str(address[1]), "-P", str(streams)]
    return [*command, "-t", str(seconds), "--connect-timeout", "3000"]


def run(plan, command, seconds):
    """Runs a load generator to its end and returns what it printed."""
    child = plan.children.start(command, command[0], stdout=subprocess.PIPE)
    return plan.children.finish(child, seconds + COMMAND_SECONDS_EXTRA).decode(errors="replace")


def warm_up(address, clients):
    """A few requests over so many connections at once: pages are touched, threads exist."""
    with contextlib.ExitStack() as stack:
        try:
            sessions = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in range(clients)]
            for _ in range(WARM_UP_ROUNDS):
                for session in sessions:
                    session.sendall(REQUEST)
                for session in sessions:
                    if not session.recv(4096):
                        raise Failed(f"the warm-up at {at(address)} was closed before an answer came")
        except OSError as error:
            raise Failed(f"the warm-up at {at(address)} broke: {error}") from None


def bulk(plan, peer, streams):
    """Bulk transfer to an iperf3 server; sent by the client, so that the balancer's way is client to backend."""
    with measure.Meter(peer.pids(), plan.children) as meter:
        output = run(plan, iperf3_command(peer.bulk, streams, plan.seconds), plan.seconds)
    values = measure.parse_iperf3(output)
    return values | {"cpu_s_gb": meter.cpu_s / values["gigabytes"], "context": meter.context}


def small(plan, peer, clients):
    """Requests of a few bytes over connections that stay."""
    with measure.Meter(peer.pids(), plan.children) as meter:
        output = run(plan, wrk_command(peer.http, clients, plan.seconds, close=False), plan.seconds)
    values = measure.parse_wrk(output)
    return values | {"cpu_us": meter.cpu_s * 1e6 / values["requests"], "context": meter.context}


def mixed(plan, peer):
    """Four bulk transfers and eight clients with small messages at once."""
    bulk_seconds = plan.seconds + 1
    with measure.Meter(peer.pids(), plan.children) as meter:
        command = iperf3_command(peer.bulk, 4, bulk_seconds)
        transfers = plan.children.start(command, "iperf3", stdout=subprocess.PIPE)
        try:
            time.sleep(MIXED_LEAD_SECONDS)
            values = measure.parse_wrk(run(plan, wrk_command(peer.http, 8, plan.seconds, close=False), plan.seconds))
            values |= measure.parse_iperf3(plan.children.finish(transfers, bulk_seconds + COMMAND_SECONDS_EXTRA))
        finally:
            plan.children.end(transfers)
    return values | {"product": values["requests_s"] * values["gbit_s"], "context": meter.context}


def connections(plan, peer, clients):
    """A connection for each request.

    wrk's latency begins when it sends the request, so it leaves out the handshake. On loopback the
    kernel answers that in some ten microseconds whether or not the balancer has accepted; the wait
    for the balancer to accept and to connect to a backend is part of the latency.
    """
    seconds = min(plan.seconds, CONNECTIONS_SECONDS_MAX)
    waiting = measure.wait_time_wait(measure.time_wait_max(), plan.ports_seconds_max)
    with measure.SwitchCounter(peer.pids()) as counter, measure.Meter(peer.pids(), plan.children) as meter:
        output = run(plan, wrk_command(peer.http, clients, seconds, close=True), seconds)
    values = measure.parse_wrk(output)
    return values | {
        "cpu_us": meter.cpu_s * 1e6 / values["requests"],
        "switches": counter.switches / values["requests"],
        "threads_vanished": counter.vanished,
        "time_wait_before": waiting,
        "context": meter.context,
    }


# The difference is in evener's config.
unlogged = connections


@contextlib.contextmanager
def holder(plan, address):
    """A process that holds idle sessions: a function that asks it for so many, and returns how many it holds."""
    command = [sys.executable, "-B", str(HERE / "holder.py"), "hold", address[0], str(address[1])]
    child = plan.children.start(command, "holder", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(sessions):
        child.stdin.write(b"%d\n" % sessions)
        child.stdin.flush()
        readable, _, _ = select.select([child.stdout], [], [], HOLD_SECONDS_MAX)
        answer = child.stdout.readline() if readable else b""
        if not answer:
            raise Failed(f"no {sessions} sessions within {HOLD_SECONDS_MAX} s: {plan.children.last_words('holder')}")
        return int(answer)

    try:
        yield ask
    finally:
        plan.children.end(child)


def idle(plan, peer):
    """Memory of an idle session; what it is without the test's own sockets, the table works out from `direct`."""
    measure.wait_time_wait(TIME_WAIT_MAX_FOR_MEMORY, plan.memory_seconds_max)
    with holder(plan, peer.hold) as ask:
        ask(10)
        pids = peer.pids()
        kernel, own = measure.kernel_kb(), measure.process_kb(pids)
        held = ask(10 + IDLE_SESSIONS) - 10
        if held != IDLE_SESSIONS:
            raise Failed(f"{peer.name} held {held} of {IDLE_SESSIONS} sessions")
        time.sleep(0.2)
        kernel, own = measure.kernel_kb() - kernel, measure.process_kb(pids) - own
    return {"session_kb": (kernel + own) / held, "process_kb": own / held, "kernel_kb": kernel / held}


def growth(plan, peer):
    """The same load beside more and more idle sessions."""
    values = {}
    with holder(plan, peer.hold) as ask:
        for sessions in metrics.SESSIONS_IDLE:
            held = ask(sessions)
            if held < sessions:
                values["error"] = f"{peer.name} held {held} of {sessions} sessions"
                break
            result = small(plan, peer, clients=8)
            values |= {f"{key}_{sessions}": result[key] for key in ("cpu_us", "p99_ms", "requests_s")}
            values["context"] = result["context"]
    return values


def held(plan, peer):
    """Sessions held when more are attempted than fit, and whether the balancer serves when they are gone."""
    with holder(plan, peer.hold) as ask:
        sessions = ask(metrics.SESSIONS_ATTEMPTED)
    first_byte(peer)
    return {"sessions": sessions}


def first_byte(peer):
    """Asks until the first byte of an answer comes through the balancer."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(peer.http, timeout=1) as session:
            session.sendall(REQUEST)
            if session.recv(1):
                return
        time.sleep(0.0002)
    raise Failed(f"{peer.name} serves nothing: {peer.children.last_words(peer.name)}")


def start(peer):
    """Starts the balancer; the time includes the fork before the exec, a millisecond or so."""
    peer.command = peer.write_config()
    with the_only_bench():
        begun = time.monotonic()
        peer.launch()
        first_byte(peer)
        return {"first_byte_ms": (time.monotonic() - begun) * 1e3}


def rest(peer):
    """Resident memory after a while without work."""
    return {"rest_mb": measure.rss_kb(peer.pids()) * 1024 / 1e6}


def rest_of_static(peer, static_build):
    """The same of the static build of this tree."""
    own, peer.program = peer.program, static_build
    try:
        start(peer)
        time.sleep(REST_SECONDS)
        return {"static_rest_mb": rest(peer)["rest_mb"]}
    finally:
        peer.stop()
        peer.program = own


def size(peer, static_build):
    """Sizes of the executables; the static build is that of this tree."""
    values = {"dynamic_mb": Path(shutil.which(peer.program) or peer.program).resolve().stat().st_size / 1e6}
    if peer.kind == "evener" and static_build:
        values["static_mb"] = Path(static_build).stat().st_size / 1e6
    return values


def of_test(test):
    """The function of a test, and what it takes beside plan and peer.

    >>> of_test("small-64")[1], of_test("mixed")[1]
    ([64], [])
    """
    name, _, clients = test.partition("-")
    return globals()[name], [int(clients)] if clients else []
