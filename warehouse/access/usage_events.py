"""How raw usage rows enter the hypertable: binary COPY, and a second way for rows that may be there already."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from psycopg import AsyncClientCursor, AsyncConnection, AsyncCursor, generators
from psycopg.abc import PQGen
from psycopg.errors import UniqueViolation, error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.sql import SQL, Identifier
from psycopg.waiting import WAIT_W

from warehouse.access.queries import load_queries
from warehouse.access.usage_rows import COLUMNS, by_width, copy_data, width

QUERIES = load_queries(__file__)
PIECE_BYTES = 2**20  # psycopg's own COPY cuts what is longer, too: libpq may never come to an end with it (its issue 255)
Position = tuple[str, datetime]
"""A worker, and the instant before which every row that it started is in raw.usage_events."""


async def add(conn: AsyncConnection, rows: Sequence[bytes], position: Position | None = None) -> None:
    """One transaction: rows, as `usage_rows.encode` makes them, each at most once, and how far their worker is complete.

    New rows go straight into the hypertable. Where one of the batch is there already (a replay, a commit whose answer
    was lost), the batch goes through a temporary table and what is there is left as it is.
    """
    try:
        if rows:
            await _add_new(conn, rows, position)
        else:
            await _report(conn, position)
    except UniqueViolation:
        async with conn.transaction():
            await replay(conn, rows)
            await _report(conn, position)


async def replay(conn: AsyncConnection, rows: Sequence[bytes]) -> None:
    """Add rows of which some may be there already, also of a version before this one."""
    async with conn.transaction(), conn.cursor() as cur:
        await cur.execute(QUERIES["create_replay"])
        for _, group in by_width(rows):
            await _copy(cur, "replay", group)
        await cur.execute(QUERIES["insert_replay"])
        await cur.execute(QUERIES["drop_replay"])


async def announce_position(conn: AsyncConnection, position: Position) -> None:
    """The worker may have rows from now on. Committed when this returns; where it has a position, that stays."""
    await conn.execute(QUERIES["announce_position"], _names(position))
    await conn.commit()


async def forget_position(conn: AsyncConnection, worker: str) -> None:
    """The worker is gone and left nothing behind."""
    await conn.execute(QUERIES["forget_position"], {"worker": worker})


async def _add_new(conn: AsyncConnection, rows: Sequence[bytes], position: Position | None) -> None:
    """As one query of several statements, which PostgreSQL makes one transaction of.

    Begin, COPY, position and commit one after another keep the router's event loop busy for twice as long (decision 0108).
    """
    query = _statement("raw.usage_events", width(rows[0]))
    if position is not None:
        report = AsyncClientCursor(conn).mogrify(QUERIES["report_position"], _names(position))
        query = b"%b; %b" % (query, report.encode())
    await conn.wait(_copied(conn.pgconn, query, copy_data(rows)))


def _copied(connection: PGconn, query: bytes, data: bytes) -> PQGen[None]:
    """A query that begins with COPY, and its data. Source: PostgreSQL, frontend protocol, simple query and COPY operations."""
    connection.send_query(query)
    started = (yield from generators.execute(connection))[0]  # a server that ends says so, and may be gone as a second result
    if started.status != ExecStatus.COPY_IN:
        raise error_from_result(started)
    for at in range(0, len(data), PIECE_BYTES):
        yield from generators.copy_to(connection, data[at : at + PIECE_BYTES], flush=False)
    while not connection.put_copy_end():
        yield WAIT_W
    for result in (yield from generators.execute(connection)):
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result)


async def _report(conn: AsyncConnection, position: Position | None) -> None:
    if position is not None:
        await conn.execute(QUERIES["report_position"], _names(position))


def _names(position: Position) -> dict[str, str | datetime]:
    worker, complete_to = position
    return {"worker": worker, "complete_to": complete_to}


async def _copy(cur: AsyncCursor, table: str, rows: Sequence[bytes]) -> None:
    """Rows of one width."""
    async with cur.copy(_statement(table, width(rows[0]))) as copy:
        await copy.write(copy_data(rows))


@cache
def _statement(table: str, columns: int) -> bytes:
    names = SQL(", ").join(map(Identifier, COLUMNS[:columns]))
    return SQL("copy {} ({}) from stdin (format binary)").format(Identifier(*table.split(".")), names).as_bytes()
