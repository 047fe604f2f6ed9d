"""Volume tiers: what is used in a month above a quantity costs less. Months that have begun keep what they have."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class VolumeTier:
    """What is above a quantity of a month, up to the next tier, costs so many parts of 10,000 less; without organization for
    everybody. From the first until the last month, both of them whole; `last_month` None: until it is ended."""

    id: int
    model: str
    organization: str | None
    token_class: str
    above_quantity: int
    basis_points: int
    first_month: date
    last_month: date | None
    reason: str
    created_at: datetime


async def page(conn: AsyncConnection, **window: Any) -> list[VolumeTier]:
    """The newest first. Window: after (id or None), rows_max, model, organization, for_all (only those for everybody)."""
    async with conn.cursor(row_factory=class_row(VolumeTier)) as cur:
        return await (await cur.execute(QUERIES["page"], window)).fetchall()


async def find(conn: AsyncConnection, tier_id: int) -> VolumeTier | None:
    """The tier with this id."""
    async with conn.cursor(row_factory=class_row(VolumeTier)) as cur:
        return await (await cur.execute(QUERIES["find"], {"id": tier_id})).fetchone()


async def rival(conn: AsyncConnection, **values: Any) -> int | None:
    """One above the same quantity. Values: model_id, org_id, token_class, above_quantity, first, end (not part of it)."""
    found: int | None = await _scalar(conn, "rival", **values)
    return found


async def in_month(conn: AsyncConnection, **values: Any) -> int | None:
    """One that another one there would change the effect of. Values: model_id, org_id, token_class, month."""
    found: int | None = await _scalar(conn, "in_month", **values)
    return found


async def this_month(conn: AsyncConnection, org_id: int | None) -> date:
    """The month that has begun for an organization by the database's clock; None: for any of them."""
    month: date = await _scalar(conn, "this_month", org_id=org_id)
    return month


async def add(conn: AsyncConnection, **values: Any) -> VolumeTier:
    """Values: as `rival`, and basis_points, reason."""
    found = await find(conn, await _scalar(conn, "add", **values))
    assert found is not None
    return found


async def cut(conn: AsyncConnection, tier_id: int, end: date) -> None:
    """Let it end before this month."""
    await conn.execute(QUERIES["cut"], {"id": tier_id, "end": end})


async def remove(conn: AsyncConnection, tier_id: int) -> None:
    """Take it away."""
    await conn.execute(QUERIES["remove"], {"id": tier_id})


async def _scalar(conn: AsyncConnection, query: str, **values: Any) -> Any:
    async with conn.cursor(row_factory=scalar_row) as cur:
        return await (await cur.execute(QUERIES[query], values)).fetchone()
