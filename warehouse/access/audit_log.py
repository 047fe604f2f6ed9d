"""The audit log: entries are added in the transaction of the change that they tell of, and never changed."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row, scalar_row
from psycopg.types.json import Jsonb

from warehouse.access.queries import load_queries
from warehouse.base.clock import now
from warehouse.base.ids import public_id
from warehouse.identity.audit import Document, entry_mac, head_mac

QUERIES = load_queries(__file__)
CHAIN_ROWS = 2000  # read at once
FIRST_POSSIBLE = -(2**63)


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
    project_name: str | None
    organization: str | None


async def append(conn: AsyncConnection, actor: Actor, change: Change, key: bytes) -> None:
    """Add an entry at the end of the chain. Others wait until this transaction ends: a chain has one end."""
    head = await lock_head(conn)
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
        "ip": _network_address(actor.ip),
        "request_id": actor.request_id,
        "target_id": change.target_id,
        "before": None if change.before is None else Document(dict(change.before)),
        "after": None if change.after is None else Document(dict(change.after)),
    }
    mac = entry_mac(entry, previous_mac, key)
    stored = {name: Jsonb(entry[name].value) if entry[name] is not None else None for name in ("before", "after")}
    await conn.execute(QUERIES["add_entry"], entry | stored | {"previous_mac": previous_mac, "mac": mac})
    end = {"sequence": entry["sequence"], "mac": mac}
    await conn.execute(QUERIES["move_head"], end | {"head_mac": head_mac(entry["sequence"], mac, key)})


async def lock_head(conn: AsyncConnection) -> dict[str, Any] | None:
    """(sequence, mac, head_mac) of the newest entry; nobody adds one until this transaction ends."""
    async with conn.cursor(row_factory=dict_row) as cur:
        return await (await cur.execute(QUERIES["lock_head"])).fetchone()


async def read_chain(conn: AsyncConnection, after: int = FIRST_POSSIBLE) -> AsyncIterator[list[dict[str, Any]]]:
    """Every entry behind a sequence, in order, CHAIN_ROWS at a time, as ChainCheck reads them.

    By a cursor and not by pages: an owner can drop the key, and pages would pass over a second entry of one sequence.
    """
    async with conn.cursor(name="audit_chain", row_factory=dict_row) as cur:
        await cur.execute(QUERIES["chain"], {"after": after})
        while rows := await cur.fetchmany(CHAIN_ROWS):
            for row in rows:
                row["before"], row["after"] = Document.parse(row["before"]), Document.parse(row["after"])
            yield rows


async def find(conn: AsyncConnection, org_id: int | None, public_id: str) -> tuple[datetime, int] | None:
    """Where in the order of time an entry stands: its instant and its sequence. Of one organization, or of any."""
    cur = await conn.execute(QUERIES["find"], {"public_id": public_id, "org_id": org_id})
    return await cur.fetchone()


async def page(
    conn: AsyncConnection,
    org_id: int | None,
    *,
    rows_max: int,
    after: tuple[datetime, int] | None,
    project_ids: list[str] | None,
    **filters: Any,
) -> list[Entry]:
    """Entries behind one of them, the newest first: of one organization, or (None) of the platform.

    Filters, each None for all: event_types, actor_ids, actor_emails, target_ids (lists), since, until (instants).
    """
    projects = None
    if project_ids is not None:
        async with conn.cursor(row_factory=scalar_row) as ids:
            values = {"public_ids": project_ids, "org_id": org_id}
            projects = await (await ids.execute(QUERIES["project_ids"], values)).fetchall()
    at, sequence = after or (None, None)
    window = {"org_id": org_id, "rows_max": rows_max, "after_at": at, "after_sequence": sequence, "project_ids": projects}
    async with conn.cursor(row_factory=class_row(Entry)) as cur:
        # Planned for these filters each time: a plan made for any of them would read the whole log.
        return await (await cur.execute(QUERIES["page"], window | filters, prepare=False)).fetchall()


def _network_address(text: str | None) -> str | None:
    """The address as PostgreSQL writes it; None for what is none, such as the name of a socket."""
    try:
        address = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
