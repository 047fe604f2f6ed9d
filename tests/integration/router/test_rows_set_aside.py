"""What the database refuses, or nobody can read, is set aside where it is seen; everything else goes in."""

import asyncio
import errno
import json
import os
import resource
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.errors import ProtocolViolation
from psycopg_pool import AsyncConnectionPool

from router.inference import usage_sink as sinks
from router.inference.usage_sink import UsageSink
from tests.factories import Tenant, usage_event
from tests.usage_sinks import running, usage_sink
from warehouse.access import usage_events, usage_rows
from warehouse.access.usage_rows import UsageEvent, encode
from warehouse.base.clock import now
from warehouse.journal import JournalFailed
from warehouse.journal import frames as form

ROWS = 1000
BAD = (0, 499, 500, 999)
TENANT = Tenant(1, 1, 1, "")


class Counting:
    """The pool's connections, and how many were asked for; at one of them, or while `refuses`, the database is away."""

    def __init__(self, pool: AsyncConnectionPool, away_at: int = 0) -> None:
        self._pool, self.asked, self._away_at = pool, 0, away_at
        self.refuses = False

    def __call__(self) -> Any:
        self.asked += 1
        if self.refuses or self.asked == self._away_at:
            raise psycopg.OperationalError
        return self._pool.connection()


@asynccontextmanager
async def _sink(url: str, journal: Path) -> AsyncIterator[tuple[UsageSink, Counting]]:
    async with AsyncConnectionPool(url, min_size=1, max_size=2, open=False) as pool:
        connect = Counting(pool)
        async with running(usage_sink(journal, connect)) as sink:
            yield sink, connect


def _event(number: int, **fields: Any) -> UsageEvent:
    return usage_event(TENANT, number, now() - timedelta(seconds=1), cost_picousd=0, **fields)


def _count(db: psycopg.Connection) -> int:
    row = db.execute("select count(*) from raw.usage_events").fetchone()
    db.commit()
    assert row is not None
    return int(row[0])


def _positions(db: psycopg.Connection) -> set[str]:
    rows = db.execute("select worker from raw.journal_positions").fetchall()
    db.commit()
    return {worker for (worker,) in rows}


@pytest.fixture
def url(role_url: Callable[..., str]) -> str:
    return role_url("inferhouse_router")


def test_rows_that_cannot_be_true_are_set_aside_and_the_others_go_in(url: str, db: psycopg.Connection, tmp_path: Path) -> None:
    async def run() -> None:
        async with _sink(url, tmp_path) as (sink, connect):
            attempts = [
                sink.open(_event(number, cached_input_tokens=5 if number in BAD else 0, end_user="nul\0 \ud800"))
                for number in range(ROWS)
            ]
            asked = connect.asked
            for attempt in attempts:
                sink.close(attempt)
            await sink.recorded()
            assert connect.asked - asked < 100, "a row that is refused must not cost a transaction for each of the others"
            assert (sink.rows_quarantined, sink.database_error) == (len(BAD), None)
            sink.close(sink.open(_event(ROWS)))
            await sink.recorded()
        async with _sink(url, tmp_path) as (sink, _):
            assert sink.rows_quarantined == len(BAD), "a restart does not make it unseen"

    asyncio.run(run())
    assert _count(db) == ROWS - len(BAD) + 1
    kept = [json.loads(path.read_text()) for path in tmp_path.glob("0/*.refused")]
    assert sorted(int(row["request_id"][-4:], 16) for row in kept) == list(BAD)
    assert {row["cached_input_tokens"] for row in kept} == {5}
    assert not list(tmp_path.glob("0/*.journal"))


