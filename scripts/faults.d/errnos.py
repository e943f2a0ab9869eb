"""The sweep: every system call that evener makes fails, with each errno that it may fail with, for the first 8
calls of each thread; at the start, and while clients come and the config is reloaded."""

import collections
import os
import re
import signal
import subprocess
from pathlib import Path

from house import Evener, Failure, Server, ask, check, connect, eventually, read_exactly, scenario

# What may be asked of a call beyond the general, by its manual page.
ERRNOS = {
    "accept4": "EMFILE ENFILE ENOMEM ENOBUFS ECONNABORTED EINTR EPERM EPROTO EINVAL EHOSTUNREACH",
    "bind": "EADDRINUSE EADDRNOTAVAIL EACCES",
    "clone3": "EAGAIN ENOMEM EPERM",
    "connect": "ECONNREFUSED ENETUNREACH EHOSTUNREACH EADDRNOTAVAIL EINTR EPERM ETIMEDOUT EAGAIN EALREADY",
    "getpeername": "ENOTCONN ENOBUFS",
    "getsockname": "ENOTCONN ENOBUFS",
    "getsockopt": "ENOTCONN ENOBUFS ENOPROTOOPT",
    "ioctl": "EINVAL ENOTTY",
    "listen": "EADDRINUSE",
    "openat": "ENOENT EACCES EMFILE ENFILE",
    "pipe2": "EMFILE ENFILE",
    "ppoll": "EINTR ENOMEM",
    "read": "EINTR EIO",
    "recvfrom": "ECONNRESET EINTR ENOMEM ETIMEDOUT ENOTCONN EHOSTUNREACH",
    "sendto": "EPIPE ECONNRESET EINTR ENOBUFS ENOMEM ETIMEDOUT",
    "setsockopt": "ENOMEM EINVAL ENOPROTOOPT EPERM",
    "shutdown": "ENOTCONN ENOBUFS",
    "socket": "EMFILE ENFILE ENOBUFS ENOMEM EACCES EAFNOSUPPORT",
    "splice": "EINVAL ENOMEM EINTR EPIPE ECONNRESET ESPIPE",
    "write": "EPIPE ENOSPC EIO EINTR",
}
GENERAL = "EINVAL EPERM ENOMEM"
# Those for which a failure proves nothing, and why.
LEFT_OUT = {
    "brk mmap mprotect munmap mremap madvise": "std ends a process that has no memory",
    "futex rseq set_robust_list set_tid_address rt_sigprocmask rt_sigaction sigaltstack rt_sigreturn": "libc and std "
    "rely on them",
    "clock_nanosleep clock_gettime getrandom poll": "std and rustix panic where these fail, as they never do",
    "close": "a failure that strace makes up leaves the descriptor open",
    "execve arch_prctl exit exit_group": "the process begins and ends with them",
    "restart_syscall": "the kernel's own",
}
FIRST = "1..8"


def is_left_out(call):
    return any(call in calls.split() for calls in LEFT_OUT)


def config(world):
    sections = {"timeouts": {"connect": "1s", "idle": "2s", "half_close": "1s"}}
    return world.config([9001, 9002], **sections)


def servers():
    def chatty(conn):
        while data := conn.recv(65536):
            # Enough to be spliced, if evener likes to.
            conn.sendall(data * 20_000 if data == b"bulk!" else data)

    Server(9001, chatty)
    Server(9002, chatty)


def visit():
    """What clients do; they may fail."""
    for _ in range(3):
        ask(timeout=0.5)
    try:
        with connect(0.5) as sock:
            sock.sendall(b"bulk!")
            read_exactly(sock, 100_000)
    except (OSError, Failure):
        pass


def visit_and_reload(evener):
    visit()
    evener.signal(signal.SIGHUP)
    try:
        evener.call("GET", "/metrics")
    except OSError:
        pass
    visit()


def calls_of(trace):
    """The system calls in a log of strace, by how often they were made."""
    return collections.Counter(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)", trace.read_text(errors="replace"), re.M))


