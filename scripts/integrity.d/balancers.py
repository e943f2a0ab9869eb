"""The balancers that bytes go through: each is a listener in front of one server, and nothing else."""

import re
from pathlib import Path

from peers import output_of, version_of


class Balancer:
    """How one is configured. `{bind}` and `{server}` are HOST:PORT, `{scratch}` is a directory of its own."""

    def __init__(self, name, command, config, version):
        self.name, self.command, self.config, self.version = name, command, config, version

    def written(self, scratch, bind, server):
        """Writes its config; the command that starts it."""
        scratch.mkdir(exist_ok=True)
        path = scratch / "config"
        path.write_text(self.config.format(bind=bind, server=server, scratch=scratch))
        return [word.format(config=path, scratch=scratch) for word in self.command]


def nginx_module():
    """The line that loads nginx' stream module, where that is a file of its own."""
    found = re.search(r"--modules-path=(\S+)", output_of(["nginx", "-V"]))
    module = Path(found[1] if found else "/usr/lib/nginx/modules", "ngx_stream_module.so")
    return f"load_module {module};\n" if module.exists() else ""


EVENER = """\
listeners: [{{ bind: "{bind}" }}]
pools: [{{ health_check: off, backends: ["{server}"] }}]
performance: {{ relay: RELAY }}
timeouts: {{ idle: 60s, half_close: 60s }}
log: {{ level: warn }}
admin: off
"""

HAPROXY = """\
global
  maxconn 2000
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen in
  bind {bind}
  OPTION
  server s {server}
"""

NGINX = """\
daemon off;
pid {scratch}/pid;
error_log stderr warn;
events {{ worker_connections 4000; }}
stream {{
  proxy_timeout 60s; proxy_connect_timeout 10s; OPTION
  server {{ listen {bind} backlog=4096; proxy_pass {server}; }}
}}
"""


def all_of_them(evener):
    """evener (this binary) in both ways of copying, and the others with and without what they have for this."""
    version = f"evener {version_of([evener, '--version'], 'evener ')}"
    run = [evener, "--config", "{config}"]
    eveners = [
        Balancer(f"evener, {relay}", run, EVENER.replace("RELAY", relay), version) for relay in ("copy", "splice")
    ]
    version = f"HAProxy {version_of(['haproxy', '-v'], 'version ')}"
    run = ["haproxy", "-db", "-f", "{config}"]
    haproxies = [
        Balancer(f"HAProxy{title}", run, HAPROXY.replace("OPTION", option), version)
        for title, option in (("", ""), (", splice-auto", "option splice-auto"))
    ]
    version = f"nginx {version_of(['nginx', '-v'], 'nginx/')}"
    run = ["nginx", "-p", "{scratch}", "-c", "{config}"]
    nginxes = [
        Balancer(f"nginx{title}", run, nginx_module() + NGINX.replace("OPTION", option), version)
        for title, option in (("", ""), (", proxy_half_close on", "proxy_half_close on;"))
    ]
    return eveners + haproxies + nginxes
