"""Servers that fail, in each way in which servers do."""

import os
import signal
import socket
import threading
import time

from house import (
    PROXY,
    Evener,
    Load,
    Program,
    Server,
    ask,
    check,
    connect,
    echo,
    eventually,
    is_served,
    listen,
    named,
    read_exactly,
    read_to_end,
    reset,
    scenario,
    sysctl,
    verdict,
)


IP_BIND_ADDRESS_NO_PORT = 24


def black_hole(port):
    """An address that answers no SYN: its backlog is full and nobody accepts."""
    sock = listen(port, backlog=0)
    fillers = []
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    time.sleep(0.1)
    return [sock, *fillers]


def failed_of(count, client=ask, expect=b"hello", pause=0.0):
    """How many of so many clients failed, one after another, and how long the slowest took."""
    failed, worst = 0, 0.0
    for _ in range(count):
        begin = time.monotonic()
        failed += client() != expect
        worst = max(worst, time.monotonic() - begin)
        time.sleep(pause)
    return failed, worst


@scenario(peers=True, short=True)
def refused(world):
    """One of two backends refuses, no health checks: clients that fail"""
    Server(9002, echo)
    world.start([9001, 9002], checks=False)
    failed, worst = failed_of(100)
    return verdict(world, failed == 0 and worst < 1, f"{failed} of 100, slowest {worst * 1000:.0f} ms")


@scenario(peers=True)
def syn_black_hole(world):
    """One of two backends answers no SYN, no health checks, connect timeout 1 s: clients that fail"""
    Server(9002, echo)
    kept = black_hole(9001)
    world.start([9001, 9002], connect="1s", checks=False)
    failed, worst = failed_of(20)
    del kept
    return verdict(world, failed == 0 and worst < 4, f"{failed} of 20, slowest {worst:.1f} s")


@scenario()
def hedged_black_hole(world):
    """The same with hedge_after 100 ms: the slowest client"""
    Server(9002, echo)
    kept = black_hole(9001)
    pool = {"hedge_after": "100ms"}
    world.start([9001, 9002], connect="1s", checks=False, pool=pool)
    failed, worst = failed_of(20)
    del kept
    check(failed == 0 and worst < 1, f"{failed} of 20, slowest {worst:.1f} s")
    return f"{failed} of 20, slowest {worst * 1000:.0f} ms"


@scenario(short=True)
def client_gives_up_while_connecting(world):
    """A client resets while evener waits for a SYN to be answered: until the session is over"""
    kept = black_hole(9001)
    evener = world.start([9001], connect="20s", checks=False)
    sock = connect()
    eventually("a session", lambda: evener.metrics()["evener_connections_active"] == 1)
    begin = time.monotonic()
    reset(sock)
    eventually("its end", lambda: evener.metrics()["evener_connections_active"] == 0)
    took = (time.monotonic() - begin) * 1000
    del kept
    check(evener.metrics().get("evener_sessions_closed_total:client_closed_while_connecting"), "another reason")
    return f"{took:.0f} ms of 20 s"


@scenario(peers=True, short=True)
def accepts_then_resets(world):
    """A backend that accepts and resets: clients that see an answer that looks empty instead of a reset"""
    Server(9001, reset)
    world.start([9001], checks=False)
    ends = []
    for _ in range(50):
        try:
            with connect() as sock:
                sock.sendall(b"hello")
                ends.append(read_to_end(sock)[1])
        except OSError:
            ends.append("reset")
    fins = ends.count("fin")
    return verdict(world, fins == 0, f"{fins} of 50")


