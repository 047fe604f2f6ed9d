"""Discounts: what an organization does not pay of whole months. Months that have begun keep what they have."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Discount:
    """Of 10,000 parts of an organization's lines, so many are not paid; without a model, of all of them.

    From the first until the last month, both of them whole; `last_month` None: until it is ended.
    """

    id: int
    organization: str
    model: str | None
    basis_points: int
    first_month: date
    last_month: date | None
    reason: str
    created_at: datetime


async def page(conn: AsyncConnection, **window: Any) -> list[Discount]:
    """The newest first. Window: after (id or None), rows_max, organization, model."""
    async with conn.cursor(row_factory=class_row(Discount)) as cur:
        return await (await cur.execute(QUERIES["page"], window)).fetchall()


async def find(conn: AsyncConnection, discount_id: int) -> Discount | None:
    """The discount with this id."""
    async with conn.cursor(row_factory=class_row(Discount)) as cur:
        return await (await cur.execute(QUERIES["find"], {"id": discount_id})).fetchone()


async def rival(conn: AsyncConnection, org_id: int, model_id: int | None, first: date, end: date | None) -> int | None:
    """One of the same model in some of the same months; `end` is not part of them."""
    return await _scalar(conn, "rival", org_id=org_id, model_id=model_id, first=first, end=end)


async def in_month(conn: AsyncConnection, org_id: int, model_id: int | None, month: date) -> int | None:
    """One that a discount of this model would change the effect of."""
    return await _scalar(conn, "in_month", org_id=org_id, model_id=model_id, month=month)


async def add(conn: AsyncConnection, **values: Any) -> Discount:
    """Values: org_id, model_id, basis_points, first, end (not part of it, or None), reason."""
    made = await _scalar(conn, "add", **values)
    found = await find(conn, made or 0)
    assert found is not None
    return found


async def cut(conn: AsyncConnection, discount_id: int, end: date) -> None:
    """Let it end before this month."""
    await conn.execute(QUERIES["cut"], {"id": discount_id, "end": end})


async def remove(conn: AsyncConnection, discount_id: int) -> None:
    """Take it away."""
    await conn.execute(QUERIES["remove"], {"id": discount_id})


async def _scalar(conn: AsyncConnection, query: str, **values: Any) -> int | None:
    async with conn.cursor(row_factory=scalar_row) as cur:
        found: int | None = await (await cur.execute(QUERIES[query], values)).fetchone()
    return found
