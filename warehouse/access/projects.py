"""Projects of an organization."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.principals import Project
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


async def page(conn: AsyncConnection, org_id: int, **window: Any) -> list[Project]:
    """Projects by age. Window: after (public id or None), rows_max, include_archived, member_user_id (None for all)."""
    async with conn.cursor(row_factory=class_row(Project)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id} | window)).fetchall()


async def add(conn: AsyncConnection, org_id: int, public_id: str, name: str) -> Project:
    """A new project. Raises: UniqueViolation: the organization has one of this name."""
    return await _one(conn, "add", org_id=org_id, public_id=public_id, name=name)


async def lock(conn: AsyncConnection, org_id: int, project_id: int) -> Project:
    """The project as it is now, until this transaction ends."""
    return await _one(conn, "lock", org_id=org_id, project_id=project_id)


async def rename(conn: AsyncConnection, org_id: int, project_id: int, name: str) -> Project:
    """Raises: UniqueViolation: the organization has one of this name."""
    return await _one(conn, "rename", org_id=org_id, project_id=project_id, name=name)


async def archive(conn: AsyncConnection, org_id: int, project_id: int) -> Project:
    """Its keys stop at once; its usage stays."""
    return await _one(conn, "archive", org_id=org_id, project_id=project_id)


async def _one(conn: AsyncConnection, query: str, **values: Any) -> Project:
    async with conn.cursor(row_factory=class_row(Project)) as cur:
        row = await (await cur.execute(QUERIES[query], values)).fetchone()
        assert row is not None
        return row
