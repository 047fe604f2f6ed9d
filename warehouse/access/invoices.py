"""Invoices, their lines and certificates; what changes them are functions of the schema billing, which refuse with words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.errors import NoDataFound, ObjectNotInPrerequisiteState
from psycopg.rows import class_row, scalar_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
LINES_MAX = 20_000  # of one invoice, in a PDF or CSV; a line is a model, price and class of a project


class InvoiceRefused(Exception):
    """What is there forbids it; the message says what, for people."""


class NothingThere(Exception):
    """No such invoice, or nothing to make one of; the message says which."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice or credit note. Amounts in currency, `subtotal_picousd` exact."""

    public_id: str
    number: str | None
    organization: str
    organization_name: str
    time_zone: str
    kind: str
    purpose: str
    corrects: str | None
    status: str
    period_month: date
    period_starts_at: datetime
    period_ends_at: datetime
    currency: str
    rounding_rule: str
    subtotal_picousd: Decimal
    amount: Decimal
    tax_amount: Decimal
    total: Decimal
    credits_applied: Decimal
    due: Decimal
    digest: str | None
    reason: str | None
    drafted_at: datetime
    finalized_at: datetime | None
    voided_at: datetime | None
    void_reason: str | None
    taxes: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """A line. `period_month`: the month of the usage."""

    public_id: str
    period_month: date
    kind: str
    adjusts: str | None
    project: str | None
    model: str | None
    price_id: int | None
    token_class: str | None
    above_quantity: int | None
    basis_points: int | None
    usage_rows: int
    quantity: Decimal
    unit_price_picousd: int | None
    subtotal_picousd: Decimal
    amount: Decimal
    row_set_digest: str | None
    query: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the gate found about a draft with this digest."""

    public_id: str
    passed: bool
    digest: str
    checks: list[dict[str, Any]]
    made_at: datetime
    made_by: str


@dataclass(frozen=True, slots=True)
class LineChecked:
    """A line computed again from the rows that are there. `usage_rows` is None where a line rests on lines."""

    usage_rows: int | None
    subtotal_picousd: Decimal
    row_set_digest: str | None


@dataclass(frozen=True, slots=True)
class LineRow:
    """A raw row behind a line, and what of it the line counts."""

    started_at: datetime
    request_id: UUID
    attempt: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_picousd: int
    quantity: int
    subtotal_picousd: Decimal


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A tax of a region, for whole months."""

    id: int
    region: str
    name: str
    basis_points: int
    first_month: date
    before_month: date | None


async def page(conn: AsyncConnection, **window: Any) -> list[Invoice]:
    """The newest first. Window: after, rows_max, only_final, organization, month, status."""
    async with conn.cursor(row_factory=class_row(Invoice)) as cur:
        return await (await cur.execute(QUERIES["page"], {"invoice": None} | window)).fetchall()


async def find(conn: AsyncConnection, invoice: str, *, only_final: bool) -> Invoice | None:
    """One invoice."""
    asked = {"after": None, "rows_max": 1, "only_final": only_final, "organization": None, "month": None, "status": None}
    found = await page(conn, **asked, invoice=invoice)
    return found[0] if found else None


async def lines(conn: AsyncConnection, invoice: str, after: str | None, rows_max: int) -> list[Line]:
    """Lines in the order they were drafted."""
    async with conn.cursor(row_factory=class_row(Line)) as cur:
        values = {"invoice": invoice, "after": after, "rows_max": rows_max}
        return await (await cur.execute(QUERIES["lines"], values)).fetchall()


async def certificate(conn: AsyncConnection, invoice: str) -> Certificate | None:
    """That of a final invoice; of a draft the latest."""
    async with conn.cursor(row_factory=class_row(Certificate)) as cur:
        return await (await cur.execute(QUERIES["certificate"], {"invoice": invoice})).fetchone()


