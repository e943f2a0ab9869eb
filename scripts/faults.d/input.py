"""Bytes and files that somebody has made up: configs, admin requests, PROXY headers, names."""

import json
import os
import random
import socket
import struct
import time

from house import (
    ADMIN,
    Evener,
    Load,
    Program,
    Server,
    check,
    connect,
    echo,
    eventually,
    is_served,
    read_exactly,
    read_to_end,
    scenario,
)

GOOD = """listeners: [{ bind: "127.0.0.1:8080" }]
pools: [{ backends: ["127.0.0.1:9001"] }]
"""

# Each is refused; beside it, a word that the message has to have.
BAD_CONFIGS = [
    ("", "empty"),
    ("[]", "mapping"),
    ("null", "empty"),
    ("just a text", "mapping"),
    ("listeners: []\npools: []\n", "listeners"),
    ("listeners: [{ bind: '127.0.0.1:8080' }]\n", "pools"),
    (GOOD.replace("bind", "bnid"), "bind"),
    (GOOD.replace("8080", "80800"), "80800"),
    (GOOD.replace("127.0.0.1:8080", "8080"), "8080"),
    (GOOD.replace("127.0.0.1:8080", "127.0.0.1"), "127.0.0.1"),
    (GOOD.replace("9001", "0"), "port"),
    (GOOD.replace('["127.0.0.1:9001"]', '["127.0.0.1:9001", "127.0.0.1:9001"]'), "127.0.0.1:9001"),
    (GOOD.replace("backends", "backend"), "backends"),
    (GOOD + "listeners: []\n", "listeners"),
    (GOOD + "timeouts: { connect: 5 }\n", "5"),
    (GOOD + "timeouts: { connect: 5 parsecs }\n", "parsecs"),
    (GOOD + "timeouts: { connect: -5s }\n", "-5s"),
    (GOOD + "timeouts: { connect: 0s }\n", "0s"),
    (GOOD + "timeouts: { connect: off }\n", "connect"),
    (GOOD + "timeouts: { idle: 99999999999999999999s }\n", "idle"),
    (GOOD + "log: { level: loud }\n", "loud"),
    (GOOD + "log: { format: xml }\n", "xml"),
    (GOOD + "limits: { max_connections: 0 }\n", "max_connections"),
    (GOOD + "limits: { max_connections: many }\n", "many"),
    (GOOD + "admin: { bind: '0.0.0.0:9900' }\n", "token"),
    (GOOD.replace("pools: [{", "pools: [{ balance: best,"), "best"),
    (GOOD.replace("pools: [{", "pools: [{ retries: 1000000,"), "retries"),
    (GOOD.replace("pools: [{", "pools: [{ panic_threshold: 200%,"), "200%"),
    (GOOD.replace("pools: [{", "pools: [{ health_check: { type: telepathy },"), "telepathy"),
    (GOOD.replace("pools: [{", "pools: [{ health_check: { type: send_expect, expect: '\\q' },"), "\\q"),
    ("listeners: [{ bind: '127.0.0.1:8080'\npools: [", "evener.yaml"),
    ("listeners:\n\t- bind: x\n", "evener.yaml"),
    ("a: &a [*a]\n", "evener.yaml"),
    ("? [complex, key]\n: x\n", "evener.yaml"),
    (GOOD + "--- \nsecond: document\n", "document"),
    ("%YAML 9.9\n---\n" + GOOD, "evener.yaml"),
    (GOOD + "\x00\n", "evener.yaml"),
    ("x" * 200_000, "mapping"),
    ("[" * 100_000, "evener.yaml"),
    ("{a: " * 20_000, "evener.yaml"),
]


def refuse(world, text, word):
    """Has evener check this file; it must say no, quickly and in words. Says how long that took."""
    path = world.scratch / "evener.yaml"
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(data)
    begin = time.monotonic()
    program = Program(world, "check", [str(world.evener), "check", str(path)])
    code = program.wait(10)
    took = time.monotonic() - begin
    said, shown = program.log(), data[:60]
    check(code == 1, f"{shown!r}: exit code {code}: {said[:300]}")
    check("error" in said and "panicked" not in said, f"{shown!r}: {said[:300]}")
    check(word in said, f"{shown!r}: no {word!r} in: {said[:300]}")
    check(len(said) < 20_000, f"{shown!r}: a message of {len(said)} bytes")
    return took


@scenario(seconds=120, short=True)
def bad_configs(world):
    """Configs that are wrong, each in another way: those that are refused with a message that names it"""
    worst = max(refuse(world, text, word) for text, word in BAD_CONFIGS)
    return f"{len(BAD_CONFIGS)} of {len(BAD_CONFIGS)}, slowest {worst * 1000:.0f} ms"


