"""From runs to the table: medians, ratios, whether a target is reached, Markdown."""

from math import comb
from statistics import median

from measure import time_wait_max
from metrics import METRICS

# A rate this close to that without a balancer says more about the load generator than about balancers.
GENERATOR_BOUND = 0.85
NOTHING = "–"


def number(value):
    """Three significant digits, without an exponent.

    >>> number(12345.6), number(12.345), number(0.01234), number(100), number(9.999)
    ('12,346', '12.3', '0.0123', '100', '10.0')
    """
    if value >= 99.95:
        return f"{value:,.0f}"
    digits = 1 if value >= 9.995 else 2 if value >= 0.9995 else 3 if value >= 0.09995 else 4
    return f"{value:.{digits}f}"


def median_range(values):
    """Bounds between which the true median lies with 95 %: the k-th lowest and highest value, where k follows
    from tossing a coin for each value (sign test). Fewer than six values allow no such k: lowest and highest.

    >>> median_range([3, 1, 2]), median_range(range(1, 7)), median_range(range(1, 21))
    ((1, 3), (1, 6), (6, 15))
    """
    ordered = sorted(values)
    count, k, beyond = len(ordered), 0, 0.0
    while (beyond := beyond + comb(count, k) / 2 ** (count - 1)) <= 0.05:
        k += 1
    return ordered[max(k - 1, 0)], ordered[count - max(k, 1)]


class Results:
    """All runs of a bench, and the order of its peers; `primary` is the evener that is judged."""

    def __init__(self, runs, peers):
        self.runs = runs
        self.peers = peers
        self.eveners = [peer.name for peer in peers if peer.kind == "evener"]
        self.primary = self.eveners[0] if self.eveners else None
        self._leave_out_test_sockets()

    def _leave_out_test_sockets(self):
        """An idle session without the client's and the server's socket, which `direct` has as well."""
        idle = [run for run in self.runs if run["test"] == "idle" and "session_kb" in run]
        direct = [run["session_kb"] for run in idle if run["peer"] == "direct"]
        for run in idle:
            if direct and run["peer"] != "direct":
                run["session_own_kb"] = run["session_kb"] - median(direct)

    def of(self, metric, peer):
        """The values of a metric at a peer, by round."""
        runs = (run for run in self.runs if run["test"] == metric.test and run["peer"] == peer)
        return {run["round"]: run[metric.key] for run in runs if metric.key in run}

    def median(self, metric, peer):
        """Median of a metric at a peer, or None."""
        values = self.of(metric, peer)
        return median(values.values()) if values else None

    def failures(self, metric, peer):
        """How many runs of the test failed before they came to this metric."""
        runs = [run for run in self.runs if run["test"] == metric.test and run["peer"] == peer]
        return sum("error" in run and metric.key not in run for run in runs)

    def best(self, metric, kinds):
        """The best median among peers of these kinds, or None."""
        names = (peer.name for peer in self.peers if peer.kind in kinds)
        values = [value for name in names if (value := self.median(metric, name)) is not None]
        return (max if metric.larger_is_better else min)(values) if values else None

    def cell(self, metric, peer):
        """What stands in a peer's column."""
        value, failures = self.median(metric, peer), self.failures(metric, peer)
        if value is None:
            return "failed" if failures else NOTHING
        if value == 0 and peer == "direct":
            return NOTHING
        return number(value) + (f" ({failures} failed)" if failures else "")

    def ratio(self, metric, kinds):
        """Median of the judged evener ÷ the best of these kinds."""
        own, other = self.median(metric, self.primary), self.best(metric, kinds)
        return f"{own / other:.2f}" if own is not None and other else NOTHING

    def pair(self, metric, other):
        """The judged evener ÷ another, round by round: drift between rounds cancels out."""
        ours, theirs = self.of(metric, self.primary), self.of(metric, other)
        ratios = [ours[turn] / theirs[turn] for turn in ours.keys() & theirs.keys() if theirs[turn]]
        if not ratios:
            return NOTHING
        low, high = median_range(ratios)
        return f"{median(ratios):.2f} ({low:.2f}–{high:.2f})"

    def busy(self, metric):
        """How busy the cores were in a test, and the judged evener's part of that time."""
        runs = (run for run in self.runs if run["test"] == metric.test and run["peer"] == self.primary)
        contexts = [run["context"] for run in runs if "context" in run]
        if not contexts:
            return ""
        whole, part = (median(c[key] for c in contexts) for key in ("machine_busy", "balancer_share"))
        return f"{whole:.0%} ({part:.0%})"

    def generator_bound(self, metric):
        """Whether the best balancer is nearly as fast as no balancer."""
        if metric.key not in ("requests_s", "gbit_s") or metric.test == "mixed":
            return False
        best, direct = self.best(metric, ("evener", "haproxy", "nginx", "go")), self.median(metric, "direct")
        return bool(best and direct and best > GENERATOR_BOUND * direct)


