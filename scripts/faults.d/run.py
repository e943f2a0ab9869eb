"""Runs the scenarios, each in a process and a network namespace of its own, and prints a line for each.

`scripts/test-faults` is the door to this.
"""

import argparse
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import backends  # noqa: F401 (they enter themselves into the list)
import data_path  # noqa: F401
import errnos  # noqa: F401
import input  # noqa: F401
import life_cycle  # noqa: F401
import resources  # noqa: F401
from house import SCENARIOS, Evener, Failure, NotAsked, World, end_with_parent, own_network


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/test-faults", description="provoke faults, look what happens")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="scenarios with NAME in their name")
    parser.add_argument("--short", action="store_true", help="those that take a second or two")
    parser.add_argument("--list", action="store_true", help="name the scenarios, run none")
    parser.add_argument("--relay", choices=["auto", "copy", "splice"], default="auto", help="how evener moves bytes")
    parser.add_argument("--user", choices=["root", "nobody"], default="root", help="whose process evener is")
    parser.add_argument("--peers", action="store_true", help="ask HAProxy and nginx as well, and print a table")
    parser.add_argument("--long", action="store_true", help="the full length where a shorter one is the default")
    parser.add_argument("--evener", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def in_child(scenario, proxy, options, pipe):
    """Runs one scenario to its end; what it says goes into the pipe."""
    os.setpgid(0, 0)
    end_with_parent()
    own_network()
    world = World(proxy, options)
    try:
        figure = scenario.run(world)
        if isinstance(world.proxy, Evener) and world.proxy.process.poll() is None:
            world.proxy.check_invariants()
        word = "ok"
    except NotAsked as error:
        word, figure = "skip", str(error)
    except Failure as error:
        word, figure = "FAIL", str(error)
    except BaseException:
        word, figure = "FAIL", traceback.format_exc()
    if word == "FAIL" and proxy == "evener":
        for program in world.programs:
            print(f"--- {program.log_path.name}\n{program.log()[-4000:]}", file=sys.stderr)
    os.write(pipe, f"{word}\n{figure}".encode())
    world.end()
    sys.stderr.flush()
    os._exit(0)


def run_one(scenario, proxy, options):
    """The word (ok, FAIL, skip), the figure, and how long it took."""
    begin = time.monotonic()
    inward, outward = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(inward)
        in_child(scenario, proxy, options, outward)
    os.close(outward)
    deadline = begin + scenario.seconds
    os.set_blocking(inward, False)
    said = b""
    while time.monotonic() < deadline:
        ended, _ = os.waitpid(child, os.WNOHANG)
        try:
            while part := os.read(inward, 65536):
                said += part
        except BlockingIOError:
            pass
        if ended:
            break
        time.sleep(0.02)
    else:
        # The group is the one that the child has made for itself and what it started.
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said = f"FAIL\nnot over after {scenario.seconds} s".encode()
    os.close(inward)
    word, _, figure = said.decode().partition("\n")
    return word or "FAIL", figure, time.monotonic() - begin


def main():
    options = arguments()
    chosen = [one for one in SCENARIOS if one.short or not options.short]
    chosen = [one for one in chosen if not options.only or any(word in one.name for word in options.only)]
    if options.list:
        for one in chosen:
            print(f"{one.family:11} {one.name:34} {'with peers' if one.peers else '':11} {one.about}")
        return
    if not chosen:
        sys.exit(f"error: no {'short ' if options.short else ''}scenario has {options.only} in its name, try --list")
    rows, failed = [], []
    begin = time.monotonic()
    for one in chosen:
        figures = {}
        for proxy in ["evener", "haproxy", "nginx"] if options.peers and one.peers else ["evener"]:
            word, figure, took = run_one(one, proxy, options)
            figures[proxy] = figure if word == "ok" else f"{word}: {figure}"
            print(f"{word:4} {one.name:34} {proxy:8} {took:5.1f} s  {figure.strip()}", flush=True)
            if word == "FAIL" and proxy == "evener":
                failed.append(one.name)
        rows.append((one, figures))
    if options.peers:
        print("\n| scenario | evener | HAProxy | nginx |\n| --- | --- | --- | --- |")
        for one, figures in rows:
            if one.peers:
                cells = (figures[proxy].splitlines()[-1] for proxy in ("evener", "haproxy", "nginx"))
                print(f"| {one.about.rstrip('.')} | {' | '.join(cells)} |")
    took = time.monotonic() - begin
    if failed:
        sys.exit(f"\n{len(failed)} of {len(chosen)} failed after {took:.0f} s: {', '.join(failed)}")
    print(f"\nAll good: {len(chosen)} scenarios after {took:.0f} s.")


main()
