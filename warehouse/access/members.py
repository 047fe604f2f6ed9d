"""Who is in an organization and in its projects, and as what."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Member:
    """A user with the role in the organization, or in the project, that was asked about."""

    user_id: int
    public_id: str
    email: str
    name: str
    role: str
    created_at: datetime
    version: int


async def page(conn: AsyncConnection, org_id: int, **window: Any) -> list[Member]:
    """Members by age. Window: after (public id or None), rows_max, emails (lower case) and role (None for all)."""
    async with conn.cursor(row_factory=class_row(Member)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id} | window)).fetchall()


async def find(conn: AsyncConnection, org_id: int, public_id: str) -> Member | None:
    """The member of the organization with this public id of a user."""
    return await _find(conn, "find", org_id=org_id, public_id=public_id)


async def lock(conn: AsyncConnection, org_id: int) -> None:
    """Nobody else changes roles of this organization until this transaction ends: two owners cannot remove each other."""
    await conn.execute(QUERIES["lock"], {"org_id": org_id})


async def owners(conn: AsyncConnection, org_id: int) -> int:
    """How many owners can sign in."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        return int(await (await cur.execute(QUERIES["owners"], {"org_id": org_id})).fetchone() or 0)


async def set_role(conn: AsyncConnection, org_id: int, user_id: int, role: str) -> None:
    """Another role in the organization."""
    await conn.execute(QUERIES["set_role"], {"org_id": org_id, "user_id": user_id, "role": role})


async def remove(conn: AsyncConnection, org_id: int, user_id: int) -> None:
    """Out of the organization, and of its projects with it. Keys are the caller's to revoke."""
    await conn.execute(QUERIES["remove"], {"org_id": org_id, "user_id": user_id})


async def project_page(conn: AsyncConnection, org_id: int, project_id: int, **window: Any) -> list[Member]:
    """Members of a project by age. Window: after (public id or None), rows_max."""
    async with conn.cursor(row_factory=class_row(Member)) as cur:
        values = {"org_id": org_id, "project_id": project_id} | window
        return await (await cur.execute(QUERIES["project_page"], values)).fetchall()


async def project_find(conn: AsyncConnection, org_id: int, project_id: int, public_id: str) -> Member | None:
    """The member of the project with this public id of a user."""
    return await _find(conn, "project_find", org_id=org_id, project_id=project_id, public_id=public_id)


async def project_add(conn: AsyncConnection, org_id: int, project_id: int, user_id: int, role: str) -> None:
    """A member of the organization gets a role in a project. Raises: UniqueViolation: has one there."""
    values = {"org_id": org_id, "project_id": project_id, "user_id": user_id, "role": role}
    await conn.execute(QUERIES["project_add"], values)


async def project_set_role(conn: AsyncConnection, org_id: int, project_id: int, user_id: int, role: str) -> None:
    """Another role in the project."""
    values = {"org_id": org_id, "project_id": project_id, "user_id": user_id, "role": role}
    await conn.execute(QUERIES["project_set_role"], values)


async def project_remove(conn: AsyncConnection, org_id: int, project_id: int, user_id: int) -> None:
    """Out of the project."""
    await conn.execute(QUERIES["project_remove"], {"org_id": org_id, "project_id": project_id, "user_id": user_id})


async def forget_totp(conn: AsyncConnection, org_id: int, user_id: int) -> bool:
    """Take a member's second factor away; whether there was one."""
    return (await conn.execute(QUERIES["forget_totp"], {"org_id": org_id, "user_id": user_id})).rowcount == 1


async def _find(conn: AsyncConnection, query: str, **values: Any) -> Member | None:
    async with conn.cursor(row_factory=class_row(Member)) as cur:
        return await (await cur.execute(QUERIES[query], values)).fetchone()
