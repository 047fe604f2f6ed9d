"""Users and their organizations, as sign-in and the portal need them."""

from dataclasses import dataclass, field

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
ORGANIZATIONS_MAX = 1000  # a longer list is of no use to a person who picks from it


@dataclass(frozen=True, slots=True)
class User:
    """A user who is not disabled."""

    id: int
    public_id: str
    email: str
    name: str
    password_hash: str | None = field(repr=False)
    platform_admin: bool


@dataclass(frozen=True, slots=True)
class Membership:
    """An active organization and what the user is in it."""

    org_id: int
    public_id: str
    name: str
    time_zone: str
    role: str


async def find_user_by_email(conn: AsyncConnection, email: str) -> User | None:
    """The user with this address, in any case of letters."""
    async with conn.cursor(row_factory=class_row(User)) as cur:
        return await (await cur.execute(QUERIES["find_user_by_email"], {"email": email})).fetchone()


async def find_user(conn: AsyncConnection, user_id: int) -> User | None:
    """The user with this id."""
    async with conn.cursor(row_factory=class_row(User)) as cur:
        return await (await cur.execute(QUERIES["find_user"], {"user_id": user_id})).fetchone()


async def list_memberships(conn: AsyncConnection, user_id: int) -> list[Membership]:
    """The organizations of a user, by name."""
    async with conn.cursor(row_factory=class_row(Membership)) as cur:
        return await (await cur.execute(QUERIES["list_memberships"], {"user_id": user_id})).fetchall()


async def list_organizations(conn: AsyncConnection) -> list[Membership]:
    """Every active organization, by name, at most ORGANIZATIONS_MAX: what a platform admin may look at."""
    async with conn.cursor(row_factory=class_row(Membership)) as cur:
        return await (await cur.execute(QUERIES["list_organizations"], {"rows_max": ORGANIZATIONS_MAX})).fetchall()
