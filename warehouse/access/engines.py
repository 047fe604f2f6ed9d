"""Engines as the management API writes them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class EngineRow:
    """A server of one model, enabled or not; the fields are those of `catalogue.Engine`, and what became of a canary."""

    id: int
    name: str
    kind: str
    base_url: str
    model: str
    enabled: bool
    created_at: datetime
    version: int
    weight: int
    requests_at_once: int | None
    served_model: str | None
    sealed_key: bytes | None = field(repr=False)
    canary_percent: int | None
    canary_stopped_at: datetime | None
    canary_stopped_why: str | None
    gpus: int
    gpu_hour_picousd: int


async def page(conn: AsyncConnection, **window: Any) -> list[EngineRow]:
    """Engines by name. Window: after (name or None), rows_max, model and enabled (None for all)."""
    async with conn.cursor(row_factory=class_row(EngineRow)) as cur:
        return await (await cur.execute(QUERIES["page"], window)).fetchall()


async def find(conn: AsyncConnection, name: str) -> EngineRow | None:
    """The engine of this name."""
    return await _maybe(conn, "find", name)


async def lock(conn: AsyncConnection, name: str) -> EngineRow | None:
    """The engine as it is now, until this transaction ends."""
    return await _maybe(conn, "lock", name)


async def add(conn: AsyncConnection, name: str, **values: Any) -> EngineRow:
    """A new engine, enabled: kind, base_url, model_id, weight, requests_at_once, served_model, sealed_key, canary_percent, gpus,
    gpu_hour_picousd.

    Raises: UniqueViolation: there is one of this name.
    """
    await conn.execute(QUERIES["add"], {"name": name} | values)
    return await _one(conn, name)


async def change(conn: AsyncConnection, name: str, *, canary_said: bool, **values: Any) -> EngineRow:
    """The values of `add`, and enabled; routers follow at once. `canary_said`: a canary that was stopped goes on."""
    await conn.execute(QUERIES["change"], {"name": name, "canary_said": canary_said} | values)
    return await _one(conn, name)


async def _maybe(conn: AsyncConnection, query: str, name: str) -> EngineRow | None:
    async with conn.cursor(row_factory=class_row(EngineRow)) as cur:
        return await (await cur.execute(QUERIES[query], {"name": name})).fetchone()


async def _one(conn: AsyncConnection, name: str) -> EngineRow:
    row = await _maybe(conn, "find", name)
    assert row is not None
    return row
