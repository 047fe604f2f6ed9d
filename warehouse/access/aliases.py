"""Aliases of models as the management API writes them: of the installation (`org_id` None), or of one organization."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
Stages = list[list[dict[str, Any]]]
"""[[{"model": name, "weight": n}, …], …]"""


@dataclass(frozen=True, slots=True)
class AliasRow:
    """A name, and what it stands for."""

    id: int
    public_id: str
    name: str
    stages: Stages
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Taken:
    """Who has a name already."""

    is_alias: bool
    is_model: bool


async def page(conn: AsyncConnection, org_id: int | None, **window: Any) -> list[AliasRow]:
    """Aliases by age. Window: after (public id or None), rows_max."""
    async with conn.cursor(row_factory=class_row(AliasRow)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id} | window)).fetchall()


async def find(conn: AsyncConnection, org_id: int | None, public_id: str) -> AliasRow | None:
    """The alias of this public id."""
    return await _maybe(conn, "find", org_id, public_id)


async def lock(conn: AsyncConnection, org_id: int | None, public_id: str) -> AliasRow | None:
    """The alias as it is now, until this transaction ends."""
    return await _maybe(conn, "lock", org_id, public_id)


async def add(conn: AsyncConnection, org_id: int | None, public_id: str, name: str, stages: Stages) -> AliasRow:
    """A new alias. Raises: UniqueViolation: there is one of this name."""
    values = {"org_id": org_id, "public_id": public_id, "name": name, "stages": Jsonb(stages)}
    await conn.execute(QUERIES["add"], values)
    return await _there(conn, org_id, public_id)


async def change(conn: AsyncConnection, org_id: int | None, row: AliasRow, stages: Stages) -> AliasRow:
    """Other stages; routers follow at once."""
    await conn.execute(QUERIES["change"], {"id": row.id, "stages": Jsonb(stages)})
    return await _there(conn, org_id, row.public_id)


async def remove(conn: AsyncConnection, row: AliasRow) -> None:
    """It is kept, and stands for nothing any more."""
    await conn.execute(QUERIES["remove"], {"id": row.id})


async def taken(conn: AsyncConnection, name: str) -> Taken:
    """Who has this name, of those whom the transaction sees; nobody else takes it until the transaction ends."""
    await conn.execute(QUERIES["hold_names"])
    async with conn.cursor(row_factory=class_row(Taken)) as cur:
        row = await (await cur.execute(QUERIES["is_name"], {"name": name})).fetchone()
    assert row is not None
    return row


async def count(conn: AsyncConnection, org_id: int | None) -> int:
    """How many an organization has, or everybody; nobody makes another one while names are held (`taken`)."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        found: int | None = await (await cur.execute(QUERIES["count"], {"org_id": org_id})).fetchone()
    assert found is not None
    return found


async def in_service(conn: AsyncConnection, names: Iterable[str]) -> set[str]:
    """Those of the names that models in service have."""
    rows = await (await conn.execute(QUERIES["in_service"], {"names": list(names)})).fetchall()
    return {name for (name,) in rows}


async def _maybe(conn: AsyncConnection, query: str, org_id: int | None, public_id: str) -> AliasRow | None:
    async with conn.cursor(row_factory=class_row(AliasRow)) as cur:
        return await (await cur.execute(QUERIES[query], {"org_id": org_id, "public_id": public_id})).fetchone()


async def _there(conn: AsyncConnection, org_id: int | None, public_id: str) -> AliasRow:
    row = await find(conn, org_id, public_id)
    assert row is not None
    return row
