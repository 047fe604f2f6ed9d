"""The HTTP/1.1 side of the metered paths: a request without ASGI in between, bounded from its first byte to its last.

uvicorn's own protocol serves everything else on the same connections. What differs here: a request is started when its body
is whole, an answer is one write, the pieces of a stream go from the engine's socket to the client's without waking a task,
and whoever sends slowly, sends too much or does not read is ended (decision 0050).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, cast
from urllib.parse import unquote_to_bytes

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from router.inference.chunked import SIZE_LINES
from router.inference.heads import KnownHead, by_name, has_host
from router.inference.responses import error_headers, header_lines, id_header
from router.inference.untaken import untaken_bytes
from router.listening import let_in
from warehouse.base import requests
from warehouse.base.errors import BodyTooLarge, InferhouseError, InvalidRequest

_LOG = logging.getLogger(__name__)
HEADERS_MAX = 100
HEADER_BYTES_MAX = 64 * 1024  # request line and headers; and what follows them without a byte of a body in it
AHEAD_BYTES_MAX = 64 * 1024  # of further requests while one is answered; a client that leaves is noticed only while it is read
TAKEN_BYTES_MIN = 64 * 1024  # of its answer in ROUTER_STALL_S_MAX, where it waits; who takes less holds a connection for nothing
LINGER_S, FIRST_LINGER_S = 0.3, 2.0  # from the word to stop to the end of connections at rest, and of those without a request yet

_NOT_PLAIN = (b"transfer-encoding", b"expect", b"upgrade")
_CLOSING = b"connection: close\r\n"
_JSON = b"content-type: application/json\r\n"
_STREAM = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"x-accel-buffering: no\r\n"  # proxies of nginx's kind would hold tokens back
)


class HeadersTooLarge(InferhouseError):
    """Request line and headers are over the limit; nothing was read further."""

    status, code, type = 431, "headers_too_large", "invalid_request_error"


class RequestTimedOut(InferhouseError):
    """The request was not whole in time; nothing of it was used."""

    status, code, type = 408, "request_timed_out", "invalid_request_error"


class Pausable(Protocol):
    """Where the pieces of a stream come from."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class ClientCall:
    """One request of a client, whole, and the way its answer goes."""

    # What most requests leave as it is stands in the class: an object of its own that is hardly written costs little.
    status = 0
    refusal: InferhouseError | None = None
    """Why the body was not kept, or is not whole."""
    on_gone: Callable[[], None] | None = None
    source: Pausable | None = None
    response_complete = False
    disconnected = False
    keep_alive = True
    queued = False
    received = False
    _started = False
    _chunked = True
    _size = 0
    _parts: bytes | bytearray = b""
    """The body so far. One buffer, as an object for each of a million chunks would take many times what it holds."""
    id_line = b""
    """The request's id as a header, for engine and client."""
    _task: asyncio.Task[None]

    def __init__(
        self, protocol: "InferenceProtocol", headers: Mapping[bytes, bytes], endpoint: "Endpoint", body: bytes = b""
    ) -> None:
        self._protocol, self._transport, self.endpoint = protocol, protocol.transport, endpoint
        self.headers, self.body = headers, body

    # what uvicorn's protocol expects of the thing that answers

    @property
    def message_event(self) -> "ClientCall":
        return self

    def set(self) -> None:
        """The connection is gone."""
        if self.disconnected and self.on_gone is not None and not self.response_complete:
            self.on_gone()

    # the request

    @property
    def is_plain(self) -> bool:
        """Of HTTP/1.1, on a connection that stays, and with nothing in its head that asks for more than an answer."""
        return self.keep_alive and self._chunked and self.headers.keys().isdisjoint(_NOT_PLAIN)

    def address_scope(self) -> Mapping[str, Any]:
        """What ASGI calls scope, as far as it tells where the request comes from."""
        return {"client": self._protocol.client, "headers": self.headers.items()}

    def take(self, data: bytes) -> None:
        """A piece of the body."""
        self._size += len(data)
        if self.refusal is not None:
            return
        if self._size > self.endpoint.body_bytes_max:
            self.refuse(_body_too_large(self.endpoint.body_bytes_max))
        elif not self._parts:
            self._parts = data  # as most bodies come: all of it
        else:
            if isinstance(self._parts, bytes):
                self._parts = bytearray(self._parts)
            self._parts += data

    def refuse(self, error: InferhouseError) -> None:
        """The answer does not wait for the body, of which nothing is kept: whose request it is, is known by its head."""
        self.refusal, self._parts = error, b""
        self.go(queued=True, received=True)

    def go(self, *, queued: bool = False, received: bool = False) -> None:
        """Start, once: when the body is whole and nobody's answer is before this one's."""
        self.queued &= queued
        self.received |= received
        if self.received and not self.queued and not self._started:
            self._started = True
            self.body, self._parts = bytes(self._parts), b""
            self.start()

    def start(self) -> None:
        """Have it answered. Only for who made it with its whole body; otherwise `go` calls it."""
        protocol = self._protocol
        self._task = protocol.loop.create_task(self._run())
        protocol.tasks.add(self._task)  # uvicorn waits for these when it stops, and cancels them when it must

    async def _run(self) -> None:
        try:
            await self.endpoint.serve(self)
        except Exception:  # noqa: BLE001 - the edge of the process
            _LOG.exception("a request of the inference API failed")
            self._transport.close()
        finally:
            self._protocol.tasks.discard(self._task)

    # the answer

    def answer(self, status: int, body: bytes, headers: bytes) -> None:
        """A whole answer in JSON. Args: headers: lines, each with its end."""
        self.status = status
        if not self.disconnected:
            closing = b"" if self.keep_alive else _CLOSING
            self._transport.write(
                b"%b%b%bcontent-length: %d\r\n%b%b\r\n%b"
                % (STATUS_LINE[status], _JSON, headers, len(body), self._protocol.date(), closing, body)
            )
        self._complete()

    def begin_stream(self, headers: bytes, first: bytes) -> None:
        """Status and headers of a stream, with its first piece. Args: headers: as above."""
        self.status = 200
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        closing = b"" if self.keep_alive else _CLOSING
        head = b"%b%b%b%b%b%b\r\n" % (STATUS_LINE[200], _STREAM, headers, framing, self._protocol.date(), closing)
        if not self.disconnected:
            self._transport.write(head + self._framed(first))

    @property
    def write_chunk(self) -> Callable[[bytes], None] | None:
        """What takes a further piece of the stream that is a chunk already; None: this client knows no chunks."""
        return self._transport.write if self._chunked else None

    def write(self, data: bytes) -> None:
        """A further piece of the stream."""
        if self.disconnected:
            return
        size = SIZE_LINES.get(len(data)) if self._chunked else None
        self._transport.write(self._framed(data) if size is None else size + data + b"\r\n")

    def end(self, data: bytes) -> None:
        """The last piece."""
        if not self.disconnected:
            self._transport.write(self._framed(data) + b"0\r\n\r\n" if self._chunked else data)
        self._complete()

    def abort(self) -> None:
        """Nothing more, and no good end."""
        self._transport.abort()

    def speaks(self, version: str) -> None:
        """HTTP/1.0 knows no chunks and keeps no connection."""
        if version == "1.0":
            self._chunked = self.keep_alive = False

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data

    def _complete(self) -> None:
        self.response_complete, self.source, self.on_gone = True, None, None
        if not self.keep_alive:
            self._transport.close()
        self._protocol.on_response_complete()