def target_text(metric):
    """The targets of a metric, in words."""
    sign = "≥" if metric.larger_is_better else "≤"
    return ", ".join(f"{sign} {number(t.factor)}" + (f" × {t.name}" if t.name else "") for t in metric.targets)


def verdict(results, metric, target):
    """Whether a target is reached, and by how much it is missed."""
    own = results.median(metric, results.primary)
    if own is None:
        return "failed" if results.failures(metric, results.primary) else NOTHING
    other = results.best(metric, target.against) if target.against else 1
    if not other:
        return NOTHING
    share = own / (other * target.factor)
    if share >= 1 if metric.larger_is_better else share <= 1:
        return "yes"
    missed = abs(1 - share)
    return f"**no**, {missed:.{0 if missed >= 0.1 else 1}%} {'short' if metric.larger_is_better else 'over'}"


def table_lines(results, metrics):
    """The Markdown table."""
    others = results.eveners[1:]
    names = [peer.name for peer in results.peers]
    pairs = [f"{results.primary} ÷ {other}, by round (range)" for other in others]
    ours = results.primary or "evener"
    head = ["work", *names, f"{ours} ÷ haproxy", f"{ours} ÷ best", *pairs, "target", "reached", f"cores busy ({ours})"]
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    shown = None
    for metric in metrics:
        cells = [metric.label, *(results.cell(metric, name) for name in names)]
        cells += [results.ratio(metric, ("haproxy",)), results.ratio(metric, ("haproxy", "nginx", "go"))]
        cells += [results.pair(metric, other) for other in others]
        cells += [target_text(metric), ", ".join(verdict(results, metric, target) for target in metric.targets)]
        cells.append(results.busy(metric) if metric.test != shown else "")
        shown = metric.test
        yield f"| {' | '.join(cells)} |"


def note_lines(results, metrics):
    """What a reader must know to not be misled by the table."""
    yield "- Medians; `best` is the best of haproxy, nginx and go. Less is better for ms, CPU, switches and memory."
    yield (
        "- Load generators, backends and balancer share the cores. Where they are all busy, a rate is set by the sum of"
        " what all of them and the kernel cost; CPU per unit of work is the balancer's own."
    )
    if len(results.eveners) > 1:
        yield (
            "- Ratios by round are medians of the ratios within each round, with the range in which the true one lies"
            " (95 %; all of them where rounds are fewer than 6). A range with 1.00 in it shows no difference."
        )
    contexts = [run["context"] for run in results.runs if "context" in run]
    if contexts:
        others = sorted(context["others_share"] for context in contexts)
        yield (
            f"- Other processes of this machine took {median(others):.0%} of the cores (median of all runs; at most"
            f" {others[-1]:.0%}); below 5 % is quiet"
            + ("." if median(others) < 0.05 else ", so **this was not a quiet machine**.")
        )
    yield (
        "- With 1 or 2 clients the kernel's choice decides: answers that wake a sleeping core take several times as long"
        " as those that stay on one, and which it is changes from run to run. Only many rounds say anything."
    )
    crowded = sum(run.get("time_wait_before", 0) > time_wait_max() for run in results.runs)
    if crowded:
        yield f"- {crowded} connection runs began with more than {time_wait_max():,} sockets in TIME_WAIT."
    bound = [metric.label for metric in metrics if results.generator_bound(metric)]
    if bound:
        yield f"- Set by load generator and backend (best balancer > {GENERATOR_BOUND} × direct): {'; '.join(bound)}."
    yield "- HAProxy holds as many sessions as its maxconn says, the others as many as descriptors and memory maps allow."
    yield "- Latency of new connections leaves out the handshake (wrk); `resident` counts shared pages per process."
    failures = {(run["test"], run["peer"], run["error"]): None for run in results.runs if "error" in run}
    for test, peer, error in failures:
        yield f"- Failed: {test} of {peer}: {error}"


def report(results, tests, head):
    """The whole text: head line, table, notes."""
    metrics = [metric for metric in METRICS if metric.test in tests]
    return "\n".join([head, "", *table_lines(results, metrics), "", *note_lines(results, metrics)])
