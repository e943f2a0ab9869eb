"""The balancer and its backends, as the cases of a browser need them."""

import json
import re
import subprocess

from browser import eventually, request


class Program:
    """A process whose output goes to a file."""

    def __init__(self, arguments, log):
        self.log = log
        with open(log, "w") as out:
            self.process = subprocess.Popen(arguments, stdout=out, stderr=subprocess.STDOUT)

    def find(self, pattern):
        """The first group of a pattern in the output, once it is there."""
        def look():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.process.args} has ended")
            with open(self.log) as text:
                return re.search(pattern, text.read())
        return eventually(pattern, look)[1]

    def end(self):
        self.process.kill()
        self.process.wait()


class Scene:
    """Backends and an evener before them; ends them all."""

    def __init__(self, bin_dir, scratch):
        self.bin, self.scratch = bin_dir, scratch
        self.programs = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.programs:
            program.end()

    def start(self, name, *arguments):
        program = Program([f"{self.bin}/{name}", *arguments], f"{self.scratch}/{len(self.programs)}-{name}.log")
        self.programs.append(program)
        return program

    def backend(self, port=0, *options):
        """A dummy on every loopback address, and its port."""
        program = self.start("backend", str(port), "--bind", "0.0.0.0", *options)
        return program, int(program.find(r"port: (\d+)"))

    def evener(self, name, config):
        # JSON is YAML.
        file = f"{self.scratch}/{name}.yaml"
        write(file, config)
        program = self.start("evener", "--config", file)
        evener = Evener(program, file)
        return evener


class Evener:
    """A running evener."""

    def __init__(self, program, file):
        self.process, self.file = program.process, file
        self.url = program.find(r"admin server at (http://[\d.:]+)")
        self.port = int(program.find(r"Load Balancer started on [\d.]*:(\d+)"))

    def api(self, path, method="GET", body=None):
        return request(method, f"{self.url}/api/v1/{path}", body)[1]

    def backend(self, name):
        pools = self.api("status")["pools"]
        return next(one for pool in pools for one in pool["backends"] if one["name"] == name)


def write(file, config):
    with open(file, "w") as out:
        out.write(config if isinstance(config, str) else json.dumps(config))
