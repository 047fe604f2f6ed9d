"""How raw usage rows enter the hypertable: binary COPY, and a second way for rows that may be there already."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import UniqueViolation
from psycopg.sql import SQL, Identifier

from warehouse.access.queries import load_queries
from warehouse.access.usage_rows import COLUMNS, by_width, copy_data, width

QUERIES = load_queries(__file__)
Position = tuple[str, datetime]
"""A worker, and the instant before which every row that it started is in raw.usage_events."""


async def add(conn: AsyncConnection, rows: Sequence[bytes], position: Position | None = None) -> None:
    """One transaction: rows, as `usage_rows.encode` makes them, each at most once, and how far their worker is complete.

    New rows go straight into the hypertable. Where one of the batch is there already (a replay, a commit whose answer
    was lost), the batch goes through a temporary table and what is there is left as it is.
    """
    try:
        async with conn.transaction():
            if rows:
                async with conn.cursor() as cur:
                    await _copy(cur, "raw.usage_events", rows)
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
        await cur.execute("drop table replay")


async def forget_position(conn: AsyncConnection, worker: str) -> None:
    """The worker is gone and left nothing behind."""
    await conn.execute(QUERIES["forget_position"], {"worker": worker})


async def _report(conn: AsyncConnection, position: Position | None) -> None:
    if position is not None:
        worker, complete_to = position
        await conn.execute(QUERIES["report_position"], {"worker": worker, "complete_to": complete_to})


async def _copy(cur: AsyncCursor, table: str, rows: Sequence[bytes]) -> None:
    """Rows of one width."""
    async with cur.copy(_statement(table, width(rows[0]))) as copy:
        await copy.write(copy_data(rows))


@cache
def _statement(table: str, columns: int) -> bytes:
    names = SQL(", ").join(map(Identifier, COLUMNS[:columns]))
    return SQL("copy {} ({}) from stdin (format binary)").format(Identifier(*table.split(".")), names).as_bytes()
