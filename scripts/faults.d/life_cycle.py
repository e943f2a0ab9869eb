"""Starts, stops, signals and reloads, at the worst moment."""

import os
import random
import signal
import socket
import threading
import time

from house import (
    NOBODY,
    PROXY,
    Evener,
    Load,
    Server,
    ask,
    check,
    connect,
    echo,
    eventually,
    is_served,
    listen,
    read_exactly,
    read_to_end,
    scenario,
)

MIB = 1 << 20


def talking():
    """A session in which something was said."""
    sock = connect()
    sock.sendall(b"x")
    read_exactly(sock, 1)
    return sock


@scenario(short=True)
def drain_to_the_deadline(world):
    """SIGTERM with 3 idle sessions and a deadline of 2 s: seconds until it has ended, what the sessions see"""
    Server(9001, echo)
    evener = world.start([9001], shutdown={"drain_timeout": "2s"})
    held = [talking() for _ in range(3)]
    begin = time.monotonic()
    evener.signal(signal.SIGTERM)
    evener.wait_log("draining 3 connections")
    held[0].sendall(b"y")
    check(read_exactly(held[0], 1) == b"y", "a session of the drain is not served")
    check(ask() != b"hello", "a new client is served")
    code = evener.wait()
    took = time.monotonic() - begin
    ends = {read_to_end(sock)[1] for sock in held}
    check(code == 0 and ends == {"reset"} and abs(took - 2) < 0.5, f"code {code}, {ends}, {took:.2f} s")
    return f"{took:.2f} s, {ends.pop()}"


@scenario(short=True)
def drain_under_load(world):
    """SIGTERM while 20 transfers of 40 MiB run: those that arrive whole"""
    size = 40 * MIB
    Server(9001, lambda conn: (conn.recv(1), conn.sendall(bytes(size))))
    evener = world.start([9001])
    counts = []

    def download():
        with connect(30) as sock:
            sock.sendall(b"x")
            counts.append(len(read_to_end(sock)[0]))

    threads = [threading.Thread(target=download) for _ in range(20)]
    for thread in threads:
        thread.start()
    eventually("20 sessions", lambda: evener.metrics()["evener_listener_connections_total"] == 20, 10)
    evener.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(40)
    code = evener.wait(30)
    whole = counts.count(size)
    check(whole == 20 and code == 0, f"{whole} of 20, code {code}")
    return f"{whole} of 20"


@scenario(short=True)
def second_signal(world):
    """A second SIGTERM during a drain: milliseconds until it has ended, exit code"""
    Server(9001, echo)
    evener = world.start([9001], shutdown={"drain_timeout": "1h"})
    held = talking()
    evener.signal(signal.SIGTERM)
    evener.wait_log("draining 1 connections")
    begin = time.monotonic()
    evener.signal(signal.SIGTERM)
    code = evener.wait()
    took = (time.monotonic() - begin) * 1000
    check(code == 130 and read_to_end(held)[1] == "reset" and took < 2000, f"code {code}, {took:.0f} ms")
    return f"{took:.0f} ms, {code}"


@scenario(seconds=120, short=True)
def signals_during_the_start(world):
    """SIGTERM 0 to 40 ms after the start, 20 times: exit codes (a signal's own before evener can hear it)"""
    Server(9001, echo)
    codes = {}
    for number in range(20):
        evener = Evener(world, world.config([9001]))
        time.sleep(number * 0.002)
        evener.signal(signal.SIGTERM)
        code = evener.wait()
        codes[code] = codes.get(code, 0) + 1
        check(code in (0, -signal.SIGTERM), f"exit code {code}: {evener.log()}")
    return ", ".join(f"{count} times {code}" for code, count in sorted(codes.items()))


@scenario(seconds=120)
def signals_of_all_kinds_at_once(world):
    """200 signals that must not end it (HUP, WINCH, CHLD, USR1 left out) at random, under load: clients that fail"""
    Server(9001, echo)
    evener = world.start([9001])
    load = Load(threads=2, pause=0.002)
    for _ in range(200):
        evener.signal(random.choice([signal.SIGHUP, signal.SIGWINCH, signal.SIGCHLD, signal.SIGCONT, signal.SIGPIPE]))
        time.sleep(0.01)
    load.stop().none_failed()
    return f"0 of {load.count}"


