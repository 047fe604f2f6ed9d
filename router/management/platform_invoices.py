"""`/v1/platform/invoices`: a month from its preview to a final invoice, and what corrects one. Only the gate certifies."""

import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from psycopg import AsyncConnection
from psycopg.errors import InvalidSchemaName, UndefinedTable
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import Changing, Conflict, IdempotencyKey, changing, creating
from router.management.invoice_shapes import CertificateShape, InvoiceShape, Month
from router.management.invoices import InvoiceId, there
from router.management.months import first_day
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import invoice_marts, invoices
from warehouse.access.invoice_marts import Preview, PreviewLine
from warehouse.access.invoices import InvoiceRefused, NothingThere
from warehouse.base.errors import NotFound
from warehouse.base.money import usd

router = routes("invoices", "/platform/invoices")
Writing = Annotated[Access, Depends(Needs("invoices.write"))]
Organization = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$", description="Its id, org_….")]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$", description="Stands on the credit note.")]
PREVIEW_LINES_MAX = 1000
NOT_BUILT = "the marts have never been built: nothing can be invoiced before that"


class PreviewLineShape(BaseModel):
    """A line as it comes to now."""

    kind: str
    project_id: str | None
    model: str | None
    price_id: str | None
    token_class: str | None
    quantity: int
    unit_price_picousd: int | None
    subtotal_usd: str
    amount: str

    @classmethod
    def of(cls, row: PreviewLine) -> "PreviewLineShape":
        """The shape of a row."""
        return cls(
            kind=row.kind,
            project_id=row.project,
            model=row.model,
            price_id=None if row.price_id is None else f"price_{row.price_id}",
            token_class=row.token_class,
            quantity=int(row.quantity),
            unit_price_picousd=row.unit_price_picousd,
            subtotal_usd=usd(int(row.subtotal_picousd)),
            amount=str(row.amount),
        )


class PreviewShape(BaseModel):
    """What a month comes to now. Nothing is made; adjustments of earlier months come to a draft."""

    object: Literal["platform.invoice.preview"] = "platform.invoice.preview"
    organization_id: str
    month: str
    currency: str
    subtotal_usd: str
    amount: str
    tax_amount: str
    total: str
    lines: list[PreviewLineShape] = Field(description=f"At most {PREVIEW_LINES_MAX}; the sums are of all.")

    @classmethod
    def of(cls, organization: str, month: str, row: Preview, lines: list[PreviewLine]) -> "PreviewShape":
        """The shape of rows."""
        return cls(
            organization_id=organization,
            month=month,
            currency=row.currency,
            subtotal_usd=usd(int(row.subtotal_picousd)),
            amount=str(row.amount),
            tax_amount=str(row.tax_amount),
            total=str(row.total),
            lines=[PreviewLineShape.of(line) for line in lines],
        )


class DraftBody(BaseModel):
    """Whose month is drafted."""

    model_config = ConfigDict(extra="forbid")
    organization: Organization
    month: Month


class VoidBody(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")
    reason: Reason


class CreditBody(BaseModel):
    """What is taken off, and why."""

    model_config = ConfigDict(extra="forbid")
    amount_usd: str = Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,2})?$", description="Before taxes, in whole cents.")
    reason: Reason


@router.get("", response_model=Listed[InvoiceShape])
async def list_platform_invoices(
    access: Writing,
    window: Paged,
    organization: Annotated[str | None, Query(max_length=64, description="Only of this one, org_….")] = None,
    month: Annotated[Month | None, Query(description="Only of this month.")] = None,
    status: Annotated[Literal["draft", "final", "void"] | None, Query()] = None,
) -> Listed[InvoiceShape]:
    """Invoices of every organization, drafts included, the newest first."""
    asked = {"organization": organization, "month": first_day(month) if month else None, "status": status}
    async with access.transaction() as conn:
        rows = await invoices.page(conn, **await window.values(conn, "invoices"), only_final=False, **asked)
    return window.page([InvoiceShape.of(row) for row in rows], [row.public_id for row in rows])


@router.get("/preview", response_model=PreviewShape)
async def preview_invoice(
    access: Writing,
    organization: Annotated[str, Query(max_length=64, description="Its id, org_….")],
    month: Annotated[Month, Query(description="As 2026-03.")],
) -> PreviewShape:
    """What the month of an organization comes to now. Raises: Conflict: it is final, or nothing was charged in it."""
    async with access.transaction() as conn:
        org_id = await _organization(conn, organization)
        if not await invoice_marts.built(conn):
            raise Conflict(NOT_BUILT, param="month")
        found = await invoice_marts.preview(conn, org_id, first_day(month))
        if found is None:
            raise Conflict("nothing was charged in this month, or it is final", param="month")
        lines = await invoice_marts.preview_lines(conn, org_id, first_day(month), PREVIEW_LINES_MAX)
    return PreviewShape.of(organization, month, found, lines)


