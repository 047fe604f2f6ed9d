"""Connections to engines: kept, bounded, and given up in time."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from router.inference.addresses import NEXT_S
from router.inference.engine_set import EngineSet, EngineState
from router.inference.upstream import EngineHungUp, EnginePool, EngineUnreachable, Timeouts
from tests.processes import ServerProcess, running, simulated_engine
from tests.proxy import TcpProxy
from tests.routing_world import engine as catalogued
from tests.services import free_port
from warehouse.access.catalogue import Engine
from warehouse.base.errors import EngineFailed, EngineTimedOut

TIMEOUTS = Timeouts(connect_s=1, first_token_s=0.3, between_tokens_s=0.3, total_s=2)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


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


def _silent(address: str, port: int) -> list[socket.socket]:
    """Where connections are neither made nor refused."""
    full = socket.socket()
    full.bind((address, port))
    full.listen(0)
    waiting = [socket.socket() for _ in range(3)]
    for each in waiting:
        each.setblocking(False)
        each.connect_ex((address, port))
    return [full, *waiting]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_name_is_reached_by_whichever_address_answers(
    line: TcpProxy, monkeypatch: pytest.MonkeyPatch, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.3", "127.0.0.1"]

    async def run() -> None:
        monkeypatch.setattr("router.inference.upstream.addresses_of", two)
        pool = EnginePool(f"http://name.test:{line.port}", connections_max=10, timeouts=TIMEOUTS)
        taken_s = []
        for _ in range(2):
            began_s = time.monotonic()
            assert await _get(pool) == 200
            taken_s.append(time.monotonic() - began_s)
            await _close(pool)
        assert taken_s[1] < NEXT_S < taken_s[0] < TIMEOUTS.connect_s, "what has answered is asked first"
        line.close()
        began_s = time.monotonic()
        with pytest.raises(EngineUnreachable, match="took too long"):
            await pool.acquire()
        assert time.monotonic() - began_s < TIMEOUTS.connect_s + 0.5

    silent = _silent("127.0.0.2", line.port)
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
    for each in silent:
        each.close()


def test_a_name_that_nobody_answers_for_is_looked_up_once_at_a_time(line: TcpProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look-up holds one of the few threads that all engines share, also when those who asked have given up."""
    found: list[asyncio.Future[list[str]]] = []

    async def look_up(host: str, port: int) -> list[str]:
        found.append(asyncio.get_running_loop().create_future())
        return await found[-1]

    async def run() -> None:
        monkeypatch.setattr("router.inference.upstream.addresses_of", look_up)
        pool = EnginePool(f"http://name.test:{line.port}", connections_max=50, timeouts=TIMEOUTS)
        for _ in range(2):
            asked = [pool.acquire(connect_s=0.05) for _ in range(20)]
            assert {type(error) for error in await asyncio.gather(*asked, return_exceptions=True)} == {EngineUnreachable}
        asked_in_time = [asyncio.create_task(_get(pool)) for _ in range(5)]
        await asyncio.sleep(0)
        assert len(found) == 1
        found[0].set_result(["127.0.0.1"])
        assert await asyncio.gather(*asked_in_time) == [200] * 5
        failing = asyncio.create_task(pool.acquire(fresh=True))
        await asyncio.sleep(0.01)
        found[1].set_exception(OSError("no such name"))
        with pytest.raises(EngineUnreachable, match="no such name"):
            await failing
        await _close(pool)

    asyncio.run(run())