class Endpoint(Protocol):
    """What serves a metered path."""

    body_bytes_max: int

    serve: Callable[[ClientCall], Awaitable[None]]


class Served(Protocol):
    """The application, as far as this module knows it."""

    endpoints: Mapping[bytes, Endpoint]
    receive_s_max: float
    stall_s_max: float


class InferenceProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the metered paths taken out. One instance a connection."""

    # Of all connections; one sweep instead of a timer for each.
    waiting: dict["InferenceProtocol", float] = {}  # noqa: RUF012 - {from whom a whole request must come: until when}
    stalled: dict["InferenceProtocol", tuple[float, int]] = {}  # noqa: RUF012 - {whose answer waits: (until when, its bytes)}
    _date: tuple[object, bytes] = (None, b"")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        app = cast("Served", self.app)
        self._endpoints, self._receive_s_max, self._stall_s_max = app.endpoints, app.receive_s_max, app.stall_s_max
        self._call: ClientCall | None = None
        """The newest request, where it is one of a metered path."""
        self._first: Any = None
        """What is being answered, where other requests wait behind it."""
        self._known: tuple[KnownHead, Mapping[bytes, bytes], Endpoint] | None = None
        """The newest head that the parser has read, where it was a plain one of a metered path."""
        self._held = b""
        """That head again, and not yet all of its body."""
        self._head_bytes = self._read_bytes = self._ahead_bytes = 0
        self._in_request = self._in_head = self._is_bare = False
        self._is_untaken = False
        """The last answer waits for its client to take it, and the next request for that."""
        self._ending = False
        """The process stops: the next answer on this connection is its last."""
        self._began_s = 0.0
        """When the request began that is not whole yet, on the loop's clock."""

    # asyncio's calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.waiting[self] = self.loop.time() + self._receive_s_max
        line = transport.get_extra_info("socket")
        if line is not None:
            let_in(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self.waiting.pop(self, None)
        self.stalled.pop(self, None)
        first = self._first
        if first is not None and not first.response_complete:  # uvicorn tells the newest one only
            first.disconnected = True
            first.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._known is not None:
            if self._held:
                data, self._in_request = self._held + data, False
            if not self._in_request and self._comes_again(data, *self._known):
                return
            self._held = b""
        self._read_bytes, is_first, self._is_bare = len(data), not self._in_request, True
        self._feed(data)
        if self.pipeline:
            self._ahead_bytes += len(data)
            if self._ahead_bytes > AHEAD_BYTES_MAX:
                self.flow.pause_reading()
        if not self._in_request:
            self._began_s = 0.0
            if self.cycle is None or self.cycle.response_complete:  # it was answered before it was whole, or there was none
                self.waiting[self] = self.loop.time() + self.timeout_keep_alive
            else:
                self.waiting.pop(self, None)
            if is_first:
                self._learn(data)
            return
        if not self._began_s:
            self._began_s = self.loop.time()
            self.waiting[self] = self._began_s + self._receive_s_max
        if self._is_bare:  # of a head, of trailers, or of what else may stand beside a body
            self._head_bytes += len(data)
            if self._head_bytes > HEADER_BYTES_MAX:
                self._refuse(_headers_too_large())

    def _feed(self, data: bytes) -> None:
        """Have the parser read it, again without the wish for another protocol where there is one: RFC 9110 lets us decline."""
        pieces: list[bytes | memoryview] = [data]
        while pieces:
            piece = pieces.pop()
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                if self.parser.get_method() == b"CONNECT":
                    self._refuse(InvalidRequest("this server is no proxy: there is nothing to connect to"))
                    return
                pieces += [memoryview(piece)[upgrade.args[0] :], self._declined()]
            except httptools.HttpParserError as error:
                cause = error.__context__
                self._refuse(cause if isinstance(cause, InferhouseError) else InvalidRequest("the request is no valid HTTP/1.1"))
                return

    def _declined(self) -> bytes:
        """The head that was read, without `upgrade`, for a new parser: the old one takes what follows for another protocol."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(lines))

    def _comes_again(self, data: bytes, head: KnownHead, headers: Mapping[bytes, bytes], endpoint: Endpoint) -> bool:
        """Start the request in these bytes if it is whole and its head is the one before: the parser has no part in it.

        Where only the end of the body is missing they are held, once; then too nothing is left to do with them.
        """
        before = self.cycle
        if before is not None and not before.response_complete:
            return False  # pipelined
        body = head.body_of(data)
        if body is None or len(body) > endpoint.body_bytes_max:
            return not self._held and self._hold(data, head, endpoint.body_bytes_max)
        self._held = b""
        self._began_s = 0.0
        self.waiting.pop(self, None)
        self._call = call = ClientCall(self, headers, endpoint, body)
        if self._ending:
            call.keep_alive = False
        self.cycle = call  # type: ignore[assignment]  # as in `on_headers_complete`
        call.start()
        return True

    def _hold(self, data: bytes, head: KnownHead, body_bytes_max: int) -> bool:
        if not head.is_begun_by(data, body_bytes_max):
            return False
        self._held, self._in_request, self._call = data, True, None
        self._began_s = self.loop.time()
        self.waiting[self] = self._began_s + self._receive_s_max
        return True

    def _learn(self, data: bytes) -> None:
        """Remember the head of the request that was parsed, if these bytes are that request and nothing else."""
        call = self._call
        if call is None or not call.is_plain:
            self._known = None
        elif (known := KnownHead.of(data, len(call.body))) is not None:
            self._known = known, call.headers, call.endpoint

    def pause_writing(self) -> None:
        super().pause_writing()
        self._note_stalled()
        if (source := self._source()) is not None:
            source.pause()

    def _note_stalled(self) -> None:
        self.stalled[self] = self.loop.time() + self._stall_s_max, untaken_bytes(self.transport)

    def look_at_stalled(self, now_s: float) -> None:
        """A client that has taken enough of what waits for it has its time anew."""
        until_s, bytes_before = self.stalled[self]
        if untaken_bytes(self.transport) <= bytes_before - TAKEN_BYTES_MIN:
            self._note_stalled()
        elif until_s < now_s:
            self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled.pop(self, None)
        if self._is_untaken:
            self._is_untaken = False
            self._go_on()
        elif (source := self._source()) is not None:
            source.resume()

    def _source(self) -> Pausable | None:
        """Where the pieces of the answer come from that is under way."""
        call = self.cycle if self._first is None else self._first
        return call.source if isinstance(call, ClientCall) else None

    # httptools' calls

    def on_message_begin(self) -> None:
        self._in_request = self._in_head = True
        self._head_bytes, self._call = 0, None
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= HEADERS_MAX:
            raise _headers_too_large()
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._is_bare = False
        if self.parser.should_upgrade():
            return  # read again without it
        if self._head_bytes + self._read_bytes > HEADER_BYTES_MAX and _size(self.url, self.headers) > HEADER_BYTES_MAX:
            raise _headers_too_large()
        if not has_host([name for name, _ in self.headers], self.parser.get_http_version()):
            raise InvalidRequest("a request has one Host header: this one has none, or several")
        self._head_bytes = 0
        endpoint = self._endpoint() if self.parser.get_method() == b"POST" else None
        before = self.cycle
        if before is not None and not before.response_complete and self._first is None:
            self._first = before
        if endpoint is None:
            self._hand_to_asgi()
        else:
            self._begin(endpoint)
        self._in_head = False

    def _begin(self, endpoint: Endpoint) -> None:
        headers = by_name(self.headers)
        call = ClientCall(self, headers, endpoint)
        if self._ending or not self.parser.should_keep_alive():
            call.keep_alive = False
        version = self.parser.get_http_version()
        call.speaks(version)
        self._call = call
        self.cycle = call  # type: ignore[assignment]  # it has what uvicorn uses of a cycle
        if self._first is not None:
            call.queued = True
            self.pipeline.appendleft((call, None))  # type: ignore[arg-type]
        if int(headers.get(b"content-length", b"0")) > endpoint.body_bytes_max:
            call.keep_alive &= b"expect" not in headers  # else its body may never come, and the next request is not it
            call.refuse(_body_too_large(endpoint.body_bytes_max))
        elif b"expect" in headers and version != "1.0" and not call.queued:  # which has no such answers (RFC 9110, 10.1.1)
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _endpoint(self) -> Endpoint | None:
        """Of the path, in whichever form RFC 9112 and RFC 3986 let it be written."""
        path = self.url.partition(b"?")[0]
        if path[:1] != b"/" or b"%" in path or b"#" in path:
            path = unquote_to_bytes(httptools.parse_url(self.url).path or b"")
        return self._endpoints.get(path)

    def on_body(self, body: bytes) -> None:
        self._is_bare, self._head_bytes = False, 0
        if self._call is not None:
            self._call.take(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_request = self._is_bare = False
        if self._call is not None:
            self._call.go(queued=True, received=True)
        else:
            super().on_message_complete()

    # uvicorn's calls

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, ClientCall):  # it waited behind another answer
            cycle.go()
        else:
            super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """A connection at rest is left open for a moment: a request may be on its way, which a close would cut off."""
        self._ending = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif not self._in_request:
            self.loop.call_later(FIRST_LINGER_S if self.cycle is None else LINGER_S, self._close_at_rest)

    def _close_at_rest(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not self._in_request:
            self.transport.close()

    def on_response_complete(self) -> None:
        """As uvicorn's, with a place in the sweep's list instead of a timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._ending and not self.pipeline:
            self.transport.close()
            return
        self._first = None
        if self.flow.write_paused:  # else the answers to requests that were sent ahead pile up
            self._is_untaken = True
            self.flow.pause_reading()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """To the next request on this connection, or to wait for one."""
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._ahead_bytes = 0
            cycle, app = self.pipeline.pop()
            if self.pipeline:
                self._first = cycle
            self._start_asgi_task(cycle, app)
        elif not self._in_request:
            self.waiting[self] = self.loop.time() + self.timeout_keep_alive

    def date(self) -> bytes:
        """The headers that uvicorn adds to every answer; it makes a new list of them each second."""
        headers = self.server_state.default_headers
        known, lines = InferenceProtocol._date
        if known is not headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            InferenceProtocol._date = headers, lines
        return lines

    def end_slow_request(self) -> None:
        """Its time is up; a connection on which nothing was sent yet is closed without a word."""
        if not self._in_request:
            self.transport.close()
        elif self.flow.read_paused:  # it is this side that does not read
            self.waiting[self] = self.loop.time() + self._receive_s_max
        else:
            held, self._held = self._held, b""
            if held:  # whose request it is, the parser finds out
                self._feed(held)
            self._refuse(RequestTimedOut(f"the request was not whole {self._receive_s_max:g} s after it began"))

    def _hand_to_asgi(self) -> None:
        self._call = None
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url, self.headers[:] = url, headers
        expects = dict(headers).get(b"expect", b"").lower() == b"100-continue"
        self.expect_100_continue = expects and self.parser.get_http_version() != "1.0"
        super().on_headers_complete()
        self.cycle.keep_alive &= not expects  # as in `_begin`
        self.headers = headers  # not the application's: what comes behind the body is no header (RFC 9110, 6.5.1)

    def _refuse(self, error: InferhouseError) -> None:
        """What is no request, or not a whole one, is the last on its connection: nothing more is read of it.

        Its answer comes after those that are under way; where its head has been read, from the endpoint, which knows whose it is.
        """
        call, last, is_known = self._call, self.cycle, self._in_request and not self._in_head
        self._in_request, self._known, self._call, self.parser = False, None, None, cast("httptools.HttpRequestParser", _Deaf())
        self.waiting.pop(self, None)
        if self.transport.is_closing():
            return
        if is_known and call is None and self.pipeline:  # of the management API, behind others: it is forgotten
            self.pipeline.popleft()
            self.cycle = last = self.pipeline[0][0] if self.pipeline else self._first
            is_known = False
        if last is not None and not last.response_complete and (call is not None or not is_known):
            last.keep_alive = False
            if is_known and call is not None:
                call.refuse(error)
            return
        if not is_known or (call is None and not last.response_started):
            self._say(error)
        self.transport.close()

    def _say(self, error: InferhouseError) -> None:
        """An error of nobody's request, and the end of the connection."""
        id_ = str(requests.begin())
        body, lines = orjson.dumps(error.envelope(id_)), header_lines([id_header(id_), *error_headers(error)])
        head = (STATUS_LINE[error.status], _JSON, lines, len(body), self.date(), _CLOSING)
        self.transport.write(b"%b%b%bcontent-length: %d\r\n%b%b\r\n" % head + body)


class _Deaf:
    """In the place of the parser of a connection of which nothing more is read."""

    def feed_data(self, data: object) -> None:
        """Nobody listens; that the other side closes is noticed all the same."""


def _size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) for name, value in headers)


def _body_too_large(bytes_max: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {bytes_max} bytes")


def _headers_too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"more than {HEADERS_MAX} headers, or more than {HEADER_BYTES_MAX} bytes of them")
