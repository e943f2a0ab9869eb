"""Starting and ending processes, and finding free ports.

Everything that the bench starts goes through `Children`, each in a process group of its own, so that
nginx's workers end with their master, and nothing else on the machine is ever touched.
"""

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_SECONDS_MAX = 5.0
END_SECONDS_MAX = 2.0
PORT_FIRST = 10_000


class Failed(Exception):
    """Something could not be run or measured; the text says what, where and what to try."""


def family(pid):
    """A process and its children (nginx: a master and its workers)."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


@contextlib.contextmanager
def the_only_bench():
    """Waits until no other bench on this machine is in the middle of a run, and keeps them out of this one.

    So benches of several work trees may run at once: they take turns, run by run.
    """
    try:
        lock = os.open(Path(tempfile.gettempdir(), "evener-bench.lock"), os.O_CREAT | os.O_RDWR, 0o666)
    except PermissionError:
        # Another user's bench made it, with a stricter umask; then the runs may overlap.
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class Children:
    """All processes the bench has started; those that are left are killed when the `with` ends."""

    def __init__(self, scratch):
        self.scratch = Path(scratch)
        self.running = []
        self.undivided = 0
        self.signal = None

    def interrupt(self, number, _):
        """A signal handler: raises SystemExit, so that every `finally` runs, but never between a fork and its note."""
        self.signal = number
        if not self.undivided:
            raise SystemExit(128 + number)

    @contextlib.contextmanager
    def _undivided(self):
        """Puts signals off until the end of the `with`."""
        self.undivided += 1
        try:
            yield
        finally:
            self.undivided -= 1
        if self.signal and not self.undivided:
            raise SystemExit(128 + self.signal)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # From here on nothing may cut the cleaning up short.
        self.undivided += 1
        for child in list(self.running):
            self.end(child)

    def start(self, command, name, **pipes):
        """Starts a command; standard error goes to a file that `last_words` reads."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} | pipes
        with self._undivided():
            with open(self.scratch / f"{name}.err", "wb") as errors:
                child = subprocess.Popen(command, stderr=errors, start_new_session=True, **pipes)
            child.title = name
            self.running.append(child)
        return child

    def end(self, child):
        """Kills a process and its group and waits for it, if that has not been done.

        By SIGKILL, because nothing here has anything to save. Only a process with workers (nginx) is asked
        first, so that it waits for them itself.
        """
        if child not in self.running:
            return
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            if child.poll() is None and len(family(child.pid)) > 1:
                child.terminate()
                child.wait(timeout=END_SECONDS_MAX)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        for pipe in (child.stdin, child.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        child.wait()
        self.running.remove(child)

    def pids(self):
        """All living processes: those that were started, and their own children."""
        return [pid for child in self.running if child.poll() is None for pid in family(child.pid)]

    def finish(self, child, seconds_max):
        """Waits for a process that ends by itself, and returns what it wrote."""
        try:
            output, _ = child.communicate(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            raise Failed(f"{child.title} did not end within {seconds_max:.0f} s") from None
        finally:
            self.end(child)
        return output

    def last_words(self, name):
        """The end of what a process wrote to standard error."""
        text = (self.scratch / f"{name}.err").read_text(errors="replace").strip()
        return " / ".join(text.splitlines()[-3:]) or "it wrote nothing to standard error"

    def wait_listening(self, child, address):
        """Returns when somebody accepts connections there; fails when the process ends first."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if child.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
                return
            time.sleep(0.002)
        host, port = address
        raise Failed(f"{child.title} does not listen on {host}:{port}: {self.last_words(child.title)}")


class Ports:
    """Hands out free ports below the range from which the kernel takes those of outgoing connections,
    so that no connection of a test ever sits on a port that a later process wants to listen on."""

    def __init__(self):
        first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        candidates = list(range(PORT_FIRST, min(first_ephemeral, 32_768)))
        # From a random place, because another bench may run on this machine.
        start = random.randrange(len(candidates))
        self.candidates = iter(candidates[start:] + candidates[:start])

    def take(self):
        """A port that nobody uses at any address of this machine."""
        for port in self.candidates:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("", port))
                return port
        raise Failed(f"no free port from {PORT_FIRST} up, try `ss -tln` to see who has them")
