"""What invoices look like in the API. Amounts are exact decimals in text; months are as `2026-03`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from warehouse.access.invoices import Certificate, Invoice, Line, LineChecked, LineRow
from warehouse.base.money import usd

Month = Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", examples=["2026-03"])]


class Tax(BaseModel):
    """A tax on what was used in a month."""

    month: str
    region: str
    name: str
    basis_points: int
    taxable: str
    amount: str


class InvoiceShape(BaseModel):
    """An invoice or a credit note."""

    object: Literal["organization.invoice"] = "organization.invoice"
    id: str
    number: str | None
    organization_id: str
    kind: str = Field(description="invoice, or credit_note when it is negative.")
    purpose: str = Field(description="month; adjustments of a month that was final; void or credit, against `corrects`.")
    corrects: str | None
    status: str = Field(description="draft, final or void.")
    month: str
    period_start: int
    period_end: int
    currency: str
    rounding_rule: str
    subtotal_usd: str = Field(description="Before any rounding.")
    amount: str = Field(description="Sum of the lines, each rounded once.")
    taxes: list[Tax]
    tax_amount: str
    total: str
    credits_applied: str
    due: str
    digest: str | None = Field(description="SHA-256 over what it says: equal digests are equal invoices.")
    reason: str | None
    drafted_at: int
    finalized_at: int | None
    voided_at: int | None
    void_reason: str | None

    @classmethod
    def of(cls, row: Invoice) -> "InvoiceShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            number=row.number,
            organization_id=row.organization,
            kind=row.kind,
            purpose=row.purpose,
            corrects=row.corrects,
            status=row.status,
            month=f"{row.period_month:%Y-%m}",
            period_start=int(row.period_starts_at.timestamp()),
            period_end=int(row.period_ends_at.timestamp()),
            currency=row.currency,
            rounding_rule=row.rounding_rule,
            subtotal_usd=usd(int(row.subtotal_picousd)),
            amount=str(row.amount),
            taxes=[Tax(**tax) for tax in row.taxes],
            tax_amount=str(row.tax_amount),
            total=str(row.total),
            credits_applied=str(row.credits_applied),
            due=str(row.due),
            digest=row.digest,
            reason=row.reason,
            drafted_at=int(row.drafted_at.timestamp()),
            finalized_at=_seconds(row.finalized_at),
            voided_at=_seconds(row.voided_at),
            void_reason=row.void_reason,
        )


class LineShape(BaseModel):
    """A line."""

    object: Literal["organization.invoice.line"] = "organization.invoice.line"
    id: str
    month: str = Field(description="Of the usage: of an adjustment, not the invoice's.")
    kind: str
    adjusts: str | None
    project_id: str | None
    model: str | None
    price_id: str | None
    token_class: str | None
    basis_points: int | None
    usage_rows: int
    quantity: int
    unit_price_picousd: int | None
    subtotal_usd: str
    amount: str
    row_set_digest: str | None
    query: str = Field(description="SQL that gives the subtotal in pico-dollars, for those who may read raw rows.")

    @classmethod
    def of(cls, row: Line) -> "LineShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            month=f"{row.period_month:%Y-%m}",
            kind=row.kind,
            adjusts=row.adjusts,
            project_id=row.project,
            model=row.model,
            price_id=None if row.price_id is None else f"price_{row.price_id}",
            token_class=row.token_class,
            basis_points=row.basis_points,
            usage_rows=row.usage_rows,
            quantity=int(row.quantity),
            unit_price_picousd=row.unit_price_picousd,
            subtotal_usd=usd(int(row.subtotal_picousd)),
            amount=str(row.amount),
            row_set_digest=row.row_set_digest,
            query=row.query,
        )


class LineExplained(BaseModel):
    """A line, and what its raw rows say now."""

    object: Literal["organization.invoice.line.explained"] = "organization.invoice.line.explained"
    line: LineShape
    usage_rows: int | None = Field(description="Rows that are there now; null where a line rests on other lines.")
    subtotal_usd: str = Field(description="What they come to, by the line's query.")
    row_set_digest: str | None = Field(description="Digest of the rows that are there now.")
    agrees: bool = Field(description="Whether subtotal and digest are those of the line.")

    @classmethod
    def of(cls, line: Line, checked: LineChecked) -> "LineExplained":
        """The line beside its rows."""
        same = checked.subtotal_picousd == line.subtotal_picousd and checked.row_set_digest == line.row_set_digest
        return cls(
            line=LineShape.of(line),
            usage_rows=checked.usage_rows,
            subtotal_usd=usd(int(checked.subtotal_picousd)),
            row_set_digest=checked.row_set_digest,
            agrees=same,
        )


class LineRowShape(BaseModel):
    """A raw row behind a line; `quantity` and `subtotal_usd` are what the line counts of it."""

    object: Literal["organization.invoice.line.row"] = "organization.invoice.line.row"
    id: str = Field(description="For the next page's `after`.")
    request_id: str
    attempt: int
    started_at: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: str
    quantity: int
    subtotal_usd: str

    @classmethod
    def of(cls, row: LineRow) -> "LineRowShape":
        """The shape of a row."""
        at = row.started_at.astimezone(UTC)
        return cls(
            id=f"{int(at.timestamp())}.{at.microsecond:06d}_{row.request_id}_{row.attempt}",
            request_id=str(row.request_id),
            attempt=row.attempt,
            started_at=at.isoformat(timespec="microseconds"),
            input_tokens=row.input_tokens,
            cached_input_tokens=row.cached_input_tokens,
            output_tokens=row.output_tokens,
            reasoning_tokens=row.reasoning_tokens,
            cost_usd=usd(row.cost_picousd),
            quantity=row.quantity,
            subtotal_usd=usd(int(row.subtotal_picousd)),
        )


class CertificateShape(BaseModel):
    """What the gate found about a draft: each check, whether it holds, its figures, and what to do where it does not."""

    object: Literal["organization.invoice.certificate"] = "organization.invoice.certificate"
    id: str
    invoice_id: str
    digest: str = Field(description="Of the draft that was looked at; it is good for this one only.")
    passed: bool
    checks: list[dict[str, Any]]
    made_at: int
    made_by: str

    @classmethod
    def of(cls, invoice_id: str, row: Certificate) -> "CertificateShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            invoice_id=invoice_id,
            digest=row.digest,
            passed=row.passed,
            checks=row.checks,
            made_at=int(row.made_at.timestamp()),
            made_by=row.made_by,
        )


class InvoiceFile(BaseModel):
    """A file. JSON, so that it has the errors and the request id of every other answer; the command writes the bytes."""

    object: Literal["organization.invoice.file"] = "organization.invoice.file"
    filename: str
    media_type: str
    sha256: str
    content_base64: str


def _seconds(instant: datetime | None) -> int | None:
    return None if instant is None else int(instant.timestamp())
