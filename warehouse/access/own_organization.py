"""One organization with its policy, as its own people read and change it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class OwnOrganizationRow:
    """An organization and what it lets members' keys be; None is no cap."""

    id: int
    public_id: str
    name: str
    time_zone: str
    suspended_at: datetime | None
    created_at: datetime
    version: int
    key_days_max: int | None
    keys_per_member_max: int | None
    key_models: list[str] | None
    key_cidrs: list[str] | None
    totp_required: bool
    answers_kept_s: int
    when_redis_is_down: str


@dataclass(frozen=True, slots=True)
class Above:
    """What a cap that came later found: keys in force that live longer than a new one may, and members with too many."""

    keys_above_days_max: int
    members_above_keys_max: int


async def find(conn: AsyncConnection, org_id: int, *, lock: bool = False) -> OwnOrganizationRow:
    """The organization; with `lock` nobody else changes it until this transaction ends."""
    return await _one(conn, "lock" if lock else "find", org_id=org_id)


async def change(conn: AsyncConnection, org_id: int, **values: Any) -> OwnOrganizationRow:
    """All of it at once: name, time_zone, key_days_max, keys_per_member_max, key_models, key_cidrs, totp_required,
    answers_kept_s, when_redis_is_down."""
    return await _one(conn, "change", org_id=org_id, **values)


async def above(conn: AsyncConnection, org_id: int) -> Above:
    """How much is above the caps; nothing where there is no cap."""
    async with conn.cursor(row_factory=class_row(Above)) as cur:
        row = await (await cur.execute(QUERIES["above"], {"org_id": org_id})).fetchone()
        assert row is not None
        return row


async def _one(conn: AsyncConnection, query: str, **values: Any) -> OwnOrganizationRow:
    async with conn.cursor(row_factory=class_row(OwnOrganizationRow)) as cur:
        row = await (await cur.execute(QUERIES[query], values)).fetchone()
        assert row is not None
        return row
