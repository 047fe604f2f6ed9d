"""Invites: who may join an organization, as what, and until when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Invite:
    """An invite, open or not. `projects`: [{"id": "proj_…", "role": "member"}]."""

    id: int
    public_id: str
    org_id: int
    email: str
    role: str
    projects: list[dict[str, str]]
    invited_by: str
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    revoked_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class Host:
    """The organization that somebody is invited to."""

    public_id: str
    name: str
    suspended: bool
    deleted: bool


@dataclass(frozen=True, slots=True)
class Person:
    """The user who has the address of an invite."""

    id: int
    disabled: bool


async def page(conn: AsyncConnection, org_id: int, **window: Any) -> list[Invite]:
    """Invites by age. Window: after (public id or None), rows_max, email and status (None for all)."""
    async with conn.cursor(row_factory=class_row(Invite)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id} | window)).fetchall()


async def find(conn: AsyncConnection, org_id: int, public_id: str, *, lock: bool = False) -> Invite | None:
    """The invite with this public id; with `lock` nobody else changes it until this transaction ends."""
    return await _one(conn, "lock" if lock else "find", org_id=org_id, public_id=public_id)


async def find_open(conn: AsyncConnection, org_id: int, email: str) -> Invite | None:
    """The invite for this address that is neither accepted nor revoked; it may have expired."""
    return await _one(conn, "find_open", org_id=org_id, email=email)


async def member_with_email(conn: AsyncConnection, org_id: int, email: str) -> str | None:
    """The public id of the member who has this address."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        found: str | None = await (await cur.execute(QUERIES["member_with_email"], {"org_id": org_id, "email": email})).fetchone()
        return found


async def add(conn: AsyncConnection, org_id: int, *, projects: list[dict[str, str]], days: int, **values: Any) -> Invite:
    """A new invite, open for so many days. Values: public_id, email, role, token_hash, invited_by."""
    return await _there(conn, "add", org_id=org_id, projects=Jsonb(projects), days=days, **values)


async def renew(conn: AsyncConnection, org_id: int, invite_id: int, token_hash: bytes, days: int) -> Invite:
    """Another token, open for so many days from now; the token before is nobody's any more."""
    return await _there(conn, "renew", org_id=org_id, invite_id=invite_id, token_hash=token_hash, days=days)


async def revoke(conn: AsyncConnection, org_id: int, invite_id: int) -> Invite:
    """Nobody can accept it any more."""
    return await _there(conn, "revoke", org_id=org_id, invite_id=invite_id)


async def accept(conn: AsyncConnection, org_id: int, invite_id: int) -> Invite:
    """It is used up."""
    return await _there(conn, "accept", org_id=org_id, invite_id=invite_id)


async def find_by_token(conn: AsyncConnection, token_hash: bytes, *, lock: bool = False) -> Invite | None:
    """The invite of a token, whatever its organization; with `lock` nobody else uses it until this transaction ends."""
    return await _one(conn, "lock_by_token" if lock else "find_by_token", token_hash=token_hash)


async def host(conn: AsyncConnection, org_id: int) -> Host:
    """The organization, suspended and deleted ones too."""
    async with conn.cursor(row_factory=class_row(Host)) as cur:
        row = await (await cur.execute(QUERIES["host"], {"org_id": org_id})).fetchone()
        assert row is not None
        return row


async def person(conn: AsyncConnection, email: str) -> Person | None:
    """The user who has this address, disabled or not."""
    async with conn.cursor(row_factory=class_row(Person)) as cur:
        return await (await cur.execute(QUERIES["person"], {"email": email})).fetchone()


async def add_user(conn: AsyncConnection, *, public_id: str, email: str, name: str, password_hash: str) -> int | None:
    """A new user; None where somebody has the address."""
    values = {"public_id": public_id, "email": email, "name": name, "password_hash": password_hash}
    return await _id(conn, "add_user", values)


async def add_member(conn: AsyncConnection, org_id: int, user_id: int, role: str) -> bool:
    """A new member; False where the user is one."""
    return await _id(conn, "add_member", {"org_id": org_id, "user_id": user_id, "role": role}) is not None


async def _id(conn: AsyncConnection, query: str, values: dict[str, Any]) -> int | None:
    async with conn.cursor(row_factory=scalar_row) as cur:
        found: int | None = await (await cur.execute(QUERIES[query], values)).fetchone()
        return found


async def _one(conn: AsyncConnection, query: str, **values: Any) -> Invite | None:
    async with conn.cursor(row_factory=class_row(Invite)) as cur:
        return await (await cur.execute(QUERIES[query], values)).fetchone()


async def _there(conn: AsyncConnection, query: str, **values: Any) -> Invite:
    row = await _one(conn, query, **values)
    assert row is not None
    return row
