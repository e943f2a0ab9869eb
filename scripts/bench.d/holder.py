"""Idle sessions: an echo server, and a client that opens sessions and holds them.

    holder.py serve HOST PORT   echoes what it reads, for ever
    holder.py hold HOST PORT    reads a number per line, opens sessions until it holds so many, answers
                                with the number that it holds; closes them all when its input ends

A session counts as held when a byte has gone through to the server and back, so that both directions
of the balancer have worked once. Both run as processes of their own, because each needs a descriptor per session.
"""

import resource
import selectors
import socket
import struct
import sys
import time

# Few enough connections under way to never overrun a listen backlog.
OPENING_MAX = 100
STALLED_SECONDS_MAX = 2.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def serve(host, port):
    """The echo server."""
    events = selectors.DefaultSelector()
    listener = socket.create_server((host, port), backlog=4096)
    listener.setblocking(False)
    events.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in events.select():
            if key.fileobj is listener:
                session, _ = listener.accept()
                session.setblocking(False)
                events.register(session, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(4096)
                key.fileobj.send(data)
            except OSError:
                data = b""
            if not data:
                events.unregister(key.fileobj)
                key.fileobj.close()


class Holder:
    """The client's side of all sessions."""

    def __init__(self, address):
        self.address = address
        self.events = selectors.DefaultSelector()
        self.opening = {}
        self.held = []

    def open_one(self):
        """Begins to open a session."""
        session = socket.socket()
        # Closed by a reset: no TIME_WAIT is left to weigh on the next measurement.
        session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        session.connect(self.address)
        session.send(b"x")
        session.setblocking(False)
        self.events.register(session, selectors.EVENT_READ)
        self.opening[session.fileno()] = session

    def grow(self, count):
        """Opens sessions until `count` are held, or until nothing has moved for a while."""
        moved = time.monotonic()
        while len(self.held) < count and time.monotonic() - moved < STALLED_SECONDS_MAX:
            while len(self.opening) < min(OPENING_MAX, count - len(self.held)):
                self.open_one()
            for key, _ in self.events.select(timeout=0.2):
                session = self.opening.pop(key.fd)
                self.events.unregister(session)
                try:
                    echoed = session.recv(1) == b"x"
                except OSError:
                    echoed = False
                if echoed:
                    self.held.append(session)
                    moved = time.monotonic()
        return len(self.held)


def hold(host, port):
    """The client."""
    holder = Holder((host, port))
    for line in sys.stdin:
        print(holder.grow(int(line)), flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    {"serve": serve, "hold": hold}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
