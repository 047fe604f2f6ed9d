"""Models as the management API writes them, and as an organization is offered them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
LIMITS = (
    "context_tokens_max",
    "output_tokens_max",
    "template_tokens_per_call",
    "template_tokens_per_message",
    "template_tokens_for_tools",
    "media_tokens_max",
)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model, retired or not; limits in tokens. The four after them bound what a call has beside its bytes."""

    id: int
    name: str
    context_tokens_max: int
    output_tokens_max: int
    template_tokens_per_call: int
    template_tokens_per_message: int
    template_tokens_for_tools: int
    media_tokens_max: int | None
    retired_at: datetime | None
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model in service, and the price version in force for one organization; no price blocks its use."""

    name: str
    context_tokens_max: int
    output_tokens_max: int
    created_at: datetime
    price_id: int | None
    own_price: bool
    input_picousd: int | None
    cached_input_picousd: int | None
    output_picousd: int | None
    reasoning_picousd: int | None
    request_picousd: int | None
    effective_from: datetime | None
    effective_until: datetime | None


async def page(conn: AsyncConnection, **window: Any) -> list[ModelRow]:
    """Models by name. Window: after (name or None), rows_max, include_retired."""
    async with conn.cursor(row_factory=class_row(ModelRow)) as cur:
        return await (await cur.execute(QUERIES["page"], window)).fetchall()


async def find(conn: AsyncConnection, name: str) -> ModelRow | None:
    """The model of this name."""
    return await _maybe(conn, "find", name=name)


async def lock(conn: AsyncConnection, name: str) -> ModelRow | None:
    """The model as it is now, until this transaction ends; its prices change in one transaction at a time."""
    return await _maybe(conn, "lock", name=name)


async def add(conn: AsyncConnection, name: str, **limits: int | None) -> ModelRow:
    """A new model, with each of LIMITS. Raises: UniqueViolation: there is one of this name."""
    return await _one(conn, "add", name=name, **limits)


async def change(conn: AsyncConnection, model_id: int, **limits: int | None) -> ModelRow:
    """Others of LIMITS, all of them."""
    return await _one(conn, "change", id=model_id, **limits)


async def retire(conn: AsyncConnection, model_id: int, *, retired: bool) -> ModelRow:
    """Out of service, or into it again; its usage and its prices stay."""
    return await _one(conn, "retire", id=model_id, retired=retired)


async def offered(conn: AsyncConnection, org_id: int, **window: Any) -> list[OfferedModel]:
    """Models in service with this organization's prices, by name. Window: after (name or None), rows_max."""
    async with conn.cursor(row_factory=class_row(OfferedModel)) as cur:
        return await (await cur.execute(QUERIES["offered"], {"org_id": org_id} | window)).fetchall()


async def _maybe(conn: AsyncConnection, query: str, **values: Any) -> ModelRow | None:
    async with conn.cursor(row_factory=class_row(ModelRow)) as cur:
        return await (await cur.execute(QUERIES[query], values)).fetchone()


async def _one(conn: AsyncConnection, query: str, **values: Any) -> ModelRow:
    row = await _maybe(conn, query, **values)
    assert row is not None
    return row
