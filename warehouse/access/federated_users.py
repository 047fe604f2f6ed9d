"""Users as an identity provider knows them: who they are here, and the memberships that its groups give them."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class FederatedUser:
    """The user of a subject."""

    id: int
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class OrganizationOfGroups:
    """An organization that groups are mapped to."""

    id: int
    public_id: str


@dataclass(frozen=True, slots=True)
class Membership:
    """What a user is somewhere, and whether a group made it so."""

    org_id: int
    role: str
    by_group: bool


async def find(conn: AsyncConnection, issuer: str, subject: str) -> FederatedUser | None:
    """The user who signed in as this subject before."""
    return await _user(conn, "find", issuer=issuer, subject=subject)


async def link(conn: AsyncConnection, issuer: str, subject: str, email: str) -> FederatedUser | None:
    """The user with this address, who is this subject from now on; None where nobody has it, or it is another subject's.

    Password, second factor and sessions end: whoever made the user with somebody else's address knows them.
    """
    user = await _user(conn, "link", issuer=issuer, subject=subject, email=email)
    if user is not None:
        await conn.execute(QUERIES["end_sessions"], {"user_id": user.id})
    return user


async def add(conn: AsyncConnection, issuer: str, subject: str, *, public_id: str, email: str, name: str) -> FederatedUser | None:
    """A new user; None where another user has the address or the subject."""
    return await _user(conn, "add", issuer=issuer, subject=subject, public_id=public_id, email=email, name=name)


async def organizations(conn: AsyncConnection, public_ids: list[str]) -> list[OrganizationOfGroups]:
    """Those of these organizations that are there; nobody else changes their members until this transaction ends."""
    async with conn.cursor(row_factory=class_row(OrganizationOfGroups)) as cur:
        return await (await cur.execute(QUERIES["organizations"], {"public_ids": public_ids})).fetchall()


async def memberships(conn: AsyncConnection, user_id: int) -> list[Membership]:
    """Every membership of a user."""
    async with conn.cursor(row_factory=class_row(Membership)) as cur:
        return await (await cur.execute(QUERIES["memberships"], {"user_id": user_id})).fetchall()


async def put_membership(conn: AsyncConnection, org_id: int, user_id: int, role: str) -> None:
    """The membership that a group gives; one that people gave stays as it is."""
    await conn.execute(QUERIES["put_membership"], {"org_id": org_id, "user_id": user_id, "role": role})


async def _user(conn: AsyncConnection, query: str, **values: str) -> FederatedUser | None:
    async with conn.cursor(row_factory=class_row(FederatedUser)) as cur:
        return await (await cur.execute(QUERIES[query], values)).fetchone()
