"""The balancers under test, one class each, and the servers behind them.

Every balancer gets the same three listeners: `http` in front of several HTTP backends, `bulk` in front
of one iperf3 server (a test of iperf3 is several connections to one server), `hold` in front of one
echo server. Only pools of several backends are health-checked: a probe would disturb an iperf3 server.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

from processes import START_SECONDS_MAX, Failed, family

LOCALHOST = "127.0.0.1"
# A balancer's connections to one backend address share one range of local ports, and a closed one
# stays in TIME_WAIT for a minute. Four addresses have four ranges.
HTTP_HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
# Two descriptors each, beside some pipes and what HAProxy keeps for itself, within a hard limit of 20,000.
SESSIONS_MAX = 9_500
PIPES_MAX = 200
HERE = Path(__file__).parent


def at(address):
    """HOST:PORT of an address."""
    return f"{address[0]}:{address[1]}"


def output_of(command):
    """What a command prints on both streams, or nothing when it can't be run."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def is_listening(port):
    """Whether somebody listens on this port, without connecting to it."""
    return f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


def version_of(command, before):
    """The word that follows `before` in what a command prints."""
    found = re.search(rf"{before}(\S+)", output_of(command))
    return found[1] if found else "of unknown version"


NGINX_HEAD = """\
daemon off;
worker_processes 2;
worker_rlimit_nofile 20000;
pid {scratch}/{name}.pid;
error_log stderr warn;
events {{ worker_connections 20000; }}
"""

NGINX_BACKEND = """\
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {scratch}/{name}-body;
    proxy_temp_path {scratch}/{name}-proxy;
    fastcgi_temp_path {scratch}/{name}-fastcgi;
    uwsgi_temp_path {scratch}/{name}-uwsgi;
    scgi_temp_path {scratch}/{name}-scgi;
    server {{
        {listen}
        location / {{ return 200 "Hello from a backend\\n"; }}
    }}
}}
"""


class Backends:
    """What stands behind every balancer: HTTP servers (nginx), an echo server, iperf3 servers."""

    def __init__(self, children, ports):
        self.children = children
        port = ports.take()
        self.http = [(host, port) for host in HTTP_HOSTS]
        self.hold = (LOCALHOST, ports.take())
        self.iperf3 = {}
        self._start_http()
        command = [sys.executable, "-B", str(HERE / "holder.py"), "serve", LOCALHOST, str(self.hold[1])]
        children.wait_listening(children.start(command, "echo-server"), self.hold)

    def _start_http(self):
        scratch, name = self.children.scratch, "http-backend"
        listen = " ".join(f"listen {at(address)} backlog=4096;" for address in self.http)
        config = scratch / f"{name}.conf"
        config.write_text((NGINX_HEAD + NGINX_BACKEND).format(scratch=scratch, name=name, listen=listen))
        child = self.children.start(["nginx", "-p", str(scratch), "-c", str(config)], name)
        self.children.wait_listening(child, self.http[0])

    def bulk_server(self, address):
        """Sees to it that an iperf3 server runs there; one that has ended is started again."""
        child = self.iperf3.get(address)
        if child and child.poll() is None:
            return
        if child:
            self.children.end(child)
        command = ["iperf3", "-s", "-B", address[0], "-p", str(address[1])]
        self.iperf3[address] = self.children.start(command, f"iperf3-{address[1]}")
        # No trial connection: iperf3 would take it for a test that was broken off.
        deadline = time.monotonic() + START_SECONDS_MAX
        while not is_listening(address[1]):
            if time.monotonic() > deadline:
                raise Failed(f"no iperf3 server at {at(address)}: {self.children.last_words(f'iperf3-{address[1]}')}")
            time.sleep(0.01)

    def end_bulk_server(self, address):
        """Ends an iperf3 server after a test that went wrong: it may still wait for the rest of it."""
        if child := self.iperf3.pop(address, None):
            self.children.end(child)


class Peer:
    """A balancer: how it is started, where it listens, which processes it is made of."""

    kind = ""
    program = ""

    def __init__(self, name, backends, children, ports):
        self.name = name
        self.backends = backends
        self.children = children
        self.child = None
        self.logs_sessions = True
        self.http, self.bulk, self.hold = ((LOCALHOST, ports.take()) for _ in range(3))
        self.bulk_backend = (LOCALHOST, ports.take())

    @property
    def pools(self):
        """Each listener with its backends."""
        return {
            "http": (self.http, self.backends.http),
            "bulk": (self.bulk, [self.bulk_backend]),
            "hold": (self.hold, [self.backends.hold]),
        }

    def write_config(self):
        """Writes the config and returns the command that starts the balancer with it."""
        raise NotImplementedError

    def version(self):
        """Name and version, for the head of the table."""
        raise NotImplementedError

    def launch(self):
        """Starts the process and returns at once."""
        self.child = self.children.start(self.command, self.name)

    def start(self):
        """Starts the balancer and waits until it serves."""
        self.command = self.write_config()
        self.launch()
        self.children.wait_listening(self.child, self.http)

    def stop(self):
        """Ends the balancer, if it runs."""
        if self.child:
            self.children.end(self.child)
            self.child = None

    def pids(self):
        """The balancer's process, and its workers."""
        try:
            return family(self.child.pid)
        except OSError:
            raise Failed(f"{self.name} has ended: {self.children.last_words(self.name)}") from None

    def config_file(self, text):
        """Writes a config into the scratch directory."""
        path = self.children.scratch / f"{self.name}.conf"
        path.write_text(text)
        return str(path)


