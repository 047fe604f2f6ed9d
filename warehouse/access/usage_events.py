"""The raw usage row, and how it enters the hypertable: binary COPY, and a second way for rows that may be there already."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


class UsageEvent(msgspec.Struct, array_like=True, kw_only=True, forbid_unknown_fields=True):
    """One row of raw.usage_events; fields in the order of the COPY statement, enumerations as their labels."""

    request_id: UUID
    attempt: int
    started_at: datetime
    finished_at: datetime
    org_id: int
    project_id: int
    api_key_id: int
    user_id: int | None
    service_account_id: int | None
    end_user: str | None
    trace_id: UUID | None
    tags: dict[str, str] | None
    endpoint: str
    model_asked: str | None
    model_id: int | None
    engine_id: int | None
    stream: bool
    status: str
    http_status: int
    error_code: str | None
    finish_reason: str | None
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    token_source: str
    queue_us: int | None
    ttft_us: int | None
    duration_us: int
    overhead_us: int | None
    price_id: int | None
    cost_picousd: int | None
    charge_class: str


# Enumerations are sent as text: their binary form is the label.
COPY_TYPES = [
    "uuid",
    "int2",
    "timestamptz",
    "timestamptz",
    "int8",
    "int8",
    "int8",
    "int8",
    "int8",
    "text",
    "uuid",
    "jsonb",
    "text",
    "text",
    "int4",
    "int4",
    "bool",
    "text",
    "int2",
    "text",
    "text",
    "int4",
    "int4",
    "int4",
    "int4",
    "text",
    "int4",
    "int4",
    "int4",
    "int4",
    "int4",
    "int8",
    "text",
]
_TAGS = UsageEvent.__struct_fields__.index("tags")


async def add(conn: AsyncConnection, events: Sequence[UsageEvent]) -> None:
    """Add rows, each at most once; the caller's transaction decides when they are there.

    New rows go straight into the hypertable. Where one of the batch is there already (a replay, a commit whose answer
    was lost), the batch goes through a temporary table and what is there is left as it is.
    """
    try:
        async with conn.transaction(), conn.cursor() as cur:
            await _copy(cur, QUERIES["copy_in"], events)
    except UniqueViolation:
        await replay(conn, events)


async def replay(conn: AsyncConnection, events: Sequence[UsageEvent]) -> None:
    """Add rows of which some may be there already."""
    async with conn.transaction(), conn.cursor() as cur:
        await cur.execute(QUERIES["create_replay"])
        await _copy(cur, QUERIES["copy_replay"], events)
        await cur.execute(QUERIES["insert_replay"])
        await cur.execute("drop table replay")


async def report_position(conn: AsyncConnection, worker: str, complete_to: datetime) -> None:
    """Say that every row of this worker that started before the instant is in raw.usage_events."""
    await conn.execute(QUERIES["report_position"], {"worker": worker, "complete_to": complete_to})


async def forget_position(conn: AsyncConnection, worker: str) -> None:
    """The worker is gone and left nothing behind."""
    await conn.execute(QUERIES["forget_position"], {"worker": worker})


async def _copy(cur: AsyncCursor, statement: bytes, events: Sequence[UsageEvent]) -> None:
    async with cur.copy(statement) as copy:
        copy.set_types(COPY_TYPES)
        for event in events:
            await copy.write_row(row_of(event))


def row_of(event: UsageEvent) -> Sequence[Any]:
    row = list(msgspec.structs.astuple(event))
    if row[_TAGS] is not None:
        row[_TAGS] = Jsonb(row[_TAGS])
    return row
