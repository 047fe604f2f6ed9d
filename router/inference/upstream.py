"""Calls to engines: HTTP/1.1 over kept-alive connections, parsed by httptools, bounded in memory and in time.

A general HTTP client costs several times what the rest of a request costs (decision 0003). This one does what a router
needs: one request at a time on a connection, bytes handed on as they come, back-pressure to the engine, and four limits
of time watched by one sweep for all connections instead of a timer for each.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import cast
from urllib.parse import urlsplit

import httptools

from router.inference.addresses import addresses_of, first_to_answer, is_address
from router.inference.chunked import begin_of_only
from router.inference.heads import KnownHead
from warehouse.base.errors import EngineFailed, EngineTimedOut, InferhouseError

BUFFER_BYTES_MAX = 256 * 1024  # read ahead of a slow client; above it the engine is made to wait
HEADERS_MAX = 100
HEAD_BYTES_MAX = 64 * 1024  # of a head, or of trailers: the parser joins what it has of a line with each piece of it
IDLE_S_MAX = 4.0  # uvicorn, and so vLLM, closes a connection that was idle for 5 s
OK = 200
SWEEP_S = 0.1  # how late a time limit may be noticed
EXPECTED_REFUSALS = (OSError, TimeoutError, UnicodeError)  # the last: of a name that no resolver can be asked for


class EngineUnreachable(InferhouseError):
    """No connection to the engine: it has not seen the request, another one may be asked."""

    status, code = 503, "engine_unreachable"


class EngineHungUp(EngineFailed):
    """The engine closed the connection before the answer was whole."""

    code = "engine_hung_up"


class ClientTooSlow(InferhouseError):
    """The whole call took too long, and the engine was waiting for the client. The row says so; nobody is told."""


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

    @property
    def is_json(self) -> bool:
        """Whether it says that it is JSON."""
        return (self.get(b"content-type") or b"").lower().startswith(b"application/json")

    @property
    def ends_with_connection(self) -> bool:
        """Whether the body goes on until the connection is closed (RFC 9112, 6.3)."""
        return self.get(b"content-length") is None and self.get(b"transfer-encoding") is None

    @property
    def is_stream(self) -> bool:
        """Whether it may be a stream of events: it says so, or does not say what it is."""
        return (self.get(b"content-type") or b"text/event-stream").lower().startswith(b"text/event-stream")


_NEVER_S = float("inf")
NO_HEAD = AnswerHead()
WELL = AnswerHead(OK, [(b"content-type", b"application/json")])  # of an answer whose head was known; nobody asks for the rest


class EngineConnection(asyncio.Protocol):
    """One connection; between `send` and the end of the answer it belongs to one request."""

    def __init__(self, pool: "EnginePool") -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._unread = False
        """Nothing of the answer was read yet."""
        self._held = b""
        """A head that is known, and not yet all of its body."""
        self._between_chunks = False
        """The parser has read whole chunks so far, and the next thing to come is another."""
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._bare_bytes = 0
        """Of what the parser was given since the last byte of a body."""
        self.paused = False
        """Nothing more of the answer is taken for now."""
        self._heard = False
        """A piece has been passed on since the last sweep, which then gives the engine its time for the next one."""
        self._spoke = False
        """A piece had been passed on by the last sweep, or the request was sent; who has just asked has not waited for long."""
        self.has_begun = False
        """A piece of what is relayed has been passed on."""
        self._relay: Callable[[bytes], None] | None = None
        self.take_chunk: Callable[[bytes], bool] | None = None
        """What is given each chunk first that comes whole and alone while the answer is relayed; False: it is not for it."""
        self._between_s = _NEVER_S
        self._loop = asyncio.get_running_loop()
        self._head_done = False
        self.ended = False
        self._reusable = False
        self.head = NO_HEAD
        self.deadline_s = _NEVER_S
        self.total_deadline_s = _NEVER_S
        self.reused = False
        self.idle_since_s = 0.0

    # asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class

    def data_received(self, data: bytes) -> None:
        if self._between_chunks and self._relay is not None:
            # As tokens come: nothing is left for the parser, which goes on with the next chunk.
            if self.take_chunk is not None and self.take_chunk(data):
                self._heard = True
                return
            begin = begin_of_only(data)
            if begin:
                self._pass_on(self._relay, data[begin:-2])
                return
        is_first = self._unread
        if is_first:
            if self._held:
                data = self._held + data
            if self._comes_again(data):
                return
            self._held, self._unread = b"", False
        if not self._feed(data):
            return
        if self._relay is not None:
            if self._chunks:
                self._pass_on(self._relay, self._take())
            if not self.ended:
                return
        elif self._buffered > BUFFER_BYTES_MAX:
            self.pause()
        if is_first and self.ended:
            self._learn(data)
        self._wake()

    def _feed(self, data: bytes) -> bool:
        """Have the parser read it. False: it is none of an answer, and the request has failed."""
        if self.ended:  # nobody has asked for it; the next answer must not begin with what is left of it
            self._reusable = False
            self.abandon()
            return False
        self._bare_bytes += len(data)
        try:
            self._parsing().feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.ended:
                why = "it goes over to another protocol" if isinstance(error, httptools.HttpParserUpgrade) else error
                self.fail(EngineFailed(f"the engine's answer is no HTTP: {why}"))
                return False
            # The parser has found the end, and behind it what is nobody's.
            self._reusable = False  # type: ignore[unreachable]  # mypy does not know of its calls
        if self._bare_bytes > HEAD_BYTES_MAX:
            self.fail(EngineFailed(f"the engine has sent more than {HEAD_BYTES_MAX} bytes without one of a body"))
            return False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._pool.lost(self)
        if exc is None and self._error is None and self._head_done and self.head.ends_with_connection:
            self.ended = True  # whether all of it has come, its reader finds out
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
        if self.ended:
            raise httptools.HttpParserError("a second answer")
        self.head.status = self._parsing().get_status_code()
        self._head_done = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)
        self._bare_bytes = 0

    def on_chunk_header(self) -> None:
        self._between_chunks = False

    def on_chunk_complete(self) -> None:
        self._between_chunks = True

    def on_message_complete(self) -> None:
        self._between_chunks = False
        if self.head.status >= 200:
            self.ended, self._bare_bytes = True, 0
            self._reusable = self._parsing().should_keep_alive()
        else:  # 100 Continue and its like come before the answer
            self.head, self._head_done = AnswerHead(), False

    # the request's calls

    def send(self, request: bytes, timeouts: Timeouts, used_s: float = 0.0) -> None:
        """Send a whole request; the answer is then read with `answer_head` and `read`.

        Args: used_s: of the total, before there was anything to send.
        """
        self._parser, self._unread, self._held = None, True, b""
        self._error, self._chunks, self._buffered = None, [], 0
        self._relay = self.take_chunk = None
        self._head_done = self.ended = self._between_chunks = self._heard = False
        self._spoke = True
        self.head = NO_HEAD
        if self._transport is None:
            raise EngineHungUp("the engine closed the connection")
        now_s = self._loop.time()
        self.total_deadline_s = until_s = now_s + timeouts.total_s - used_s
        first_s = now_s + timeouts.first_token_s
        self.deadline_s = first_s if first_s < until_s else until_s
        self._pool.post(self._loop, self._transport, request)

    def _parsing(self) -> httptools.HttpResponseParser:
        if self._parser is None:
            self._parser, self.head = httptools.HttpResponseParser(self), AnswerHead()
        return self._parser

    def _comes_again(self, data: bytes) -> bool:
        """Take the answer in these bytes if it is whole and its head one that the parser has read; or hold them, once."""
        known = self._pool.known
        if known is None:
            return False
        body = known.body_of(data)
        if body is None:
            if self._held or not known.is_begun_by(data, BUFFER_BYTES_MAX):
                return False
            self._held = data
            return True
        self._chunks, self._unread, self._held = [body] if body else [], False, b""
        self.head = WELL
        self._head_done = self.ended = self._reusable = True
        self._wake()
        return True

    def _learn(self, data: bytes) -> None:
        """Remember the head of a good answer, if these bytes are that answer and nothing else."""
        head = self.head
        if self._reusable and head.status == OK and head.is_json and head.get(b"transfer-encoding") is None:
            self._pool.known = KnownHead.of(data, self._buffered) or self._pool.known

    async def answer_head(self) -> AnswerHead:
        """Status and headers. Raises: EngineHungUp, EngineFailed, EngineTimedOut, ClientTooSlow, and what `fail` was given."""
        while not self._head_done:
            await self._next()  # what `_wait` does, in one coroutine instead of two: every request waits here
            self._raise_if_nothing_came()
        return self.head

    def whole(self, bytes_max: int) -> bytes | None:
        """The body, where all of it has come in one piece that is not too large; otherwise None, and it is to be read."""
        if not self.ended or len(self._chunks) != 1 or len(self._chunks[0]) > bytes_max:
            return None
        self.deadline_s = _NEVER_S
        self.resume()
        return self._chunks.pop()

    async def read(self, between_s: float) -> bytes:
        """The next bytes of the body, or b"" at its end. Raises: as `answer_head`.

        Args: between_s: how long the engine may be silent after these.
        """
        while not self._chunks:
            if self.ended:
                self.deadline_s = _NEVER_S
                return b""
            await self._wait()
        data = self._take()
        self._between_s = between_s
        self.deadline_s = min(self._loop.time() + between_s, self.total_deadline_s)
        self.resume()
        return data

    async def relay(self, pass_on: Callable[[bytes], None], between_s: float) -> None:
        """Give every piece of the body to `pass_on` as it comes, and return at the end.

        What `pass_on` raises (InferhouseError only) ends the request. Raises: that, and as `answer_head`.
        """
        self._relay, self._between_s, self.has_begun = pass_on, between_s, False
        if self.paused:  # so much came before; what cannot be passed on makes it wait again
            self.resume()
        if self._chunks:
            self._pass_on(pass_on, self._take())
        while not self.ended:
            await self._wait()
        self._raise_if_failed()

    def end_within(self, end_s: float) -> None:
        """Nothing of the answer is missing any more but its end, which is not waited for as a token is."""
        self._between_s = end_s

    def pause(self) -> None:
        """Take no more of the answer for now; meanwhile the engine's silence is not its fault."""
        if not self.paused and self._transport:
            self.paused = True
            self.deadline_s = self.total_deadline_s
            self._transport.pause_reading()

    def resume(self) -> None:
        """Take the answer again."""
        if self.paused and self._transport:
            self.paused = False
            self.deadline_s = min(self._loop.time() + self._between_s, self.total_deadline_s)
            self._transport.resume_reading()

    def note_heard(self, now_s: float) -> None:
        """The engine has its time for the next piece from now on, if it has sent one: a clock read a token would cost more."""
        if self._heard:
            self._heard, self._spoke = False, True
            self._pool.heard_s, self.has_begun = now_s, True
            if not self.paused and not self.ended:
                self.deadline_s = min(now_s + self._between_s, self.total_deadline_s)

    def note_unheard(self) -> None:
        """What has just been passed on is nothing: the engine has no more time for it, and the client has heard nothing."""
        self._heard = False

    def has_spoken(self) -> bool:
        """Whether a piece has been passed on since the last call, or the request was sent."""
        self.note_heard(self._loop.time())
        spoke, self._spoke = self._spoke, False
        return spoke

    def _take(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks, self._buffered = [], 0
        return data

    def _pass_on(self, relay: Callable[[bytes], None], data: bytes) -> None:
        self._heard = True
        try:
            relay(data)
        except InferhouseError as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the request with an error that the reader gets; the engine notices, because the connection is closed."""
        self._error = self._error or error
        self.abandon()
        self._wake()

    def close(self) -> None:
        """The request is over: keep the connection for the next one if the answer was read whole, otherwise abort it."""
        if self.paused:  # for the client of this answer, which the next one has nothing to do with
            self.resume()
        self.deadline_s = self.total_deadline_s = _NEVER_S
        self._heard, self._relay, self.take_chunk = False, None, None
        if self.ended and self._reusable and self._error is None and self._transport:
            self._pool.keep(self)
        else:
            self.abandon()

    def abandon(self) -> None:
        """Close the connection without a word; an engine that is still working on the answer stops."""
        self._pool.connections.discard(self)
        if self._transport:
            self._transport.abort()

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing of the answer has come."""
        return self._unread and not self._held

    @property
    def is_relaying(self) -> bool:
        """Whether its answer is passed on piece by piece."""
        return self._relay is not None

    @property
    def open(self) -> bool:
        """Whether the connection can carry another request."""
        return self._transport is not None and not self._transport.is_closing()

    async def _wait(self) -> None:
        await self._next()
        self._raise_if_nothing_came()

    def _next(self) -> asyncio.Future[None]:
        """Done when something has come. Raises: what the request has failed with."""
        self._raise_if_failed()
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _raise_if_nothing_came(self) -> None:
        if self._error is not None and not self._chunks and not self.ended:
            raise self._error

    def _raise_if_failed(self) -> None:
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():  # done: whoever waited was cancelled
            waiter.set_result(None)


class EnginePool:
    """Connections to one engine, one for each request that it has; those that are idle are used last in, first out.

    How many requests it has is the dispatcher's to bound. Here only what is kept is: a second count of the same thing would
    take a probe, or a connection that was just aborted and is not closed yet, for a request, and refuse one that has a place.
    """

    def __init__(self, base_url: str, *, connections_max: int, timeouts: Timeouts) -> None:
        """Raises: ValueError: this is no address."""
        url = urlsplit(base_url)
        self._host, self._port = url.hostname or "127.0.0.1", url.port or (443 if url.scheme == "https" else 80)
        self._tls = tls_context() if url.scheme == "https" else None
        self._is_name = not is_address(self._host)
        self._first = ""
        """Of several addresses the one to try first: the last that was connected to, or the next one where its TLS failed."""
        self.authority = url.netloc.encode()
        self.prefix = url.path.rstrip("/").encode()
        """Of every path, where a provider has its API below one of its own."""
        self._looking: asyncio.Task[list[str]] | None = None
        """The newest look-up of its name."""
        self._connections_max, self.timeouts = connections_max, timeouts
        self.known: KnownHead | None = None
        """The newest head of a good answer that the parser has read."""
        self.heard_s = 0.0
        """When the last sweep was that found a piece of a stream passed on since the one before."""
        self._idle: list[EngineConnection] = []
        self._unsent: list[tuple[asyncio.Transport, bytes]] = []
        self.connections: set[EngineConnection] = set()

    async def acquire(self, *, fresh: bool = False, connect_s: float | None = None) -> EngineConnection:
        """A connection that nobody uses.

        Args: fresh: not one that was used before.  connect_s: another limit than that of requests.
        Raises: EngineUnreachable: refused, or too slow to connect.
        """
        connection = None if fresh else self.kept()
        if connection is not None:
            return connection
        connection = EngineConnection(self)
        self.connections.add(connection)
        try:
            async with asyncio.timeout(connect_s or self.timeouts.connect_s):
                await self._connect(connection)
        except EXPECTED_REFUSALS as error:
            connection.abandon()  # it may have been made just as its time was up
            raise EngineUnreachable(f"the engine cannot be reached: {str(error) or 'it took too long'}") from error
        except asyncio.CancelledError:
            connection.abandon()
            raise
        finally:
            if not connection.open:
                self.connections.discard(connection)
        return connection

    async def _connect(self, connection: EngineConnection) -> None:
        """Raises: EXPECTED_REFUSALS."""
        create = asyncio.get_running_loop().create_connection
        name = self._host if self._tls else None
        addresses = await self._addresses() if self._is_name else [self._host]
        if len(addresses) == 1:
            await create(lambda: connection, addresses[0], self._port, ssl=self._tls, server_hostname=name)
            return
        in_order = sorted(addresses, key=lambda address: address != self._first)
        address, made = await first_to_answer(in_order, self._port)
        self._first = address
        try:
            await create(lambda: connection, sock=made, ssl=self._tls, server_hostname=name)
        except BaseException:
            made.close()
            self._first = addresses[(addresses.index(address) + 1) % len(addresses)]
            raise

    async def _addresses(self) -> list[str]:
        """Of the engine's name; who asks while it is looked up waits for the same look-up, also for one that others gave up.

        Each holds a thread until the resolver answers, and there are four for all engines: one whose name server is gone
        would keep the others' names from being looked up. Raises: as `addresses_of`.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(addresses_of(self._host, self._port))
            self._looking.add_done_callback(_note)
        return await asyncio.shield(self._looking)

    def kept(self) -> EngineConnection | None:
        """A connection that was used before and that nobody uses now."""
        while self._idle:
            connection = self._idle.pop()
            if connection.open and time.monotonic() - connection.idle_since_s < IDLE_S_MAX:
                connection.reused = True
                return connection
            connection.abandon()
        return None

    def keep(self, connection: EngineConnection) -> None:
        """The connection is free again; one beyond the bound is closed."""
        if len(self.connections) > self._connections_max:
            connection.abandon()
            return
        connection.idle_since_s = time.monotonic()  # which is the event loop's clock, too
        self._idle.append(connection)

    def post(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, request: bytes) -> None:
        """Send a request together with the others of this turn of the event loop.

        To wake the engine costs the kernel more than to write: requests that are written one right after another wake it once.
        """
        if not self._unsent:
            loop.call_soon(self._send_all)
        self._unsent.append((transport, request))

    def _send_all(self) -> None:
        unsent, self._unsent = self._unsent, []
        for transport, request in unsent:
            if not transport.is_closing():  # else the client left, or the engine did, before the request was on its way
                transport.write(request)

    def lost(self, connection: EngineConnection) -> None:
        """The connection is closed."""
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now_s: float) -> None:
        """End the requests whose time is up, and the connections that have been idle for too long."""
        for connection in list(self.connections):
            connection.note_heard(now_s)
            if now_s < connection.deadline_s:
                continue
            if connection.paused:
                connection.fail(ClientTooSlow("the client did not take the answer in the time of the whole call"))
            else:
                what = "the next token" if connection.is_relaying and connection.has_begun else "the first token"
                what = "the whole call" if now_s >= connection.total_deadline_s else what
                connection.fail(EngineTimedOut(f"the engine took too long for {what}"))
        while self._idle and now_s - self._idle[0].idle_since_s >= IDLE_S_MAX:
            self._idle.pop(0).abandon()

    def close(self) -> None:
        """Abort everything."""
        if self._looking is not None:
            self._looking.cancel()
        for connection in list(self.connections):
            connection.fail(EngineHungUp("the router is stopping"))


def _note(looked_up: asyncio.Task[list[str]]) -> None:
    """Its error, if it has one, is known, although nobody may wait for it any more."""
    if not looked_up.cancelled():
        looked_up.exception()


@cache
def tls_context() -> ssl.SSLContext:
    """One for all connections: a new one reads the certificates of all authorities, and nothing else runs for 45 ms meanwhile."""
    return ssl.create_default_context()


def post_bytes(pool: EnginePool, path: bytes, lines: bytes, body: bytes) -> bytes:
    """A POST of JSON, as it goes over the wire. Args: lines: further headers, each with its end."""
    return (
        b"POST %b%b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n"
        b"%bcontent-length: %d\r\n\r\n" % (pool.prefix, path, pool.authority, lines, len(body))
    ) + body
