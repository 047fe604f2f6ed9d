"""Sums of usage and cost from the marts, by hour or by day of UTC, and what budgets have spent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
Width = Literal["hours", "days"]


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which usage counts: None for all. `reach`: internal ids of projects, the others public ids or names."""

    reach: Sequence[int] | None = None
    projects: Sequence[str] | None = None
    users: Sequence[str] | None = None
    api_keys: Sequence[str] | None = None
    models: Sequence[str] | None = None
    endpoints: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class UsageSum:
    """One sum. A column that was not grouped by is None; so is a user where a key is nobody's."""

    starts_at: datetime
    project: str | None
    user: str | None
    api_key: str | None
    model: str | None
    requests: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_picousd: Decimal


@dataclass(frozen=True, slots=True)
class BudgetSpend:
    """A budget in its current window. `window_ends_at`, `forecast_picousd`: None for a lifetime."""

    budget_id: int
    spent_picousd: Decimal
    remaining_picousd: Decimal
    percent_used: Decimal
    reached_percents: list[int]
    window_starts_at: datetime
    window_ends_at: datetime | None
    forecast_picousd: Decimal | None
    used_up_at: datetime | None
    complete_to: datetime


async def built(conn: AsyncConnection) -> bool:
    """Whether there are marts: a new installation has none before its first request."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        return bool(await (await cur.execute(QUERIES["built"])).fetchone())


async def complete_to(conn: AsyncConnection, org_id: int) -> datetime | None:
    """Every request that started before this instant is in the sums."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        instant: datetime | None = await (await cur.execute(QUERIES["complete_to"], {"org_id": org_id})).fetchone()
        return instant


async def sums(
    conn: AsyncConnection,
    org_id: int,
    width: Width,
    since: datetime,
    until: datetime,
    *,
    group_by: Sequence[str],
    wanted: UsageFilter,
    rows_max: int,
) -> list[UsageSum]:
    """Sums of one organization, in order of time. Args: group_by: any of project, user, api_key, model."""
    values = {
        "org_id": org_id,
        "since": since,
        "until": until,
        "rows_max": rows_max,
        **{f"by_{name}": name in group_by for name in ("project", "user", "api_key", "model")},
        **{name: getattr(wanted, name) for name in ("reach", "projects", "users", "api_keys", "models", "endpoints")},
    }
    async with conn.cursor(row_factory=class_row(UsageSum)) as cur:
        return await (await cur.execute(QUERIES[width], values, prepare=False)).fetchall()


async def budget_spends(conn: AsyncConnection, budget_ids: Sequence[int]) -> dict[int, BudgetSpend]:
    """What budgets have spent, by internal id; without those that are newer than the marts."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        if not await (await cur.execute(QUERIES["budgets_built"])).fetchone():
            return {}
    async with conn.cursor(row_factory=class_row(BudgetSpend)) as rows:
        await rows.execute(QUERIES["budgets"], {"budget_ids": list(budget_ids)}, prepare=False)
        return {row.budget_id: row for row in await rows.fetchall()}
