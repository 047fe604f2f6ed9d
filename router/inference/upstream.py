"""Calls to engines: HTTP/1.1 over kept-alive connections, parsed by httptools, bounded in memory and in time.

A general HTTP client costs several times what the rest of a request costs (decision 0003). This one does what a router
needs: one request at a time on a connection, bytes handed on as they come, back-pressure to the engine, and four limits
of time watched by one sweep for all connections instead of a timer for each.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

from warehouse.base.errors import EngineFailed, EngineTimedOut, InferhouseError

BUFFER_BYTES_MAX = 256 * 1024  # read ahead of a slow client; above it the engine is made to wait
HEADERS_MAX = 100
IDLE_S_MAX = 4.0  # uvicorn, and so vLLM, closes a connection that was idle for 5 s
SWEEP_S = 0.1  # how late a time limit may be noticed
EXPECTED_REFUSALS = (OSError, TimeoutError)


def _now_s() -> float:
    """Seconds on the event loop's own clock, which the sweep compares with."""
    return asyncio.get_running_loop().time()


class EngineUnreachable(InferhouseError):
    """No connection to the engine: it has not seen the request, another one may be asked."""

    status, code = 503, "engine_unreachable"


class EngineFull(InferhouseError):
    """Every connection that the engine may have is in use: it is busy, not ill."""

    status, code = 503, "engine_full"


class EngineHungUp(EngineFailed):
    """The engine closed the connection before the answer was whole."""

    code = "engine_hung_up"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The four limits, in seconds."""

    connect_s: float
    first_token_s: float
    between_tokens_s: float
    total_s: float


@dataclass(slots=True)
class AnswerHead:
    """Status line and headers of an answer; header names in lower case."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)


