"""What a budget or a limit is about: public ids of one organization, and the internal ones."""

from dataclasses import asdict, dataclass
from typing import Literal

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

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


async def count_alike(conn: AsyncConnection, org_id: int, kind: Literal["budgets", "limits"], scope: ScopeIds) -> int:
    """How many are about exactly this; nobody makes another one in this organization until this transaction ends."""
    await conn.execute(QUERIES["lock_organization"], {"org_id": org_id})
    query = QUERIES["budgets_alike"] if kind == "budgets" else QUERIES["limits_alike"]
    async with conn.cursor(row_factory=scalar_row) as cur:
        found: int | None = await (await cur.execute(query, {"org_id": org_id} | asdict(scope))).fetchone()
    assert found is not None
    return found
