"""Part 5: rows into the hypertable as the router writes them, beside the same bytes by bare COPY."""

import asyncio
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import AsyncConnection

from deploy.local.postgres import OWNER
from tests.bench.router.bench import Bench
from tests.bench.router.figures import median, shown
from tests.bench.router.machine import NICE
from tests.bench.router.report import Bar, Section
from tests.factories import Tenant, usage_event
from warehouse.access import usage_events
from warehouse.access.usage_rows import COLUMNS, copy_data, encode
from warehouse.base.clock import now

ROWS, BATCH_ROWS = 200_000, 10_000
RATIO_MIN = 0.7
WORKER = "bench/1"


def run(bench: Bench) -> None:
    """Batch by batch in turns into the same table, so that whatever slows the machine or the disk slows both."""
    # Of one day, long past midnight: all rows lie in one chunk.
    events = batches(datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1))
    raw = [copy_data(batch) for batch in events]
    with _beside_the_database(bench):
        taken = [asyncio.run(_timed(bench, events, raw, swapped=bool(turn % 2))) for turn in range(bench.repeats)]
    own, bare = ([ROWS / 2 / seconds for seconds in way] for way in zip(*taken, strict=True))
    ratio = median([one / two for one, two in zip(own, bare, strict=True)])
    rows = (
        ("as the router writes them", shown(median(own)), shown(ratio, 2)),
        ("bare binary COPY of the same bytes", shown(median(bare)), "1.00"),
    )
    note = f"{ROWS:,} rows in transactions of {BATCH_ROWS:,}, each synced, from one process, every second one by the other way."
    bench.add(Section("Rows into the hypertable", ("way", "rows/s", "of bare COPY"), rows, (note,)))
    bench.bars.append(Bar("ingest, of bare COPY", f"{ratio:.2f}", f"at least {RATIO_MIN}", ratio >= RATIO_MIN))


@contextmanager
def _beside_the_database(bench: Bench) -> Iterator[None]:
    """This process is the writer: on the router's core and, as root, with its priority; the database has the other core."""
    as_root = os.geteuid() == 0
    os.sched_setaffinity(0, bench.cores.router)
    if as_root:
        os.setpriority(os.PRIO_PROCESS, 0, int(NICE))
    try:
        yield
    finally:
        if as_root:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        os.sched_setaffinity(0, {bench.cores.load})


def batches(started_at: datetime, count: int = ROWS + BATCH_ROWS) -> list[list[bytes]]:
    """Rows as they lie in a journal, a millisecond apart, of a thousand tenants."""
    chance = random.Random(0)
    tenants = [Tenant(number, number, number, "") for number in range(1, 1001)]
    events = []
    for number in range(count):
        input_tokens, output_tokens = chance.randrange(1, 2000), chance.randrange(1, 500)
        events.append(
            usage_event(
                chance.choice(tenants), chance.getrandbits(72), started_at + timedelta(milliseconds=number),
                model_id=1, engine_id=1, price_id=1, cost_picousd=input_tokens * 100_000 + output_tokens * 400_000,
                input_tokens=input_tokens, output_tokens=output_tokens, queue_us=chance.randrange(100),
                ttft_us=chance.randrange(200_000), overhead_us=chance.randrange(1000),
            )
        )  # fmt: skip
    rows = [encode(event) for event in events]
    return [rows[at : at + BATCH_ROWS] for at in range(0, len(rows), BATCH_ROWS)]


async def _add(conn: AsyncConnection, rows: Sequence[bytes]) -> None:
    """As `UsageSink` does it."""
    await usage_events.add(conn, rows, (WORKER, now()))


async def _copy(conn: AsyncConnection, prepared: bytes) -> None:
    """The least that PostgreSQL's protocol asks for."""
    statement = f"copy raw.usage_events ({', '.join(COLUMNS)}) from stdin (format binary)".encode()
    async with conn.transaction(), conn.cursor() as cur, cur.copy(statement) as copy:
        await copy.write(prepared)


async def _timed(bench: Bench, events: Sequence[list[bytes]], raw: Sequence[bytes], *, swapped: bool) -> tuple[float, float]:
    """Seconds of each way for half of the rows, in an empty table. The first batch, which makes the chunk, is not timed."""
    _empty(bench)
    seconds = [0.0, 0.0]
    async with await AsyncConnection.connect(bench.ours.url("inferhouse_router"), autocommit=True) as conn:
        await _add(conn, events[0])
        for number in range(1, len(events)):
            bare = (number % 2 == 0) != swapped
            started_s = time.perf_counter()
            await (_copy(conn, raw[number]) if bare else _add(conn, events[number]))
            seconds[bare] += time.perf_counter() - started_s
        await usage_events.forget_position(conn, WORKER)
    found = bench.ours.rows().all
    bench.check(found == ROWS + BATCH_ROWS, f"ingest: {ROWS + BATCH_ROWS} rows written, {found} found")
    return seconds[0], seconds[1]


def _empty(bench: Bench) -> None:
    with psycopg.connect(bench.ours.url(OWNER), autocommit=True) as db:
        db.execute("truncate raw.usage_events")
