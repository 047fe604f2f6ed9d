"""Requests with an Idempotency-Key: who may begin, and what the first one was answered."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class IdempotentAnswer:
    """The request that holds a key. `answer` is None where it is under way, or where answers are not kept, or no longer."""

    request_hash: bytes
    request_id: UUID
    finished: bool
    model_id: int | None
    answer: bytes | None
    expired: bool


async def claim(
    conn: AsyncConnection,
    api_key_id: int,
    key_hash: bytes,
    *,
    request_hash: bytes,
    request_id: UUID,
    started_at: datetime,
    lease_s: float,
) -> bool:
    """Whether the request may begin: nobody holds this key, or who did is gone and was not charged."""
    values = {
        "api_key_id": api_key_id, "key_hash": key_hash, "request_hash": request_hash, "request_id": request_id,
        "started_at": started_at, "lease_s": lease_s,
    }  # fmt: skip
    return await (await conn.execute(QUERIES["claim"], values)).fetchone() is not None


async def find(conn: AsyncConnection, api_key_id: int, key_hash: bytes) -> IdempotentAnswer | None:
    """Who holds this key."""
    async with conn.cursor(row_factory=class_row(IdempotentAnswer)) as cur:
        await cur.execute(QUERIES["find"], {"api_key_id": api_key_id, "key_hash": key_hash})
        return await cur.fetchone()


async def finish(
    conn: AsyncConnection,
    api_key_id: int,
    key_hash: bytes,
    request_id: UUID,
    *,
    model_id: int | None,
    answer: bytes | None,
    answer_s: float,
    key_s: float,
) -> None:
    """The request was charged. Args: answer: to be sent again for `answer_s`, or None.  key_s: for which it keeps its key."""
    values = {
        "api_key_id": api_key_id, "key_hash": key_hash, "request_id": request_id, "model_id": model_id, "answer": answer,
        "answer_s": answer_s, "key_s": key_s,
    }  # fmt: skip
    await conn.execute(QUERIES["finish"], values)


async def release(conn: AsyncConnection, api_key_id: int, key_hash: bytes, request_id: UUID) -> None:
    """The request was not charged: the key is free again."""
    await conn.execute(QUERIES["release"], {"api_key_id": api_key_id, "key_hash": key_hash, "request_id": request_id})


async def forget_answers(conn: AsyncConnection, rows_max: int) -> int:
    """Forget the text of answers that are not sent again any more; returns how many."""
    return (await conn.execute(QUERIES["forget_answers"], {"rows_max": rows_max})).rowcount


async def remove_expired(conn: AsyncConnection, rows_max: int) -> int:
    """Remove what expired a day ago, and of which no journal may still tell; returns how many."""
    return (await conn.execute(QUERIES["remove_expired"], {"rows_max": rows_max})).rowcount
