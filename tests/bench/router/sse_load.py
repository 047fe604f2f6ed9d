"""Concurrent event streams: `python -m tests.bench.router.sse_load PORT STREAMS SECONDS REQUEST` (a file with a whole request).

Each of STREAMS connections asks again when its answer has ended, until SECONDS have passed; what is under way then may end.
Prints one line of JSON: see `StreamResult`.
"""

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from typing import Literal

import msgspec
import uvloop

from tests.bench.router.figures import quantile

DRAIN_S_MAX = 60.0
CONNECTS_AT_ONCE = 50
TOKEN, DONE, END = b'" token"', b"data: [DONE]", b"0\r\n\r\n"


class StreamResult(msgspec.Struct, frozen=True):
    """What the clients saw. `cut_off`: under way when the patience ended. Times in milliseconds from the request's first byte;
    None where nothing came."""

    finished: int
    failed: int
    cut_off: int
    chunks: int
    at_once_max: int
    first_p50_ms: float | None
    first_p99_ms: float | None
    whole_p50_ms: float | None
    whole_p99_ms: float | None
    seconds: float
    failures: tuple[str, ...] = ()


class Tally:
    """Of all streams together."""

    def __init__(self) -> None:
        self.chunks = self.finished = self.under_way = self.at_once_max = 0
        self.first_ms: list[float] = []
        self.whole_ms: list[float] = []
        self.failures: list[str] = []
        self.ends_s = 0.0
        self._idle = asyncio.Event()

    def began(self) -> None:
        self.under_way += 1
        self.at_once_max = max(self.at_once_max, self.under_way)
        self._idle.clear()

    def ended(self) -> None:
        self.under_way -= 1
        if not self.under_way:
            self._idle.set()

    async def drained(self) -> None:
        """Until no stream is under way."""
        if self.under_way:
            await self._idle.wait()


class Stream(asyncio.Protocol):
    """One connection that asks for one stream after the other."""

    def __init__(self, tally: Tally, request: bytes) -> None:
        self.tally, self.request = tally, request
        self.state: Literal["idle", "asked", "streaming"] = "idle"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.started_s, self.state, self.first, self.tail = time.perf_counter(), "asked", True, b""
        self.tally.began()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        if self.state == "asked":
            if not data.startswith(b"HTTP/1.1 200"):
                self.fail(data[:300].decode(errors="replace"))
                return
            self.state = "streaming"
        tokens = data.count(TOKEN)
        self.tally.chunks += tokens
        if self.first and tokens:
            self.first = False
            self.tally.first_ms.append((now_s - self.started_s) * 1e3)
        self.tail = (self.tail + data)[-64:] if len(data) < 64 else data[-64:]
        if self.tail.endswith(END):
            self.end(now_s)

    def end(self, now_s: float) -> None:
        if DONE not in self.tail:
            self.fail(f"ended without [DONE]: {self.tail!r}")
            return
        self.state = "idle"
        self.tally.ended()
        self.tally.finished += 1
        self.tally.whole_ms.append((now_s - self.started_s) * 1e3)
        if now_s < self.tally.ends_s:
            self.ask()
        else:
            self.transport.close()

    def fail(self, why: str) -> None:
        if self.state != "idle":
            self.state = "idle"
            self.tally.ended()
            self.tally.failures.append(why)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.state != "idle":
            self.fail(f"the connection ended: {exc}")


async def load(port: int, streams: int, seconds: float, request: bytes) -> StreamResult:
    """Run it. The seconds begin when every stream has been asked for."""
    tally, loop, started_s = Tally(), asyncio.get_running_loop(), time.perf_counter()
    tally.ends_s = time.perf_counter() + 3600
    for start in range(0, streams, CONNECTS_AT_ONCE):
        connects = [
            loop.create_connection(lambda: Stream(tally, request), "127.0.0.1", port)
            for _ in range(min(CONNECTS_AT_ONCE, streams - start))
        ]
        for connected in await asyncio.gather(*connects, return_exceptions=True):
            if isinstance(connected, BaseException):
                tally.failures.append(f"no connection: {connected}")
    tally.ends_s = time.perf_counter() + seconds
    await asyncio.sleep(seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S_MAX):
            await tally.drained()
    first, whole = tally.first_ms, tally.whole_ms
    return StreamResult(
        finished=tally.finished,
        failed=len(tally.failures),
        cut_off=tally.under_way,
        chunks=tally.chunks,
        at_once_max=tally.at_once_max,
        first_p50_ms=quantile(first, 0.5),
        first_p99_ms=quantile(first, 0.99),
        whole_p50_ms=quantile(whole, 0.5),
        whole_p99_ms=quantile(whole, 0.99),
        seconds=time.perf_counter() - started_s,
        failures=tuple(tally.failures[:3]),
    )


if __name__ == "__main__":
    result = uvloop.run(load(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]).read_bytes()))
    print(msgspec.json.encode(result).decode())
