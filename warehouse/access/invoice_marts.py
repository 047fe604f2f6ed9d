"""What a month comes to now, from the marts, before there is an invoice."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Preview:
    """Sums of a month that has no final invoice."""

    period_starts_at: datetime
    period_ends_at: datetime
    currency: str
    subtotal_picousd: Decimal
    amount: Decimal
    tax_amount: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True)
class PreviewLine:
    """A line of it."""

    kind: str
    project: str | None
    model: str | None
    price_id: int | None
    token_class: str | None
    quantity: Decimal
    unit_price_picousd: int | None
    subtotal_picousd: Decimal
    amount: Decimal


async def built(conn: AsyncConnection) -> bool:
    """Whether there are marts: a new installation has none before its first request."""
    async with conn.cursor(row_factory=scalar_row) as cur:
        return bool(await (await cur.execute(QUERIES["built"])).fetchone())


async def preview(conn: AsyncConnection, org_id: int, month: date) -> Preview | None:
    """None where nothing was charged, or the month is final."""
    async with conn.cursor(row_factory=class_row(Preview)) as cur:
        return await (await cur.execute(QUERIES["preview"], {"org_id": org_id, "month": month})).fetchone()


async def preview_lines(conn: AsyncConnection, org_id: int, month: date, rows_max: int) -> list[PreviewLine]:
    """Usage first, then what is taken off."""
    async with conn.cursor(row_factory=class_row(PreviewLine)) as cur:
        values = {"org_id": org_id, "month": month, "rows_max": rows_max}
        return await (await cur.execute(QUERIES["preview_lines"], values)).fetchall()
