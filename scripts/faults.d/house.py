"""What the scenarios are made of: servers, clients, a proxy under test, and what must hold after each.

Each scenario runs in a process and a network namespace of its own, so ports are fixed, and whatever it has
started ends with it.
"""

import ctypes
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PROXY = ("127.0.0.1", 8080)
ADMIN = ("127.0.0.1", 9900)
# The user that stands for "nobody in particular".
NOBODY = 65534
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
# How soon after a scenario everything has to be back to normal.
SETTLE_SECONDS = 5


class Failure(Exception):
    """What was expected and is not so."""


class NotAsked(Exception):
    """A scenario has no meaning for this proxy, or this machine can't provoke it; says why."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def eventually(what, look, within=SETTLE_SECONDS):
    """Waits until `look` gives something true, and gives that."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failure(f"waited {within} s for {what}")
        time.sleep(0.01)


def own_network():
    """A network namespace for this process and its children, with nothing in it but loopback."""
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare -n")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def end_with_parent():
    """This process is killed when the one that has started it ends, however it does."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def sysctl(name, value):
    Path("/proc/sys", *name.split(".")).write_text(str(value))


def verdict(world, good, figure):
    """The figure of a scenario. Of evener it has to be good; of others a bad one is printed bold."""
    check(good or not world.is_evener, figure)
    return figure if good else f"**{figure}**"


# --- sockets


def listen(port, host="127.0.0.1", backlog=1024):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(backlog)
    return sock


class Server:
    """Runs `handle(connection)` on a thread for each connection, until it is closed."""

    def __init__(self, port, handle, host="127.0.0.1", backlog=1024):
        self.port, self.handle = port, handle
        self.count = 0
        self.open = []
        self.sock = listen(port, host, backlog)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.count += 1
            self.open.append(conn)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        try:
            self.handle(conn)
        except (OSError, Failure):
            pass
        finally:
            conn.close()

    def close(self):
        """Refuses from now on; what is open goes on."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def die(self):
        """As if its process had been killed: its connections end, too, with a reset where bytes are unread."""
        self.close()
        for conn in self.open:
            try:
                conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                conn.shutdown(socket.SHUT_RD)
                conn.close()
            except OSError:
                pass


def echo(conn):
    while data := conn.recv(65536):
        conn.sendall(data)
    conn.shutdown(socket.SHUT_WR)
    conn.recv(1)


def named(name):
    """Sends its name at once, then what it gets."""

    def handle(conn):
        conn.sendall(name.encode())
        echo(conn)

    return handle


def silent(conn):
    while conn.recv(65536):
        pass


def connect(timeout=10, address=PROXY):
    sock = socket.create_connection(address, timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_exactly(sock, length):
    data = bytearray()
    while len(data) < length:
        part = sock.recv(min(65536, length - len(data)))
        if not part:
            raise Failure(f"the stream ended after {len(data)} of {length} bytes")
        data += part
    return bytes(data)


def read_to_end(sock):
    """All that comes, and how it ends: fin, reset or nothing more within the socket's timeout."""
    data = bytearray()
    while True:
        try:
            part = sock.recv(65536)
        except ConnectionResetError:
            return bytes(data), "reset"
        except TimeoutError:
            return bytes(data), "silence"
        if not part:
            return bytes(data), "fin"
        data += part


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def ask(text=b"hello", timeout=10):
    """One fresh client of an echo server: what it got, or how it failed."""
    try:
        with connect(timeout) as sock:
            sock.sendall(text)
            return read_exactly(sock, len(text))
    except (OSError, Failure) as error:
        return f"{type(error).__name__}: {error}"


def is_served():
    return ask() == b"hello"


def is_let_in():
    """Is a client that says nothing and goes connected to?"""
    try:
        connect(5).close()
        return True
    except OSError:
        return False


class Load:
    """Clients that come one after another on some threads until it is stopped, and what went wrong."""

    def __init__(self, threads=4, pause=0.0, client=ask, expect=b"hello"):
        self.client, self.expect, self.pause = client, expect, pause
        self.count, self.errors, self.worst = 0, [], 0.0
        self.stopping = False
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self.stopping:
            begin = time.monotonic()
            got = self.client()
            self.worst = max(self.worst, time.monotonic() - begin)
            self.count += 1
            if got != self.expect:
                self.errors.append(got)
            time.sleep(self.pause)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(15)
        return self

    def none_failed(self):
        check(not self.errors, f"{len(self.errors)} of {self.count} clients failed: {self.errors[:3]}")
        check(self.count > 0, "no client ever came")


# --- processes


class Program:
    """A process that ends with this one, with its output in a file."""

    def __init__(self, world, name, command, user=None, stdout=None, limits=()):
        self.log_path = world.scratch / f"{name}-{len(world.programs)}.log"
        self.log_file = open(self.log_path, "wb")

        def prepare():
            end_with_parent()
            for what, value in limits:
                resource.setrlimit(what, (value, value))
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)

        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout or self.log_file,
            stderr=self.log_file,
            preexec_fn=prepare,
            cwd=world.scratch,
        )
        self.pid = self.process.pid
        world.programs.append(self)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_log(self, text, within=10):
        return eventually(f"a line with {text!r}", lambda: self.line(text), within)

    def line(self, text):
        return next((line for line in self.log().splitlines() if text in line), None)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, within=10):
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"process {self.pid} goes on after {within} s") from error

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kib(self):
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log_file.close()


