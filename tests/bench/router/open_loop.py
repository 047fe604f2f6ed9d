"""Requests at a fixed rate, whatever comes back: `python -m tests.bench.router.open_loop PORT RATE SECONDS REQUEST`.

A timer of the kernel says when each request is due, and its latency counts from then, not from when it was sent: a server (or
this client) that stalls is charged for every request that had to wait meanwhile. Prints one line of JSON: see `LatencyResult`.
"""

import ctypes
import gc
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.bench.router.figures import quantile

WARM_S = 0.5  # connections open and caches fill; these requests are sent and counted, but not in the latencies
CONNECTIONS, CONNECTIONS_MAX = 16, 1024
PATIENCE_S = 10.0
_ABSOLUTE, _NONBLOCK = 1, 0o4000


class LatencyResult(msgspec.Struct, frozen=True):
    """From when a request was due to the last byte of its answer, in milliseconds."""

    answered: int
    failed: int
    p50_ms: float
    p99_ms: float
    p999_ms: float

    @classmethod
    def of(cls, latencies_ms: Sequence[float], *, answered: int, failed: int) -> "LatencyResult":
        """Their quantiles; what was answered while the load warmed up has no latency."""
        p50_ms, p99_ms, p999_ms = (quantile(latencies_ms, share) for share in (0.5, 0.99, 0.999))
        return cls(answered, failed, p50_ms, p99_ms, p999_ms)


def answer_bytes(received: bytes) -> int | None:
    """Length of the answer that begins here, head and body; None while that is not known.

    Raises: ValueError: it is not 200 or has no content-length.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[:end].lower()
    if not head.startswith(b"http/1.1 200"):
        raise ValueError(received[:200].decode(errors="replace"))
    at = head.find(b"content-length:")
    if at < 0:
        raise ValueError("an answer without content-length")
    return end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])


class Timer:
    """The kernel's timer: exact to microseconds, where an event loop's is to a millisecond."""

    def __init__(self, first_ns: int, interval_ns: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.timerfd_create(time.CLOCK_MONOTONIC, _NONBLOCK)
        when = struct.pack("llll", *divmod(interval_ns, 10**9), *divmod(first_ns, 10**9))
        if self.fd < 0 or libc.timerfd_settime(self.fd, _ABSOLUTE, when, None):
            raise OSError(ctypes.get_errno(), "timerfd")

    def due(self) -> int:
        """How many have become due since the last call."""
        return int(struct.unpack("Q", os.read(self.fd, 8))[0])

    def close(self) -> None:
        os.close(self.fd)


class Client:
    """All connections of the load."""

    def __init__(self, port: int, request: bytes) -> None:
        self.port, self.request = port, request
        self.epoll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.idle: list[int] = []
        self.under_way: dict[int, tuple[int, bytes]] = {}  # socket -> (due, received so far)
        self.taken: list[tuple[int, int]] = []  # (due, latency) in nanoseconds
        self.failures: list[str] = []

    def connect(self) -> None:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        self.sockets[made.fileno()] = made
        self.epoll.register(made.fileno(), select.EPOLLIN)
        self.idle.append(made.fileno())

    def ask(self, due_ns: int) -> None:
        if not self.idle:
            if len(self.sockets) >= CONNECTIONS_MAX:
                self.failures.append(f"{CONNECTIONS_MAX} connections are under way")
                return
            self.connect()
        fd = self.idle.pop()
        self.under_way[fd] = (due_ns, b"")
        try:
            self.sockets[fd].send(self.request)
        except OSError as error:
            self.drop(fd, str(error))

    def receive(self, fd: int) -> None:
        try:
            data = self.sockets[fd].recv(65536)
        except OSError as error:
            self.drop(fd, str(error))
            return
        if fd not in self.under_way or not data:
            self.drop(fd, "the connection ended")
            return
        due_ns, received = self.under_way[fd]
        received += data
        try:
            length = answer_bytes(received)
        except ValueError as error:
            self.drop(fd, str(error))
            return
        if length is None or len(received) < length:
            self.under_way[fd] = (due_ns, received)
            return
        self.taken.append((due_ns, time.monotonic_ns() - due_ns))
        del self.under_way[fd]
        self.idle.append(fd)

    def drop(self, fd: int, why: str) -> None:
        """Close a connection; a failure where an answer was due on it."""
        self.epoll.unregister(fd)
        self.sockets.pop(fd).close()
        if self.under_way.pop(fd, None) is not None:
            self.failures.append(why)
        elif fd in self.idle:
            self.idle.remove(fd)

    def close(self) -> None:
        self.epoll.close()
        for one in self.sockets.values():
            one.close()


def load(port: int, rate: float, seconds: float, request: bytes) -> LatencyResult:
    """Send `rate` requests a second for some seconds, at even intervals, and wait for their answers."""
    client = Client(port, request)
    for _ in range(CONNECTIONS):
        client.connect()
    interval_ns, sent, total = round(1e9 / rate), 0, round(rate * (seconds + WARM_S))
    first_ns = time.monotonic_ns() + 10_000_000
    timer = Timer(first_ns, interval_ns)
    client.epoll.register(timer.fd, select.EPOLLIN)
    deadline_ns = first_ns + round((seconds + WARM_S + PATIENCE_S) * 1e9)
    gc.disable()
    while sent < total or client.under_way:
        if time.monotonic_ns() > deadline_ns:
            client.failures += ["no answer in time"] * len(client.under_way)
            break
        for fd, _ in client.epoll.poll(1):
            if fd != timer.fd:
                client.receive(fd)
                continue
            for _ in range(timer.due()):
                if sent < total:
                    client.ask(first_ns + sent * interval_ns)
                    sent += 1
    gc.enable()
    timer.close()
    client.close()
    warm_ns = first_ns + round(WARM_S * 1e9)
    latencies_ms = [taken_ns / 1e6 for due_ns, taken_ns in client.taken if due_ns >= warm_ns]
    if client.failures:
        print(client.failures[:3], file=sys.stderr)
    return LatencyResult.of(latencies_ms, answered=len(client.taken), failed=len(client.failures))


if __name__ == "__main__":
    result = load(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]).read_bytes())
    print(msgspec.json.encode(result).decode())
