"""What runs out: descriptors, threads, memory, room, patience of whoever reads the log."""

import os
import resource
import socket
import subprocess
import threading
import time
from pathlib import Path

from house import (
    ADMIN,
    Evener,
    Load,
    NotAsked,
    Server,
    ask,
    check,
    connect,
    echo,
    eventually,
    is_served,
    read_exactly,
    scenario,
    silent,
)


def crowd(count, hold=0.0):
    """So many clients at once, each of which waits as long as it takes: how many are served."""
    served = []

    def one():
        try:
            with connect(30) as sock:
                sock.sendall(b"hello")
                got = read_exactly(sock, 5)
                time.sleep(hold)
                served.append(got == b"hello")
        except OSError:
            served.append(False)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    return sum(served)


def allow_descriptors(world, count):
    """Changes the soft limit of the live process, as its own user: others may not."""
    command = ["prlimit", f"--pid={world.proxy.pid}", f"--nofile={count}:"]
    who = {} if world.user is None else {"user": world.user, "group": world.user, "extra_groups": []}
    subprocess.run(command, check=True, **who)


@scenario(seconds=90)
def descriptors_run_out(world):
    """64 descriptors (prlimit on the live process), 200 clients at once: clients that are served"""
    Server(9001, echo)
    evener = world.start([9001])
    allow_descriptors(world, 64)
    before = evener.cpu_seconds()
    served = crowd(200, hold=0.2)
    used = evener.cpu_seconds() - before
    allow_descriptors(world, 4096)
    check(served == 200, f"{served} of 200")
    check(used < 3, f"{used:.1f} s of CPU: it spins")
    warnings = [line for line in evener.log().splitlines() if " warn " in line or " error " in line]
    check(0 < len(warnings) < 30, f"{len(warnings)} warnings: {warnings[:3]}")
    return f"{served} of 200, {used:.1f} s of CPU, {len(warnings)} warnings"


@scenario(seconds=90)
def threads_are_refused(world):
    """A user who may have 40 threads, 100 clients at once: clients that are served"""
    Server(9001, echo)
    user = 54321
    how = {"user": user, "limits": [(resource.RLIMIT_NPROC, 40)]}
    # A limit of the config that is too high on purpose: evener's own one would keep it from the edge.
    evener = world.start_evener(world.config([9001]), **how)
    served = crowd(100, hold=0.2)
    check(served == 100, f"{served} of 100")
    told = evener.line("room for")
    return f"{served} of 100; {told.split('info')[1].strip()[:70] if told else ''}"


