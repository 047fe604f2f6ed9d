"""How raw usage rows enter the hypertable: binary COPY, and a second way for rows that may be there already."""

from collections.abc import Sequence
from datetime import datetime

from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import UniqueViolation
from psycopg.sql import SQL, Identifier

from warehouse.access.queries import load_queries
from warehouse.access.usage_rows import COLUMNS, by_width, copy_data, width

QUERIES = load_queries(__file__)
_COPY = SQL("copy {} ({}) from stdin (format binary)")  # the columns are those of the rows, see `usage_rows`


async def add(conn: AsyncConnection, rows: Sequence[bytes]) -> None:
    """Add rows, as `usage_rows.encode` makes them, each at most once; the caller's transaction decides when they are there.

    New rows go straight into the hypertable. Where one of the batch is there already (a replay, a commit whose answer
    was lost), the batch goes through a temporary table and what is there is left as it is.
    """
    try:
        async with conn.transaction(), conn.cursor() as cur:
            await _copy(cur, Identifier("raw", "usage_events"), rows)
    except UniqueViolation:
        await replay(conn, rows)


async def replay(conn: AsyncConnection, rows: Sequence[bytes]) -> None:
    """Add rows of which some may be there already, also of a version before this one."""
    async with conn.transaction(), conn.cursor() as cur:
        await cur.execute(QUERIES["create_replay"])
        for _, group in by_width(rows):
            await _copy(cur, Identifier("replay"), group)
        await cur.execute(QUERIES["insert_replay"])
        await cur.execute("drop table replay")


async def report_position(conn: AsyncConnection, worker: str, complete_to: datetime) -> None:
    """Say that every row of this worker that started before the instant is in raw.usage_events."""
    await conn.execute(QUERIES["report_position"], {"worker": worker, "complete_to": complete_to})


async def forget_position(conn: AsyncConnection, worker: str) -> None:
    """The worker is gone and left nothing behind."""
    await conn.execute(QUERIES["forget_position"], {"worker": worker})


async def _copy(cur: AsyncCursor, table: Identifier, rows: Sequence[bytes]) -> None:
    """Rows of one width."""
    columns = SQL(", ").join(map(Identifier, COLUMNS[: width(rows[0])]))
    async with cur.copy(_COPY.format(table, columns)) as copy:
        await copy.write(copy_data(rows))
