"""Connections to engines: kept, bounded, and given up in time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.inference.upstream import EngineHungUp, EnginePool, EngineUnreachable, Timeouts
from tests.processes import ServerProcess, running, simulated_engine
from tests.proxy import TcpProxy
from tests.services import free_port
from warehouse.base.errors import EngineFailed, EngineTimedOut

TIMEOUTS = Timeouts(connect_s=1, first_token_s=0.3, between_tokens_s=0.3, total_s=2)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log: Path = tmp_path_factory.mktemp("engine") / "engine.log"
    with running(simulated_engine(free_port(), log)) as process:
        yield process


@pytest.fixture
def line(engine: ServerProcess) -> Iterator[TcpProxy]:
    proxy = TcpProxy("127.0.0.1", int(engine.url.rsplit(":", 1)[1]))
    yield proxy
    proxy.close()


async def _get(pool: EnginePool, path: bytes = b"/health") -> int:
    connection = await pool.acquire()
    try:
        connection.send(b"GET %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (path, pool.authority), TIMEOUTS)
        head = await connection.answer_head()
        while await connection.read(TIMEOUTS.between_tokens_s):
            pass
        return head.status
    finally:
        connection.close()


def _pool(port: int, connections_max: int = 10) -> EnginePool:
    return EnginePool(f"http://127.0.0.1:{port}", connections_max=connections_max, timeouts=TIMEOUTS)


async def _close(pool: EnginePool) -> None:
    pool.close()
    async with asyncio.timeout(1):
        while pool.connections:  # noqa: ASYNC110  # the loop closes them in its next rounds
            await asyncio.sleep(0)


def test_a_connection_serves_one_request_after_another(line: TcpProxy) -> None:
    async def run() -> None:
        pool = _pool(line.port)
        assert [await _get(pool) for _ in range(20)] == [200] * 20
        assert line.accepted == 1
        await _close(pool)

    asyncio.run(run())


def test_what_is_kept_is_bounded_and_no_place_is_taken_by_what_is_over(line: TcpProxy) -> None:
    """Two requests that were aborted, a probe, and two requests in their places: the dispatcher says how many there may be."""

    async def run() -> None:
        pool = _pool(line.port, connections_max=2)
        held = [await pool.acquire(), await pool.acquire()]
        for connection in held:
            connection.abandon()
        held = [await pool.acquire(connect_s=0.5) for _ in range(3)]
        for connection in held:
            connection.send(b"GET /health HTTP/1.1\r\nhost: %b\r\n\r\n" % pool.authority, TIMEOUTS)
            while await connection.read(1):
                pass
        for connection in held:
            connection.close()
        await asyncio.sleep(0.1)
        assert len(pool.connections) == 2
        await _close(pool)

    asyncio.run(run())


def test_a_connection_that_is_no_longer_wanted_is_not_left_open(line: TcpProxy) -> None:
    async def run() -> None:
        pool = _pool(line.port)
        asked = asyncio.create_task(pool.acquire())
        while not (made := [connection for connection in pool.connections if connection.open]):  # noqa: ASYNC110
            await asyncio.sleep(0)
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            made.remove(await asked)
        await asyncio.sleep(0.1)
        assert pool.connections == ({*pool.connections} - {*made})

    asyncio.run(run())


def test_nobody_at_the_port_is_unreachable() -> None:
    async def run() -> None:
        with pytest.raises(EngineUnreachable):
            await _pool(free_port()).acquire()

    asyncio.run(run())


@asynccontextmanager
async def _server(answer: bytes, then_s: float = 0) -> AsyncIterator[int]:
    """Answers each request with these bytes, waits, and closes."""
    over = asyncio.Event()
    tasks = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), then_s)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])
        over.set()
        await asyncio.gather(*filter(None, tasks))


@pytest.mark.parametrize(
    ("answer", "then_s", "error"),
    [
        (b"", 0, EngineHungUp),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", 0, EngineHungUp),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", 0, EngineHungUp),
        (b"SSH-2.0-OpenSSH\r\n", 0, EngineFailed),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", 0, EngineFailed),
        (b"", 5, EngineTimedOut),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", 5, EngineTimedOut),
    ],
)
def test_an_answer_that_is_none_ends_in_its_own_error(answer: bytes, then_s: float, error: type[Exception]) -> None:
    async def run() -> None:
        async with _server(answer, then_s) as port:
            pool = _pool(port)

            async def sweep() -> None:
                while True:
                    await asyncio.sleep(0.02)
                    pool.sweep(asyncio.get_running_loop().time())

            sweeper = asyncio.create_task(sweep())
            started = time.monotonic()
            with pytest.raises(error):
                await _get(pool)
            assert time.monotonic() - started < 2
            sweeper.cancel()
            await _close(pool)

    asyncio.run(run())
