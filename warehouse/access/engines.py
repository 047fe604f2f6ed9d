"""Engines as the management API writes them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class EngineRow:
    """A server of one model, enabled or not. `base_url` is scheme, host and port."""

    id: int
    name: str
    kind: str
    base_url: str
    model: str
    enabled: bool
    created_at: datetime
    version: int


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


async def add(conn: AsyncConnection, name: str, kind: str, base_url: str, model_id: int) -> EngineRow:
    """A new engine, enabled. Raises: UniqueViolation: there is one of this name."""
    values = {"name": name, "kind": kind, "base_url": base_url, "model_id": model_id}
    await conn.execute(QUERIES["add"], values)
    return await _one(conn, name)


async def change(conn: AsyncConnection, name: str, kind: str, base_url: str, model_id: int, *, enabled: bool) -> EngineRow:
    """Routers follow at once."""
    values = {"name": name, "kind": kind, "base_url": base_url, "model_id": model_id, "enabled": enabled}
    await conn.execute(QUERIES["change"], values)
    return await _one(conn, name)


async def _maybe(conn: AsyncConnection, query: str, name: str) -> EngineRow | None:
    async with conn.cursor(row_factory=class_row(EngineRow)) as cur:
        return await (await cur.execute(QUERIES[query], {"name": name})).fetchone()


async def _one(conn: AsyncConnection, name: str) -> EngineRow:
    row = await _maybe(conn, "find", name)
    assert row is not None
    return row
