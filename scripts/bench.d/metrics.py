"""What is measured and what is to be reached: the rows of the table, in order.

The targets are those that evener set itself; each is a bound on the ratio of evener's median to another
one's (or on the median itself), at least for what should be large, at most for what should be small.
"""

from dataclasses import dataclass

SMALL_CLIENTS = (1, 2, 8, 16, 64, 256)
CONNECTION_CLIENTS = (16, 64)
UNLOGGED_CLIENTS = 64
SESSIONS_IDLE = (10, 100, 1_000, 8_000)
# More than any balancer here can hold with 20,000 descriptors.
SESSIONS_ATTEMPTED = 10_000


@dataclass(frozen=True)
class Target:
    """A bound: `factor` × the best of `against` (kinds of peers), or `factor` itself when that is empty."""

    factor: float
    against: tuple = ()
    name: str = ""


@dataclass(frozen=True)
class Metric:
    """A row of the table: one number of one test."""

    test: str
    key: str
    label: str
    larger_is_better: bool
    targets: tuple = ()


ANY = ("haproxy", "nginx", "go")


def best(factor):
    """A target against the best of all peers."""
    return (Target(factor, ANY, "best"),)


def bulk(streams):
    """One or several bulk transfers."""
    test, name = f"bulk-{streams}", f"bulk, {streams} stream{'s' if streams > 1 else ''}"
    rate = (Target(1.3, ("haproxy",), "HAProxy"), Target(1.0, ("go",), "Go"))
    return [
        Metric(test, "gbit_s", f"{name}: Gbit/s", True, rate),
        Metric(test, "cpu_s_gb", f"{name}: CPU-s per GB", False, (Target(0.55, ("haproxy",), "HAProxy"),)),
    ]


def mixed():
    """Bulk and small messages at once; each is bought with the other, so their product counts."""
    name = "mixed, 4 bulk + 8 small"
    return [
        Metric("mixed", "requests_s", f"{name}: requests/s", True),
        Metric("mixed", "gbit_s", f"{name}: Gbit/s", True),
        Metric("mixed", "product", f"{name}: requests/s × Gbit/s", True, best(1.3)),
        Metric("mixed", "p50_ms", f"{name}: p50 ms", False, best(1.0)),
        Metric("mixed", "p99_ms", f"{name}: p99 ms", False, best(1.2)),
    ]


def small(clients):
    """Small messages over connections that stay."""
    test, name = f"small-{clients}", f"small messages, {clients} client{'s' if clients > 1 else ''}"
    calm = best(1.0) if clients <= 8 else ()
    haproxy = ("haproxy",)
    full = clients >= 64
    return [
        Metric(test, "requests_s", f"{name}: requests/s", True, (Target(0.85, haproxy, "HAProxy"),) if full else ()),
        Metric(test, "p50_ms", f"{name}: p50 ms", False, calm),
        Metric(test, "p99_ms", f"{name}: p99 ms", False, calm),
        Metric(test, "cpu_us", f"{name}: CPU µs each", False, (Target(1 / 0.85, haproxy, "HAProxy"),) if full else ()),
    ]


def connections(clients, logged=True):
    """A connection per request; a row without evener's line for each, since the others write none."""
    test, name = f"connections-{clients}", f"new connections, {clients} clients"
    if not logged:
        test, name = f"unlogged-{clients}", f"{name}, no log"
    against = ("haproxy", "nginx")
    return [
        Metric(test, "requests_s", f"{name}: conn/s", True, (Target(0.9, against, "best of HAProxy, nginx"),)),
        Metric(test, "p50_ms", f"{name}: p50 ms", False),
        Metric(test, "p99_ms", f"{name}: p99 ms", False),
        Metric(test, "cpu_us", f"{name}: CPU µs each", False, (Target(1 / 0.9, against, "best of HAProxy, nginx"),)),
        Metric(test, "switches", f"{name}: voluntary switches each", False),
    ]


def growth():
    """The same load beside more and more idle sessions."""
    rows = []
    for sessions in SESSIONS_IDLE:
        name = f"8 clients beside {sessions:,} idle sessions"
        rows.append(Metric("growth", f"cpu_us_{sessions}", f"{name}: CPU µs per request", False))
        rows.append(Metric("growth", f"p99_ms_{sessions}", f"{name}: p99 ms", False))
    return rows


METRICS = [
    *bulk(1),
    *bulk(8),
    *mixed(),
    *(metric for clients in SMALL_CLIENTS for metric in small(clients)),
    *(metric for clients in CONNECTION_CLIENTS for metric in connections(clients)),
    *connections(UNLOGGED_CLIENTS, logged=False),
    Metric("idle", "session_kb", "idle session: KiB, with the test's two sockets", False, (Target(90),)),
    Metric("idle", "session_own_kb", "idle session: KiB, without them", False),
    *growth(),
    Metric("held", "sessions", f"sessions held of {SESSIONS_ATTEMPTED:,} attempted", True, (Target(8_000),)),
    Metric("start", "first_byte_ms", "exec to first byte served: ms", False, (Target(10),)),
    Metric("start", "rest_mb", "resident at rest: MB", False, (Target(4),)),
    Metric("start", "static_rest_mb", "resident at rest, static: MB", False, (Target(4),)),
    Metric("size", "dynamic_mb", "executable as measured: MB", False),
    Metric("size", "static_mb", "executable, static: MB", False, (Target(3),)),
]

TESTS = list(dict.fromkeys(metric.test for metric in METRICS))


def chosen_tests(only):
    """The tests that `--only` names; a name stands for all tests that begin with it.

    >>> chosen_tests("bulk,small-64")
    ['bulk-1', 'bulk-8', 'small-64']
    >>> chosen_tests("small-6,nonsense")
    Traceback (most recent call last):
    ValueError: small-6
    """
    names = only.split(",") if only else TESTS
    for name in names:
        if not any(test == name or test.startswith(f"{name}-") for test in TESTS):
            raise ValueError(name)
    return [test for test in TESTS if any(test == name or test.startswith(f"{name}-") for name in names)]
