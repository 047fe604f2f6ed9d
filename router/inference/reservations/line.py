"""The connection to Redis: what requests ask of it in one turn of the event loop goes out as one call of one script.

Our own because every request pays for it: one command, one answer, msgpack both ways. Source: RESP2 (redis.io, protocol).
"""

import asyncio
import contextlib
import hashlib
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import hiredis
import msgspec

from router.inference.upstream import tls_context
from warehouse.access.addresses import RedisAddress

_LOG = logging.getLogger(__name__)
ANSWER_S_MAX = 2.0  # without a word for this long the connection is given up, and with it what waits for it
WAIT_S_MAX = 10.0  # the same where it answers, but so slowly that somebody has waited for so long
COMMANDS_MAX = 8  # under way at once; what is asked meanwhile goes together, which costs a Redis that is behind less
TOGETHER = 64  # operations that do: the next word of a slow Redis is not to be far
CONNECT_S_MAX = 2.0
RECONNECT_S = 0.2
CHECK_S = 0.1
TOLD_EVERY_S = 60.0  # the same refusal of Redis
_HERE = Path(__file__).parent
_RESERVATIONS = (_HERE / "reservations.lua").read_bytes()
_ACCOUNTS = (_HERE / "accounts.lua").read_bytes()


_RUN_ID = re.compile(rb"run_id:(\w+)")


class RedisAway(Exception):
    """Redis cannot be reached, or did not answer in time. Whether it has done what it was asked is not known."""


Done = Callable[[Any], None]
"""Is given an answer, or the RedisAway in its place. Called once, in the order of asking."""


def _evaluation(script: bytes) -> bytes:
    """An EVALSHA up to the length of its one argument."""
    sha = hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()
    return b"*4\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n0\r\n$" % sha


_RESERVE, _ACCOUNT = _evaluation(_RESERVATIONS), _evaluation(_ACCOUNTS)


class _Batch(NamedTuple):
    """What goes to Redis as one command when it is less busy."""

    since_s: float
    operations: list[tuple[Any, ...]]
    claims: list[Done]