class Evener(Program):
    """evener, its admin server, and what must hold of it."""

    def __init__(self, world, config, prefix=(), **how):
        self.config_path = world.scratch / "evener.yaml"
        self.write(config)
        command = [*prefix, str(world.evener), "--config", str(self.config_path)]
        if world.user is not None:
            how.setdefault("user", world.user)
        super().__init__(world, "evener", command, **how)

    def write(self, config):
        # JSON is YAML.
        self.config_path.write_text(config if isinstance(config, str) else json.dumps(config))
        self.config_path.chmod(0o644)

    def started(self, within=15):
        self.wait_log("Load Balancer started on", within)
        return self

    def call(self, method, path, body=None, headers=None):
        conn = http.client.HTTPConnection(*ADMIN, timeout=10)
        headers = {"Content-Type": "application/json", **(headers or {})}
        conn.request(method, path, None if body is None else json.dumps(body), headers)
        answer = conn.getresponse()
        return answer.status, answer.read().decode()

    def get(self, path):
        status, text = self.call("GET", path)
        check(status == 200, f"{path}: {status} {text}")
        return json.loads(text)

    def reload(self):
        status, text = self.call("POST", "/api/v1/reload")
        check(status == 200, f"reload: {status} {text}")

    def backends(self):
        pools = self.get("/api/v1/status")["pools"]
        return {backend["name"]: backend for pool in pools for backend in pool["backends"]}

    def metrics(self):
        """Sums over all labels but `reason`, by name."""
        sums = {}
        for line in self.call("GET", "/metrics")[1].splitlines():
            if line.startswith("#"):
                continue
            name, value = line.rsplit(" ", 1)
            name, _, labels = name.partition("{")
            sums[name] = sums.get(name, 0.0) + float(value)
            if reason := re.search(r'reason="([^"]*)"', labels):
                key = f"{name}:{reason[1]}"
                sums[key] = sums.get(key, 0.0) + float(value)
        return sums

    def held(self):
        """Threads and descriptors."""
        proc = Path(f"/proc/{self.pid}")
        return len(os.listdir(proc / "task")), len(os.listdir(proc / "fd"))

    def baseline(self):
        """What it holds while nothing happens."""
        try:
            self.base = eventually("quiet", self._quiet, 3)
        except Failure:
            # Never quiet: with thousands of backends there are always probes.
            self.base = tuple(map(max, zip(*(self._sample() for _ in range(50)))))
        return self

    def _sample(self):
        time.sleep(0.02)
        return self.held()

    def _quiet(self):
        before = self.held()
        time.sleep(0.3)
        return before if self.held() == before else None

    def check_invariants(self):
        """What must hold after whatever has happened."""
        check(self.process.poll() is None, f"evener has ended: {self.process.poll()}")
        eventually("a fresh client that is let in", is_let_in)
        eventually("every gauge of sessions to be 0, and as many ended as were accepted", self._is_idle)
        eventually(f"threads and descriptors as before ({self.base})", self._is_back, SETTLE_SECONDS)
        check(not self.close_wait(), f"sockets in CLOSE_WAIT: {self.close_wait()}")
        check("panicked" not in self.log(), f"a panic: {self.line('panicked')}")

    def _is_idle(self):
        metrics = self.metrics()
        gauges = [value for name, value in metrics.items() if re.fullmatch(r"evener_\w+_active", name)]
        accepted, ended = metrics["evener_listener_connections_total"], metrics["evener_sessions_closed_total"]
        return not any(gauges) and not metrics.get("evener_pool_queue_length") and accepted == ended

    def _is_back(self):
        threads, descriptors = self.held()
        return threads <= self.base[0] and descriptors <= self.base[1]

    def close_wait(self):
        text = subprocess.run(["ss", "-Htnp", "state", "close-wait"], capture_output=True, text=True).stdout
        return [line for line in text.splitlines() if f"pid={self.pid}," in line]


