"""The clients of the soak: sessions that live on and beat, and connections that come and go.

One thread and one selector for all. Every server sends its name first, so a client knows whose it is, and
echoes after that. What goes wrong is written down with the time and the name, to be accounted for later.
"""

import errno
import os
import selectors
import socket
import time

BEAT = b"beat"
QUESTION_BYTES = 1024
# No answer for so long is none. A server is frozen for less.
ANSWER_SECONDS_MAX = 10
TICK_SECONDS = 0.002


class Loss:
    """Something that went wrong: when, with whose session, and what."""

    def __init__(self, server, what):
        self.at, self.server, self.what = time.monotonic(), server, what

    def __str__(self):
        return f"{self.what} of {self.server or 'nobody yet'}"


class Connection:
    """A connection to the balancer, at any point of its life."""

    def __init__(self, clients, beats):
        self.clients, self.beats = clients, beats
        self.server, self.received, self.asked_at = None, b"", time.monotonic()
        self.question = BEAT if beats else os.urandom(QUESTION_BYTES)
        self.socket = socket.socket()
        self.socket.setblocking(False)
        done = self.socket.connect_ex(clients.address)
        if done not in (0, errno.EINPROGRESS):
            raise OSError(done, os.strerror(done))
        clients.events.register(self.socket, selectors.EVENT_READ, self)

    def ask(self):
        """Sends a beat, or the one question; the server has named itself by then."""
        self.asked_at = time.monotonic()
        self.socket.send(self.question)
        if not self.beats:
            self.socket.shutdown(socket.SHUT_WR)

    def hear(self):
        """Takes what has come. A word if that was the end: how it ended."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return None
        except OSError as error:
            return errno.errorcode.get(error.errno, "error")
        if not data:
            return "done" if self.is_answered() and not self.beats else "FIN"
        self.received += data
        if self.server is None and b"\n" in self.received:
            name, self.received = self.received.split(b"\n", 1)
            self.server = name.decode()
            self.ask()
        if self.beats and self.server and self.is_answered():
            self.received, self.asked_at = b"", None
            self.clients.beats += 1
        if not self.question.startswith(self.received) and self.server:
            return "other bytes"
        return None

    def is_answered(self):
        """Has all come back that was sent?"""
        return self.received == self.question

    def close(self):
        """Ends it."""
        self.clients.events.unregister(self.socket)
        self.socket.close()


class Clients:
    """All of them."""

    def __init__(self, address, beating, new_per_second):
        self.address, self.new_per_second = address, new_per_second
        self.events = selectors.DefaultSelector()
        self.beating = [None] * beating
        self.passing = set()
        self.losses = []
        self.beats = self.served = 0

    def open(self, beats):
        """A new connection, or None."""
        try:
            return Connection(self, beats)
        except OSError as error:
            self.losses.append(Loss(None, f"connect: {error}"))
            return None

    def lose(self, connection, what):
        """Writes a loss down, and forgets the connection."""
        kind = "a session" if connection.beats else "a connection"
        self.losses.append(Loss(connection.server, f"{kind} ended by {what}"))
        connection.close()

    def beat(self, place):
        """The turn of one living session: it beats, begins, or is given up."""
        session = self.beating[place]
        if session is None:
            self.beating[place] = self.open(True)
        elif session.asked_at is None:
            try:
                session.ask()
            except OSError as error:
                self.lose(session, errno.errorcode.get(error.errno, "error"))
                self.beating[place] = self.open(True)
        elif time.monotonic() - session.asked_at > ANSWER_SECONDS_MAX:
            self.lose(session, "silence")
            self.beating[place] = self.open(True)

    def listen(self, seconds):
        """Takes whatever comes within this time."""
        for key, _ in self.events.select(seconds):
            connection = key.data
            try:
                ended = connection.hear()
            except OSError as error:
                ended = errno.errorcode.get(error.errno, "error")
            if ended is None:
                continue
            if ended == "done":
                self.served += 1
                connection.close()
            else:
                self.lose(connection, ended)
            if connection.beats:
                self.beating[self.beating.index(connection)] = None
            self.passing.discard(connection)

    def run(self, seconds):
        """Each living session beats once a second; so many new connections come in each second."""
        begin, turns, opened = time.monotonic(), 0, 0
        while (passed := time.monotonic() - begin) < seconds:
            while turns < passed * len(self.beating):
                self.beat(turns % len(self.beating))
                turns += 1
            while opened < passed * self.new_per_second:
                connection = self.open(False)
                opened += 1
                if connection:
                    self.passing.add(connection)
            for connection in [one for one in self.passing if passed - (one.asked_at - begin) > ANSWER_SECONDS_MAX]:
                self.lose(connection, "silence")
                self.passing.discard(connection)
            self.listen(TICK_SECONDS)

    def close(self):
        """Ends all of them, in order."""
        for connection in [*self.passing, *filter(None, self.beating)]:
            connection.close()