@scenario(seconds=120)
def second_thread_of_a_pair_is_refused(world):
    """Every clone3 fails while 20 clients come (strace): clients that are served later"""
    Server(9001, echo)
    evener = world.start([9001])
    time.sleep(2.5)  # Parked threads have ended.
    trace = world.scratch / "strace.log"
    command = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=clone3,clone"]
    command += ["-e", "inject=clone3,clone:error=EAGAIN:when=1..40", "-p", str(evener.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    eventually("strace", lambda: "TracerPid:\t0" not in Path(f"/proc/{evener.pid}/status").read_text())
    served = crowd(20)
    tracer.terminate()
    tracer.wait()
    count = trace.read_text(errors="replace").count("INJECTED")
    check(count > 0, "nothing was injected")
    check(served == 20, f"{served} of 20 after {count} refusals")
    return f"{served} of 20, {count} threads refused"


def raise_own_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@scenario(seconds=120)
def idle_crowd(world):
    """Idle clients, more than there is room for: those that live, memory of each, what the others get"""
    # Each needs a descriptor here and one in the server, which is here as well.
    count = min(20_000 if world.long else 4000, (raise_own_limit() - 500) // 2)
    conns = []

    def accept():
        while True:
            conns.append(server.accept()[0])

    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", 9001))
    server.listen(4096)
    threading.Thread(target=accept, daemon=True).start()
    room = count - 200
    evener = world.start([9001], half_close="1s", limits={"max_connections": room}, checks=False)
    before = evener.memory_kib()
    clients = [connect(60) for _ in range(count)]
    active = lambda: evener.metrics()["evener_connections_active"] == room
    eventually(f"{room} sessions", active, 60)
    each = (evener.memory_kib() - before) / room
    for sock in clients[:200]:
        sock.close()
    # As many wait in the backlog: now is their turn.
    eventually(f"{room} sessions again", lambda: len(conns) == count and active(), 30)
    check("refused" not in evener.log(), "somebody was refused")
    for sock in [*clients[200:], *conns]:
        sock.close()
    eventually("the end of all", lambda: evener.metrics()["evener_connections_active"] == 0, 30)
    eventually("threads to end", lambda: evener.held()[0] < 30, 30)
    return f"{room} live, {count - room} waited and were served, {each:.0f} KiB RSS each"


@scenario(seconds=120)
def stopped_readers(world):
    """100 clients that do not read an endless answer, idle timeout 6 s: other clients meanwhile, until all are ended"""

    def endless(conn):
        if conn.recv(1) == b"!":
            while True:
                conn.sendall(bytes(65536))
        else:
            conn.sendall(b"h")
            echo(conn)

    Server(9001, endless)
    evener = world.start([9001], idle="6s", half_close="6s")
    stopped = []
    for _ in range(100):
        sock = connect()
        sock.sendall(b"!")
        stopped.append(sock)
    eventually("100 sessions", lambda: evener.metrics()["evener_connections_active"] == 100)
    load = Load(threads=1, pause=0.02)
    eventually("their end", lambda: evener.metrics()["evener_connections_active"] <= 2, 60)
    load.stop().none_failed()
    kinds = {line.split("ended: ")[1].split()[0] for line in evener.log().splitlines() if "ended: " in line}
    check(kinds <= {"idle_timeout", "normal"}, f"other ends: {kinds}")
    return f"0 of {load.count} failed, slowest {load.worst * 1000:.0f} ms"


@scenario(seconds=90, short=True)
def flood_and_the_admin_port(world):
    """A flood of connections, all places taken: the slowest answer of the admin port"""
    Server(9001, echo)
    evener = world.start([9001], limits={"max_connections": 50})
    held = [connect() for _ in range(50)]
    eventually("a full house", lambda: evener.metrics()["evener_connections_active"] == 50)
    flood = [connect(60) for _ in range(300)]
    worst = 0.0
    for _ in range(50):
        begin = time.monotonic()
        evener.get("/api/v1/status")
        worst = max(worst, time.monotonic() - begin)
    for sock in [*held, *flood]:
        sock.close()
    eventually("all to be over", lambda: evener.metrics()["evener_connections_active"] == 0, 20)
    check(worst < 1, f"{worst:.1f} s")
    return f"{worst * 1000:.0f} ms"


@scenario(seconds=90)
def slow_clients(world):
    """1,000 clients that send a byte now and then: the slowest of other clients meanwhile"""
    raise_own_limit()
    Server(9001, echo)
    evener = world.start([9001])
    slow = [connect(30) for _ in range(1000)]
    stop = threading.Event()

    def dribble():
        while not stop.is_set():
            for sock in slow:
                sock.send(b".")
                sock.recv(100)
                if stop.is_set():
                    return

    dribbler = threading.Thread(target=dribble, daemon=True)
    dribbler.start()
    load = Load(threads=2, pause=0.005)
    time.sleep(5)
    load.stop().none_failed()
    stop.set()
    dribbler.join(10)
    for sock in slow:
        sock.close()
    check(load.worst < 2, f"{load.worst:.1f} s")
    eventually("all to be over", lambda: evener.metrics()["evener_connections_active"] == 0, 20)
    return f"{load.worst * 1000:.0f} ms, 0 of {load.count} failed"


def with_log_pipe(world):
    """An evener that logs into a pipe, the end of it to read from, and what has been read: that it has started."""
    outward, inward = os.pipe()
    evener = Evener(world, world.config([9001]), stdout=inward)
    os.close(inward)
    world.proxy = evener.baseline()
    said = b""
    while b"Load Balancer started" not in said:
        said += os.read(outward, 4096)
    return evener, outward, said


@scenario(seconds=90)
def log_that_nobody_reads(world):
    """Nobody reads the log pipe, under load: clients that fail, lines that are dropped and counted"""
    Server(9001, echo)
    _, outward, said = with_log_pipe(world)
    load = Load(threads=4)
    # More than fits into the pipe and into evener's own queue of lines.
    eventually("20,000 sessions", lambda: load.count > 20_000, 60)
    load.stop().none_failed()
    os.set_blocking(outward, False)
    # Now it is read again.
    deadline = time.monotonic() + 10
    while b"log lines were dropped" not in said and time.monotonic() < deadline:
        try:
            said += os.read(outward, 1 << 20)
        except BlockingIOError:
            is_served()
            time.sleep(0.02)
    line = next((line for line in said.decode(errors="replace").splitlines() if "were dropped" in line), None)
    check(line, "the log does not say that lines were dropped")
    return f"0 of {load.count}; {line.split('warn')[-1].strip()}"


@scenario(short=True)
def log_pipe_is_closed(world):
    """Whoever reads the log has ended: clients that fail from then on"""
    Server(9001, echo)
    evener, outward, _ = with_log_pipe(world)
    os.close(outward)
    failed = sum(ask() != b"hello" for _ in range(100))
    check(failed == 0 and evener.process.poll() is None, f"{failed} of 100 failed")
    return f"{failed} of 100"


@scenario()
def slow_peers_of_the_admin_port(world):
    """20 connections to the admin port that say nothing: until it answers others, sessions meanwhile"""
    Server(9001, echo)
    evener = world.start([9001])
    mute = [connect(address=ADMIN) for _ in range(20)]
    load = Load(threads=1, pause=0.01)
    begin = time.monotonic()

    def answers():
        try:
            return evener.call("GET", "/healthz")[0] == 200
        except OSError:
            return False

    eventually("an answer", answers, 15)
    took = time.monotonic() - begin
    load.stop().none_failed()
    for sock in mute:
        sock.close()
    check(took < 8, f"{took:.1f} s")
    return f"{took:.1f} s, 0 of {load.count} sessions failed"


@scenario(short=True)
def memory_is_short(world):
    """An address space of 2 GB (RLIMIT_AS), 300 clients at once: clients that are served"""
    if b"ld-linux" not in Path(world.evener).read_bytes():
        raise NotAsked("a static program reserves no arenas")
    Server(9001, echo)
    evener = world.start_evener(world.config([9001]), limits=[(resource.RLIMIT_AS, 2 << 30)])
    served = crowd(300, hold=0.1)
    check(served == 300, f"{served} of 300")
    return f"{served} of 300; {evener.line('room for').split('info')[1].strip()[:60]}"


@scenario()
def silence_costs_nothing(world):
    """10 idle sessions and probes each second, 3 s: CPU"""
    Server(9001, silent)
    often = {"interval": "1s"}
    evener = world.start([9001], pool={"health_check": often})
    held = [connect() for _ in range(10)]
    eventually("sessions", lambda: evener.metrics()["evener_connections_active"] == 10)
    before = evener.cpu_seconds()
    time.sleep(3)
    used = (evener.cpu_seconds() - before) / 3 * 100
    for sock in held:
        sock.close()
    check(used < 3, f"{used:.1f} %")
    return f"{used:.1f} %"
