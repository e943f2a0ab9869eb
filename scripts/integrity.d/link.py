"""A cable between two network namespaces that delays, loses, doubles and reorders packets.

    link.py NEAR/BITS FAR/BITS FAR_NAMESPACE [--delay MS] [--loss %] [--duplicate %] [--reorder %] [--mtu BYTES]

Two TUN devices, one here and one in the other namespace, and this program between them: whatever one of
them is to send, the other gets, or not, or twice, or late. It is for kernels without netem. It prints
`ready` when the link is up, and, when standard input ends, what it did, as one line of JSON.
"""

import argparse
import collections
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
QUEUE_PACKETS = 10_000
# A packet that is overtaken comes so many delays late.
LATE = 2.0
BATCH = 64


def open_tun(name):
    """A TUN device of this name, as a descriptor that gives and takes packets."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def ip(*words):
    """Runs ip(8)."""
    subprocess.run(["ip", *words], check=True)


class Way:
    """One direction: packets that are under way, and what became of the others."""

    def __init__(self, source, target, options):
        self.source, self.target, self.options = source, target, options
        # In the order in which they came, and those that were held back.
        self.on_time, self.late = collections.deque(), []
        self.counts = collections.Counter()

    def take(self, now):
        """Takes what the source has; False: nothing."""
        options, draw = self.options, random.random
        for taken in range(BATCH):
            try:
                packet = os.read(self.source, 65536)
            except BlockingIOError:
                return taken > 0
            except OSError:
                # Its namespace is gone, and the device with it.
                return False
            self.counts["packets"] += 1
            luck = draw() * 100
            if luck < options.loss:
                self.counts["lost"] += 1
                continue
            luck -= options.loss
            if luck < options.reorder:
                self.counts["reordered"] += 1
                heapq.heappush(self.late, (now + options.delay * (1 + LATE * draw()), packet))
                continue
            self.on_time.append((now + options.delay, packet))
            if luck - options.reorder < options.duplicate:
                self.counts["doubled"] += 1
                self.on_time.append((now + options.delay, packet))
        return True

    def give(self, now):
        """Gives the target what is due; says when the next is."""
        for queue, take in ((self.on_time, collections.deque.popleft), (self.late, heapq.heappop)):
            while queue and queue[0][0] <= now:
                try:
                    os.write(self.target, take(queue)[1])
                except OSError:
                    # The device has no room, or is down: a packet lost.
                    self.counts["lost"] += 1
        return min((queue[0][0] for queue in (self.on_time, self.late) if queue), default=now + 1)


def main():
    """Sets up the devices and passes packets on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("near")
    parser.add_argument("far")
    parser.add_argument("namespace")
    for name, default in (("delay", 2), ("loss", 0.3), ("duplicate", 0.3), ("reorder", 0.5), ("mtu", 9000)):
        parser.add_argument(f"--{name}", type=float, default=default)
    options = parser.parse_args()
    options.delay /= 1000
    name = f"evi{os.getpid()}"
    near, far = open_tun(f"{name}n"), open_tun(f"{name}f")
    ip("link", "set", f"{name}f", "netns", options.namespace)
    mtu = str(int(options.mtu))
    for device, where, address in ((f"{name}n", [], options.near), (f"{name}f", ["-n", options.namespace], options.far)):
        ip(*where, "address", "add", address, "dev", device)
        ip(*where, "link", "set", device, "up", "mtu", mtu, "txqueuelen", str(QUEUE_PACKETS))
    ways = [Way(near, far, options), Way(far, near, options)]
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    print("ready", flush=True)
    while not ended.is_set():
        now = time.monotonic()
        busy = [way.take(now) for way in ways]
        next_due = min(way.give(time.monotonic()) for way in ways)
        if not any(busy):
            select.select([near, far], [], [], max(0.0, min(next_due - time.monotonic(), 0.2)))
    print(json.dumps(ways[0].counts + ways[1].counts))


if __name__ == "__main__":
    main()