def test_a_name_one_of_whose_addresses_fails_in_tls_is_reached_by_the_others(
    line: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def three(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.3", "127.0.0.1"]

    async def run() -> None:
        monkeypatch.setattr("router.inference.upstream.addresses_of", three)
        pool = EnginePool(f"https://name.test:{line.port}", connections_max=10, timeouts=TIMEOUTS)
        for tries in range(1, 7):
            with pytest.raises(EngineUnreachable):  # none of them speaks TLS
                await pool.acquire()
            assert line.accepted == tries // 3, "one after the other"

    with contextlib.ExitStack() as others:
        for address in ("127.0.0.2", "127.0.0.3"):
            other = others.enter_context(socket.create_server((address, line.port)))
            threading.Thread(target=_hang_up, args=(other,), daemon=True).start()
        asyncio.run(run())


def _hang_up(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()


def test_a_connection_to_a_hosted_provider_reads_no_certificates_anew(line: TcpProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes tens of milliseconds, in which the worker does nothing else."""
    made = []
    real = ssl.create_default_context

    def counted() -> ssl.SSLContext:
        made.append(real())
        return made[-1]

    async def run() -> None:
        pool = EnginePool(f"https://127.0.0.1:{line.port}", connections_max=10, timeouts=TIMEOUTS)
        for _ in range(5):
            with pytest.raises(EngineUnreachable):  # the line speaks no TLS
                await pool.acquire()

    monkeypatch.setattr("ssl.create_default_context", counted)
    asyncio.run(run())
    assert len(made) <= 1


def test_nobody_at_the_port_is_unreachable() -> None:
    async def run() -> None:
        with pytest.raises(EngineUnreachable):
            await _pool(free_port()).acquire()

    asyncio.run(run())


@pytest.mark.parametrize(
    "unasked", [b"HTTP/1.1 408 Request Timeout\r\ncontent-len", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]
)
def test_a_connection_on_which_more_came_than_was_asked_for_is_not_used_again(unasked: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            pool = _pool(int(server.sockets[0].getsockname()[1]))
            assert [await _get(pool) for _ in range(2)] == [200, 200]
            assert len(accepted) == 1
            accepted[0].write(unasked)
            async with asyncio.timeout(5):
                while pool.connections:  # noqa: ASYNC110  # the loop closes it in its next rounds
                    await asyncio.sleep(0)
            assert await _get(pool) == 200
            assert len(accepted) == 2
            await _close(pool)
            await asyncio.gather(*(writer.wait_closed() for writer in accepted), return_exceptions=True)

    accepted: list[asyncio.StreamWriter] = []
    asyncio.run(run())


@asynccontextmanager
async def _swept(pool: EnginePool) -> AsyncIterator[None]:
    """Meanwhile its time limits are watched."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(0.02)
            pool.sweep(asyncio.get_running_loop().time())

    sweeper = asyncio.create_task(sweep())
    yield
    sweeper.cancel()


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
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000, 5, EngineFailed),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 4_000, 5, EngineFailed),
        (STREAM + b"3\r\nabc\r\n0\r\nx: " + b"a" * 500_000, 5, EngineFailed),
        (b"", 5, EngineTimedOut),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", 5, EngineTimedOut),
    ],
)
def test_an_answer_that_is_none_ends_in_its_own_error(answer: bytes, then_s: float, error: type[Exception]) -> None:
    async def run() -> None:
        async with _server(answer, then_s) as port:
            pool = _pool(port)
            started = time.monotonic()
            async with _swept(pool):
                with pytest.raises(error):
                    await _get(pool)
            assert time.monotonic() - started < 2
            await _close(pool)

    asyncio.run(run())


def test_only_what_is_no_body_counts_as_a_head() -> None:
    async def run() -> None:
        trailers = b"0\r\ny: " + b"b" * 40_000 + b"\r\n\r\n"
        async with _server(STREAM[:-2] + b"x: " + b"a" * 60_000 + b"\r\n\r\n" + b"3\r\nabc\r\n" * 30_000 + trailers) as port:
            pool = _pool(port)
            assert await _get(pool) == 200
            await _close(pool)

    asyncio.run(run())


@pytest.mark.parametrize("then", ["ends", "is kept"])
def test_a_stream_that_begins_with_much_is_passed_on_whole(then: str) -> None:
    body = b"data: x\n\n" * 100_000
    piece = b"%x\r\n%b\r\n" % (len(body), body)

    async def run() -> None:
        async with _server(STREAM + piece * 3 + b"0\r\n\r\n", 0 if then == "ends" else 5) as port:
            pool, parts = _pool(port), []
            connection = await pool.acquire()
            connection.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", TIMEOUTS)
            async with _swept(pool), asyncio.timeout(5):
                while not connection.paused:  # noqa: ASYNC110  # nobody takes it yet
                    await asyncio.sleep(0)
                await connection.answer_head()
                await connection.relay(parts.append, TIMEOUTS.between_tokens_s)
            assert b"".join(parts) == body * 3
            connection.close()
            await _close(pool)

    asyncio.run(run())


