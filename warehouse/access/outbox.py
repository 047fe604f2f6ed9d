"""The outbox: events that organizations are told of, and the delivery of each to each who is told.

The management API reads it asynchronously; the deliverer, which runs in Dagster, takes what is due and notes what came of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
ERROR_CHARACTERS_MAX = 300


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, and how many of its deliveries stand where."""

    id: int
    public_id: str
    event_type: str
    data: dict[str, Any]
    created_at: datetime
    waiting: int
    delivered: int
    failed: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to a webhook or to an address."""

    id: int
    public_id: str
    event: str
    event_type: str
    webhook: str | None
    email: str | None
    status: str
    tries: int
    next_try_at: datetime
    tried_at: datetime | None
    delivered_at: datetime | None
    http_status: int | None
    error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that this process has taken. `tries` counts the one that begins now; `wanted`: its webhook is there."""

    id: int
    public_id: str
    tries: int
    email: str | None
    event: str
    event_type: str
    data: dict[str, Any]
    event_at: datetime
    organization: str
    webhook: str | None
    url: str | None
    secret_serial: int | None
    previous_secret_until: datetime | None
    wanted: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a try. `error` is None where it was delivered."""

    error: str | None = None
    http_status: int | None = None
    final: bool = False
    """Whether another try cannot help."""


async def put_event(
    conn: AsyncConnection,
    org_id: int,
    event_type: str,
    data: Mapping[str, Any],
    once: str,
    *,
    webhook_id: int | None = None,
) -> str | None:
    """An event with its deliveries; its public id, or None where there is one of the same `once`, in this organization, already.

    Args: once: what it is about, at most 200 characters.  webhook_id: only this one is told, even if it is turned off.
    """
    values = {"org_id": org_id, "event_type": event_type, "data": Jsonb(dict(data)), "once": once, "webhook_id": webhook_id}
    async with conn.cursor(row_factory=scalar_row) as cur:
        found: str | None = await (await cur.execute(QUERIES["put_event"], values)).fetchone()
    return found


async def events(conn: AsyncConnection, org_id: int, *, event_type: str | None, **window: Any) -> list[Event]:
    """Events but for tests, the newest first. Window: after (public id or None), rows_max."""
    values = {"org_id": org_id, "event_type": event_type} | window
    async with conn.cursor(row_factory=class_row(Event)) as cur:
        return await (await cur.execute(QUERIES["events"], values, prepare=False)).fetchall()


async def deliveries(conn: AsyncConnection, org_id: int, **window: Any) -> list[Delivery]:
    """Deliveries, the newest first. Window: after, rows_max, and None or the one wanted: status, webhook, event."""
    async with conn.cursor(row_factory=class_row(Delivery)) as cur:
        return await (await cur.execute(QUERIES["deliveries"], {"org_id": org_id} | window, prepare=False)).fetchall()


async def lock_delivery(conn: AsyncConnection, org_id: int, public_id: str) -> Delivery | None:
    """The delivery as it is now, until this transaction ends."""
    values = {"org_id": org_id, "public_id": public_id}
    await conn.execute(QUERIES["lock_delivery"], values)
    async with conn.cursor(row_factory=class_row(Delivery)) as cur:
        return await (await cur.execute(QUERIES["delivery"], values)).fetchone()


async def resend(conn: AsyncConnection, org_id: int, public_id: str) -> Delivery:
    """Due now, with all its tries before it again."""
    await conn.execute(QUERIES["resend"], {"org_id": org_id, "public_id": public_id})
    row = await lock_delivery(conn, org_id, public_id)
    assert row is not None
    return row


def claim(conn: Connection, *, rows_max: int, of_organization_max: int, lease_s: float, retries: bool | None = None) -> list[Due]:
    """Take what is due, for `lease_s` seconds: whoever has noted nothing by then has died, and it is due again.

    Args: retries: only what was tried before, or only what was not; None: both.
    """
    values = {"rows_max": rows_max, "of_organization_max": of_organization_max, "lease_s": lease_s, "retries": retries}
    with conn.cursor(row_factory=class_row(Due)) as cur:
        return cur.execute(QUERIES["claim"], values).fetchall()


def note(conn: Connection, due: Due, tried: Tried, pause_s: float | None) -> str:
    """What came of a try; `delivered`, `waiting` or `failed`. Args: pause_s: until the next one; None: there is none."""
    error = tried.error[:ERROR_CHARACTERS_MAX] if tried.error is not None else None
    values = {"id": due.id, "tries": due.tries, "http_status": tried.http_status, "error": error, "pause_s": pause_s}
    status, query = (
        ("delivered", QUERIES["note_delivered"]) if error is None
        else ("failed", QUERIES["note_failed"]) if tried.final or pause_s is None
        else ("waiting", QUERIES["note_try"])
    )  # fmt: skip
    conn.execute(query, values)
    return status


def forget(conn: Connection, *, days: int, rows_max: int) -> int:
    """Remove events, with their deliveries, that are older and have nothing waiting; how many."""
    return conn.execute(QUERIES["forget"], {"days": days, "rows_max": rows_max}).rowcount
