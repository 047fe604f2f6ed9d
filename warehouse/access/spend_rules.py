"""Budgets and limits as routers hold them: those of one organization, and what has been spent under them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """A budget that refuses, or is on trial (`shadow`). Of whom: at most one of the first four ids. Amounts as decimal texts."""

    id: int
    public_id: str
    project_id: int | None
    user_id: int | None
    service_account_id: int | None
    api_key_id: int | None
    model_id: int | None
    model: str | None
    period: str
    limit_picousd: str
    raised_limit_picousd: str | None
    raised_until: datetime | None
    shadow: bool
    created_at: datetime
    hold_version: int
    """Another one whenever it begins to be held again."""


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A limit; None is no bound."""

    id: int
    public_id: str
    project_id: int | None
    api_key_id: int | None
    model_id: int | None
    model: str | None
    shadow: bool
    requests_per_minute: int | None
    input_tokens_per_minute: int | None
    output_tokens_per_minute: int | None
    requests_at_once: int | None


@dataclass(frozen=True, slots=True)
class SpendRules:
    """All of an organization. `boundaries`: {period: the instants at which its windows begin}, some past, most to come."""

    time_zone: str
    shares: bool
    """While Redis is down its requests go on, within each router's share."""
    budgets: Sequence[BudgetRule]
    limits: Sequence[LimitRule]
    boundaries: Mapping[str, Sequence[datetime]]


async def of_organization(conn: AsyncConnection, org_id: int) -> SpendRules:
    """What is in force now; nothing for an organization that is not there."""
    async with conn.cursor(row_factory=dict_row) as cur:
        organization = await (await cur.execute(QUERIES["organization"], {"org_id": org_id})).fetchone()
        if organization is None:
            return SpendRules("UTC", shares=False, budgets=[], limits=[], boundaries={})
    async with conn.cursor(row_factory=class_row(BudgetRule)) as cur:
        budgets = await (await cur.execute(QUERIES["budgets"], {"org_id": org_id})).fetchall()
    async with conn.cursor(row_factory=class_row(LimitRule)) as cur:
        limits = await (await cur.execute(QUERIES["limits"], {"org_id": org_id})).fetchall()
    boundaries: dict[str, Sequence[datetime]] = {}
    if budgets:
        values = {"time_zone": organization["time_zone"]}
        boundaries = dict(await (await conn.execute(QUERIES["boundaries"], values)).fetchall())
    return SpendRules(organization["time_zone"], organization["when_redis_is_down"] == "share", budgets, limits, boundaries)


async def spent(
    conn: AsyncConnection, windows: Sequence[tuple[int, datetime, datetime]], lives: Collection[int]
) -> Sequence[int]:
    """Pico-dollars in the rows of each window (budget id, start, end), in their order, without the rows of these lives."""
    rows = await (await conn.execute(QUERIES["spent"], _values(windows, lives))).fetchall()
    return [int(picousd) for _, picousd in rows]


async def spent_of(
    conn: AsyncConnection, windows: Sequence[tuple[int, datetime, datetime]], lives: Collection[int]
) -> Mapping[tuple[int, int], int]:
    """{(which window, life): pico-dollars in its rows}; windows as for `spent`, counted from 0."""
    rows = await (await conn.execute(QUERIES["spent_of"], _values(windows, lives))).fetchall()
    return {(number - 1, life): int(picousd) for number, life, picousd in rows}


def _values(windows: Sequence[tuple[int, datetime, datetime]], lives: Collection[int]) -> dict[str, list[Any]]:
    columns = zip(*windows, strict=True) if windows else ([], [], [])
    return dict(zip(("budget_ids", "starts", "ends"), map(list, columns), strict=True)) | {"lives": list(lives)}
