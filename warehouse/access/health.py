"""What the database says of itself and of the whole installation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Facts:
    """`raw_rows` and `mart_rows` are of yesterday by UTC; `complete_to` is of the organization that is furthest behind."""

    now: datetime
    version: str
    applied: Mapping[str, str]
    raw_rows: int
    mart_rows: int | None
    complete_to: datetime | None
    marts_built: bool
    last_request: datetime | None
    audit_sequence: int | None
    connections_max: int
    """Those that the server keeps for its superusers left out."""
    connections: int


async def facts(conn: AsyncConnection, *, seconds_max: float) -> Facts:
    """All of them in one statement. Raises: psycopg.errors.QueryCanceled: it takes longer than that."""
    await conn.execute(QUERIES["limit_time"], {"milliseconds": str(int(seconds_max * 1000))})
    async with conn.cursor(row_factory=class_row(Facts)) as cur:
        found = await (await cur.execute(QUERIES["facts"])).fetchone()
    assert found is not None
    return found


async def without_price(conn: AsyncConnection, *, rows_max: int) -> list[str]:
    """Models in service that have no list price in force."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        names: list[str] = await (await cur.execute(QUERIES["without_price"], {"rows_max": rows_max})).fetchall()
    return names