class Line(asyncio.Protocol):
    """One connection at a time to one Redis, for as long as `running` is entered."""

    def __init__(self, url: str, closed: Callable[[], None]) -> None:
        self._to, self._closed = RedisAddress.of(url), closed
        self._encode, self._decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
        self._transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader()
        self._sent: deque[tuple[float, Done]] = deque()
        self._operations: list[tuple[Any, ...]] = []
        self._claims: list[Done] = []
        self._behind: deque[_Batch] = deque()  # until others have been answered
        self._heard_s = 0.0
        self.up = False
        self.run_id = ""
        """Names the run of the server that it is connected to."""
        self.refusal = ""
        """What it has said instead of an answer, as of a wrong password, since it was last connected or could not be reached."""
        self._told, self._told_at_s = "", 0.0
        self.connected = asyncio.Event()
        """The same as `up`, to be waited for."""

    def send(self, operation: tuple[Any, ...], done: Done | None = None) -> None:
        """One operation of `reservations.lua`; claims are answered, settlements (`done` None) are not."""
        operations = self._operations
        if not operations:
            asyncio.get_running_loop().call_soon(self._flush)
        operations.append(operation)
        if done is not None:
            self._claims.append(done)

    async def ask(self, *command: Any) -> Any:
        """The answer to one command of `accounts.lua`, behind what was sent before it. Raises: RedisAway."""
        if not self.up:
            raise RedisAway
        self._flush()
        while self._behind:
            self._write_next()
        argument = self._encode(command)
        return self._decode(await self._answer(b"%b%d\r\n%b\r\n" % (_ACCOUNT, len(argument), argument)))

    def _flush(self) -> None:
        operations, claims = self._operations, self._claims
        if not operations:
            return
        self._operations, self._claims = [], []
        if not self.up:
            _tell(claims, RedisAway())
        elif len(self._sent) < COMMANDS_MAX and not self._behind:
            self._write_operations(operations, claims)
        elif self._behind and len(self._behind[-1].operations) < TOGETHER:
            self._behind[-1].operations.extend(operations)
            self._behind[-1].claims.extend(claims)
        else:
            self._behind.append(_Batch(time.monotonic(), operations, claims))

    def _write_next(self) -> None:
        batch = self._behind.popleft()
        self._write_operations(batch.operations, batch.claims)

    def _write_operations(self, operations: Sequence[tuple[Any, ...]], claims: Sequence[Done]) -> None:
        argument = self._encode(operations)
        self._write(b"%b%d\r\n%b\r\n" % (_RESERVE, len(argument), argument), partial(self._distribute, claims))

    def _distribute(self, claims: Sequence[Done], answer: Any) -> None:
        if isinstance(answer, RedisAway):
            _tell(claims, answer)
            return
        for done, result in zip(claims, self._decode(answer), strict=True):
            done(result)

    async def _answer(self, command: bytes) -> Any:
        """What Redis answers, not decoded. Raises: RedisAway."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._write(command, partial(_resolve, future))
        answer = await future
        if isinstance(answer, RedisAway):
            raise answer
        return answer

    def _write(self, command: bytes, done: Done) -> None:
        assert self._transport is not None
        self._sent.append((time.monotonic(), done))
        self._transport.write(command)

    def data_received(self, data: bytes) -> None:
        """Answers, whole or in part."""
        self._heard_s = time.monotonic()
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            if isinstance(answer, Exception):
                # NOSCRIPT, READONLY, or a fault: what this Redis knows is not what was left there.
                self._refused(str(answer)[:200])
                self._abort()
                return
            self._sent.popleft()[1](answer)
        while self._behind and len(self._sent) < COMMANDS_MAX:
            self._write_next()

    def _refused(self, said: str) -> None:
        """Told once a minute: a wrong password is refused at each try, several times a second."""
        now_s = time.monotonic()
        if said != self._told or now_s - self._told_at_s > TOLD_EVERY_S:
            _LOG.warning("Redis refuses a command", extra={"error": said})
            self._told, self._told_at_s = said, now_s
        self.refusal = said

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are no subclass of it

    def connection_lost(self, _: Exception | None) -> None:
        """Whoever waits is told; whether its operation was done nobody knows."""
        was_up, self.up = self.up, False
        self.connected.clear()
        sent, self._sent, self._transport = self._sent, deque(), None
        behind, self._behind = self._behind, deque()
        if was_up:
            self._closed()
        _tell([done for _, done in sent] + [done for batch in behind for done in batch.claims], RedisAway())

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connected whenever Redis can be reached."""
        keeper = asyncio.create_task(self._keep(), name="redis")
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            self._abort()

    async def _keep(self) -> None:
        warned = False
        while True:
            try:
                await self._connect()
            except (OSError, TimeoutError, RedisAway) as error:
                if not isinstance(error, RedisAway):
                    self.refusal = ""
                if not warned and not self.refusal:
                    _LOG.warning("cannot reach Redis", extra={"error": type(error).__name__})
                warned = True
                self._abort()
                await asyncio.sleep(RECONNECT_S)
                continue
            warned = False
            await self._watch()
            if not self.refusal:
                _LOG.warning("lost the connection to Redis")

    async def _watch(self) -> None:
        """Returns when the connection is gone; one that is silent for too long is given up.

        A Redis that is behind, and answers one after another, is not silent: to give it up would refuse everybody.
        """
        marked = None
        while self.up:
            await asyncio.sleep(CHECK_S)
            marked = self._look(marked)

    def _look(self, marked: object) -> object:
        """What is late. It is given up at the next look: after a pause of this process the answer may lie there unread."""
        late = self._late(time.monotonic())
        if late is not None and late is marked:
            self._abort()
        return late

    def _late(self, now_s: float) -> object:
        """What has waited for Redis for too long, or None."""
        if self._behind and now_s - self._behind[0].since_s > WAIT_S_MAX:
            return self._behind[0]
        if not self._sent:
            return None
        oldest = self._sent[0]
        is_late = now_s - max(oldest[0], self._heard_s) > ANSWER_S_MAX or now_s - oldest[0] > WAIT_S_MAX
        return oldest if is_late else None

    async def _connect(self) -> None:
        to, loop = self._to, asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        async with asyncio.timeout(CONNECT_S_MAX):
            if to.path:
                await loop.create_unix_connection(lambda: self, to.path)
            else:
                context = tls_context() if to.encrypted else None
                await loop.create_connection(lambda: self, to.host, to.port, ssl=context)
            if to.password:
                await self._answer(_packed("AUTH", to.user, to.password))
            if to.database:
                await self._answer(_packed("SELECT", to.database))
            for script in (_RESERVATIONS, _ACCOUNTS):
                await self._answer(_packed("SCRIPT", "LOAD", script))
            # A server that was restarted, or a replica in its place, may have an older state than rows and routers know of.
            told = _RUN_ID.search(await self._answer(_packed("INFO", "server")))
            if told is None:
                raise RedisAway
            self.run_id = told[1].decode()
            argument = self._encode(("server", self.run_id))
            await self._answer(b"%b%d\r\n%b\r\n" % (_ACCOUNT, len(argument), argument))
        self.up, self.refusal = True, ""
        self.connected.set()


def _packed(*words: str | int | bytes) -> bytes:
    return bytes(hiredis.pack_command(words))  # type: ignore[arg-type] # its stub says a tuple of one


def _resolve(future: asyncio.Future[Any], answer: Any) -> None:
    if not future.done():
        future.set_result(answer)


def _tell(waiting: Sequence[Done], error: RedisAway) -> None:
    for done in waiting:
        done(error)