DUMMY = """
import socket, sys, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(1024)
def serve(c):
    while d := c.recv(65536): c.sendall(d)
    c.close()
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


def dummy(world, port):
    """An echo server in a process of its own, to be stopped and killed."""
    program = Program(world, f"dummy{port}", ["python3", "-c", DUMMY, str(port)])

    def answers():
        try:
            with connect(address=("127.0.0.1", port)) as sock:
                sock.sendall(b"x")
                return read_exactly(sock, 1)
        except OSError:
            return False

    eventually("the dummy", answers)
    return program


@scenario()
def frozen_backend(world):
    """A server process is stopped (SIGSTOP), its kernel still accepts: until send_expect takes it out"""
    frozen = dummy(world, 9001)
    Server(9002, echo)
    check_often = {"type": "send_expect", "send": "ping", "expect": "ping", "interval": "200ms", "timeout": "200ms"}
    evener = world.start([9001, 9002], pool={"health_check": check_often})
    begin = time.monotonic()
    frozen.signal(signal.SIGSTOP)
    evener.wait_log("is DOWN")
    took = time.monotonic() - begin
    failed, _ = failed_of(20)
    frozen.signal(signal.SIGCONT)
    evener.wait_log("is UP")
    check(failed == 0, f"{failed} of 20 clients failed after that")
    return f"{took:.1f} s, then 0 of 20 clients fail"


@scenario(peers=True)
def killed_under_load(world):
    """One of two backends is killed under load: new clients that fail, and what its open ones see"""
    doomed = dummy(world, 9001)
    Server(9002, echo)
    world.start([9001, 9002])
    held = [connect() for _ in range(10)]
    for sock in held:
        sock.sendall(b"x")
        read_exactly(sock, 1)
    load = Load(threads=2, pause=0.002)
    time.sleep(0.5)
    doomed.process.kill()
    time.sleep(2)
    load.stop()
    for sock in held:
        sock.settimeout(0.2)
    ends = [read_to_end(sock)[1] for sock in held]
    for sock in held:
        sock.close()
    told = sum(end != "silence" for end in ends)
    # Those that it was working on at that moment are lost, whatever stands before it.
    lost = len(load.errors)
    return verdict(world, lost <= 2 and told == 5, f"{lost} of {load.count}; {told} of 5 open ones are told at once")


@scenario(peers=True)
def all_down_and_back(world):
    """All backends die, for 3 s, and come back: CPU meanwhile, until a client is served again"""
    server = Server(9001, echo)
    proxy = world.start([9001])
    server.die()
    time.sleep(1)
    load = Load(threads=1, pause=0.05, client=lambda: ask(timeout=1))
    before = proxy.cpu_seconds()
    time.sleep(2)
    used = proxy.cpu_seconds() - before
    load.stop()
    begin = time.monotonic()
    Server(9001, echo)
    eventually("a client that is served", lambda: ask(timeout=1) == b"hello", 10)
    took = time.monotonic() - begin
    return verdict(world, used < 1 and took < 3, f"{used / 2 * 100:.0f} % CPU, {took:.1f} s")


@scenario()
def recovery_with_slow_start(world):
    """A backend comes back under load, slow_start 4 s: its share in the first and in the last second"""
    first = Server(9001, named("1"))
    Server(9002, named("2"))
    evener = world.start([9001, 9002], pool={"slow_start": "4s"})

    def whose():
        try:
            with connect() as sock:
                return sock.recv(1)
        except OSError as error:
            return str(error)

    eventually("both to serve", lambda: {whose(), whose()} == {b"1", b"2"})
    first.die()
    evener.wait_log("is DOWN")
    Server(9001, named("1"))
    evener.wait_log("is UP")
    shares = []
    for _ in range(5):
        end = time.monotonic() + 1
        seen = [whose() for _ in iter(lambda: time.monotonic() < end, False)]
        check(set(seen) <= {b"1", b"2"}, f"clients failed: {set(seen)}")
        shares.append(100 * seen.count(b"1") / len(seen))
    check(shares[0] < 30 < 40 < shares[-1] < 60, f"shares in each second: {shares}")
    return f"{shares[0]:.0f} %, {shares[-1]:.0f} %"


@scenario(peers=True, seconds=120)
def flapping(world):
    """One of two backends is 300 ms up, 300 ms down, under load: clients that fail"""
    Server(9002, echo)
    world.start([9001, 9002])
    load = Load(threads=2, pause=0.002)
    end = time.monotonic() + (60 if world.long else 10)
    while time.monotonic() < end:
        server = Server(9001, echo)
        time.sleep(0.3)
        # It ends in order: what it has accepted it serves.
        server.close()
        time.sleep(0.3)
    load.stop()
    errors = len(load.errors)
    # Whoever is in the backlog of a server that closes it is reset, and has sent its question already.
    return verdict(world, errors <= load.count / 1000, f"{errors} of {load.count}")


@scenario(short=True)
def local_ports_exhausted(world):
    """50 local ports towards one backend, 80 clients that stay, a second backend elsewhere: clients that fail"""
    sysctl("net.ipv4.ip_local_port_range", "40000 40049")
    Server(9001, echo, host="127.0.0.2")
    Server(9002, echo, host="127.0.0.3")
    entries = [
        {"name": "a", "address": "127.0.0.2:9001", "weight": 10},
        {"name": "b", "address": "127.0.0.3:9002", "weight": 1},
    ]
    evener = world.start(entries, checks=False)
    held, failed = [], 0
    for number in range(80):
        try:
            # From another address each, or the clients would need the same ports.
            sock = socket.socket()
            sock.settimeout(10)
            # Its port is chosen when it connects: one that is bound explicitly is nobody else's, at any address.
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.1.{number + 1}", 0))
            sock.connect(PROXY)
            sock.sendall(b"x")
            read_exactly(sock, 1)
            held.append(sock)
        except OSError:
            failed += 1
    counts = {name: backend["active"] for name, backend in evener.backends().items()}
    for sock in held:
        sock.close()
    check(failed == 0, f"{failed} of 80 clients failed, sessions {counts}")
    check(not evener.line("is DOWN") and not evener.line("EJECTED"), "a backend was blamed")
    eventually("sessions to be over", lambda: evener.metrics()["evener_connections_active"] == 0)
    return f"0 of 80 ({counts['a']} on the first, {counts['b']} on the second), nobody blamed"


@scenario(seconds=120)
def five_thousand_die_together(world):
    """5,000 backends die at the same moment, one lives: until all are out, clients that fail from then on"""
    count = 5000
    # One socket stands for all of them: it listens on every address.
    doomed = Server(9001, echo, host="0.0.0.0", backlog=4096)
    Server(9002, echo)
    entries = [{"name": f"d{n}", "address": f"127.1.{n // 250}.{n % 250 + 1}:9001"} for n in range(count)]
    entries.append({"name": "alive", "address": "127.0.0.1:9002"})
    probes = {"health_check": {"interval": "2s", "timeout": "1s", "rise": 1, "fall": 2}}
    evener = world.start(entries, pool=probes, log={"connections": False})
    begin = time.monotonic()
    doomed.close()
    eventually("all of them to be out", lambda: evener.metrics()["evener_backend_up"] == 1, 60)
    took = time.monotonic() - begin
    failed, _ = failed_of(200)
    check(failed == 0, f"{failed} of 200 after that")
    return f"{took:.1f} s, then 0 of 200"


@scenario(short=True)
def own_listener_as_backend(world):
    """A backend that is evener's own listener: refused when the config is loaded"""
    evener = Evener(world, world.config([8080]))
    code = evener.wait()
    check(code == 1 and evener.line("8080"), f"exit code {code}: {evener.log()}")
    return next(line for line in evener.log().splitlines() if line.startswith("error"))


@scenario()
def resets_under_churn(world):
    """4 clients that reset at a random moment, over and over for 5 s, beside 2 that are served: those that fail"""
    Server(9001, echo)
    world.start([9001])

    def rude():
        try:
            sock = connect()
            sock.sendall(os.urandom(os.urandom(1)[0] * 40 + 1))
            time.sleep(os.urandom(1)[0] / 100_000)
            reset(sock)
        except OSError:
            pass
        return b"hello"

    rude_ones, polite = Load(4, client=rude), Load(2, 0.005)
    time.sleep(5)
    rude_ones.stop()
    polite.stop().none_failed()
    return f"0 of {polite.count}, beside {rude_ones.count} resets"


@scenario()
def served_after_everything_is_idle(world):
    """Nobody comes for 4 s (parked threads end), then 50 at once: the slowest"""
    Server(9001, echo)
    world.start([9001])
    time.sleep(4)
    times = []

    def one():
        begin = time.monotonic()
        check(is_served(), "not served")
        times.append(time.monotonic() - begin)

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    check(len(times) == 50, f"{len(times)} of 50 were served")
    return f"{max(times) * 1000:.0f} ms"
