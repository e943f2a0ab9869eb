"""Readings: what wrk and iperf3 print, and what /proc says about processes and the machine.

CPU time is the process' CPU clock (clock_gettime), not utime and stime of /proc/PID/stat: it counts
nanoseconds instead of ticks of 10 ms, and like those it includes the threads that have ended, which
the sum over /proc/PID/task/*/schedstat would lose. What the kernel does for a process in ksoftirqd is
in none of them; on loopback nearly all of the network's work is done in the caller's own time.
"""

import json
import os
import re
import resource
import threading
import time
from pathlib import Path

from processes import Failed

# One failed request in a thousand is enough to distrust a run.
ERRORS_SHARE_MAX = 0.001
SAMPLE_SECONDS = 0.5

LATENCY_TO_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def latency_ms(text):
    """Milliseconds of a latency as wrk writes it.

    >>> latency_ms("412.00us"), latency_ms("1.25ms"), latency_ms("1.10s")
    (0.412, 1.25, 1100.0)
    """
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return round(float(number) * LATENCY_TO_MS[unit], 6)


def parse_wrk(output):
    """Rates and latencies of `wrk --latency`.

    >>> parsed = parse_wrk('''
    ...   Latency Distribution
    ...      50%  412.00us
    ...      99%    1.25ms
    ...   12345 requests in 1.10s, 2.1MB read
    ... Requests/sec:  11222.73
    ... ''')
    >>> parsed["requests"], parsed["requests_s"], parsed["p50_ms"], parsed["p99_ms"]
    (12345, 11222.73, 0.412, 1.25)
    >>> parse_wrk("10 requests in 1.00s\\n  Socket errors: connect 0, read 3, write 0, timeout 0")
    Traceback (most recent call last):
    processes.Failed: wrk: 3 errors in 10 requests
    """
    total = re.search(r"(\d+) requests in", output)
    if not total:
        raise Failed(f"wrk printed no result: {output.strip()[-200:]}")
    requests = int(total[1])
    # A read error after a complete answer is harmless, but wrk does not tell them apart.
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", output)))
    errors += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", output)))
    if not requests or errors > requests * ERRORS_SHARE_MAX:
        raise Failed(f"wrk: {errors} errors in {requests} requests")
    percentiles = dict(re.findall(r"(50|99)%\s+([\d.]+[a-z]+)", output))
    return {
        "requests": requests,
        "requests_s": float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]),
        "p50_ms": latency_ms(percentiles["50"]),
        "p99_ms": latency_ms(percentiles["99"]),
        "errors": errors,
    }


def parse_iperf3(output):
    """Gbit/s and gigabytes that reached the receiver, of `iperf3 --json`.

    >>> parse_iperf3('{"end": {"sum_received": {"bytes": 2000000000, "bits_per_second": 1.6e10}}}')
    {'gbit_s': 16.0, 'gigabytes': 2.0}
    >>> parse_iperf3('{"error": "unable to connect"}')
    Traceback (most recent call last):
    processes.Failed: iperf3: unable to connect
    """
    try:
        result = json.loads(output)
    except ValueError:
        raise Failed(f"iperf3 printed no result: {str(output).strip()[-200:]}") from None
    if "error" in result:
        raise Failed(f"iperf3: {result['error']}")
    received = result["end"]["sum_received"]
    if not received["bytes"]:
        raise Failed("iperf3: no byte reached the receiver")
    return {"gbit_s": received["bits_per_second"] / 1e9, "gigabytes": received["bytes"] / 1e9}


def cpu_seconds(pids):
    """CPU time of processes so far, with that of their ended threads."""
    # The kernel's number for "CPU clock of process PID", as clock_getcpuclockid(3) computes it.
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def machine_cpu(text):
    """Busy, idle and stolen ticks of all cores, from the text of /proc/stat.

    >>> machine_cpu("cpu  10 1 20 100 5 2 3 7 0 0")
    (36, 105, 7)
    """
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, text.split(None, 9)[1:9])
    return user + nice + system + irq + softirq, idle + iowait, steal


def bench_cpu_seconds(children):
    """CPU time so far of the bench and of everything it has started: living processes, and those waited for."""
    mine = time.process_time()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine + ended.ru_utime + ended.ru_stime + cpu_seconds(children.pids())


