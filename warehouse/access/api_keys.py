"""API keys as the router reads them."""

from dataclasses import dataclass, field
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in force: neither revoked nor expired, of an organization and a project that are active."""

    id: int
    public_id: str
    secret_hash: bytes = field(repr=False)
    kind: str
    org_id: int | None
    project_id: int | None
    user_id: int | None
    service_account_id: int | None
    models: list[str] | None
    scopes: list[str]
    expires_at: datetime | None


async def find_by_public_id(conn: AsyncConnection, public_id: str) -> ApiKey | None:
    """The key with this public id, if it is in force."""
    async with conn.cursor(row_factory=class_row(ApiKey)) as cur:
        await cur.execute(QUERIES["find_by_public_id"], {"public_id": public_id})
        return await cur.fetchone()
