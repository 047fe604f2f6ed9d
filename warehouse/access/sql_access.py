"""Read-only SQL logins of an organization. The database makes the roles; it is told verifiers, never passwords."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class SqlLogin:
    """A role that may read the marts of one organization, and nothing else."""

    login: str
    name: str
    created_by: str | None
    created_at: datetime
    rotated_at: datetime | None
    database: str


async def page(conn: AsyncConnection, org_id: int, **window: Any) -> list[SqlLogin]:
    """Logins by name. Window: after (login or None), rows_max."""
    async with conn.cursor(row_factory=class_row(SqlLogin)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id} | window)).fetchall()


async def find(conn: AsyncConnection, org_id: int, login: str) -> SqlLogin | None:
    """The login of this organization with this name."""
    async with conn.cursor(row_factory=class_row(SqlLogin)) as cur:
        return await (await cur.execute(QUERIES["find"], {"org_id": org_id, "login": login})).fetchone()


async def lock(conn: AsyncConnection, org_id: int) -> int:
    """How many logins the organization has; nobody changes them until this transaction ends."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        await cur.execute(QUERIES["lock"], {"org_id": org_id})
        count = await (await cur.execute(QUERIES["count"], {"org_id": org_id})).fetchone()
        return int(count or 0)


async def add(conn: AsyncConnection, org_id: int, login: str, password: str, *, name: str, created_by: str) -> SqlLogin:
    """A new login. Raises: DuplicateObject: there is a role of this name."""
    values = {"org_id": org_id, "login": login, "name": name, "created_by": created_by}
    await conn.execute(QUERIES["add"], values | {"verifier": _verifier(conn, login, password)})
    return await _there(conn, org_id, login)


async def rotate(conn: AsyncConnection, org_id: int, login: str, password: str) -> SqlLogin:
    """Another password; sessions with the old one end."""
    await conn.execute(QUERIES["rotate"], {"org_id": org_id, "login": login, "verifier": _verifier(conn, login, password)})
    return await _there(conn, org_id, login)


async def remove(conn: AsyncConnection, org_id: int, login: str) -> None:
    """The login goes, its sessions end."""
    await conn.execute(QUERIES["remove"], {"org_id": org_id, "login": login})


def _verifier(conn: AsyncConnection, login: str, password: str) -> str:
    """What PostgreSQL keeps of a password: salted, iterated, and of no use to sign in with."""
    return conn.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()


async def _there(conn: AsyncConnection, org_id: int, login: str) -> SqlLogin:
    row = await find(conn, org_id, login)
    assert row is not None
    return row
