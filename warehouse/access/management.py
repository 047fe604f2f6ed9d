"""What every transaction of the management API begins with, and the answers of creates that may be repeated."""

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What the first request with an idempotency key was answered."""

    request_hash: bytes
    status: int
    answer: dict[str, Any]


async def see_organization(conn: AsyncConnection, org_id: int | None, *, platform: bool) -> None:
    """From here to the end of the transaction row-level security shows this organization, or everything (`platform`)."""
    await conn.execute(QUERIES["see_organization"], {"org_id": org_id, "platform": "on" if platform else "off"})


async def claim_answer(conn: AsyncConnection, actor: str, idempotency_key: str) -> KnownAnswer | None:
    """The known answer; where there is none, a second request with this key waits until this transaction ends."""
    values = {"actor": actor, "idempotency_key": idempotency_key}
    await conn.execute(QUERIES["claim_answer"], values)
    async with conn.cursor(row_factory=class_row(KnownAnswer)) as cur:
        return await (await cur.execute(QUERIES["find_answer"], values)).fetchone()


async def keep_answer(conn: AsyncConnection, actor: str, idempotency_key: str, known: KnownAnswer) -> None:
    """Keep what was answered, without secrets, for 24 hours."""
    await conn.execute(QUERIES["remove_old_answers"])
    values = {"actor": actor, "idempotency_key": idempotency_key, "request_hash": known.request_hash}
    await conn.execute(QUERIES["keep_answer"], values | {"status": known.status, "answer": Jsonb(known.answer)})
