"""Service accounts of projects: holders of keys that are nobody's, so that they outlive whoever made them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account that is not deleted."""

    id: int
    public_id: str
    name: str
    role: str
    created_by: str | None
    created_at: datetime
    version: int


async def page(conn: AsyncConnection, org_id: int, project_id: int, **window: Any) -> list[ServiceAccount]:
    """Accounts of a project by age. Window: after (public id or None), rows_max."""
    async with conn.cursor(row_factory=class_row(ServiceAccount)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id, "project_id": project_id} | window)).fetchall()


async def find(conn: AsyncConnection, org_id: int, project_id: int, public_id: str) -> ServiceAccount | None:
    """The account of the project with this public id."""
    return await _one(conn, "find", org_id=org_id, project_id=project_id, public_id=public_id)


async def add(
    conn: AsyncConnection, org_id: int, project_id: int, public_id: str, *, name: str, role: str, created_by: str
) -> ServiceAccount:
    """A new account, without a key."""
    home = {"org_id": org_id, "project_id": project_id}
    row = await _one(conn, "add", **home, public_id=public_id, name=name, role=role, created_by=created_by)
    assert row is not None
    return row


async def remove(conn: AsyncConnection, org_id: int, account_id: int) -> bool:
    """Whether it was there until now. Its keys are the caller's to revoke."""
    return (await conn.execute(QUERIES["remove"], {"org_id": org_id, "account_id": account_id})).rowcount == 1


async def _one(conn: AsyncConnection, query: str, **values: Any) -> ServiceAccount | None:
    async with conn.cursor(row_factory=class_row(ServiceAccount)) as cur:
        return await (await cur.execute(QUERIES[query], values)).fetchone()
