"""A batch whose query is broken off is there whole or not at all, and its connection serves on or is replaced."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import AdminShutdown, LockNotAvailable, QueryCanceled, UndefinedColumn
from psycopg_pool import AsyncConnectionPool

from tests.integration.warehouse.conftest import NOON
from tests.proxy import TcpProxy
from warehouse.access import usage_events
from warehouse.access.usage_rows import UsageEvent, encode

Event = Callable[..., UsageEvent]
POSITION = ("a/0", NOON)
ROWS = 300
COPY_WAITS = "lock table raw.usage_events in share mode"
POSITION_WAITS = "lock table raw.journal_positions in share mode"


@pytest.fixture
def url(role_url: Callable[..., str]) -> str:
    return role_url("inferhouse_router")


@pytest.fixture
def batch(event: Event) -> list[bytes]:
    return [encode(event(number)) for number in range(ROWS)]


def in_pool(url: str, work: Callable[[AsyncConnectionPool], Awaitable[None]]) -> None:
    """With one connection, as far as it is sound: who comes later gets the same one, or another in its place."""

    async def run() -> None:
        async with AsyncConnectionPool(url, min_size=1, max_size=1, timeout=20, open=False) as pool:
            await work(pool)

    asyncio.run(run())


async def _add(pool: AsyncConnectionPool, rows: list[bytes]) -> None:
    async with pool.connection() as conn:
        await usage_events.add(conn, rows, POSITION)


def there(db: psycopg.Connection) -> tuple[int, int]:
    """Rows and positions."""
    row = db.execute("select (select count(*) from raw.usage_events), (select count(*) from raw.journal_positions)").fetchone()
    db.commit()
    assert row is not None
    return int(row[0]), int(row[1])


async def waits(admin: psycopg.Connection) -> int:
    """The process of the router's query, as soon as it waits for a lock."""
    asked = b"select pid from pg_stat_activity where usename = 'inferhouse_router' and wait_event_type = 'Lock'"
    async with asyncio.timeout(60):
        while not (row := admin.execute(asked).fetchone()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return int(row[0])


@pytest.mark.parametrize("lock", [COPY_WAITS, POSITION_WAITS])
@pytest.mark.parametrize("end", ["terminate", "cancel", "give up"])
def test_it_is_broken_off_at(
    lock: str, end: str, url: str, batch: list[bytes], db: psycopg.Connection, admin: psycopg.Connection
) -> None:
    async def work(pool: AsyncConnectionPool) -> None:
        db.execute(lock.encode())
        adding = asyncio.create_task(_add(pool, batch))
        pid = await waits(admin)
        if end == "give up":
            adding.cancel()
        else:
            admin.execute(f"select pg_{end}_backend({pid})".encode())
        with pytest.raises({"terminate": AdminShutdown, "cancel": QueryCanceled, "give up": asyncio.CancelledError}[end]):
            await adding
        db.commit()
        assert there(db) == (0, 0)
        await _add(pool, batch)
        assert there(db) == (ROWS, 1)

    in_pool(url, work)


def test_a_connection_that_has_ended_at_rest_is_told_and_replaced(
    url: str, batch: list[bytes], db: psycopg.Connection, admin: psycopg.Connection
) -> None:
    async def work(pool: AsyncConnectionPool) -> None:
        for pause_s in (0, 0, 0.05, 0.05):  # the end may come while the query is sent, or be there before it
            async with pool.connection() as conn:
                pid = conn.info.backend_pid
            admin.execute(b"select pg_terminate_backend(%s)", [pid])
            await asyncio.sleep(pause_s)
            with pytest.raises(OperationalError):
                await _add(pool, batch)
            assert there(db) == (0, 0)
        await _add(pool, batch)
        assert there(db) == (ROWS, 1)

    in_pool(url, work)


@pytest.mark.parametrize("lock", [COPY_WAITS, POSITION_WAITS])
@pytest.mark.parametrize(("limit", "error"), [("statement_timeout", QueryCanceled), ("lock_timeout", LockNotAvailable)])
def test_a_limit_of_the_database_ends_it(
    lock: str, limit: str, error: type[Exception], url: str, batch: list[bytes], db: psycopg.Connection
) -> None:
    async def work(pool: AsyncConnectionPool) -> None:
        db.execute(lock.encode())
        with pytest.raises(error):
            await _add(pool, batch)
        db.commit()
        assert there(db) == (0, 0)

    in_pool(make_conninfo(url, options=f"-c {limit}=300"), work)


def test_a_column_that_comes_makes_no_difference_and_one_that_goes_is_told(
    url: str, batch: list[bytes], db: psycopg.Connection
) -> None:
    async def work(pool: AsyncConnectionPool) -> None:
        await _add(pool, batch[:100])
        db.execute("alter table raw.usage_events add column later text")
        db.commit()
        await _add(pool, batch[50:200])
        assert there(db) == (200, 1)
        db.execute("alter table raw.usage_events drop column queue_us cascade")
        db.commit()
        with pytest.raises(UndefinedColumn):
            await _add(pool, batch)
        assert there(db) == (200, 1)

    in_pool(url, work)


@contextmanager
def _line(url: str) -> Iterator[tuple[TcpProxy, str]]:
    parts = conninfo_to_dict(url)
    line = TcpProxy(str(parts["host"]), int(str(parts["port"])))
    try:
        yield line, make_conninfo(url, host="127.0.0.1", port=line.port)
    finally:
        line.close()


def _wide(event: Event, count: int, **fields: Any) -> list[bytes]:
    return [encode(event(number, tags={f"key {key}": "x" * 250 for key in range(7)}, **fields)) for number in range(count)]


def test_a_line_that_hangs_within_a_large_batch_is_given_up_by_who_is_cancelled(
    url: str, event: Event, db: psycopg.Connection
) -> None:
    rows = _wide(event, 10_000)  # 20 MB: more than the kernel takes for a server that reads nothing

    async def work(pool: AsyncConnectionPool) -> None:
        await _add(pool, rows[:1])
        line.hang()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await _add(pool, rows)
        line.mend()
        async with asyncio.timeout(60):
            await _add(pool, rows[:10])
        assert there(db) == (10, 1)

    with _line(url) as (line, through):
        in_pool(through, work)


def test_a_line_that_is_cut_within_a_large_batch_is_told(url: str, event: Event, db: psycopg.Connection) -> None:
    rows = _wide(event, 10_000)

    async def work(pool: AsyncConnectionPool) -> None:
        await _add(pool, rows[:1])
        line.hang()
        adding = asyncio.create_task(_add(pool, rows))
        await asyncio.sleep(0.3)
        line.cut()
        line.mend()
        with pytest.raises(OperationalError):
            await adding
        assert there(db) == (1, 1)
        await _add(pool, rows[:10])
        assert there(db) == (10, 1)

    with _line(url) as (line, through):
        in_pool(through, work)


def test_an_error_after_most_of_a_large_batch_does_not_stop_its_connection(
    url: str, event: Event, db: psycopg.Connection
) -> None:
    rows = _wide(event, 10_000)

    async def work(pool: AsyncConnectionPool) -> None:
        await _add(pool, [rows[-1]])
        await _add(pool, rows)  # the last is there already, and all that came before it goes in all the same
        assert there(db) == (10_000, 1)

    in_pool(url, work)


def test_a_database_that_says_much_meanwhile_is_listened_to(url: str, event: Event, db: psycopg.Connection) -> None:
    """More than the kernel keeps for who does not read: each would otherwise wait for the other."""
    db.execute(
        "create function noisy() returns trigger language plpgsql as"
        " $$begin raise notice '%', repeat('x', 8000); return new; end$$"
    )
    db.execute("create trigger noisy before insert on raw.usage_events for each row execute function noisy()")
    db.commit()
    rows = _wide(event, 2000)

    async def work(pool: AsyncConnectionPool) -> None:
        async with asyncio.timeout(60):
            await _add(pool, rows)
        assert there(db) == (2000, 1)

    in_pool(url, work)


def test_rows_of_many_days_make_their_chunks_in_one_batch(url: str, event: Event, db: psycopg.Connection) -> None:
    days = [NOON + timedelta(days=number) for number in range(40)]
    rows = [encode(event(number, started_at=day, finished_at=day, duration_us=0)) for number, day in enumerate(days)]

    async def work(pool: AsyncConnectionPool) -> None:
        await _add(pool, rows)
        assert there(db) == (40, 1)

    in_pool(url, work)