@router.get("/{invoice_id}", response_model=InvoiceShape)
async def get_platform_invoice(invoice_id: InvoiceId, access: Writing) -> InvoiceShape:
    """One invoice of any organization, also a draft. Raises: NotFound."""
    async with access.transaction() as conn:
        return InvoiceShape.of(await there(conn, invoice_id, only_final=False))


@router.get("/{invoice_id}/certificate", response_model=CertificateShape)
async def get_platform_invoice_certificate(invoice_id: InvoiceId, access: Writing) -> CertificateShape:
    """What the gate found about it; of a draft, when it looked last. Raises: NotFound."""
    async with access.transaction() as conn:
        await there(conn, invoice_id, only_final=False)
        found = await invoices.certificate(conn, invoice_id)
    if found is None:
        raise NotFound("the gate has not looked at it yet: it does within a minute while Dagster runs", param="invoice_id")
    return CertificateShape.of(invoice_id, found)


@router.post("", response_model=InvoiceShape)
async def draft_invoice(
    body: DraftBody, request: Request, access: Writing, idempotency_key: IdempotencyKey = None
) -> InvoiceShape | dict[str, Any]:
    """A draft, made anew from what is computed now; of a final month, what has come for it since.

    Raises: Conflict: nothing was charged, or nothing has come since.
    """
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        org_id = await _organization(creation.conn, body.organization)
        async with _in_words("month"):
            made = await invoices.draft(creation.conn, org_id, first_day(body.month), access.principal.public_id)
        shape = InvoiceShape.of(await there(creation.conn, made, only_final=False))
        await creation.changing.record("invoice.drafted", made, after=shape, org_id=org_id)
        await creation.keep(shape)
        return shape


@router.post("/{invoice_id}/finalize", response_model=InvoiceShape)
async def finalize_invoice(invoice_id: InvoiceId, access: Writing) -> InvoiceShape:
    """Freeze a draft: it gets a number, credits are applied, and nothing changes it again.

    Raises: Conflict: there is no passing certificate of exactly this draft; the message says what to do.
    """
    async with changing(access) as change:
        async with _in_words("invoice_id"):
            await invoices.finalize(change.conn, invoice_id, access.principal.public_id)
        return await _recorded(change, "invoice.finalized", invoice_id)


@router.post("/{invoice_id}/void", response_model=InvoiceShape)
async def void_invoice(invoice_id: InvoiceId, body: VoidBody, access: Writing) -> InvoiceShape:
    """Take a final invoice back by a credit note, which is the answer, or give up a draft; its month may be drafted again.

    Raises: Conflict: it is void already, or other final invoices correct it or its months.
    """
    async with changing(access) as change:
        async with _in_words("invoice_id"):
            note = await invoices.void(change.conn, invoice_id, body.reason, access.principal.public_id)
        await _recorded(change, "invoice.voided", invoice_id)
        return InvoiceShape.of(await there(change.conn, note or invoice_id, only_final=False))


@router.post("/{invoice_id}/credit", response_model=InvoiceShape)
async def credit_invoice(invoice_id: InvoiceId, body: CreditBody, access: Writing) -> InvoiceShape:
    """Take an amount off a final invoice by a credit note, which is the answer.

    Raises: Conflict: it is no final invoice, or less than that is left of it.
    """
    amount = Decimal(body.amount_usd)
    if amount == 0:
        raise Conflict("nothing would be taken off", param="amount_usd")
    async with changing(access) as change:
        async with _in_words("invoice_id"):
            note = await invoices.credit(change.conn, invoice_id, amount, body.reason, access.principal.public_id)
        return await _recorded(change, "invoice.credited", note)


async def _recorded(change: Changing, event: str, invoice_id: str) -> InvoiceShape:
    """The invoice as it is now, in the audit log of its organization."""
    invoice = await there(change.conn, invoice_id, only_final=False)
    shape = InvoiceShape.of(invoice)
    await change.record(event, invoice_id, after=shape, org_id=await _organization(change.conn, invoice.organization))
    return shape


async def _organization(conn: AsyncConnection, public_id: str) -> int:
    found = await invoices.find_organization(conn, public_id)
    if found is None:
        raise NotFound("there is no such organization", param="organization")
    return found


@contextlib.asynccontextmanager
async def _in_words(param: str) -> AsyncIterator[None]:
    try:
        yield
    except InvoiceRefused as error:
        raise Conflict(str(error), param=param) from error
    except NothingThere as error:
        raise (NotFound if param == "invoice_id" else Conflict)(str(error), param=param) from error
    except (UndefinedTable, InvalidSchemaName) as error:
        raise Conflict(NOT_BUILT, param=param) from error
