"""Users and their organizations, as sign-in and the portal need them."""

from dataclasses import dataclass, field
from datetime import datetime

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
    totp_secret: bytes | None = field(repr=False)
    totp_enabled_at: datetime | None
    totp_step_last: int | None
    recovery_hashes: list[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Membership:
    """An active organization and what the user is in it."""

    org_id: int
    public_id: str
    name: str
    time_zone: str
    role: str
    totp_required: bool


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


async def lock_user(conn: AsyncConnection, user_id: int) -> User | None:
    """The user as it is now, until this transaction ends."""
    async with conn.cursor(row_factory=class_row(User)) as cur:
        return await (await cur.execute(QUERIES["lock_user"], {"user_id": user_id})).fetchone()


async def set_password(conn: AsyncConnection, user_id: int, password_hash: str) -> None:
    """Another password."""
    await conn.execute(QUERIES["set_password"], {"user_id": user_id, "password_hash": password_hash})


async def set_totp_secret(conn: AsyncConnection, user_id: int, sealed: bytes) -> None:
    """A second factor that is not confirmed yet; one that is in force stays."""
    await conn.execute(QUERIES["set_totp_secret"], {"user_id": user_id, "totp_secret": sealed})


async def enable_totp(conn: AsyncConnection, user_id: int, step: int, recovery_hashes: list[bytes]) -> None:
    """The second factor is in force from now on."""
    await conn.execute(QUERIES["enable_totp"], {"user_id": user_id, "step": step, "recovery_hashes": recovery_hashes})


async def disable_totp(conn: AsyncConnection, user_id: int) -> None:
    """No second factor any more."""
    await conn.execute(QUERIES["disable_totp"], {"user_id": user_id})


async def use_totp_step(conn: AsyncConnection, user_id: int, step: int) -> bool:
    """Use a code up; False where somebody was faster."""
    return await (await conn.execute(QUERIES["use_totp_step"], {"user_id": user_id, "step": step})).fetchone() is not None


async def use_recovery_code(conn: AsyncConnection, user_id: int, recovery_hash: bytes) -> bool:
    """Use a recovery code up; False where it is none, or was used."""
    values = {"user_id": user_id, "recovery_hash": recovery_hash}
    return await (await conn.execute(QUERIES["use_recovery_code"], values)).fetchone() is not None
