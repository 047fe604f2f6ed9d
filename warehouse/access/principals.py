"""Organizations, projects and roles, as far as they decide what somebody may do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization that is not deleted; a suspended one still has its data."""

    id: int
    public_id: str
    name: str
    time_zone: str
    suspended_at: datetime | None
    totp_required: bool
    version: int


@dataclass(frozen=True, slots=True)
class Project:
    """A project, archived or not."""

    id: int
    public_id: str
    name: str
    archived_at: datetime | None
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class Roles:
    """What a user is in an organization, and in its projects by their internal ids."""

    organization_role: str | None
    project_roles: Mapping[int, str]


async def find_organization(conn: AsyncConnection, public_id: str) -> Organization | None:
    """The organization with this public id."""
    async with conn.cursor(row_factory=class_row(Organization)) as cur:
        return await (await cur.execute(QUERIES["find_organization"], {"public_id": public_id})).fetchone()


async def find_organization_by_id(conn: AsyncConnection, org_id: int) -> Organization | None:
    """The organization with this internal id."""
    async with conn.cursor(row_factory=class_row(Organization)) as cur:
        return await (await cur.execute(QUERIES["find_organization_by_id"], {"org_id": org_id})).fetchone()


async def organizations_of_user(conn: AsyncConnection, user_id: int) -> list[Organization]:
    """At most two of a user's organizations: one is the one that is meant, of two none is."""
    async with conn.cursor(row_factory=class_row(Organization)) as cur:
        return await (await cur.execute(QUERIES["organizations_of_user"], {"user_id": user_id})).fetchall()


async def roles(conn: AsyncConnection, org_id: int, user_id: int) -> Roles:
    """What a user is in an organization."""
    async with conn.cursor(row_factory=dict_row) as cur:
        row = await (await cur.execute(QUERIES["roles"], {"org_id": org_id, "user_id": user_id})).fetchone()
        assert row is not None
        return Roles(row["organization_role"], {int(project): role for project, role in row["project_roles"].items()})


async def find_project(conn: AsyncConnection, org_id: int, public_id: str) -> Project | None:
    """The project with this public id in this organization."""
    async with conn.cursor(row_factory=class_row(Project)) as cur:
        return await (await cur.execute(QUERIES["find_project"], {"org_id": org_id, "public_id": public_id})).fetchone()
