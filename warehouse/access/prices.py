"""Price versions: what is added closes the version before, what is taken away opens it again; the past stays."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """Pico-dollars per token from one instant until another (None: until changed); without organization the list price."""

    id: int
    model: str
    organization: str | None
    input_picousd: int
    cached_input_picousd: int
    output_picousd: int
    effective_from: datetime
    effective_until: datetime | None
    reason: str
    created_at: datetime


async def page(conn: AsyncConnection, **window: Any) -> list[PriceVersion]:
    """Versions, the newest made first. Window: after (id or None), rows_max, model, organization, list_only, at."""
    async with conn.cursor(row_factory=class_row(PriceVersion)) as cur:
        return await (await cur.execute(QUERIES["page"], window)).fetchall()


async def find(conn: AsyncConnection, price_id: int) -> PriceVersion | None:
    """The version with this id."""
    async with conn.cursor(row_factory=class_row(PriceVersion)) as cur:
        return await (await cur.execute(QUERIES["find"], {"id": price_id})).fetchone()


async def now(conn: AsyncConnection) -> datetime:
    """The database's clock, by which what is past is told from what is to come. To be read after the model is locked."""
    instant: datetime = await _scalar(conn, "now")
    return instant


async def find_organization(conn: AsyncConnection, public_id: str) -> int | None:
    """The internal id of an organization that is not deleted."""
    org_id: int | None = await _scalar(conn, "find_organization", organization=public_id)
    return org_id


async def starts_at(conn: AsyncConnection, model_id: int, org_id: int | None, instant: datetime) -> int | None:
    """The id of the version that starts at this instant."""
    price_id: int | None = await _scalar(conn, "starts_at", model_id=model_id, org_id=org_id, instant=instant)
    return price_id


async def next_start(conn: AsyncConnection, model_id: int, org_id: int | None, instant: datetime) -> datetime | None:
    """When the first version behind this instant starts."""
    start: datetime | None = await _scalar(conn, "next_start", model_id=model_id, org_id=org_id, instant=instant)
    return start


async def close(conn: AsyncConnection, model_id: int, org_id: int | None, instant: datetime) -> int | None:
    """End the version in force at this instant there; its id."""
    price_id: int | None = await _scalar(conn, "close", model_id=model_id, org_id=org_id, instant=instant)
    return price_id


async def reopen(
    conn: AsyncConnection, model_id: int, org_id: int | None, instant: datetime, until: datetime | None
) -> int | None:
    """Let the version that ends at this instant go on; its id."""
    values = {"model_id": model_id, "org_id": org_id, "instant": instant, "until": until}
    price_id: int | None = await _scalar(conn, "reopen", **values)
    return price_id


async def add(conn: AsyncConnection, model_id: int, org_id: int | None, **version: Any) -> PriceVersion:
    """A version: input_picousd, cached_input_picousd, output_picousd, effective_from, effective_until, reason."""
    added = await find(conn, await _scalar(conn, "add", model_id=model_id, org_id=org_id, **version))
    assert added is not None
    return added


async def remove(conn: AsyncConnection, price_id: int) -> None:
    """Take a version away."""
    await conn.execute(QUERIES["remove"], {"id": price_id})


async def _scalar(conn: AsyncConnection, query: str, **values: Any) -> Any:
    async with conn.cursor(row_factory=scalar_row) as cur:
        return await (await cur.execute(QUERIES[query], values)).fetchone()