def test_what_is_no_answer_gives_an_engine_no_more_time_for_its_first_token() -> None:
    async def run() -> None:
        comment = b": still here\n\n"
        async with _server(STREAM + b"%x\r\n%b\r\n" % (len(comment), comment), 20) as port:
            pool, parts = _pool(port), list[bytes]()
            connection = await pool.acquire()
            connection.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", Timeouts(1, first_token_s=0.5, between_tokens_s=60, total_s=60))

            def pass_on(data: bytes) -> None:
                parts.append(data)
                connection.note_unheard()

            async with _swept(pool), asyncio.timeout(15):
                await connection.answer_head()
                with pytest.raises(EngineTimedOut):
                    await connection.relay(pass_on, 60)
            assert parts == [comment]
            await _close(pool)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "limits", "what"),
    [
        (b"", Timeouts(1, 0.3, 60, 60), "the first token"),
        (STREAM, Timeouts(1, 0.3, 60, 60), "the first token"),
        (STREAM + b"3\r\nabc\r\n", Timeouts(1, 60, 0.3, 60), "the next token"),
        (STREAM + b"3\r\nabc\r\n", Timeouts(1, 60, 60, 0.3), "the whole call"),
        (b"", Timeouts(1, 60, 60, 0.3), "the whole call"),
    ],
)
def test_an_engine_that_takes_too_long_is_said_to_do_so_for_what(answer: bytes, limits: Timeouts, what: str) -> None:
    async def ask(pool: EnginePool) -> None:
        connection = await pool.acquire()
        connection.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", limits)
        await connection.answer_head()
        await connection.relay(lambda _: None, limits.between_tokens_s)

    async def run() -> None:
        async with _server(answer, 20) as port:
            pool = _pool(port)
            async with _swept(pool), asyncio.timeout(15):
                with pytest.raises(EngineTimedOut, match=f"took too long for {what}"):
                    await ask(pool)
            await _close(pool)

    asyncio.run(run())


def test_a_connection_that_waited_for_its_client_serves_the_next_one(line: TcpProxy) -> None:
    async def run() -> None:
        pool = _pool(line.port)
        async with _swept(pool):
            connection = await pool.acquire()
            connection.send(b"GET /health HTTP/1.1\r\nhost: %b\r\n\r\n" % pool.authority, TIMEOUTS)
            await connection.answer_head()
            await connection.relay(lambda _: None, TIMEOUTS.between_tokens_s)
            connection.pause()  # by its last piece the client's buffer was full
            connection.close()
            assert [await _get(pool) for _ in range(2)] == [200, 200]
        assert line.accepted == 1
        await _close(pool)

    asyncio.run(run())


@pytest.mark.parametrize("now", [[], [catalogued(1, base_url="http://127.0.0.1:1")]], ids=["taken out", "moved"])
def test_requests_at_an_engine_that_is_gone_from_the_catalogue_keep_their_time_limits(now: list[Engine]) -> None:
    async def run() -> None:
        async with _server(b"", 5) as port:
            engines = EngineSet(TIMEOUTS, connections_max=10, health_interval_s=60)
            engines.replace([catalogued(1, base_url=f"http://127.0.0.1:{port}")])
            connection = await engines.states[1].pool.acquire()
            connection.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", TIMEOUTS)
            engines.replace(now)
            watching = asyncio.create_task(engines.run())
            async with asyncio.timeout(5):
                with pytest.raises(EngineTimedOut):
                    await connection.answer_head()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(run())


