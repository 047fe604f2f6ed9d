"""Raw rows: each there once, none that cannot be true, none wider than promised."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.errors import CheckViolation, NotNullViolation, UniqueViolation

from tests.integration.warehouse.conftest import NOON, Control
from warehouse.access import usage_events
from warehouse.access.usage_rows import UsageEvent, encode, is_whole, width

Event = Callable[..., UsageEvent]
ROW_BYTES_MAX = 250  # DESIGN 2.1


@pytest.fixture
def as_router(role_url: Callable[..., str]) -> Callable[[Callable[[AsyncConnection], Awaitable[None]]], None]:
    """Runs a coroutine with a connection of the router's role, and commits."""

    def run(work: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        async def connected() -> None:
            async with await AsyncConnection.connect(role_url("inferhouse_router")) as conn:
                await work(conn)

        asyncio.run(connected())

    return run


AsRouter = Callable[[Callable[[AsyncConnection], Awaitable[None]]], None]


def _add(*events: UsageEvent) -> Callable[[AsyncConnection], Awaitable[None]]:
    return lambda conn: usage_events.add(conn, [encode(event) for event in events])


def _rows(db: psycopg.Connection) -> int:
    row = db.execute("select count(*) from raw.usage_events").fetchone()
    db.commit()
    assert row is not None
    return int(row[0])


def test_rows_are_read_back_as_they_were(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    events = [event(number) for number in range(20)]
    as_router(_add(*events))
    columns = ", ".join(UsageEvent.__struct_fields__)
    rows = db.execute(f"select {columns} from raw.usage_events order by request_id".encode()).fetchall()
    assert [UsageEvent(**dict(zip(UsageEvent.__struct_fields__, row, strict=True))) for row in rows] == events


def test_a_batch_that_is_there_already_adds_nothing(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    events = [event(number) for number in range(10)]
    for batch in (events, events, events[5:] + [event(number) for number in range(10, 15)]):
        as_router(_add(*batch))
    assert _rows(db) == 15


def test_a_row_twice_in_one_batch_is_one_row(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    as_router(_add(event(1), event(2), event(1)))
    assert _rows(db) == 2
    as_router(lambda conn: usage_events.replay(conn, [encode(event(number)) for number in (2, 3, 3)]))
    assert _rows(db) == 3


def test_rows_of_a_version_with_fewer_columns_go_in_beside_those_of_this_one(
    as_router: AsRouter, event: Event, db: psycopg.Connection
) -> None:
    def narrow(number: int) -> bytes:
        row = encode(event(number, finish_reason=None))  # the last column, of which only the length is there
        made = (width(row) - 1).to_bytes(2, "big") + row[2:-4]
        assert is_whole(made)
        return made

    as_router(lambda conn: usage_events.replay(conn, [encode(event(1)), narrow(2), encode(event(3)), narrow(2)]))
    as_router(lambda conn: usage_events.add(conn, [narrow(4), narrow(5)], ("a/0", NOON)))
    rows = db.execute("select finish_reason, duration_us from raw.usage_events order by request_id").fetchall()
    assert rows == [(event(number).finish_reason if number in (1, 3) else None, 800_000 + number) for number in range(1, 6)]


def test_two_batches_of_replay_fit_in_one_transaction(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    async def work(conn: AsyncConnection) -> None:
        async with conn.transaction():
            await usage_events.replay(conn, [encode(event(1))])
            await usage_events.replay(conn, [encode(event(1)), encode(event(2))])

    as_router(work)
    assert _rows(db) == 2


def test_the_first_copy_of_a_row_stays_as_it_is(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    as_router(_add(event(1, output_tokens=100)))
    as_router(_add(event(1, output_tokens=999)))
    assert db.execute("select output_tokens from raw.usage_events").fetchone() == (100,)


def test_attempts_of_one_request_are_rows_of_their_own(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    as_router(_add(*(event(1, attempt=number) for number in range(3))))
    assert _rows(db) == 3


def test_a_duplicate_is_refused_by_the_index_itself(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    as_router(_add(event(1)))
    with pytest.raises(UniqueViolation):
        db.execute("insert into raw.usage_events select * from raw.usage_events")


UNTRUE: list[dict[str, object]] = [
    {"input_tokens": -1, "cached_input_tokens": 0},
    {"output_tokens": -1},
    {"cached_input_tokens": -1},
    {"cached_input_tokens": 10_000},
    {"reasoning_tokens": 10_000},
    {"reasoning_tokens": -1},
    {"cost_picousd": -1},
    {"cost_picousd": 5, "price_id": None},
    {"attempt": -1},
    {"duration_us": -1},
    {"ttft_us": -1},
    {"finished_at": NOON - timedelta(days=1)},
    {"end_user": "x" * 129},
    {"model_asked": "x" * 129},
    {"error_code": "x" * 65},
    {"tags": {"t": "x" * 3000}},
]
NO_WORD: list[dict[str, object]] = [
    {"status": "fine"}, {"endpoint": "chat"}, {"charge_class": "free"}, {"token_source": "me"}, {"finish_reason": "done"},
]  # fmt: skip


def test_a_row_that_cannot_be_true_takes_its_batch_with_it(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    for wrong in UNTRUE:
        with pytest.raises(CheckViolation):
            as_router(_add(event(1), event(2, **wrong)))
        assert _rows(db) == 0, wrong


def test_a_word_that_is_none_of_ours_is_refused(as_router: AsRouter, event: Event) -> None:
    for wrong in NO_WORD:
        with pytest.raises(psycopg.DataError):
            as_router(_add(event(1, **wrong)))


def test_a_free_row_has_no_price_and_costs_nothing(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    free = event(1, status="refused", charge_class="free_refused", price_id=None, cost_picousd=0)
    unpriced = event(2, price_id=None, cost_picousd=None)
    as_router(_add(free, unpriced))
    assert _rows(db) == 2


def test_the_transaction_is_the_commit_order(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    """A reader below the horizon sees every row that will ever be below it, whatever its timestamps say."""
    horizon = "select pg_snapshot_xmin(pg_current_snapshot())"
    below = b"select count(*) from raw.usage_events where recorded_xid < %s::xid8"

    async def work(conn: AsyncConnection) -> None:
        await conn.execute("begin")
        await usage_events.add(conn, [encode(event(1))])  # not committed yet, and older than what follows
        db.execute("insert into control.users (public_id, email, name) values ('user_000000000009', 'x@y.example', 'x')")
        db.commit()
        (at,) = db.execute(horizon).fetchone() or ("",)
        db.commit()
        await conn.commit()
        assert db.execute(below, [str(at)]).fetchone() == (0,)
        db.commit()
        (later,) = db.execute(horizon).fetchone() or ("",)
        assert db.execute(below, [str(later)]).fetchone() == (1,)
        db.commit()

    as_router(work)


def test_a_position_is_kept_per_worker_and_forgotten(as_router: AsRouter, db: psycopg.Connection) -> None:
    async def report(conn: AsyncConnection) -> None:
        await usage_events.add(conn, [], ("a/0", NOON))
        await usage_events.add(conn, [], ("a/0", NOON + timedelta(hours=1)))
        await usage_events.add(conn, [], ("b/0", NOON))
        await usage_events.forget_position(conn, "b/0")

    as_router(report)
    rows = db.execute("select worker, complete_to, recorded_xid::text::bigint > 0 from raw.journal_positions").fetchall()
    assert rows == [("a/0", NOON + timedelta(hours=1), True)]


def test_rows_and_position_are_there_together_or_not_at_all(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    position = ("it's %s/0", NOON)  # a name is a value, whatever is in it

    as_router(lambda conn: usage_events.add(conn, [encode(event(1))], position))
    assert _rows(db) == 1
    assert db.execute("select worker, complete_to from raw.journal_positions").fetchall() == [position]

    with pytest.raises(CheckViolation):
        as_router(lambda conn: usage_events.add(conn, [encode(event(2, **UNTRUE[0]))], ("b/0", NOON)))
    with pytest.raises(NotNullViolation):
        as_router(lambda conn: usage_events.add(conn, [encode(event(2))], (None, NOON)))  # type: ignore[arg-type]
    assert _rows(db) == 1
    assert db.execute("select worker, complete_to from raw.journal_positions").fetchall() == [position]


def test_the_position_moves_with_rows_that_were_there_already(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    as_router(lambda conn: usage_events.add(conn, [encode(event(1))], ("a/0", NOON)))
    later = NOON + timedelta(hours=1)
    as_router(lambda conn: usage_events.add(conn, [encode(event(number)) for number in (1, 2)], ("a/0", later)))
    assert _rows(db) == 2
    assert db.execute("select complete_to from raw.journal_positions").fetchall() == [(later,)]


def test_a_connection_goes_on_after_a_batch_that_was_refused(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    async def work(conn: AsyncConnection) -> None:
        with pytest.raises(CheckViolation):
            await usage_events.add(conn, [encode(event(1, **UNTRUE[0]))], ("a/0", NOON))
        await usage_events.add(conn, [encode(event(2))], ("a/0", NOON))

    as_router(work)
    assert _rows(db) == 1


def test_a_batch_larger_than_what_libpq_takes_at_once(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    tags = {f"key {number}": "x" * 250 for number in range(7)}
    as_router(_add(*(event(number, tags=tags) for number in range(5000))))
    assert _rows(db) == 5000


def test_a_batch_that_is_given_up_leaves_nothing(as_router: AsRouter, event: Event, db: psycopg.Connection) -> None:
    db.execute("lock table raw.usage_events in share mode")  # COPY waits for it
    events = [event(number) for number in range(3)]

    async def work(conn: AsyncConnection) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await _add(*events)(conn)
        db.commit()
        assert _rows(db) == 0
        await _add(*events)(conn)

    as_router(work)
    assert _rows(db) == 3


def test_a_row_is_at_most_250_bytes_wide(as_router: AsRouter, event: Event, db: psycopg.Connection, control: Control) -> None:
    count = 20_000
    as_router(_add(*(event(number) for number in range(count))))
    chunks = db.execute("select show_chunks('raw.usage_events')::text").fetchall()
    assert len(chunks) == 1, "one day, one chunk"
    size = db.execute("select pg_relation_size(%s::regclass)", chunks[0]).fetchone()
    assert size is not None
    assert size[0] / count <= ROW_BYTES_MAX