@scenario(short=True)
def config_that_is_not_utf8(world):
    """A config in Latin-1, one in UTF-16: the messages"""
    refuse(world, GOOD.encode() + b"# \xff\xfe\n", "UTF-8")
    refuse(world, "\ufeff".encode("utf-16"), "UTF-8")
    return "refused, with the place"


@scenario(short=True)
def yaml_bomb(world):
    """A billion laughs: how long it takes to refuse it, with how much memory"""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    took = refuse(world, "\n".join(lines) + "\n", "evener.yaml")
    check(took < 3, f"{took:.1f} s")
    return f"{took * 1000:.0f} ms"


@scenario(short=True)
def hostile_names(world):
    """Names with line ends, escape codes and quotes: what of them reaches the log, the API and the metrics"""
    Server(9001, echo)
    forged = "a\n2026-01-01 warn  forged\x1b[31m"
    evener = Evener(world, world.config([{"name": forged, "address": "127.0.0.1:9001"}]))
    check(evener.wait() == 1, "a name with a line end is taken")
    check("\x1b" not in evener.log(), "an escape code in the message")
    check(not any(line.startswith("2026-01-01") for line in evener.log().splitlines()), "a forged line")
    name = "\"'<script>alert(1)</script>\\{}%s$(id)"
    evener = world.start_evener(world.config([{"name": name, "address": "127.0.0.1:9001"}]))
    check(name in evener.backends(), "another name in the API")
    metrics = evener.call("GET", "/metrics")[1].splitlines()
    check(all(line.startswith(("#", "evener_", "process_")) for line in metrics), "a broken metric")
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    check(any(f'backend="{escaped}"' in line for line in metrics), "another name in the metrics")
    return "line ends and escape codes are refused, the rest is escaped"


def admin_raw(data, timeout=8):
    with connect(timeout, ADMIN) as sock:
        try:
            sock.sendall(data)
        except OSError:
            pass
        got, _ = read_to_end(sock)
        return got


@scenario(short=True)
def admin_from_a_web_page(world):
    """What a web page could send to the admin port: a change that came through"""
    Server(9001, echo)
    evener = world.start([9001])
    path = "/api/v1/backends/b9001"
    body = {"state": "maintenance"}
    tries = {
        "GET": evener.call("GET", path),
        "another host": evener.call("POST", path, body, {"Host": "evil.example"}),
        "another origin": evener.call("POST", path, body, {"Origin": "http://evil.example"}),
        "origin null": evener.call("POST", path, body, {"Origin": "null"}),
        "a form": evener.call("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"}),
        "plain text": evener.call("POST", path, body, {"Content-Type": "text/plain"}),
        "reading as another host": evener.call("GET", "/api/v1/status", None, {"Host": "evil.example"}),
        "DELETE with an origin": evener.call("DELETE", "/api/v1/connections/1", None, {"Origin": "http://evil.example"}),
    }
    through = {name: answer for name, answer in tries.items() if answer[0] < 400}
    check(not through, f"answered: {through}")
    state = evener.backends()["b9001"]
    check("maintenance" not in json.dumps(state), f"changed: {state}")
    return f"0 of {len(tries)}"


@scenario()
def admin_in_pieces_and_too_much(world):
    """Slow, huge, broken and random requests to the admin port: it answers others, nothing is left"""
    Server(9001, echo)
    evener = world.start([9001])
    random.seed(11)
    requests = [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 5000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        *(random.randbytes(random.randint(1, 4000)) for _ in range(50)),
    ]
    for request in requests:
        got = admin_raw(request)
        check(not got or got.startswith(b"HTTP/1."), f"{request[:40]!r}: {got[:80]!r}")
        check(b"200 OK" not in got.split(b"\r\n")[0] or request.startswith(b"GET / "), f"{request[:60]!r} was taken")
    begin = time.monotonic()
    with connect(10, ADMIN) as sock:
        for byte in b"GET /healthz HT":
            sock.send(bytes([byte]))
            time.sleep(0.1)
        read_to_end(sock)
    took = time.monotonic() - begin
    check(took < 9, f"a slow request may take {took:.1f} s")
    check(evener.call("GET", "/healthz")[0] == 200, "it does not answer")
    return f"{len(requests)} requests; a slow one is ended after {took:.1f} s"


V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command, family, body):
    return V2 + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


