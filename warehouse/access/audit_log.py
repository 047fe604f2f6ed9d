"""The audit log: entries are added in the transaction of the change that they tell of, and never changed."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from warehouse.access.queries import load_queries
from warehouse.base.clock import now
from warehouse.base.ids import public_id
from warehouse.identity.audit import entry_mac, head_mac

QUERIES = load_queries(__file__)
CHAIN_ROWS = 5000  # read at once


@dataclass(frozen=True, slots=True)
class Actor:
    """Who made a change, and from where. `type`: user, api_key or system."""

    type: str
    id: str
    email: str | None = None
    ip: str | None = None
    request_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to what. `before` and `after` have no secrets; None where there was or is nothing."""

    event_type: str
    target_id: str
    org_id: int | None
    project_id: int | None = None
    before: Mapping[str, Any] | None = field(default=None)
    after: Mapping[str, Any] | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as a reader of the log sees it."""

    sequence: int
    public_id: str
    effective_at: datetime
    event_type: str
    actor_type: str
    actor_id: str
    actor_email: str | None
    ip: str | None
    request_id: UUID | None
    target_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    project: str | None


async def append(conn: AsyncConnection, actor: Actor, change: Change, key: bytes) -> None:
    """Add an entry at the end of the chain. Others wait until this transaction ends: a chain has one end."""
    async with conn.cursor(row_factory=dict_row) as cur:
        head = await (await cur.execute(QUERIES["lock_head"])).fetchone()
        assert head is not None
        previous_mac = bytes(head["mac"])
        entry = {
            "sequence": head["sequence"] + 1,
            "public_id": public_id("audit"),
            "org_id": change.org_id,
            "project_id": change.project_id,
            "effective_at": now(),
            "event_type": change.event_type,
            "actor_type": actor.type,
            "actor_id": actor.id,
            "actor_email": actor.email,
            "ip": actor.ip,
            "request_id": actor.request_id,
            "target_id": change.target_id,
            "before": None if change.before is None else dict(change.before),
            "after": None if change.after is None else dict(change.after),
        }
        mac = entry_mac(entry, previous_mac, key)
        stored = {name: Jsonb(entry[name]) if entry[name] is not None else None for name in ("before", "after")}
        await cur.execute(QUERIES["add_entry"], entry | stored | {"previous_mac": previous_mac, "mac": mac})
        end = {"sequence": entry["sequence"], "mac": mac}
        await cur.execute(QUERIES["move_head"], end | {"head_mac": head_mac(entry["sequence"], mac, key)})


async def read_head(conn: AsyncConnection) -> dict[str, Any]:
    """(sequence, mac, head_mac) of the newest entry."""
    async with conn.cursor(row_factory=dict_row) as cur:
        row = await (await cur.execute(QUERIES["head"])).fetchone()
        assert row is not None
        return row


async def read_chain(conn: AsyncConnection) -> AsyncIterator[dict[str, Any]]:
    """Every entry with its codes, in order, some thousands at a time."""
    after = 0
    async with conn.cursor(row_factory=dict_row) as cur:
        while rows := await (await cur.execute(QUERIES["chain"], {"after": after, "rows_max": CHAIN_ROWS})).fetchall():
            for row in rows:
                yield row
            after = rows[-1]["sequence"]


async def page(conn: AsyncConnection, org_id: int, *, rows_max: int, after: str | None, **filters: Any) -> list[Entry]:
    """Entries of one organization, the newest first. Filters, each None for all: event_types, actor_ids, target_ids,
    project_ids (lists), since, until (instants)."""
    async with conn.cursor(row_factory=class_row(Entry)) as cur:
        values = {"org_id": org_id, "rows_max": rows_max, "after": after}
        return await (await cur.execute(QUERIES["page"], values | filters)).fetchall()
