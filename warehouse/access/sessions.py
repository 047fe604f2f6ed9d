"""Sessions of users: one row each, from sign-in to its end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session that has not ended, and its user, who is not disabled."""

    id: int
    public_id: str
    serial: int
    rotated_at: datetime
    created_at: datetime
    expires_at: datetime
    method: str
    second_factor: bool
    ip: str | None
    user_agent: str | None
    user_id: int
    user_public_id: str
    email: str
    name: str
    platform_admin: bool
    totp_enabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as its user sees it in a list."""

    id: int
    public_id: str
    created_at: datetime
    expires_at: datetime
    method: str
    second_factor: bool
    ip: str | None
    user_agent: str | None


async def add(conn: AsyncConnection, **values: Any) -> None:
    """A new session. Values: public_id, user_id, expires_at, method, second_factor, ip, user_agent.

    Sessions that ended 90 days ago are forgotten: the audit log still tells of them.
    """
    await conn.execute(QUERIES["remove_old"])
    await conn.execute(QUERIES["add"], values)


async def find(conn: AsyncConnection, public_id: str) -> OpenSession | None:
    """The session, while it is open and its user is not disabled."""
    async with conn.cursor(row_factory=class_row(OpenSession)) as cur:
        return await (await cur.execute(QUERIES["find"], {"public_id": public_id})).fetchone()


async def rotate(conn: AsyncConnection, session_id: int, serial: int) -> int | None:
    """The number of the next token; None where `serial` is not the newest any more."""
    row = await (await conn.execute(QUERIES["rotate"], {"session_id": session_id, "serial": serial})).fetchone()
    return row[0] if row else None


async def revoke(conn: AsyncConnection, user_id: int, public_id: str) -> bool:
    """End a session of this user; False where there is none that is open."""
    return await (await conn.execute(QUERIES["revoke"], {"user_id": user_id, "public_id": public_id})).fetchone() is not None


async def revoke_others(conn: AsyncConnection, user_id: int, session_id: int) -> int:
    """End every session of this user but one; how many there were."""
    return (await conn.execute(QUERIES["revoke_others"], {"user_id": user_id, "session_id": session_id})).rowcount


async def confirm_second_factor(conn: AsyncConnection, session_id: int) -> None:
    """The user of this session has just shown a second factor."""
    await conn.execute(QUERIES["confirm_second_factor"], {"session_id": session_id})


async def page(conn: AsyncConnection, user_id: int, **window: Any) -> list[SessionRow]:
    """Open sessions of a user, the newest first. Window: after, rows_max."""
    async with conn.cursor(row_factory=class_row(SessionRow)) as cur:
        return await (await cur.execute(QUERIES["page"], window | {"user_id": user_id})).fetchall()
