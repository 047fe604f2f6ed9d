"""Whom budgets and limits on trial would have refused, by the day (UTC)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)

Counts = Mapping[tuple[str, int, int, date], int]
"""{(budget or limit, its id, organization id, day): requests}"""


@dataclass(frozen=True, slots=True)
class ShadowRefusals:
    """Of one rule on one day; one of the two ids is None."""

    day: date
    budget_id: str | None
    limit_id: str | None
    requests: int


async def add(conn: AsyncConnection, counts: Counts) -> None:
    """Add to what is there."""
    kinds, rule_ids, org_ids, days = map(list, zip(*counts, strict=True))
    values = {"kinds": kinds, "rule_ids": rule_ids, "org_ids": org_ids, "days": days, "requests": list(counts.values())}
    await conn.execute(QUERIES["add"], values)


async def page(conn: AsyncConnection, org_id: int, *, start: date, end: date) -> list[ShadowRefusals]:
    """Of an organization, from a day until another (exclusive)."""
    async with conn.cursor(row_factory=class_row(ShadowRefusals)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id, "start": start, "end": end})).fetchall()
