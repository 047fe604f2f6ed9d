"""Budgets of an organization."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries
from warehouse.access.scopes import ScopeIds

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in a period.

    `home_project_id`: its own project, or that of the key or the service account.
    """

    id: int
    public_id: str
    home_project_id: int | None
    project: str | None
    user: str | None
    service_account: str | None
    api_key: str | None
    model: str | None
    period: str
    limit_picousd: Decimal
    raised_limit_picousd: Decimal | None
    raised_until: datetime | None
    limit_in_force_picousd: Decimal
    mode: str
    alert_percents: list[int]
    version: int
    created_at: datetime


async def page(conn: AsyncConnection, org_id: int, **window: Any) -> list[Budget]:
    """Budgets by age. Window: after (public id or None), rows_max, projects (internal ids or None for all), and by public id,
    each None for all: project, user, service_account, api_key, model."""
    async with conn.cursor(row_factory=class_row(Budget)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id} | window, prepare=False)).fetchall()


async def find(conn: AsyncConnection, org_id: int, public_id: str) -> Budget | None:
    """The budget with this public id."""
    async with conn.cursor(row_factory=class_row(Budget)) as cur:
        return await (await cur.execute(QUERIES["find"], {"org_id": org_id, "public_id": public_id})).fetchone()


async def lock(conn: AsyncConnection, org_id: int, public_id: str) -> Budget | None:
    """The budget as it is now, until this transaction ends."""
    await conn.execute(QUERIES["lock"], {"org_id": org_id, "public_id": public_id})
    return await find(conn, org_id, public_id)


async def add(conn: AsyncConnection, org_id: int, public_id: str, scope: ScopeIds, **budget: Any) -> Budget:
    """A new budget: period, limit_picousd, mode, alert_percents."""
    about = {
        "project_id": scope.project_id,
        "user_id": scope.user_id,
        "service_account_id": scope.service_account_id,
        "api_key_id": scope.api_key_id,
        "model_id": scope.model_id,
    }
    await conn.execute(QUERIES["add"], {"org_id": org_id, "public_id": public_id} | about | budget)
    return await _there(conn, org_id, public_id)


async def change(conn: AsyncConnection, org_id: int, public_id: str, **budget: Any) -> Budget:
    """Other limit_picousd, raised_limit_picousd, raised_until, mode, alert_percents."""
    await conn.execute(QUERIES["change"], {"org_id": org_id, "public_id": public_id} | budget)
    return await _there(conn, org_id, public_id)


async def remove(conn: AsyncConnection, org_id: int, public_id: str) -> None:
    """It is kept, and no longer counts."""
    await conn.execute(QUERIES["remove"], {"org_id": org_id, "public_id": public_id})


async def _there(conn: AsyncConnection, org_id: int, public_id: str) -> Budget:
    row = await find(conn, org_id, public_id)
    assert row is not None
    return row
