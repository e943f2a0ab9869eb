"""Bytes and the ends of streams: what a client and a server see of each other through a proxy."""

import hashlib
import os
import random
import socket
import subprocess
import threading
import time

from house import (
    Failure,
    Load,
    NotAsked,
    Server,
    check,
    connect,
    echo,
    eventually,
    is_served,
    read_exactly,
    read_to_end,
    reset,
    scenario,
    silent,
    verdict,
)

MIB = 1 << 20


def both_ways(sock, data):
    """Sends all of it, ends its side, and gives the digest of what comes until the other side has ended."""

    def send():
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    got, end = read_to_end(sock)
    sender.join(30)
    return hashlib.sha256(got).hexdigest() if end == "fin" else end


@scenario(peers=True)
def duplex_with_double_half_close(world):
    """4 MiB both ways at once, both sides end their direction: transfers that arrive damaged"""
    up, down = random.randbytes(4 * MIB), random.randbytes(4 * MIB)
    wanted = hashlib.sha256(up).hexdigest()
    arrived = []
    Server(9001, lambda conn: arrived.append(both_ways(conn, down)))
    world.start([9001], checks=False)
    rounds, bad = 40, 0
    for number in range(rounds):
        with connect(30) as sock:
            got = both_ways(sock, up)
        eventually("the server to have read it all", lambda: len(arrived) > number, 30)
        bad += got != hashlib.sha256(down).hexdigest() or arrived[number] != wanted
    return verdict(world, bad == 0, f"{bad} of {rounds}")


@scenario(peers=True, short=True)
def client_ends_first(world):
    """The client ends its direction, then the server sends 200 kB: bytes that arrive"""

    def answer(conn):
        read_to_end(conn)
        time.sleep(0.2)
        conn.sendall(bytes(200_000))

    Server(9001, answer)
    world.start([9001], checks=False)
    with connect() as sock:
        sock.sendall(b"x" * 100)
        sock.shutdown(socket.SHUT_WR)
        got, end = read_to_end(sock)
    return verdict(world, len(got) == 200_000 and end == "fin", f"{len(got)} of 200000, {end}")


@scenario(peers=True, short=True)
def server_ends_first(world):
    """The server ends its direction, then the client sends 200 kB: bytes that arrive"""
    seen = []

    def greet(conn):
        conn.sendall(b"bye")
        conn.shutdown(socket.SHUT_WR)
        seen.append(read_to_end(conn))

    Server(9001, greet)
    world.start([9001], checks=False)
    with connect() as sock:
        read_to_end(sock)
        time.sleep(0.2)
        try:
            sock.sendall(bytes(200_000))
        except OSError:
            pass
    got, end = eventually("the server to see the end", lambda: seen)[0]
    return verdict(world, len(got) == 200_000 and end == "fin", f"{len(got)} of 200000, {end}")


@scenario(peers=True)
def half_closed_and_silent(world):
    """The server ends its direction and nobody speaks, with a timeout of 1 s for that: seconds until it ends"""
    ended = []

    def end_and_wait(conn):
        conn.shutdown(socket.SHUT_WR)
        read_to_end(conn)
        ended.append(time.monotonic())

    Server(9001, end_and_wait)
    world.start([9001], half_close="1s", checks=False)
    with connect() as sock:
        read_to_end(sock)
        begin = time.monotonic()
        try:
            took = max(eventually("its end", lambda: ended, 8)[0] - begin, 0.0)
        except Failure:
            return verdict(world, False, "goes on after 8 s")
    return verdict(world, 0.5 < took < 4, f"{took:.1f} s")


@scenario()
def idle_with_full_buffers(world):
    """Two peers that have both stopped reading, idle timeout 1 s: how the session ends"""

    def flood(conn):
        conn.settimeout(1)
        try:
            while True:
                conn.send(bytes(65536))
        except OSError:
            time.sleep(20)

    Server(9001, flood)
    evener = world.start([9001], idle="1s", checks=False)
    sock = connect()
    begin = time.monotonic()
    ended = eventually("its end", lambda: evener.metrics().get("evener_sessions_closed_total:idle_timeout"), 20)
    took = time.monotonic() - begin
    _, end = read_to_end(sock)
    check(ended and end == "reset", f"the client saw {end}")
    return f"reset after {took:.1f} s"


