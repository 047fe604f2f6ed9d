"""Whether there is, or has been, the entry of a list from which its next page is to go on.

What was taken out of a list meanwhile, as a revoked key or a member who left, stays a place to go on from.
"""

from psycopg import AsyncConnection

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


async def is_known(
    conn: AsyncConnection,
    list_name: str,
    after: str,
    *,
    org_id: int | None = None,
    project_id: int | None = None,
    user_id: int | None = None,
    kind: str | None = None,
) -> bool:
    """Args: list_name: as the query names it.  org_id: None of the platform, or of every organization."""
    values = {"list": list_name, "after": after, "org_id": org_id, "project_id": project_id, "user_id": user_id, "kind": kind}
    row = await (await conn.execute(QUERIES["is_known"], values)).fetchone()
    assert row is not None
    assert row[0] is not None, list_name
    return bool(row[0])