# --- the proxies, as a user would configure them for the same work


class World:
    """What one scenario has: a directory, the proxy that it is for, and options."""

    def __init__(self, proxy, options):
        self.kind = proxy
        self.evener = options.evener
        self.relay = options.relay
        self.user = NOBODY if options.user == "nobody" else None
        self.long = options.long
        self.scratch = Path(tempfile.mkdtemp(prefix="evener-faults-"))
        self.scratch.chmod(0o777)
        self.programs = []
        self.proxy = None

    @property
    def is_evener(self):
        return self.kind == "evener"

    def config(self, ports, pool=None, **sections):
        """A config of evener for these backends: ports, or whole entries."""
        backends = [one if isinstance(one, dict) else {"name": f"b{one}", "address": f"127.0.0.1:{one}"} for one in ports]
        check_often = {"interval": "200ms", "timeout": "1s", "rise": 2, "fall": 3}
        return {
            "listeners": [{"name": "in", "bind": "127.0.0.1:8080", "pool": "p"}],
            "pools": [{"name": "p", "health_check": check_often, "backends": backends, **(pool or {})}],
            "performance": {"relay": self.relay},
            **sections,
        }

    def start(self, ports, connect="5s", idle="10m", half_close="30s", checks=True, pool=None, **sections):
        """The proxy under test, with these backends."""
        if self.is_evener:
            timeouts = {"connect": connect, "idle": idle, "half_close": half_close}
            pool = {**(pool or {}), **({} if checks else {"health_check": "off"})}
            config = self.config(ports, pool, **{"timeouts": timeouts, **sections})
            return self.start_evener(config)
        start = {"haproxy": self._haproxy, "nginx": self._nginx}[self.kind]
        self.proxy = start(ports, connect, idle, half_close, checks)
        eventually("the proxy to listen", self._listens)
        return self.proxy

    def start_evener(self, config, **how):
        """evener with a config of the scenario's own, idle and measured."""
        self.proxy = Evener(self, config, **how).started().baseline()
        return self.proxy

    @staticmethod
    def _listens():
        # By the kernel's list: a connection would reach a server, which counts.
        return ":8080 " in subprocess.run(["ss", "-Htln"], capture_output=True, text=True).stdout

    def _haproxy(self, ports, connect, idle, half_close, checks):
        check_words = "check inter 200ms rise 2 fall 3" if checks else ""
        servers = "\n".join(f"  server b{port} 127.0.0.1:{port} {check_words}" for port in ports)
        path = self.scratch / "haproxy.cfg"
        path.write_text(
            f"""defaults
  mode tcp
  option splice-auto
  option redispatch 1
  retries 3
  timeout connect {connect}
  timeout client {idle}
  timeout server {idle}
  timeout client-fin {half_close}
  timeout server-fin {half_close}
listen in
  bind 127.0.0.1:8080
  balance roundrobin
{servers}
"""
        )
        return Program(self, "haproxy", ["haproxy", "-db", "-f", str(path)])

    def _nginx(self, ports, connect, idle, _half_close, _checks):
        servers = " ".join(f"server 127.0.0.1:{port} max_fails=3 fail_timeout=1s;" for port in ports)
        path = self.scratch / "nginx.conf"
        module = "/usr/lib/nginx/modules/ngx_stream_module.so"
        path.write_text(
            f"""load_module {module};
daemon off; pid {self.scratch}/nginx.pid; error_log stderr; worker_processes 2; user root;
events {{ worker_connections 16384; }}
stream {{
  upstream p {{ {servers} }}
  server {{ listen 127.0.0.1:8080; proxy_pass p; proxy_connect_timeout {connect}; proxy_timeout {idle}; }}
}}
"""
        )
        return Program(self, "nginx", ["nginx", "-p", str(self.scratch), "-c", str(path)])

    def end(self):
        for program in self.programs:
            program.end()
        shutil.rmtree(self.scratch, ignore_errors=True)


# --- the list of scenarios

SCENARIOS = []


class Scenario:
    def __init__(self, run, peers, seconds, short):
        self.run, self.peers, self.seconds, self.short = run, peers, seconds, short
        self.name = run.__name__.replace("_", "-")
        self.about = (run.__doc__ or "").strip().split("\n")[0]
        self.family = sys.modules[run.__module__].__name__


def scenario(peers=False, seconds=60, short=False):
    """Marks a scenario: a function of a World that says its figure. `peers`: it can be asked of others as well.
    `seconds`: it has failed when it takes longer. `short`: it takes less than three, and `scripts/test` has it too."""

    def add(run):
        SCENARIOS.append(Scenario(run, peers, seconds, short))
        return run

    return add
