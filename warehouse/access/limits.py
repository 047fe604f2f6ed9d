"""Rate limits of an organization."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries
from warehouse.access.scopes import ScopeIds

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Limit:
    """How fast something may be used; None is no bound.

    `home_project_id`: its own project, or that of the key.
    """

    id: int
    public_id: str
    home_project_id: int | None
    project: str | None
    api_key: str | None
    model: str | None
    mode: str
    requests_per_minute: int | None
    input_tokens_per_minute: int | None
    output_tokens_per_minute: int | None
    requests_at_once: int | None
    version: int
    created_at: datetime


async def page(conn: AsyncConnection, org_id: int, **window: Any) -> list[Limit]:
    """Limits by age. Window: after (public id or None), rows_max, projects (internal ids or None for all), and by public id,
    each None for all: project, api_key, model."""
    async with conn.cursor(row_factory=class_row(Limit)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id} | window, prepare=False)).fetchall()


async def find(conn: AsyncConnection, org_id: int, public_id: str) -> Limit | None:
    """The limit with this public id."""
    async with conn.cursor(row_factory=class_row(Limit)) as cur:
        return await (await cur.execute(QUERIES["find"], {"org_id": org_id, "public_id": public_id})).fetchone()


async def lock(conn: AsyncConnection, org_id: int, public_id: str) -> Limit | None:
    """The limit as it is now, until this transaction ends."""
    await conn.execute(QUERIES["lock"], {"org_id": org_id, "public_id": public_id})
    return await find(conn, org_id, public_id)


async def add(conn: AsyncConnection, org_id: int, public_id: str, scope: ScopeIds, **limit: Any) -> Limit:
    """A new limit: mode, requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, requests_at_once."""
    about = {"project_id": scope.project_id, "api_key_id": scope.api_key_id, "model_id": scope.model_id}
    await conn.execute(QUERIES["add"], {"org_id": org_id, "public_id": public_id} | about | limit)
    return await _there(conn, org_id, public_id)


async def change(conn: AsyncConnection, org_id: int, public_id: str, **limit: Any) -> Limit:
    """Other mode, requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, requests_at_once."""
    await conn.execute(QUERIES["change"], {"org_id": org_id, "public_id": public_id} | limit)
    return await _there(conn, org_id, public_id)


async def remove(conn: AsyncConnection, org_id: int, public_id: str) -> None:
    """It is kept, and no longer counts."""
    await conn.execute(QUERIES["remove"], {"org_id": org_id, "public_id": public_id})


async def _there(conn: AsyncConnection, org_id: int, public_id: str) -> Limit:
    row = await find(conn, org_id, public_id)
    assert row is not None
    return row