class Direct(Peer):
    """No balancer: shows what the load generators and the backends cost by themselves."""

    kind = "direct"

    def start(self):
        self.http, self.bulk, self.hold = self.backends.http[0], self.bulk_backend, self.backends.hold

    def pids(self):
        return []


class Evener(Peer):
    """evener as it comes, with its log thrown away (a line per session is written, unless told otherwise)."""

    kind = "evener"

    def __init__(self, name, program, *site):
        super().__init__(name, *site)
        self.program = program

    def write_config(self):
        listeners = "".join(
            f"  - {{ name: {name}, bind: \"{at(bind)}\", pool: {name} }}\n" for name, (bind, _) in self.pools.items()
        )
        pools = "".join(
            f"  - name: {name}\n"
            + ("    health_check: off\n" if len(backends) == 1 else "")
            + f"    backends: [{', '.join(f'{chr(34)}{at(backend)}{chr(34)}' for backend in backends)}]\n"
            for name, (_, backends) in self.pools.items()
        )
        log = "" if self.logs_sessions else "log: { connections: false }\n"
        return [self.program, "--config", self.config_file(f"listeners:\n{listeners}pools:\n{pools}{log}")]

    def version(self):
        return f"{self.name} {version_of([self.program, '--version'], 'evener ')}"


class HAProxy(Peer):
    """HAProxy with two threads and splice, and no log of connections."""

    kind = "haproxy"
    program = "haproxy"

    def write_config(self):
        # Pipes for splicing would take descriptors of a quarter of maxconn, more than is left.
        text = f"global\n  nbthread 2\n  maxconn {SESSIONS_MAX}\n  maxpipes {PIPES_MAX}\n"
        text += "defaults\n  mode tcp\n  option splice-auto\n  balance roundrobin\n"
        text += f"  maxconn {SESSIONS_MAX}\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
        for name, (bind, backends) in self.pools.items():
            check = " check inter 2s" if len(backends) > 1 else ""
            text += f"listen {name}\n  bind {at(bind)}\n"
            text += "".join(f"  server s{index} {at(backend)}{check}\n" for index, backend in enumerate(backends))
        return [self.program, "-db", "-f", self.config_file(text)]

    def version(self):
        return f"HAProxy {version_of(['haproxy', '-v'], 'version ')}"


class Nginx(Peer):
    """nginx' stream module with two workers."""

    kind = "nginx"
    program = "nginx"

    def write_config(self):
        head = NGINX_HEAD.format(scratch=self.children.scratch, name=self.name)
        text = "stream {\n    tcp_nodelay on; proxy_timeout 1h; proxy_connect_timeout 5s;\n"
        for name, (bind, backends) in self.pools.items():
            servers = " ".join(f"server {at(backend)};" for backend in backends)
            text += f"    upstream {name} {{ {servers} }}\n"
            text += f"    server {{ listen {at(bind)} backlog=4096; proxy_pass {name}; }}\n"
        command = [self.program, "-p", str(self.children.scratch), "-c"]
        return [*command, self.config_file(f"{self._module()}{head}{text}}}\n")]

    def _module(self):
        # Debian builds the stream module as a file of its own; elsewhere it may be part of nginx.
        found = re.search(r"--modules-path=(\S+)", output_of(["nginx", "-V"]))
        module = Path(found[1] if found else "/usr/lib/nginx/modules", "ngx_stream_module.so")
        return f"load_module {module};\n" if module.exists() else ""

    def version(self):
        return f"nginx {version_of(['nginx', '-v'], 'nginx/')}"


class Go(Peer):
    """The balancer of proxy.go."""

    kind = "go"

    def __init__(self, name, program, *site):
        super().__init__(name, *site)
        self.program = program

    def write_config(self):
        pools = (f"{at(bind)}={','.join(map(at, backends))}" for bind, backends in self.pools.values())
        return [self.program, *pools]

    def version(self):
        return f"Go {version_of(['go', 'version'], 'go version go')}"