def test_a_router_that_stops_ends_requests_at_engines_that_are_gone() -> None:
    async def run() -> None:
        async with _server(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", 5) as port:
            engines = EngineSet(TIMEOUTS, connections_max=10, health_interval_s=60)
            engines.replace([catalogued(1, base_url=f"http://127.0.0.1:{port}")])
            connection = await engines.states[1].pool.acquire()
            connection.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", TIMEOUTS)
            await connection.answer_head()
            engines.replace([])
            engines.close()
            with pytest.raises(EngineHungUp):
                await connection.read(1)
            await asyncio.sleep(0)  # in which it is closed

    asyncio.run(run())


@pytest.mark.parametrize("host", ["h:99999", "[::1", f"{'a' * 64}.com", "a..b"])
def test_an_address_that_is_none_stops_nobody(host: str) -> None:
    async def run() -> None:
        async with _server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 5) as port:
            engines = EngineSet(TIMEOUTS, connections_max=10, health_interval_s=60)
            engines.replace([catalogued(1, base_url=f"http://{host}"), catalogued(2, base_url=f"http://127.0.0.1:{port}")])
            watching = asyncio.create_task(engines.run())
            async with asyncio.timeout(5):
                while not engines.states[2].healthy or (1 in engines.states and not engines.states[1].failures):  # noqa: ASYNC110
                    await asyncio.sleep(0)
            assert not watching.done()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await _close(engines.states[2].pool)

    asyncio.run(run())


def test_an_engine_that_moves_is_looked_at_at_once() -> None:
    async def run() -> None:
        async with _server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 5) as port:
            engines = EngineSet(TIMEOUTS, connections_max=10, health_interval_s=60)
            engines.replace([catalogued(1, base_url=f"http://127.0.0.1:{free_port()}")])
            watching = asyncio.create_task(engines.run())
            async with asyncio.timeout(5):
                while not engines.states[1].failures:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                engines.replace([catalogued(1, base_url=f"http://127.0.0.1:{port}")])
                while not engines.states[1].healthy:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await _close(engines.states[1].pool)

    asyncio.run(run())


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _watched(kind: str, serve: Serve, is_seen: Callable[[EngineState], bool]) -> bool:
    """Whether an engine of that kind is taken for well, once that has been seen of it."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        engines = EngineSet(TIMEOUTS, connections_max=10, health_interval_s=0.05)
        engines.replace([catalogued(1, kind=kind, base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")])
        watching = asyncio.create_task(engines.run())
        async with asyncio.timeout(5):
            while not is_seen(engines.states[1]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await _close(engines.states[1].pool)
        return engines.states[1].healthy


def test_sglang_whose_gpu_is_busy_is_well_and_asked_to_generate_nothing() -> None:
    """Its /health generates a token and answers when it has one: behind a long prompt that takes longer than a probe may."""
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b" ")[1])
        if asked[-1] != b"/health":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        else:
            await reader.read()  # until who asks has lost patience
        writer.close()

    assert asyncio.run(_watched("sglang", serve, lambda state: state.healthy and len(asked) >= 3))
    assert b"/health" not in asked


@pytest.mark.parametrize(("status", "is_well"), [(200, True), (403, True), (404, True), (429, True), (401, False), (502, False)])
def test_a_hosted_provider_without_a_list_of_models_is_well(status: int, is_well: bool) -> None:
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 %d Said\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}" % status)
        writer.close()

    assert asyncio.run(_watched("openai", serve, lambda state: bool(asked) and not state.probed)) is is_well


@pytest.mark.parametrize(
    ("scheme", "path", "why"),
    [("https", "", "SSL"), ("http", "/elsewhere", "/health was answered with status 404"), ("http", "", "")],
)
def test_the_log_says_why_an_engine_is_not_asked(
    line: TcpProxy, caplog: pytest.LogCaptureFixture, scheme: str, path: str, why: str
) -> None:
    async def run() -> None:
        engines = EngineSet(TIMEOUTS, connections_max=10, health_interval_s=0.02)
        engines.replace([catalogued(1, base_url=f"{scheme}://127.0.0.1:{line.port}{path}")])
        watching = asyncio.create_task(engines.run())
        async with asyncio.timeout(10):
            while engines.states[1].since is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        engines.close()

    asyncio.run(run())
    said = [record for record in caplog.records if record.message == "an engine is not asked any more"]
    assert [vars(record)["engine"] for record in said] == ["engine-1"] * bool(why)
    assert all(why in vars(record)["why"] for record in said)