def test_routers_of_one_host_report_of_each_folder_and_a_folder_that_was_lost_goes_on_under_its_name(
    url: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    async def run() -> None:
        async with _sink(url, tmp_path / "one") as (one, _), _sink(url, tmp_path / "other") as (other, _):
            for sink in (one, other):
                sink.close(sink.open(_event(int(sink is one))))
                await sink.recorded()
            assert len(_positions(db)) == 2
            before = _positions(db)
        assert _positions(db) == set()
        shutil.rmtree(tmp_path / "one")
        async with _sink(url, tmp_path / "one") as (one, _):
            one.close(one.open(_event(2)))
            await one.recorded()
            assert len(_positions(db) & before) == 1

    asyncio.run(run())


def test_a_position_is_before_every_request_that_is_open_whichever_was_opened_first(
    url: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    earliest = now() - timedelta(seconds=60)

    async def run() -> None:
        async with _sink(url, tmp_path) as (sink, _):
            first = sink.open(_event(0))
            second = sink.open(usage_event(TENANT, 1, earliest, cost_picousd=0))  # it has waited for a minute
            sink.close(sink.open(_event(2)))
            await sink.recorded()
            row = db.execute("select complete_to from raw.journal_positions").fetchone()
            db.commit()
            assert row == (earliest,)
            for attempt in (first, second):
                sink.close(attempt)

    asyncio.run(run())


def test_a_journal_that_cannot_be_read_whole_holds_up_nothing_and_is_kept(
    url: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    folder = tmp_path / "0"
    folder.mkdir()
    events = [_event(number) for number in range(3)]
    keys = [event.request_id.bytes + b"\1\0" for event in events]
    frames = [form.encode(form.Kind.CLOSE, key, encode(event)) for key, event in zip(keys, events, strict=True)]
    strange = form.encode(form.Kind.CLOSE, bytes(18), b"\xff\xff no row")
    flipped = bytes([*frames[1][:40], frames[1][40] ^ 1, *frames[1][41:]])
    unknown = bytearray(form.encode(form.Kind.CLOSE, bytes(18), b"of a later version"))
    unknown[8] = 9
    unknown[4:8] = form.zlib.crc32(unknown[8:]).to_bytes(4, "little")
    (folder / "000000000001.journal").write_bytes(frames[0] + flipped + frames[2])
    (folder / "000000000002.journal").write_bytes(strange + frames[2] + bytes(unknown))

    async def run() -> None:
        async with _sink(url, tmp_path) as (sink, _):
            async with asyncio.timeout(10):
                await sink.replayed.wait()
            assert (sink.rows_quarantined, sink.files_damaged, sink.database_error) == (1, 2, None)
            sink.close(sink.open(_event(7)))
            await sink.recorded()
        async with _sink(url, tmp_path) as (sink, _):
            assert (sink.rows_quarantined, sink.files_damaged) == (1, 2), "a restart does not make them unseen"

    asyncio.run(run())
    assert _count(db) == 3
    assert [bytes.fromhex(path.read_text()) for path in folder.glob("unreadable-*.refused")] == [b"\xff\xff no row"]
    damaged = sorted(path.read_bytes() for path in folder.glob("*.damaged"))
    assert damaged == sorted([frames[0] + flipped + frames[2], strange + frames[2] + bytes(unknown)])
    assert not list(folder.glob("*.journal"))


def test_a_long_line_of_rows_waits_as_rows_only_and_says_nothing_of_how_far_it_is(
    url: str, db: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "POSITION_ROWS_MAX", 10)

    async def run() -> None:
        async with AsyncConnectionPool(url, min_size=1, max_size=2, open=False) as pool:
            sink = usage_sink(tmp_path, pool.connection, flush_rows_max=5)
            attempts = [sink.open(_event(number)) for number in range(100)]
            for attempt in attempts:
                sink.close(attempt)
            assert [(attempt.event, attempt.beginning) for attempt in attempts] == [(None, b"")] * 100
            assert sink._complete_to(5) is None
            behind = sink._complete_to(95)
            assert behind is not None
            assert behind < now() - timedelta(seconds=0.9)
            async with running(sink):
                await sink.recorded()
                assert _count(db) == 100

    asyncio.run(run())


def test_a_request_in_which_the_machine_stood_still_has_its_row_and_holds_up_nothing(
    url: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    async def run() -> None:
        async with _sink(url, tmp_path) as (sink, _):
            attempt = sink.open(_event(1, queue_us=2**40))
            event = attempt.event
            assert event is not None
            event.duration_us = event.ttft_us = 2**40
            sink.close(attempt)
            await sink.recorded()
            assert (sink.rows_quarantined, sink.database_error) == (0, None)

    asyncio.run(run())
    rows = db.execute("select duration_us, queue_us, ttft_us, overhead_us from raw.usage_events").fetchall()
    assert rows == [(2**31 - 1, 2**31 - 1, 2**31 - 1, None)]


@contextmanager
def _no_room() -> Iterator[None]:
    """No file of this process can be made larger, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_any_room_at_the_start_is_told_and_ends(url: str, db: psycopg.Connection, tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncConnectionPool(url, min_size=1, max_size=2, open=False) as pool:
            with _no_room():
                sink = usage_sink(tmp_path, pool.connection)
                assert "ROUTER_JOURNAL_DIR" in (sink.journal.error or "")
                with pytest.raises(JournalFailed, match="cannot grow"):
                    sink.open(_event(1))
                assert not (tmp_path / "0" / "life").exists()
            async with running(sink):
                while sink.journal.error:  # noqa: ASYNC110 - of a thing that tells nobody
                    await asyncio.sleep(0.01)
                assert (tmp_path / "0" / "life").read_text() == "7"
                sink.close(sink.open(_event(1)))
                await sink.recorded()

    asyncio.run(run())
    assert _count(db) == 1


def test_rows_of_a_worker_that_ended_without_the_database_are_taken_over_by_one_that_runs(
    url: str, db: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when all workers are replaced while the database is away: the new ones begin beside the old ones, in other folders."""
    monkeypatch.setattr(sinks, "ADOPT_S", 0.1)
    monkeypatch.setattr(sinks, "HEARTBEAT_S", 0.1)

    async def run() -> None:
        async with AsyncConnectionPool("host=127.0.0.1 port=1", min_size=0, max_size=1, open=False, timeout=0.1) as nowhere:
            old = [usage_sink(tmp_path, nowhere.connection, life=life) for life in (8, 9)]
            for number, sink in enumerate(old):
                sink.close(sink.open(_event(number)))
            async with _sink(url, tmp_path) as (new, _):
                await asyncio.sleep(0.5)
                assert _count(db) == 0, "they still have their folders"
                for sink in old:
                    await sink.stop(asyncio.create_task(sink.run()))
                async with asyncio.timeout(10):
                    while _count(db) < 2:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                    await new.replayed.wait()
                assert (sorted(new.lives_before), new.orgs_before) == ([8, 9], {TENANT.org_id})
                assert (tmp_path / "2" / "life").read_text() == "8 9 7"
                new.buried()

    asyncio.run(run())
    assert not list(tmp_path.rglob("*.journal"))


def test_a_database_that_refuses_at_once_is_asked_seldom_however_many_rows_and_callers_wait(
    url: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    """As one that is read-only after a failover: a batch for each row would be the event loop's whole work."""

    async def run() -> None:
        async with AsyncConnectionPool(url, min_size=1, max_size=2, open=False) as pool:
            connect = Counting(pool)
            async with running(usage_sink(tmp_path, connect, flush_rows_max=10)) as sink:
                await sink.replayed.wait()
                connect.refuses = True
                asked = connect.asked
                waiting = asyncio.create_task(sink.recorded())
                for number in range(200):
                    sink.close(sink.open(_event(number)))
                    await asyncio.sleep(0.005)
                waiting.cancel()
                assert connect.asked - asked < 10
                assert sink.database_error is not None
                connect.refuses = False
                async with asyncio.timeout(10):
                    await sink.recorded()

    asyncio.run(run())
    assert _count(db) == 200


def test_a_folder_that_cannot_be_read_keeps_no_worker_from_taking_over_the_next_one(
    url: str, db: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sinks, "ADOPT_S", 0.1)
    monkeypatch.setattr(sinks, "HEARTBEAT_S", 0.1)

    async def run() -> None:
        async with _sink(url, tmp_path):
            for number in (1, 2):
                (tmp_path / str(number)).mkdir()
            (tmp_path / "1" / "000000000001.journal").mkdir()
            row = form.encode(form.Kind.CLOSE, bytes(18), encode(_event(1)))
            (tmp_path / "2" / "000000000001.journal").write_bytes(row)
            async with asyncio.timeout(10):
                while not _count(db):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    asyncio.run(run())
    assert "rows of a worker that has ended cannot be read" in caplog.text


@pytest.mark.parametrize("lost", [b"", bytes(20), b"\xff\xfe"], ids=["empty", "zeros", "other bytes"])
def test_rows_do_not_wait_for_the_name_of_their_worker_that_the_disk_has_lost(
    url: str, db: psycopg.Connection, tmp_path: Path, lost: bytes
) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "position").write_bytes(lost)

    async def run() -> None:
        async with _sink(url, tmp_path) as (sink, _), asyncio.timeout(10):
            sink.close(sink.open(_event(1)))
            await sink.recorded()
            (name,) = _positions(db)
            assert name.startswith("test/")
            assert name == (tmp_path / "0" / "position").read_text()

    asyncio.run(run())
    assert _count(db) == 1


def test_rows_are_written_from_a_disk_that_has_no_room_for_anything_else(
    url: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    """The last room went to the journal's file: what it takes is not to wait in it until somebody makes room."""

    async def run() -> None:
        async with AsyncConnectionPool(url, min_size=1, max_size=2, open=False) as pool:
            sink = usage_sink(tmp_path, pool.connection)
            async with running(sink):
                with _no_room():
                    sink.close(sink.open(_event(1)))
                    async with asyncio.timeout(10):
                        await sink.recorded()
                    assert sink.database_error is None
                    positions = _positions(db)
                    assert len(positions) == 1
                sink.close(sink.open(_event(2)))
                await sink.recorded()
                assert _positions(db) == positions == {(tmp_path / "0" / "position").read_text()}

    asyncio.run(run())
    assert _count(db) == 2


def test_the_position_of_a_worker_that_is_gone_is_forgotten_though_the_database_was_away_just_then(
    url: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    """It would hold back for ever how far rows are said to be complete."""

    async def run() -> None:
        async with AsyncConnectionPool(url, min_size=1, max_size=2, open=False) as pool:
            first, second = usage_sink(tmp_path, pool.connection), usage_sink(tmp_path, pool.connection, life=8)
            async with running(first), running(second):
                for number, sink in enumerate((first, second)):
                    sink.close(sink.open(_event(number)))
                    await sink.recorded()
                    sink.open(_event(number + 2))  # never closed: both die with it
            assert len(_positions(db)) == 2
            connect = Counting(pool, away_at=3)  # rows of one, rows of the other, its position
            async with running(usage_sink(tmp_path, connect, life=9)) as new:
                async with asyncio.timeout(10):
                    await new.replayed.wait()
                assert connect.asked > 3
                new.buried()
            assert _positions(db) == set()

    asyncio.run(run())
    assert _count(db) == 4
    assert not list(tmp_path.rglob("life"))


def test_rows_do_not_wait_for_files_that_cannot_be_removed(
    url: str, db: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a folder that has become read-only between two lives; what is in the database twice over is there once."""
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
        row = form.encode(form.Kind.CLOSE, bytes(18), encode(_event(number)))
        (tmp_path / str(number) / "000000000001.journal").write_bytes(row)

    def read_only(path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    async def run(ends_at: int) -> None:
        async with _sink(url, tmp_path) as (sink, connect):
            async with asyncio.timeout(10):
                await sink.replayed.wait()
                sink.close(sink.open(_event(ends_at)))
                await sink.recorded()
            assert (sink.database_error, connect.refuses) == (None, False)
        assert _count(db) == ends_at + 1
        assert _positions(db) == set()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        asyncio.run(run(2))
    assert caplog.text.count("whose rows are in the database cannot be removed") == 2
    asyncio.run(run(3))
    assert not list(tmp_path.rglob("*.journal"))


def test_rows_of_which_too_many_take_longer_than_the_database_allows_are_added_in_parts(
    url: str, db: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an outage, with a `statement_timeout`: the same batch again would never come to its end."""
    at_once_max = 60
    add, replay = usage_events.add, usage_events.replay

    def canceling(work: Callable[..., Any]) -> Callable[..., Any]:
        async def asked(conn: psycopg.AsyncConnection, rows: Sequence[bytes], *others: Any) -> None:
            if len(rows) > at_once_max:
                await conn.execute("set local statement_timeout = 1")
                await conn.execute("select pg_sleep(10)")
            await work(conn, rows, *others)

        return asked

    monkeypatch.setattr(usage_events, "add", canceling(add))
    monkeypatch.setattr(usage_events, "replay", canceling(replay))
    (tmp_path / "0").mkdir()
    frames = [form.encode(form.Kind.CLOSE, number.to_bytes(18, "big"), encode(_event(number))) for number in range(200)]
    (tmp_path / "0" / "000000000001.journal").write_bytes(b"".join(frames))

    async def run() -> None:
        async with _sink(url, tmp_path) as (sink, _):
            for number in range(200, 400):
                sink.close(sink.open(_event(number)))
            async with asyncio.timeout(20):
                await sink.recorded()
            assert (sink.rows_quarantined, sink.database_error) == (0, None)

    asyncio.run(run())
    assert _count(db) == 400


def test_a_row_that_takes_longer_than_the_database_allows_waits_and_is_not_set_aside(
    url: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    """As while somebody has locked the table."""

    async def run() -> None:
        with psycopg.connect(db.info.dsn, password=db.info.password) as other:
            other.execute("lock table raw.usage_events in access exclusive mode")
            options = {"options": "-c statement_timeout=1000"}
            pool = AsyncConnectionPool(url, min_size=1, max_size=2, open=False, kwargs=options)
            async with pool, running(usage_sink(tmp_path, pool.connection)) as sink:
                for number in range(3):
                    sink.close(sink.open(_event(number)))
                async with asyncio.timeout(20):
                    while sink.database_error != "QueryCanceled":  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                other.rollback()
                async with asyncio.timeout(20):
                    await sink.recorded()
                assert sink.rows_quarantined == 0

    asyncio.run(run())
    assert _count(db) == 3


def test_what_an_earlier_life_left_is_looked_at_a_little_at_a_time(
    url: str, db: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are served meanwhile, and an outage leaves millions of rows."""
    turn_rows, left = 50, 1000
    monkeypatch.setattr(sinks, "TURN_ROWS", turn_rows)
    (tmp_path / "0").mkdir()
    frames = [form.encode(form.Kind.CLOSE, number.to_bytes(18, "big"), encode(_event(number))) for number in range(left)]
    (tmp_path / "0" / "000000000001.journal").write_bytes(b"".join(frames))
    in_turns, is_whole = [0], usage_rows.is_whole

    def looked_at(row: bytes) -> bool:
        in_turns[-1] += 1
        return is_whole(row)

    async def others() -> None:
        while True:
            in_turns.append(0)
            await asyncio.sleep(0)

    async def run() -> None:
        turns = asyncio.create_task(others())
        async with _sink(url, tmp_path) as (sink, _), asyncio.timeout(20):
            await sink.replayed.wait()
        turns.cancel()

    monkeypatch.setattr(usage_rows, "is_whole", looked_at)
    asyncio.run(run())
    assert _count(db) == sum(in_turns) == left
    assert max(in_turns) <= turn_rows


@pytest.mark.parametrize("field", [b"", b"\x80", bytes(range(90, 190))], ids=["empty", "short", "long"])
def test_a_record_with_fields_that_are_none_of_a_row_is_set_aside_and_stops_nobody(
    url: str, db: psycopg.Connection, tmp_path: Path, field: bytes
) -> None:
    (tmp_path / "0").mkdir()
    strange = len(usage_rows.COLUMNS).to_bytes(2, "big") + (len(field).to_bytes(4, "big") + field) * len(usage_rows.COLUMNS)
    assert usage_rows.is_whole(strange)
    frames = [
        form.encode(form.Kind.CLOSE, bytes(17) + b"%d" % number, row) for number, row in enumerate([strange, encode(_event(1))])
    ]
    (tmp_path / "0" / "000000000001.journal").write_bytes(b"".join(frames))

    async def run() -> None:
        async with _sink(url, tmp_path) as (sink, _), asyncio.timeout(10):
            await sink.replayed.wait()
            assert sink.rows_quarantined == 1

    asyncio.run(run())
    assert _count(db) == 1
    assert [bytes.fromhex(path.read_text()) for path in tmp_path.glob("0/unreadable-*.refused")] == [strange]


def test_a_worker_that_may_have_no_more_threads_takes_over_nothing_and_goes_on(
    url: str, db: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "ADOPT_S", 0.1)
    monkeypatch.setattr(sinks, "HEARTBEAT_S", 0.1)
    asked: list[object] = []

    async def refuse(*arguments: object) -> None:
        asked.append(arguments)
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        async with _sink(url, tmp_path) as (sink, _), asyncio.timeout(10):
            (tmp_path / "1").mkdir()
            row = form.encode(form.Kind.CLOSE, bytes(18), encode(_event(1)))
            (tmp_path / "1" / "000000000001.journal").write_bytes(row)
            with monkeypatch.context() as patch:
                patch.setattr(asyncio, "to_thread", refuse)
                while len(asked) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                sink.close(sink.open(_event(2)))
                await sink.recorded()
            while _count(db) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    asyncio.run(run())


def test_a_pooler_that_speaks_of_its_own_line_costs_no_row(
    url: str, db: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same code as PostgreSQL of a row that is none."""
    (tmp_path / "0").mkdir()
    frames = [form.encode(form.Kind.CLOSE, bytes(17) + b"%d" % number, encode(_event(number))) for number in range(3)]
    (tmp_path / "0" / "000000000001.journal").write_bytes(b"".join(frames))
    replay, refused = usage_events.replay, [ProtocolViolation("query_wait_timeout")] * 2

    async def refusing(conn: psycopg.AsyncConnection, rows: Sequence[bytes]) -> None:
        if refused:
            raise refused.pop()
        await replay(conn, rows)

    async def run() -> None:
        async with _sink(url, tmp_path) as (sink, _), asyncio.timeout(10):
            await sink.replayed.wait()
            assert (refused, sink.rows_quarantined) == ([], 0)

    monkeypatch.setattr(usage_events, "replay", refusing)
    asyncio.run(run())
    assert _count(db) == 3
