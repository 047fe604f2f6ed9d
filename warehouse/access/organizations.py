"""Organizations as platform admins change them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import InvalidParameterValue
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class OrganizationRow:
    """An organization that is not deleted."""

    id: int
    public_id: str
    name: str
    time_zone: str
    queue_weight: int
    suspended_at: datetime | None
    created_at: datetime
    version: int


async def page(conn: AsyncConnection, **window: Any) -> list[OrganizationRow]:
    """Organizations by age. Window: after, rows_max, name (how it begins) and suspended (None for all)."""
    async with conn.cursor(row_factory=class_row(OrganizationRow)) as cur:
        return await (await cur.execute(QUERIES["page"], window)).fetchall()


async def knows_zone(conn: AsyncConnection, time_zone: str) -> bool:
    """Whether the database has this time zone. Its list may be older than the process's, and one name that it lacks would end
    every query over the organizations, the marts' too."""
    try:
        async with conn.transaction():
            await conn.execute(QUERIES["knows_zone"], {"time_zone": time_zone})
    except InvalidParameterValue:
        return False
    return True


async def add(conn: AsyncConnection, public_id: str, name: str, time_zone: str) -> OrganizationRow:
    """A new organization, of nobody yet."""
    return await _there(conn, "add", public_id=public_id, name=name, time_zone=time_zone)


async def add_owner(conn: AsyncConnection, org_id: int, email: str) -> bool:
    """Make the user with this address an owner; False where there is none."""
    return await (await conn.execute(QUERIES["add_owner"], {"org_id": org_id, "email": email})).fetchone() is not None


async def lock(conn: AsyncConnection, public_id: str) -> OrganizationRow | None:
    """The organization as it is now, until this transaction ends."""
    return await _one(conn, "lock", public_id=public_id)


async def update(
    conn: AsyncConnection, org_id: int, *, name: str | None, time_zone: str | None, queue_weight: int | None
) -> OrganizationRow:
    """None leaves a value as it is."""
    return await _there(conn, "update", org_id=org_id, name=name, time_zone=time_zone, queue_weight=queue_weight)


async def suspend(conn: AsyncConnection, org_id: int, *, suspended: bool) -> OrganizationRow:
    """Its keys stop at once, or work again."""
    return await _there(conn, "suspend", org_id=org_id, suspended=suspended)


async def remove(conn: AsyncConnection, org_id: int) -> OrganizationRow:
    """Its keys stop at once, its data stays."""
    return await _there(conn, "remove", org_id=org_id)


async def _one(conn: AsyncConnection, query: str, **values: Any) -> OrganizationRow | None:
    async with conn.cursor(row_factory=class_row(OrganizationRow)) as cur:
        return await (await cur.execute(QUERIES[query], values)).fetchone()


async def _there(conn: AsyncConnection, query: str, **values: Any) -> OrganizationRow:
    row = await _one(conn, query, **values)
    assert row is not None
    return row
