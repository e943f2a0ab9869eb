"""Both ends of transfers that fill a connection in both directions at once, and are checked byte by byte.

    transfer.py serve HOST:PORT                      reads `report` lines, answers each with one line of JSON
    transfer.py send HOST:PORT COUNT AT_ONCE BYTES   prints one line of JSON

Each end sends a head (who it is, where its bytes begin in a block that both ends know, how many there are)
and its bytes, at once and without waiting for the other; then it shuts its direction down and reads on to
the end of the other's. So at the end both ends have half-closed, in no particular order. What an end saw is
one word: `ok`, `truncated`, `reset`, `wrong` (other bytes than were sent), `stuck`, or `refused`.
"""

import json
import random
import select
import socket
import struct
import sys
import threading
import time

HEAD = struct.Struct("!QQQ")
BLOCK_BYTES = 16 << 20
BLOCK = random.Random(0xE7E9E7).randbytes(BLOCK_BYTES)
CHUNK_BYTES = 256 << 10
# Nothing has moved for so long: it will not end any more.
STUCK_SECONDS = 60


def address(text):
    """HOST:PORT as Python has it."""
    host, port = text.rsplit(":", 1)
    return host, int(port)


def check(data, received, offset):
    """Whether these are the bytes that come after so many of those that begin at `offset`."""
    begin = offset + received
    return BLOCK[begin : begin + len(data)] == data


def exchange(end, number, size):
    """Sends and reads to the end of both; returns the word for it, and the other end's number."""
    offset = random.randrange(BLOCK_BYTES - size)
    outgoing = memoryview(HEAD.pack(number, offset, size) + BLOCK[offset : offset + size])
    sent, incoming, head, received, ended = 0, b"", None, 0, False
    poll = select.poll()
    poll.register(end, select.POLLIN | select.POLLOUT)
    while not ended or sent < len(outgoing):
        happened = poll.poll(STUCK_SECONDS * 1000)
        if not happened:
            return "stuck", head and head[0]
        events = happened[0][1]
        try:
            if sent < len(outgoing) and events & ~select.POLLIN:
                sent += end.send(outgoing[sent : sent + CHUNK_BYTES])
                if sent == len(outgoing):
                    end.shutdown(socket.SHUT_WR)
                    poll.modify(end, select.POLLIN)
            if ended or not events & ~select.POLLOUT:
                continue
            data = end.recv(CHUNK_BYTES)
        except BlockingIOError:
            continue
        except OSError:
            return "reset", head and head[0]
        if not data:
            ended = True
            poll.modify(end, select.POLLOUT)
            continue
        if not head:
            incoming += data
            if len(incoming) < HEAD.size:
                continue
            head, data = HEAD.unpack_from(incoming), incoming[HEAD.size :]
        if received + len(data) > head[2] or not check(data, received, head[1]):
            return "wrong", head[0]
        received += len(data)
    if head and received == head[2]:
        return "ok", head[0]
    return "truncated", head and head[0]


def serve(where):
    """Serves until standard input ends."""
    listener = socket.create_server(address(where), backlog=4096)
    seen, living = {}, []
    # What an end has to send is told by the client's number of bytes, which is the same for all.
    size = int(sys.stdin.readline())

    def one(end, number):
        with end:
            end.setblocking(False)
            word, client = exchange(end, number, size)
            if client is not None:
                seen[client] = word

    def accept():
        number = 0
        while True:
            end, _ = listener.accept()
            number += 1
            thread = threading.Thread(target=one, args=(end, number), daemon=True)
            living.append(thread)
            thread.start()

    threading.Thread(target=accept, daemon=True).start()
    print("ready", flush=True)
    for _ in sys.stdin:
        while living:
            living.pop().join()
        print(json.dumps(seen), flush=True)
        seen.clear()


def send(where, count, at_once, size):
    """Makes the transfers, so many at once."""
    seen, numbers, lock = {}, iter(range(count)), threading.Lock()

    def work():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                end = socket.create_connection(address(where), timeout=10)
            except OSError:
                seen[number] = "refused"
                continue
            with end:
                end.setblocking(False)
                seen[number], _ = exchange(end, number, size)

    begin = time.monotonic()
    workers = [threading.Thread(target=work) for _ in range(at_once)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(json.dumps({"seconds": time.monotonic() - begin, "seen": seen}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        send(sys.argv[2], *map(int, sys.argv[3:6]))
