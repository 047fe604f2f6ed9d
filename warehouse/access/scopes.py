"""What a budget or a limit is about: public ids of one organization, and the internal ones."""

from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class ScopeIds:
    """Internal ids; None for what was not named, or is not there."""

    project_id: int | None
    user_id: int | None
    service_account_id: int | None
    api_key_id: int | None
    model_id: int | None


async def resolve(
    conn: AsyncConnection,
    org_id: int,
    *,
    project: str | None,
    user: str | None,
    service_account: str | None,
    api_key: str | None,
    model: str | None,
) -> ScopeIds:
    """The internal ids of public ones of this organization; what is archived, deleted, revoked or retired is not found."""
    values = {
        "org_id": org_id,
        "project": project,
        "user": user,
        "service_account": service_account,
        "api_key": api_key,
        "model": model,
    }
    async with conn.cursor(row_factory=class_row(ScopeIds)) as cur:
        row = await (await cur.execute(QUERIES["resolve"], values)).fetchone()
        assert row is not None
        return row