class Meter:
    """What a balancer and the machine spend between entering and leaving a `with`."""

    def __init__(self, pids, children):
        self.pids = pids
        self.children = children

    def __enter__(self):
        self.bench = bench_cpu_seconds(self.children)
        self.machine = machine_cpu(Path("/proc/stat").read_text())
        self.wall = time.monotonic()
        self.cpu = cpu_seconds(self.pids)
        return self

    def __exit__(self, *_):
        try:
            self.cpu_s = cpu_seconds(self.pids) - self.cpu
        except OSError:
            raise Failed("the balancer ended during the run") from None
        seconds = time.monotonic() - self.wall
        after = machine_cpu(Path("/proc/stat").read_text())
        busy, idle, steal = (now - before for now, before in zip(after, self.machine))
        whole = max(1, busy + idle + steal)
        bench = bench_cpu_seconds(self.children) - self.bench
        self.context = {
            "seconds": seconds,
            "machine_busy": (busy + steal) / whole,
            "others_share": max(0.0, (busy + steal) / whole - bench / (seconds * os.cpu_count())),
            "balancer_share": self.cpu_s / (seconds * os.cpu_count()),
        }


def switches_by_thread(pids):
    """Voluntary context switches of each living thread so far."""
    counts = {}
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                status = (task / "status").read_text()
            except OSError:
                continue
            counts[task.name] = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)[1])
    return counts


class SwitchCounter:
    """Counts voluntary context switches between entering and leaving a `with`.

    The kernel keeps no readable sum for a living process, and a thread takes its count with it when it
    ends. So all threads are read twice a second, and the last reading of each thread counts. evener's
    threads end after two seconds without work, in which they don't switch, so what is missed is the
    last wake-up of each; those that live less than half a second are missed altogether (`vanished` says how
    many threads were seen and are gone).
    """

    def __init__(self, pids):
        self.pids = pids
        self.stop = threading.Event()
        self.sampler = threading.Thread(target=self._sample, daemon=True)

    def _sample(self):
        while not self.stop.wait(SAMPLE_SECONDS):
            self.last.update(switches_by_thread(self.pids))

    def __enter__(self):
        self.first = switches_by_thread(self.pids)
        self.last = dict(self.first)
        self.sampler.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.sampler.join()
        living = switches_by_thread(self.pids)
        self.last.update(living)
        self.vanished = len(self.last.keys() - living.keys())
        self.switches = sum(count - self.first.get(thread, 0) for thread, count in self.last.items())


def fields_kb(text, names):
    """Sum of the named fields of a text like /proc/meminfo.

    >>> fields_kb("Slab: 100 kB\\nKernelStack: 20 kB\\nOther: 7 kB\\n", ("Slab", "KernelStack"))
    120
    """
    return sum(int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1]) for name in names)


def process_kb(pids):
    """Resident memory and page tables of processes; pages that they share count once for each.

    VmPTE stands for the PageTables of /proc/meminfo, in which every compiler on the machine shows.
    """
    tables = sum(fields_kb(Path(f"/proc/{pid}/status").read_text(), ["VmPTE"]) for pid in pids)
    return rss_kb(pids) + tables


def rss_kb(pids):
    """Resident memory of processes."""
    return sum(fields_kb(Path(f"/proc/{pid}/smaps_rollup").read_text(), ["Rss"]) for pid in pids)


def kernel_kb():
    """What the kernel holds for all processes: stacks of threads, sockets and other objects."""
    # These are counted per core and added up once a second; reading this file (as root) does it now.
    try:
        Path("/proc/sys/vm/stat_refresh").read_text()
    except OSError:
        time.sleep(1.5)
    return fields_kb(Path("/proc/meminfo").read_text(), ("KernelStack", "Slab"))


def sockets_time_wait():
    """Sockets in TIME_WAIT on this machine."""
    return int(re.search(r"^TCP:.* tw (\d+)", Path("/proc/net/sockstat").read_text(), re.M)[1])


def time_wait_max():
    """How many sockets in TIME_WAIT a connection test may begin with.

    Where Linux takes a port in TIME_WAIT again after a second (tcp_tw_reuse: 2 for loopback, its default),
    they cost next to nothing until the kernel's table of them is full. Otherwise they use up the local ports.
    """
    settings = Path("/proc/sys/net/ipv4")
    if int((settings / "tcp_tw_reuse").read_text()) == 0:
        return 15_000
    return int((settings / "tcp_max_tw_buckets").read_text()) * 3 // 4


def wait_time_wait(sockets_max, seconds_max):
    """Waits until few sockets are in TIME_WAIT; returns how many there are."""
    deadline = time.monotonic() + seconds_max
    while (count := sockets_time_wait()) > sockets_max and time.monotonic() < deadline:
        time.sleep(0.25)
    return count