def reload_files(world, evener, configs):
    """Reloads each of these, one after the other."""
    for config in configs:
        evener.write(config)
        evener.reload()


@scenario(seconds=200)
def a_thousand_reloads_under_load(world):
    """1,000 reloads that add and remove a backend, under load: clients that fail, growth"""
    Server(9001, echo)
    Server(9002, echo)
    evener = world.start([9001, 9002])
    both, one = world.config([9001, 9002]), world.config([9001])
    reload_files(world, evener, [one, both] * 20)
    memory = evener.memory_kib()
    load = Load(threads=2, pause=0.001)
    begin = time.monotonic()
    reload_files(world, evener, [one, both] * 500)
    took = time.monotonic() - begin
    load.stop().none_failed()
    grown = evener.memory_kib() - memory
    check(grown < 4096, f"{grown} KiB more memory")
    return f"0 of {load.count}, {grown} KiB more; {took:.0f} ms a reload"


@scenario(seconds=90, short=True)
def reload_that_removes_a_busy_backend(world):
    """A reload removes a backend that has sent half of 100 MiB: bytes that arrive"""
    size = 100 * MIB
    half = threading.Event()

    def send(conn):
        if conn.recv(1) == b"!":
            conn.sendall(bytes(size // 2))
            half.wait(20)
            conn.sendall(bytes(size // 2))
        conn.shutdown(socket.SHUT_WR)

    Server(9001, send)
    Server(9002, echo)
    evener = world.start([9001], shutdown={"drain_timeout": "20s"})
    sock = connect(20)
    sock.sendall(b"!")
    got = len(read_exactly(sock, size // 2))
    evener.write(world.config([9002], shutdown={"drain_timeout": "20s"}))
    evener.reload()
    check(is_served(), "the new backend does not serve")
    half.set()
    rest, end = read_to_end(sock)
    check(got + len(rest) == size and end == "fin", f"{got + len(rest)} bytes, {end}")
    return f"{(got + len(rest)) // MIB} of 100 MiB, {end}"


@scenario(seconds=120)
def reloads_against_health_flips(world):
    """Reloads while backends go up and down every 100 ms, 5 s: clients that fail, the state at the end"""
    Server(9001, echo)
    quick = {"health_check": {"interval": "20ms", "timeout": "1s", "rise": 1, "fall": 1}}
    config = world.config([9001, 9002, 9003], quick)
    evener = world.start([9001, 9002, 9003], pool=quick)
    load = Load(threads=2, pause=0.002)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        flips = [Server(9002, echo), Server(9003, echo)]
        for weight in (1, 2):
            config["pools"][0]["backends"][0]["weight"] = weight
            evener.write(config)
            evener.reload()
            time.sleep(0.05)
        for server in flips:
            server.close()
        evener.reload()
        time.sleep(0.1)
    load.stop()
    Server(9002, echo)
    Server(9003, echo)
    up = lambda: all(backend["health"] == "up" for backend in evener.backends().values())
    eventually("all to be up", up)
    check(len(load.errors) <= load.count / 200, f"{len(load.errors)} of {load.count}: {load.errors[:3]}")
    return f"{len(load.errors)} of {load.count}, all up at the end"


@scenario(short=True)
def new_address_is_taken(world):
    """A reload asks for an address that another program has: nothing changes, the message"""
    Server(9001, echo)
    taken = listen(8081)
    evener = world.start([9001])
    config = world.config([9001])
    config["listeners"].append({"name": "more", "bind": "127.0.0.1:8081", "pool": "p"})
    evener.write(config)
    status, text = evener.call("POST", "/api/v1/reload")
    taken.close()
    check(status >= 400 and "127.0.0.1:8081" in text, f"{status} {text}")
    check(is_served(), "the old listener does not serve")
    return f"{status} {text[:160]}"


@scenario(short=True)
def port_in_use(world):
    """The port is in use at the start: exit code, the message"""
    taken = listen(8080)
    evener = Evener(world, world.config([9001]))
    code = evener.wait()
    taken.close()
    check(code == 1 and "127.0.0.1:8080" in evener.log(), f"{code}: {evener.log()}")
    return f"{code}: {first_error(evener)}"


def first_error(evener):
    lines = evener.log().splitlines()
    return next((line for line in lines if line.startswith("error")), lines[-1])


@scenario(short=True)
def privileged_port_as_nobody(world):
    """A port below 1024 as nobody: exit code, the message"""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w") as file:
        file.write("1024")
    config = world.config([9001])
    config["listeners"][0]["bind"] = "127.0.0.1:80"
    evener = Evener(world, config, user=NOBODY)
    code = evener.wait()
    check(code == 1 and "127.0.0.1:80" in evener.log(), f"{code}: {evener.log()}")
    return f"{code}: {first_error(evener)}"


@scenario(seconds=120)
def killed_and_started_again(world):
    """kill -9 with live sessions and started again at once, 10 times: milliseconds until it serves"""
    Server(9001, echo)
    times = []
    for _ in range(10):
        evener = world.start([9001])
        check(is_served(), "it does not serve")
        held = [talking() for _ in range(20)]
        begin = time.monotonic()
        evener.process.kill()
        evener.wait()
        evener = world.start([9001])
        check(is_served(), "it does not serve")
        times.append((time.monotonic() - begin) * 1000)
        evener.process.kill()
        evener.wait()
        for sock in held:
            sock.close()
    return f"{sorted(times)[5]:.0f} ms"


@scenario(seconds=120)
def stopped_and_continued(world):
    """SIGSTOP, later SIGCONT, with an idle timeout shorter than that: sessions that live, clients that waited"""
    Server(9001, echo)
    evener = world.start([9001], idle="2s")
    held = [talking() for _ in range(5)]
    evener.signal(signal.SIGSTOP)
    waiting = [connect(60) for _ in range(20)]
    time.sleep(30 if world.long else 4)
    evener.signal(signal.SIGCONT)
    for sock in [*held, *waiting]:
        sock.sendall(b"x")
        check(read_exactly(sock, 1) == b"x", "a wrong byte")
        sock.close()
    check(not evener.line("is DOWN"), "a backend was taken for dead")
    return f"{len(held)} of 5, {len(waiting)} of 20"


@scenario(seconds=120, short=True)
def upgrade_under_load(world):
    """SIGUSR2 three times under load: clients that fail"""
    Server(9001, echo)
    evener = world.start([9001], admin="off", shutdown={"drain_timeout": "3s"})
    load = Load(threads=2, pause=0.002)
    pids = [evener.pid]
    try:
        for number in range(3):
            time.sleep(0.5)
            os.kill(pids[-1], signal.SIGUSR2)
            line = eventually("the next process", lambda: later(evener, number), 10)
            pids.append(int(line.split("process ")[1].split()[0]))
        time.sleep(1)
        load.stop().none_failed()
    finally:
        os.kill(pids[-1], signal.SIGKILL)
    return f"0 of {load.count}"


def later(evener, number):
    lines = [line for line in evener.log().splitlines() if "serves now, and this one drains" in line]
    return lines[number] if len(lines) > number else None


@scenario(short=True)
def client_in_the_backlog_of_a_stop(world):
    """Clients come all the time while it is stopped and started: those that were connected and got nothing"""
    Server(9001, echo)
    evener = world.start([9001], shutdown={"pre_stop_delay": "500ms"})
    lost, refused = [], []

    def client():
        try:
            sock = socket.create_connection(PROXY, timeout=5)
        except OSError as error:
            refused.append(error)
            return True
        try:
            with sock:
                sock.sendall(b"x")
                if sock.recv(1) != b"x":
                    lost.append("fin")
        except OSError as error:
            lost.append(error)
        return True

    load = Load(threads=2, pause=0.001, client=client, expect=True)
    time.sleep(0.5)
    evener.signal(signal.SIGTERM)
    check(evener.wait() == 0, "an exit code")
    time.sleep(0.1)
    load.stop()
    check(refused, "nobody came after the end")
    # The kernel resets whoever is in the backlog when a listening socket is closed; that is what draining it first avoids.
    check(len(lost) <= 1, f"{len(lost)} of {load.count}: {lost[:3]}")
    return f"{len(lost)} of {load.count - len(refused)}"