ADDRESSES = socket.inet_aton("192.0.2.1") + socket.inet_aton("192.0.2.2") + struct.pack("!HH", 1234, 443)
GOOD_HEADERS = [
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN whatever it is\r\n",
    v2(1, 0x11, ADDRESSES),
    v2(1, 0x21, bytes(32) + struct.pack("!HH", 1, 2)),
    v2(0, 0x00, b""),
    v2(0, 0x11, ADDRESSES),
    v2(1, 0x11, ADDRESSES + b"\x04\x00\x03abc"),
]
BAD_HEADERS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1234\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 99999\r\n",
    b"PROXY TCP4 192.0.2.256 192.0.2.2 1234 443\r\n",
    b"PROXY TCP4 2001:db8::1 192.0.2.2 1234 443\r\n",
    b"PROXY  TCP4 192.0.2.1 192.0.2.2 1234 443\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 01234 443\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\n",
    b"PROXY " + b"x" * 200 + b"\r\n",
    b"proxy TCP4 192.0.2.1 192.0.2.2 1234 443\r\n",
    V2 + b"\x11\x11" + struct.pack("!H", 12) + ADDRESSES,
    v2(2, 0x11, ADDRESSES),
    v2(1, 0x11, ADDRESSES[:8]),
    v2(1, 0x11, ADDRESSES + b"\x04\xff\xff"),
]


@scenario(seconds=200)
def proxy_headers_at_every_split(world):
    """PROXY headers, good ones split at every byte, and bad ones: those that are dealt with right"""
    got = []

    def watch(conn):
        conn.settimeout(10)
        got.append(conn.recv(4))
        conn.sendall(b"ok")

    Server(9001, watch)
    config = world.config([9001], {"health_check": "off"})
    config["listeners"][0]["accept_proxy_protocol"] = {"from": ["127.0.0.1"], "timeout": "2s"}
    world.start_evener(config)
    count = 0
    for header in GOOD_HEADERS:
        for at in range(len(header) + 1):
            with connect() as sock:
                for part in (header[:at], header[at:] + b"data"):
                    sock.sendall(part)
                    if at % 7 == 0:
                        time.sleep(0.001)
                check(read_exactly(sock, 2) == b"ok", f"{header!r} at {at}")
            check(got.pop() == b"data", f"{header!r} at {at}: the backend got something else")
            count += 1
    for header in BAD_HEADERS:
        with connect() as sock:
            try:
                sock.sendall(header)
            except OSError:
                pass
            _, end = read_to_end(sock)
        check(end == "reset" and not got, f"{header!r}: {end}, the backend got {got}")
    return f"{count} splits of {len(GOOD_HEADERS)} good ones, {len(BAD_HEADERS)} bad ones"


@scenario(short=True)
def spoofed_proxy_header(world):
    """A PROXY header from an address that is not trusted: whose it is, what the backend gets"""
    got = []

    def watch(conn):
        got.append(conn.recv(100))

    Server(9001, watch)
    config = world.config([9001], {"health_check": "off"})
    config["listeners"][0]["accept_proxy_protocol"] = {"from": ["10.0.0.0/8"], "timeout": "2s"}
    evener = world.start_evener(config)
    header = GOOD_HEADERS[0]
    with connect() as sock:
        sock.sendall(header)
        eventually("the bytes at the backend", lambda: got)
    line = evener.wait_log("ended:")
    check(got[0] == header and "192.0.2.1" not in line, f"{got} {line}")
    return "passed on as the client's own bytes, the log has the real address"


@scenario(seconds=120, short=True)
def ten_thousand_backends(world):
    """10,000 backends: until it serves"""
    Server(9001, echo, host="0.0.0.0", backlog=4096)
    entries = [f"127.1.{n // 250}.{n % 250 + 1}:9001" for n in range(10_000)]
    pool = {"health_check": "off"}
    config = world.config([], pool)
    config["pools"][0]["backends"] = entries
    begin = time.monotonic()
    evener = Evener(world, config).started()
    check(is_served(), "it does not serve")
    took = time.monotonic() - begin
    world.proxy = evener.baseline()
    check(took < 5, f"{took:.1f} s")
    return f"{took:.1f} s"


@scenario()
def random_bytes_from_clients(world):
    """Clients that send random bytes and leave in a random way, to a listener with routes by TLS name: others meanwhile"""
    Server(9001, echo)
    config = world.config([9001])
    config["listeners"][0]["routes"] = [{"sni": ["a.example", "*.b.example"], "pool": "p"}]
    config["listeners"][0]["routes_timeout"] = "1s"
    evener = world.start_evener(config)
    hello = b"\x16\x03\x01" + struct.pack("!H", 300) + b"\x01\x00\x01\x28\x03\x03"

    def wild():
        try:
            with connect() as sock:
                sock.sendall((hello if os.urandom(1)[0] % 2 else b"") + os.urandom(os.urandom(1)[0] * 3 + 1))
                sock.settimeout(0.02)
                read_to_end(sock)
        except OSError:
            pass
        return b"hello"

    wild_ones, polite = Load(4, client=wild), Load(1, 0.005)
    time.sleep(4)
    wild_ones.stop()
    polite.stop().none_failed()
    eventually("all to be over", lambda: evener.metrics()["evener_connections_active"] == 0, 10)
    check("panicked" not in evener.log(), f"{evener.line('panicked')}")
    return f"0 of {polite.count} failed, beside {wild_ones.count}"
