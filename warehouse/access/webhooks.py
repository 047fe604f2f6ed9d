"""Webhooks of an organization, and who of it gets mail."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where events are sent. `event_types`: None for all. The secret before `secret_serial` signs until the given instant too."""

    id: int
    public_id: str
    name: str
    url: str
    event_types: list[str] | None
    enabled: bool
    secret_serial: int
    previous_secret_until: datetime | None
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Recipients:
    """Who gets mail: members by role, and further addresses. Version 0: nobody has said, so the default holds."""

    roles: list[str]
    emails: list[str]
    version: int


DEFAULT_RECIPIENTS = Recipients(["owner", "billing"], [], 0)


async def page(conn: AsyncConnection, org_id: int, **window: Any) -> list[Webhook]:
    """Webhooks by age. Window: after (public id or None), rows_max."""
    async with conn.cursor(row_factory=class_row(Webhook)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id} | window, prepare=False)).fetchall()


async def find(conn: AsyncConnection, org_id: int, public_id: str) -> Webhook | None:
    """The webhook with this public id."""
    async with conn.cursor(row_factory=class_row(Webhook)) as cur:
        return await (await cur.execute(QUERIES["find"], {"org_id": org_id, "public_id": public_id})).fetchone()


async def lock(conn: AsyncConnection, org_id: int, public_id: str) -> Webhook | None:
    """The webhook as it is now, until this transaction ends."""
    await conn.execute(QUERIES["lock"], {"org_id": org_id, "public_id": public_id})
    return await find(conn, org_id, public_id)


async def count(conn: AsyncConnection, org_id: int) -> int:
    """How many there are; nobody makes another one until this transaction ends."""
    await conn.execute(QUERIES["lock_organization"], {"org_id": org_id})
    row = await (await conn.execute(QUERIES["count"], {"org_id": org_id})).fetchone()
    assert row is not None
    return int(row[0])


async def add(conn: AsyncConnection, org_id: int, public_id: str, **webhook: Any) -> Webhook:
    """A new webhook: name, url, event_types, enabled."""
    await conn.execute(QUERIES["add"], {"org_id": org_id, "public_id": public_id} | webhook)
    return await _there(conn, org_id, public_id)


async def change(conn: AsyncConnection, org_id: int, public_id: str, **webhook: Any) -> Webhook:
    """Another name, url, event_types, enabled."""
    await conn.execute(QUERIES["change"], {"org_id": org_id, "public_id": public_id} | webhook)
    return await _there(conn, org_id, public_id)


async def rotate(conn: AsyncConnection, org_id: int, public_id: str, grace_s: int) -> Webhook:
    """The next secret; the one before signs too for `grace_s` seconds."""
    await conn.execute(QUERIES["rotate"], {"org_id": org_id, "public_id": public_id, "grace_s": grace_s})
    return await _there(conn, org_id, public_id)


async def remove(conn: AsyncConnection, org_id: int, public_id: str) -> None:
    """It is kept for the deliveries that it had, and is sent nothing more."""
    await conn.execute(QUERIES["remove"], {"org_id": org_id, "public_id": public_id})


async def recipients(conn: AsyncConnection, org_id: int) -> Recipients:
    """Who gets mail now."""
    async with conn.cursor(row_factory=class_row(Recipients)) as cur:
        return await (await cur.execute(QUERIES["recipients"], {"org_id": org_id})).fetchone() or DEFAULT_RECIPIENTS


async def put_recipients(conn: AsyncConnection, org_id: int, roles: list[str], emails: list[str]) -> Recipients:
    """Who gets mail from now on."""
    async with conn.cursor(row_factory=class_row(Recipients)) as cur:
        await cur.execute(QUERIES["put_recipients"], {"org_id": org_id, "roles": roles, "emails": emails})
        row = await cur.fetchone()
    assert row is not None
    return row


async def _there(conn: AsyncConnection, org_id: int, public_id: str) -> Webhook:
    row = await find(conn, org_id, public_id)
    assert row is not None
    return row