def seen_by_server(world, act):
    """What a server sees of a client that has sent something and then does this."""
    seen = []

    def watch(conn):
        conn.sendall(b"ready")
        seen.append(read_to_end(conn))

    Server(9001, watch)
    world.start([9001], checks=False)
    sock = connect()
    read_exactly(sock, 5)
    sock.sendall(b"x" * 1000)
    time.sleep(0.2)
    act(sock)
    return eventually("the server to see the end", lambda: seen, 10)[0]


@scenario(peers=True, short=True)
def client_resets(world):
    """The client resets: what the server sees, after which bytes"""
    got, end = seen_by_server(world, reset)
    return verdict(world, (len(got), end) == (1000, "reset"), f"{len(got)} bytes, {end}")


@scenario(peers=True, short=True)
def client_closes_with_unread_bytes(world):
    """The client closes with unread bytes (a reset on the wire): what the server sees"""
    seen = []

    def chat(conn):
        conn.sendall(bytes(10_000))
        seen.append(read_to_end(conn))

    Server(9001, chat)
    world.start([9001], checks=False)
    sock = connect()
    eventually("bytes", lambda: sock.recv(1, socket.MSG_PEEK))
    time.sleep(0.2)
    sock.close()
    _, end = eventually("the server to see the end", lambda: seen, 10)[0]
    return verdict(world, end == "reset", end)


@scenario(peers=True)
def server_resets(world):
    """The server sends 300 kB and resets: what a slow client gets before the reset"""

    def abort(conn):
        conn.sendall(bytes(300_000))
        time.sleep(0.3)
        reset(conn)

    Server(9001, abort)
    world.start([9001], checks=False)
    with connect() as sock:
        time.sleep(1)
        got, end = read_to_end(sock)
    return verdict(world, end == "reset" and len(got) == 300_000, f"{len(got)} of 300000 bytes, {end}")


@scenario(peers=True)
def fin_behind_50_mib(world):
    """50 MiB and a FIN to a reader that stops for 2 s: bytes that arrive"""
    size = 50 * MIB
    Server(9001, lambda conn: conn.sendall(bytes(size)))
    world.start([9001], half_close="1s", checks=False)
    with connect() as sock:
        time.sleep(2)
        got, end = read_to_end(sock)
    return verdict(world, len(got) == size and end == "fin", f"{len(got) // MIB} of 50 MiB, {end}")