def all_calls(world):
    """What evener calls in its life, from the start on and while it serves."""
    trace = world.scratch / "all.log"
    evener = Evener(world, config(world), prefix=["strace", "-f", "-qq", "-o", str(trace)]).started()
    visit_and_reload_traced(evener)
    end_traced(evener)
    return [call for call in sorted(calls_of(trace)) if not is_left_out(call)]


def child_of(evener):
    """evener itself, where the process is the strace that runs it."""
    return int(Path(f"/proc/{evener.pid}/task/{evener.pid}/children").read_text().split()[0])


def visit_and_reload_traced(evener):
    visit()
    os.kill(child_of(evener), signal.SIGHUP)
    evener.call("GET", "/metrics")
    visit()


def end_traced(evener):
    try:
        os.kill(child_of(evener), signal.SIGKILL)
    except (OSError, IndexError):
        pass
    evener.wait()


def cases(calls):
    return [(call, errno) for call in calls for errno in ERRNOS.get(call, GENERAL).split()]


def serves(evener):
    """By its log or, where that can't be written, by a client."""
    return evener.line("Load Balancer started") or ask(timeout=1) == b"hello"


@scenario(seconds=600)
def every_errno_at_the_start(world):
    """Every call fails with every errno at the start: starts that serve, and those that are given up with a message"""
    servers()
    serve, gave_up, bad = 0, 0, []
    for call, errno in cases(all_calls(world)):
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
        command += ["-e", f"inject={call}:error={errno}:when={FIRST}"]
        evener = Evener(world, config(world), prefix=command)
        try:
            over = lambda: evener.process.poll() is not None
            eventually("a start or its end", lambda: over() or serves(evener), 10)
        except Failure:
            pass
        code = evener.process.poll()
        said = evener.log()
        if "panicked" in said or code in (101, 134, 139) or (code is not None and (code <= 0 or not said.strip())):
            bad.append(f"{call} {errno}: exit code {code}: {said[-300:]}")
        elif code is None and not serves(evener):
            bad.append(f"{call} {errno}: neither serves nor ends: {said[-300:]}")
        elif code is None:
            serve += 1
        else:
            gave_up += 1
        if code is None:
            end_traced(evener)
        evener.end()
    check(not bad, f"{len(bad)} cases:\n" + "\n".join(bad))
    return f"{serve} serve, {gave_up} are given up with a message"


@scenario(seconds=900)
def every_errno_while_it_serves(world):
    """Every call fails with every errno while clients come and a reload: it lives, the invariants hold after each"""
    servers()
    calls = all_calls(world)
    evener = world.start_evener(config(world))
    count, bad = 0, []
    for call in calls:
        errnos = ERRNOS.get(call, GENERAL).split()
        for errno in errnos:
            visit_with_fault(world, evener, call, errno)
            count += 1
        try:
            # Once for all errnos of a call: parked threads end by themselves after 2 s only.
            evener.check_invariants()
        except Failure as error:
            bad.append(f"{call} {errnos}: {error}")
            evener.end()
            evener = world.start_evener(config(world))
    check(not bad, f"{len(bad)} of {len(calls)} calls:\n" + "\n".join(bad))
    return f"{count} cases"


def visit_with_fault(world, evener, call, errno):
    said = world.scratch / "strace.err"
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:error={errno}:when={FIRST}", "-p", str(evener.pid)]
    with open(said, "wb") as file:
        tracer = subprocess.Popen(command, stderr=file)
    status = Path(f"/proc/{evener.pid}/status")
    is_held = lambda: "TracerPid:\t0" not in status.read_text() or tracer.poll() is not None
    eventually(f"strace of {call} {errno}", is_held, 20)
    check(tracer.poll() is None, f"strace of {call} {errno}: {said.read_text()}")
    visit_and_reload(evener)
    tracer.terminate()
    tracer.wait()
    check(evener.process.poll() is None, f"{call} {errno}: evener has ended: {evener.process.poll()}")
