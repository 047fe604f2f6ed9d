"""A small HTTP/1.1 server on httptools, for an engine that must cost little and must be able to misbehave.

One task per request; the task is cancelled the moment its connection is lost. A reply can break off at any byte, which
ASGI servers rightly do not allow.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl

import httptools

PIPELINE_MAX = 16  # requests read ahead on one connection; more are left in the socket
HEADERS_MAX = 100
HEADER_BYTES_MAX = 64 * 1024
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """A request read whole. Header names are lower case; a repeated header keeps its last value."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """What a reply needs of a connection."""

    def write(self, data: bytes) -> None:
        """Send, buffering what the peer has not read."""

    async def drain(self) -> None:
        """Return once the peer has read enough."""

    def abort(self) -> None:
        """Drop the connection without another byte."""


class Reply:
    """The one answer to a request: either `whole`, or `start`, any number of `event`, and `end`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.started = False

    def whole(
        self, status: int, body: bytes, content_type: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> None:
        """A complete answer in one write."""
        self.promise(status, len(body), content_type, headers, body)

    def promise(self, status: int, length: int, content_type: str, headers: Mapping[str, str] | None, body: bytes) -> None:
        """Headers that announce `length` bytes, and `body`, which may be shorter when the reply is to break off."""
        self.started = True
        extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"content-type: {content_type}\r\ncontent-length: {length}\r\n{extra}\r\n"
        self._transport.write(STATUS_LINES[status] + head.encode("latin-1") + body)

    def start(self) -> None:
        """Begin a stream of server-sent events."""
        self.started = True
        head = b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        self._transport.write(STATUS_LINES[200] + head)

    def event(self, data: bytes) -> None:
        """One piece of the stream, as it stands."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def drain(self) -> None:
        """Wait while the client is not reading."""
        await self._transport.drain()

    def end(self) -> None:
        """A clean end of the stream."""
        self._transport.write(b"0\r\n\r\n")

    def abort(self) -> None:
        """Break off here."""
        self._transport.abort()


Handler = Callable[[Request, Reply], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client connection: parses, runs one request at a time, in order."""

    def __init__(self, handler: Handler, connections: set["Connection"], *, body_bytes_max: int, keep_alive_s: float) -> None:
        self._handler = handler
        self._connections = connections
        self._body_bytes_max = body_bytes_max
        self._keep_alive_s = keep_alive_s
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closing = False
        self.task: asyncio.Task[None] | None = None

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods without the base class
        self._connections.add(self)
        self._begin_message()
        self._idle = self._loop.call_later(self._keep_alive_s, self._transport.close)

    def connection_lost(self, _: Exception | None) -> None:
        self._connections.discard(self)
        self._idle.cancel()
        self._waiting.clear()
        self._writable.set()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(400)

    # -- httptools' side

    def on_message_begin(self) -> None:
        self._begin_message()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if len(self._headers) >= HEADERS_MAX or self._header_bytes > HEADER_BYTES_MAX:
            self._refuse(431)
        else:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > self._body_bytes_max:
            self._refuse(413)

    def on_message_complete(self) -> None:
        if self._closing:
            return
        url = httptools.parse_url(bytes(self._url))
        request = Request(
            method=self._parser.get_method().decode("ascii"),
            path=url.path.decode("utf-8"),
            query=dict(parse_qsl(url.query.decode("utf-8"))) if url.query else {},
            headers=self._headers,
            body=bytes(self._body),
        )
        self._waiting.append((request, self._parser.should_keep_alive()))
        if len(self._waiting) >= PIPELINE_MAX:
            self._transport.pause_reading()
        if self.task is None:
            self._next()

    # -- one request after the other

    def _begin_message(self) -> None:
        self._url = bytearray()
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body = bytearray()

    def _next(self) -> None:
        self._idle.cancel()
        request, keep_alive = self._waiting.popleft()
        if not self._transport.is_reading():
            self._transport.resume_reading()
        self.task = self._loop.create_task(self._run(request, keep_alive))

    async def _run(self, request: Request, keep_alive: bool) -> None:
        try:
            await self._handler(request, Reply(self))
        except Exception as error:  # noqa: BLE001  the edge of the process: a defect ends this connection, not the engine
            self._closing = True
            self._loop.call_exception_handler({"message": "request handler failed", "exception": error})
        finally:
            self.task = None
            if self._closing or not keep_alive:
                self._transport.close()
            elif self._waiting:
                self._next()
            else:
                self._idle = self._loop.call_later(self._keep_alive_s, self._transport.close)

    def _refuse(self, status: int) -> None:
        """Answer what is no usable request, and close."""
        if not self._closing:
            self._closing = True
            self._transport.write(STATUS_LINES[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self._transport.close()

    # -- the reply's side

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    async def drain(self) -> None:
        await self._writable.wait()

    def abort(self) -> None:
        self._closing = True
        # close, not abort: what was already said still reaches the client, as from an engine that died just then.
        self._transport.close()

    def finish(self) -> None:
        """Close now if idle, else after the running request."""
        self._closing = True
        if self.task is None:
            self._transport.close()


class Server:
    """Listens until `stop`. Use `await Server.listen(...)`."""

    def __init__(self, server: asyncio.Server, connections: set[Connection]) -> None:
        self._server = server
        self._connections = connections
        self.port: int = server.sockets[0].getsockname()[1]

    @classmethod
    async def listen(cls, handler: Handler, *, host: str, port: int, body_bytes_max: int, keep_alive_s: float) -> "Server":
        """Port 0 takes a free one; `port` says which. Raises: OSError: the address cannot be had."""
        connections: set[Connection] = set()
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(handler, connections, body_bytes_max=body_bytes_max, keep_alive_s=keep_alive_s),
            host,
            port,
            backlog=2048,
        )
        return cls(server, connections)

    async def stop(self, grace_s: float) -> None:
        """Take no more; give running requests `grace_s` seconds, then cancel them."""
        self._server.close()
        for connection in list(self._connections):
            connection.finish()
        running = [connection.task for connection in self._connections if connection.task is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
