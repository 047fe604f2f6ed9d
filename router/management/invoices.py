"""`/v1/organization/invoices`: what was invoiced, line by line, down to the raw rows, and the certificate it was frozen with."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Query
from psycopg import AsyncConnection

from router.management.access import Access, Needs
from router.management.changes import Conflict
from router.management.invoice_files import invoice_csv, invoice_pdf
from router.management.invoice_shapes import (
    CertificateShape,
    InvoiceFile,
    InvoiceShape,
    LineExplained,
    LineRowShape,
    LineShape,
    Month,
)
from router.management.months import first_day
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import invoices
from warehouse.access.invoices import LINES_MAX, Invoice, Line
from warehouse.base.errors import InvalidRequest, NotFound

router = routes("invoices", "/organization")
InvoiceId = Annotated[str, Path(pattern=r"^inv_[0-9a-z]{12,32}$")]
LineId = Annotated[str, Path(pattern=r"^il_[0-9a-f]{24}$")]
Reading = Annotated[Access, Depends(Needs("invoices.read"))]


@router.get("/invoices", response_model=Listed[InvoiceShape])
async def list_invoices(
    access: Reading, window: Paged, month: Annotated[Month | None, Query(description="Only of this month.")] = None
) -> Listed[InvoiceShape]:
    """Invoices and credit notes that were finalized, the newest first."""
    asked = {"organization": access.org.public_id, "month": first_day(month) if month else None, "status": None}
    async with access.transaction() as conn:
        rows = await invoices.page(conn, **await window.values(conn, "invoices", org_id=access.org.id), only_final=True, **asked)
    return window.page([InvoiceShape.of(row) for row in rows], [row.public_id for row in rows])


@router.get("/invoices/{invoice_id}", response_model=InvoiceShape)
async def get_invoice(invoice_id: InvoiceId, access: Reading) -> InvoiceShape:
    """One invoice. What is final is never changed, so it has no ETag. Raises: NotFound."""
    async with access.transaction() as conn:
        return InvoiceShape.of(await there(conn, invoice_id))


@router.get("/invoices/{invoice_id}/lines", response_model=Listed[LineShape])
async def list_invoice_lines(invoice_id: InvoiceId, access: Reading, window: Paged) -> Listed[LineShape]:
    """Its lines. Raises: NotFound."""
    async with access.transaction() as conn:
        await there(conn, invoice_id)
        values = await window.values(conn, "invoice_lines", org_id=access.org.id)
        rows = await invoices.lines(conn, invoice_id, **values)
    return window.page([LineShape.of(row) for row in rows], [row.public_id for row in rows])


@router.get("/invoices/{invoice_id}/certificate", response_model=CertificateShape)
async def get_invoice_certificate(invoice_id: InvoiceId, access: Reading) -> CertificateShape:
    """What was checked before it became final. A credit note has that of what it corrects. Raises: NotFound."""
    async with access.transaction() as conn:
        invoice = await there(conn, invoice_id)
        found = await invoices.certificate(conn, invoice.corrects or invoice_id)
    if found is None:
        raise NotFound("there is no certificate of it yet", param="invoice_id")
    return CertificateShape.of(invoice.corrects or invoice_id, found)


@router.get("/invoices/{invoice_id}/pdf", response_model=InvoiceFile)
async def get_invoice_pdf(invoice_id: InvoiceId, access: Reading) -> InvoiceFile:
    """As a PDF; the same bytes each time. Raises: NotFound."""
    return await _file(access, invoice_id, invoice_pdf, "application/pdf", "pdf")


@router.get("/invoices/{invoice_id}/csv", response_model=InvoiceFile)
async def get_invoice_csv(invoice_id: InvoiceId, access: Reading) -> InvoiceFile:
    """Lines and taxes as CSV; the same bytes each time. Raises: NotFound."""
    return await _file(access, invoice_id, invoice_csv, "text/csv; charset=utf-8", "csv")


@router.get("/invoice_lines/{line_id}", response_model=LineExplained)
async def explain_invoice_line(line_id: LineId, access: Reading) -> LineExplained:
    """A line computed again from its raw rows: their sum and their digest beside those of the line. Raises: NotFound."""
    async with access.transaction() as conn:
        line = await _line(conn, line_id)
        return LineExplained.of(line, await invoices.check_line(conn, line_id))


@router.get("/invoice_lines/{line_id}/rows", response_model=Listed[LineRowShape])
async def list_invoice_line_rows(line_id: LineId, access: Reading, window: Paged) -> Listed[LineRowShape]:
    """The raw rows whose sum the line is, in order of time; none for lines that rest on lines. Raises: NotFound."""
    async with access.transaction() as conn:
        await _line(conn, line_id)
        rows = await invoices.rows_of_line(conn, line_id, _after(window.after), window.limit + 1)
    shapes = [LineRowShape.of(row) for row in rows]
    return window.page(shapes, [shape.id for shape in shapes])


async def there(conn: AsyncConnection, invoice_id: str, *, only_final: bool = True) -> Invoice:
    """The invoice. Raises: NotFound."""
    found = await invoices.find(conn, invoice_id, only_final=only_final)
    if found is None:
        raise NotFound("there is no such invoice", param="invoice_id")
    return found


async def _line(conn: AsyncConnection, line_id: str) -> Line:
    found = await invoices.find_line(conn, line_id)
    if found is None:
        raise NotFound("there is no such line of a final invoice", param="line_id")
    return found


async def _file(
    access: Access, invoice_id: str, made_by: Callable[[Invoice, Sequence[Line]], bytes], media_type: str, suffix: str
) -> InvoiceFile:
    async with access.transaction() as conn:
        invoice = await there(conn, invoice_id)
        lines = await invoices.lines(conn, invoice_id, None, LINES_MAX + 1)
    if len(lines) > LINES_MAX:
        raise Conflict(f"it has more than {LINES_MAX} lines: read them page by page, from …/lines", param="invoice_id")
    content = made_by(invoice, lines)
    return InvoiceFile(
        filename=f"{invoice.number or invoice.public_id}.{suffix}",
        media_type=media_type,
        sha256=hashlib.sha256(content).hexdigest(),
        content_base64=base64.b64encode(content).decode(),
    )


def _after(text: str | None) -> tuple[datetime, UUID, int] | None:
    """The place of a row. Raises: InvalidRequest."""
    if text is None:
        return None
    try:
        instant, request, attempt = text.split("_")
        seconds, microseconds = (int(part) for part in instant.split("."))
        at = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
        return at, UUID(request), int(attempt) % 2**31
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidRequest("it is the id of a row of the page before", param="after") from error