class EngineConnection(asyncio.Protocol):
    """One connection; between `send` and the end of the answer it belongs to one request."""

    def __init__(self, pool: "EnginePool") -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._head_done = False
        self.ended = False
        self._reusable = False
        self.head = AnswerHead()
        self.deadline_s = float("inf")
        self.total_deadline_s = float("inf")
        self.reused = False
        self.idle_since_s = 0.0

    # asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, AttributeError) as error:
            # AttributeError: bytes that nobody asked for, before the first request.
            self.fail(EngineFailed(f"the engine's answer is no HTTP: {error}"))
            return
        if self._buffered > BUFFER_BYTES_MAX and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._transport = None
        self._pool.lost(self)
        if not self.ended:
            self._error = self._error or EngineHungUp("the engine closed the connection before its answer was whole")
        self._wake()

    # httptools' calls

    def on_status(self, status: bytes) -> None:
        pass

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.head.headers) >= HEADERS_MAX:
            raise httptools.HttpParserError(f"more than {HEADERS_MAX} headers")
        self.head.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.head.status = self._parser.get_status_code()
        self._head_done = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self.head.status >= 200:
            self.ended = True
            self._reusable = self._parser.should_keep_alive()
        else:  # 100 Continue and its like come before the answer
            self.head, self._head_done = AnswerHead(), False

    # the request's calls

    def send(self, request: bytes, timeouts: Timeouts) -> None:
        """Send a whole request; the answer is then read with `answer_head` and `read`."""
        if self._transport is None:
            raise EngineHungUp("the engine closed the connection")
        self._parser = httptools.HttpResponseParser(self)
        self._error, self._chunks, self._buffered = None, [], 0
        self._head_done = self.ended = False
        self.head = AnswerHead()
        now = _now_s()
        self.total_deadline_s = now + timeouts.total_s
        self.deadline_s = min(now + timeouts.first_token_s, self.total_deadline_s)
        self._transport.write(request)

    async def answer_head(self) -> AnswerHead:
        """Status and headers. Raises: EngineHungUp, EngineFailed, EngineTimedOut, and what `fail` was given."""
        while not self._head_done:
            await self._wait()
        return self.head

    async def read(self, between_s: float) -> bytes:
        """The next bytes of the body, or b"" at its end. Raises: as `answer_head`.

        Args: between_s: how long the engine may be silent after these.
        """
        while not self._chunks:
            if self.ended:
                self.deadline_s = float("inf")
                return b""
            await self._wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks, self._buffered = [], 0
        self.deadline_s = min(_now_s() + between_s, self.total_deadline_s)
        if self._paused and self._transport:
            self._paused = False
            self._transport.resume_reading()
        return data

    def fail(self, error: BaseException) -> None:
        """End the request with an error that the reader gets; the engine notices, because the connection is closed."""
        self._error = self._error or error
        self.abandon()
        self._wake()

    def close(self) -> None:
        """The request is over: keep the connection for the next one if the answer was read whole, otherwise abort it."""
        self.deadline_s = self.total_deadline_s = float("inf")
        if self.ended and self._reusable and self._error is None and self._transport:
            self._pool.keep(self)
        else:
            self.abandon()

    def abandon(self) -> None:
        """Close the connection without a word; an engine that is still working on the answer stops."""
        if self._transport:
            self._transport.abort()

    @property
    def open(self) -> bool:
        """Whether the connection can carry another request."""
        return self._transport is not None and not self._transport.is_closing()

    async def _wait(self) -> None:
        self._raise_if_failed()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if not self._chunks and not self.ended:
            self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class EnginePool:
    """Connections to one engine, at most `connections_max`; those that are idle are used last in, first out."""

    def __init__(self, base_url: str, *, connections_max: int, timeouts: Timeouts) -> None:
        url = urlsplit(base_url)
        self._host, self._port = url.hostname or "127.0.0.1", url.port or (443 if url.scheme == "https" else 80)
        self._tls = url.scheme == "https"
        self.authority = url.netloc.encode()
        self._connections_max, self.timeouts = connections_max, timeouts
        self._idle: list[EngineConnection] = []
        self.connections: set[EngineConnection] = set()
        self.in_flight = 0

    async def acquire(self, *, fresh: bool = False, probe: bool = False) -> EngineConnection:
        """A connection that nobody uses.

        Args:
            fresh: not one that was used before.
            probe: beyond the bound if need be, because a full engine must still be asked whether it is well.
        Raises: EngineUnreachable: refused, or too slow to connect.  EngineFull: at the bound.
        """
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.open and _now_s() - connection.idle_since_s < IDLE_S_MAX:
                connection.reused = True
                return connection
            connection.abandon()
        if len(self.connections) >= self._connections_max and not probe:
            raise EngineFull(f"all {self._connections_max} connections to the engine are in use")
        connection = EngineConnection(self)
        self.connections.add(connection)
        try:
            async with asyncio.timeout(self.timeouts.connect_s):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, self._host, self._port, ssl=self._tls or None
                )
        except EXPECTED_REFUSALS as error:
            raise EngineUnreachable(f"the engine cannot be reached: {error or 'it took too long'}") from error
        finally:
            if not connection.open:
                self.connections.discard(connection)
        return connection

    def keep(self, connection: EngineConnection) -> None:
        """The connection is free again; one beyond the bound is closed."""
        if len(self.connections) > self._connections_max:
            connection.abandon()
            return
        connection.idle_since_s = _now_s()
        self._idle.append(connection)

    def lost(self, connection: EngineConnection) -> None:
        """The connection is closed."""
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now_s: float) -> None:
        """End the requests whose time is up, and the connections that have been idle for too long."""
        for connection in list(self.connections):
            if now_s >= connection.deadline_s:
                what = "the whole call" if now_s >= connection.total_deadline_s else "the next token"
                connection.fail(EngineTimedOut(f"the engine took too long for {what}"))
        while self._idle and now_s - self._idle[0].idle_since_s >= IDLE_S_MAX:
            self._idle.pop(0).abandon()

    def close(self) -> None:
        """Abort everything."""
        for connection in list(self.connections):
            connection.fail(EngineHungUp("the router is stopping"))


def post_bytes(pool: EnginePool, path: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """A POST of JSON, as it goes over the wire."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return (
        b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n"
        b"%bcontent-length: %d\r\n\r\n" % (path, pool.authority, lines, len(body))
    ) + body


def get_bytes(pool: EnginePool, path: bytes) -> bytes:
    """A GET, as it goes over the wire."""
    return b"GET %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (path, pool.authority)