async def find_line(conn: AsyncConnection, line: str) -> Line | None:
    """A line of an invoice that was finalized."""
    async with conn.cursor(row_factory=class_row(Line)) as cur:
        return await (await cur.execute(QUERIES["find_line"], {"line": line})).fetchone()


async def check_line(conn: AsyncConnection, line: str) -> LineChecked:
    """The line computed again: by its query, and the digest of its rows."""
    async with conn.cursor(row_factory=class_row(LineChecked)) as cur:
        checked = await (await cur.execute(QUERIES["check_line"], {"line": line})).fetchone()
    assert checked is not None
    return checked


async def rows_of_line(
    conn: AsyncConnection, line: str, after: tuple[datetime, UUID, int] | None, rows_max: int
) -> list[LineRow]:
    """Raw rows of a line in order of time."""
    at, request, attempt = after or (None, None, None)
    values = {"line": line, "after_at": at, "after_request": request, "after_attempt": attempt, "rows_max": rows_max}
    async with conn.cursor(row_factory=class_row(LineRow)) as cur:
        return await (await cur.execute(QUERIES["rows_of_line"], values)).fetchall()


async def draft(conn: AsyncConnection, org_id: int, month: date, author: str) -> str:
    """The id of the draft, made anew. Raises: NothingThere."""
    made: str = await _changed(conn, "draft", org_id=org_id, month=month, author=author)
    return made


async def finalize(conn: AsyncConnection, invoice: str, author: str) -> None:
    """Raises: InvoiceRefused, NothingThere."""
    await _changed(conn, "finalize", invoice=invoice, author=author)


async def void(conn: AsyncConnection, invoice: str, reason: str, author: str) -> str | None:
    """The id of the credit note, None for a draft. Raises: InvoiceRefused, NothingThere."""
    made: str | None = await _changed(conn, "void", invoice=invoice, reason=reason, author=author)
    return made


async def credit(conn: AsyncConnection, invoice: str, amount: Decimal, reason: str, author: str) -> str:
    """The id of the credit note. Raises: InvoiceRefused, NothingThere."""
    made: str = await _changed(conn, "credit", invoice=invoice, amount=amount, reason=reason, author=author)
    return made


async def find_organization(conn: AsyncConnection, organization: str) -> int | None:
    """The internal id, of a deleted organization too: it may have a last invoice to come."""
    found: int | None = await _scalar(conn, "find_organization", organization=organization)
    return found


async def tax_rates(conn: AsyncConnection) -> list[TaxRate]:
    """All of them."""
    async with conn.cursor(row_factory=class_row(TaxRate)) as cur:
        return await (await cur.execute(QUERIES["tax_rates"])).fetchall()


async def add_tax_rate(conn: AsyncConnection, **values: Any) -> TaxRate:
    """A new rate: region, name, basis_points, first_month, before_month."""
    async with conn.cursor(row_factory=class_row(TaxRate)) as cur:
        added = await (await cur.execute(QUERIES["add_tax_rate"], values)).fetchone()
    assert added is not None
    return added


async def set_tax_region(conn: AsyncConnection, org_id: int, region: str | None) -> None:
    """Where an organization pays taxes; None: nowhere."""
    if region is None:
        await conn.execute(QUERIES["clear_tax_region"], {"org_id": org_id})
    else:
        await conn.execute(QUERIES["set_tax_region"], {"org_id": org_id, "region": region})


async def _changed(conn: AsyncConnection, query: str, **values: Any) -> Any:
    async with _in_words():
        return await _scalar(conn, query, **values)


async def _scalar(conn: AsyncConnection, query: str, **values: Any) -> Any:
    async with conn.cursor(row_factory=scalar_row) as cur:
        return await (await cur.execute(QUERIES[query], values)).fetchone()


@asynccontextmanager
async def _in_words() -> AsyncIterator[None]:
    try:
        yield
    except ObjectNotInPrerequisiteState as error:
        raise InvoiceRefused(error.diag.message_primary) from error
    except NoDataFound as error:
        raise NothingThere(error.diag.message_primary) from error