@scenario(short=True)
def segments_to_a_reader_that_stops_and_resumes(world):
    """Segments of 1 to 1448 bytes to a reader that stops and resumes: bytes that arrive"""
    random.seed(7)
    parts = [random.randbytes(random.randint(1, 1448)) for _ in range(4000)]
    whole = b"".join(parts)

    def send(conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            conn.sendall(part)

    Server(9001, send)
    world.start([9001], checks=False)
    got = bytearray()
    with connect() as sock:
        while len(got) < len(whole):
            part = sock.recv(random.randint(1, 20_000))
            check(part, f"the end after {len(got)} bytes")
            got += part
            if random.random() < 0.02:
                time.sleep(0.05)
    check(bytes(got) == whole, "bytes were changed")
    return f"{len(got)} of {len(whole)}"


@scenario(peers=True, short=True)
def two_small_writes(world):
    """A request in two small writes, 50 times: the slowest answer (Nagle and delayed ACKs cost 40 ms)"""

    def pair(conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := read_exactly(conn, 20):
            conn.sendall(data)

    Server(9001, pair)
    world.start([9001], checks=False)
    times = []
    with connect() as sock:
        for _ in range(50):
            begin = time.monotonic()
            sock.sendall(b"0123456789")
            sock.sendall(b"9876543210")
            read_exactly(sock, 20)
            times.append(time.monotonic() - begin)
    median, worst = sorted(times)[25] * 1000, max(times) * 1000
    return verdict(world, median < 20, f"median {median:.1f} ms, worst {worst:.0f} ms")


@scenario(peers=True, short=True)
def urgent_byte(world):
    """AB, an urgent !, CD: what arrives"""
    seen = []

    def watch(conn):
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        seen.append(read_to_end(conn))

    Server(9001, watch)
    world.start([9001], checks=False)
    with connect() as sock:
        sock.sendall(b"AB")
        time.sleep(0.1)
        sock.send(b"!", socket.MSG_OOB)
        time.sleep(0.1)
        sock.sendall(b"CD")
        sock.shutdown(socket.SHUT_WR)
        got, end = eventually("the server to see the end", lambda: seen, 10)[0]
    return verdict(world, got in (b"AB!CD", b"ABCD") and end == "fin", f"{got.decode()}, {end}")


def with_strace(world, *injections):
    """evener under strace, with these faults injected from now on, that has moved 20 MiB in one stream."""
    size = 20 * MIB
    Server(9001, lambda conn: (conn.recv(1), conn.sendall(bytes(size))))
    evener = world.start([9001], checks=False)
    words = [word for one in injections for word in ("-e", f"inject={one}")]
    calls = ",".join({one.split(":")[0] for one in injections})
    trace = world.scratch / "strace.log"
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={calls}", *words, "-p", str(evener.pid)],
        stderr=subprocess.DEVNULL,
    )
    eventually("strace to hold it", lambda: "TracerPid:\t0" not in open(f"/proc/{evener.pid}/status").read())
    try:
        with connect(30) as sock:
            sock.sendall(b"x")
            got = read_exactly(sock, size)
            check(got == bytes(size), "bytes were changed")
            _, end = read_to_end(sock)
    finally:
        tracer.terminate()
        tracer.wait()
    count = sum("INJECTED" in line for line in open(trace, errors="replace"))
    return count, end


@scenario(short=True)
def splice_refused(world):
    """splice and pipe2 fail: copy takes over, bytes that arrive"""
    if world.relay == "copy":
        raise NotAsked("it does not splice when told to copy")
    count, end = with_strace(world, "pipe2:error=EMFILE", "splice:error=EINVAL")
    check(end == "fin" and count > 0, f"{count} injected, {end}")
    return f"20 MiB, {end}; {count} refused"


@scenario(short=True)
def interrupted_calls(world):
    """Every second call is interrupted (EINTR): bytes that arrive"""
    calls = "recvfrom", "sendto", "splice", "ppoll", "accept4"
    count, end = with_strace(world, *(f"{call}:error=EINTR:when=1+2" for call in calls))
    check(end == "fin" and count > 10, f"{count} injected, {end}")
    return f"20 MiB, {end}; {count} interrupted"


@scenario(peers=True, short=True)
def server_speaks_first(world):
    """A server that speaks first: milliseconds to its greeting"""
    Server(9001, lambda conn: (conn.sendall(b"220 ready"), silent(conn)))
    world.start([9001], checks=False)
    begin = time.monotonic()
    with connect() as sock:
        read_exactly(sock, 9)
    took = (time.monotonic() - begin) * 1000
    return verdict(world, took < 500, f"{took:.1f} ms")


@scenario(seconds=120)
def trickle_under_churn(world):
    """A byte each 20 ms for 10 s while 4 clients come and go all the time: bytes lost, clients failed"""
    seconds = 60 if world.long else 10
    Server(9001, echo)
    world.start([9001], idle="2s")
    load = Load()
    with connect() as sock:
        end = time.monotonic() + seconds
        sent = 0
        while time.monotonic() < end:
            byte = os.urandom(1)
            sock.sendall(byte)
            check(read_exactly(sock, 1) == byte, "a byte was changed")
            sent += 1
            time.sleep(0.02)
    load.stop().none_failed()
    check(is_served(), "nobody is served")
    return f"0 of {sent} bytes, 0 of {load.count} clients"
