"""Credits of organizations: grants, what is left of them, and the entries of a wallet."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row, scalar_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Credit:
    """What a grant put into a wallet, and what is left of it."""

    public_id: str
    organization: str
    kind: str
    amount_picousd: Decimal
    remaining_picousd: Decimal
    granted_at: datetime
    expires_at: datetime | None
    reference: str
    reason: str
    author: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What could be drawn now, and what of it is lost first."""

    available_picousd: Decimal
    next_expiry_at: datetime | None
    next_expiry_picousd: Decimal


@dataclass(frozen=True, slots=True)
class WalletEntry:
    """A change of a wallet; `credits`: {credit, picousd} of each credit that it is about, with the sign of the entry."""

    id: int
    kind: str
    reference: str
    reason: str
    author: str
    happened_at: datetime
    amount_picousd: Decimal
    balance_picousd: Decimal
    credits: list[dict[str, str]]


async def page(conn: AsyncConnection, org_id: int | None, **window: Any) -> list[Credit]:
    """Credits of one organization or of all, the newest first. Window: after (public id or None), rows_max."""
    async with conn.cursor(row_factory=class_row(Credit)) as cur:
        return await (await cur.execute(QUERIES["page"], {"org_id": org_id} | window, prepare=False)).fetchall()


async def find(conn: AsyncConnection, public_id: str) -> Credit | None:
    """The credit with this public id."""
    async with conn.cursor(row_factory=class_row(Credit)) as cur:
        return await (await cur.execute(QUERIES["find"], {"public_id": public_id})).fetchone()


async def grant(conn: AsyncConnection, org_id: int, **credit: Any) -> Credit:
    """A new credit: amount_picousd, kind, expires_at, reason, author, reference (None: a new one).

    Raises: UniqueViolation: the reference is another transaction's.
    """
    async with conn.cursor(row_factory=scalar_row) as cur:
        public_id = await (await cur.execute(QUERIES["add"], {"org_id": org_id} | credit)).fetchone()
    made = await find(conn, str(public_id))
    assert made is not None
    return made


async def reference_is_known(conn: AsyncConnection, reference: str) -> bool:
    """Whether a transaction has this reference."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        return bool(await (await cur.execute(QUERIES["reference_is_known"], {"reference": reference})).fetchone())


async def void(conn: AsyncConnection, public_id: str, *, reason: str, author: str) -> Decimal:
    """Take away what is left of a credit; how much that was."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        await cur.execute(QUERIES["void"], {"public_id": public_id, "reason": reason, "author": author})
        return Decimal(await cur.fetchone() or 0)


async def balance(conn: AsyncConnection, org_id: int) -> Balance:
    """What an organization could draw now."""
    async with conn.cursor(row_factory=class_row(Balance)) as cur:
        row = await (await cur.execute(QUERIES["balance"], {"org_id": org_id})).fetchone()
    assert row is not None
    return row


async def entries(conn: AsyncConnection, org_id: int, *, before: int | None, rows_max: int) -> list[WalletEntry]:
    """Entries of an organization's wallet, the newest first. Args: before: only older ones than this."""
    values = {"org_id": org_id, "before": before, "rows_max": rows_max}
    async with conn.cursor(row_factory=class_row(WalletEntry)) as cur:
        return await (await cur.execute(QUERIES["entries"], values, prepare=False)).fetchall()


def expire(conn: Connection) -> int:
    """Take what is left of credits whose time is over out of the wallets; how many there were."""
    row = conn.execute(QUERIES["expire"]).fetchone()
    assert row is not None
    return int(row[0])
