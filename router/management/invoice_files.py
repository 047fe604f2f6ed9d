"""An invoice as a PDF for people and as CSV for programs. The same invoice gives the same bytes."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO

from router.management.pdf import MARGIN, WIDTH, Pdf, fitted
from warehouse.access.invoices import Invoice, Line
from warehouse.base.money import usd, usd_per_million

CLASSES: Mapping[str | None, str] = {
    "input": "input tokens", "cached_input": "cached input tokens", "output": "output tokens", "reasoning": "reasoning tokens",
    "request": "requests", None: "",
}  # fmt: skip
KINDS: Mapping[str, str] = {
    "usage": "", "volume_discount": "volume discount", "discount": "discount", "adjustment": "adjustment", "credit": "credit",
}  # fmt: skip
COLUMNS = (
    "invoice", "number", "line_id", "month", "kind", "adjusts", "project", "model", "price_id", "token_class", "quantity",
    "unit_price_usd_per_million", "subtotal_usd", "amount", "currency", "row_set_digest",
)  # fmt: skip
_QUANTITY, _PRICE, _AMOUNT = 370, 465, WIDTH - MARGIN


def invoice_csv(invoice: Invoice, lines: Sequence[Line]) -> bytes:
    """One row a line, then one a tax; amounts are exact decimals."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        price = "" if line.unit_price_picousd is None else usd_per_million(line.unit_price_picousd)
        writer.writerow([
            invoice.public_id, invoice.number or "", line.public_id, f"{line.period_month:%Y-%m}", line.kind, line.adjusts or "",
            line.project or "", line.model or "", line.price_id or "", line.token_class or "", line.quantity, price,
            usd(int(line.subtotal_picousd)), line.amount, invoice.currency, line.row_set_digest or "",
        ])  # fmt: skip
    for tax in invoice.taxes:
        writer.writerow([
            invoice.public_id, invoice.number or "", "", tax["month"], "tax", "", "", "", "", f"{tax['region']} {tax['name']}",
            "", "", "", tax["amount"], invoice.currency, "",
        ])  # fmt: skip
    return out.getvalue().encode()


def invoice_pdf(invoice: Invoice, lines: Sequence[Line]) -> bytes:
    """Head, lines, sums, and what it can be checked by."""
    kind = "Credit note" if invoice.kind == "credit_note" else "Invoice"
    pdf = Pdf(f"{kind} {invoice.number or invoice.public_id}")
    pdf.page()
    _head(pdf, invoice, kind)
    _columns(pdf)
    for line in lines:
        if pdf.down(13):
            _columns(pdf)
        _line(pdf, line)
    pdf.down(8)
    pdf.rule()
    _sums(pdf, invoice)
    pdf.down(30)
    for text in (
        f"Each amount is rounded once, half up, on its line ({invoice.rounding_rule}); sums are of rounded amounts.",
        f"Digest of this document's content: {invoice.digest or ''}",
        f"Lines and the raw rows behind each: inferhouse invoice lines {invoice.public_id}; inferhouse explain invoice-line ID",
    ):
        pdf.text(MARGIN, text, 7.5)
        pdf.down(11)
    return pdf.data()


def _head(pdf: Pdf, invoice: Invoice, kind: str) -> None:
    pdf.text(MARGIN, kind, 20, bold=True)
    pdf.text(_AMOUNT, invoice.number or "DRAFT", 12, right=True)
    pdf.down(30)
    facts = [
        ("For", f"{invoice.organization_name} ({invoice.organization})"),
        ("Period", f"{invoice.period_month:%B %Y}, {invoice.time_zone}"),
        ("Date", f"{invoice.finalized_at:%Y-%m-%d}" if invoice.finalized_at else "not final"),
        ("Id", invoice.public_id),
    ]
    if invoice.corrects:
        facts.append(("Corrects", invoice.corrects))
    if invoice.reason:
        facts.append(("Reason", invoice.reason))
    if invoice.status == "void":
        facts.append(("Void", f"{invoice.voided_at:%Y-%m-%d}: {invoice.void_reason}"))
    for name, value in facts:
        pdf.text(MARGIN, name, bold=True)
        pdf.text(MARGIN + 60, fitted(value, 9, _AMOUNT - MARGIN - 60))
        pdf.down(14)
    pdf.down(10)


def _columns(pdf: Pdf) -> None:
    pdf.text(MARGIN, "What", bold=True)
    for x, name in ((_QUANTITY, "Quantity"), (_PRICE, "USD per million"), (_AMOUNT, "USD")):
        pdf.text(x, name, bold=True, right=True)
    pdf.down(5)
    pdf.rule()


def _line(pdf: Pdf, line: Line) -> None:
    parts = [line.model or "", CLASSES[line.token_class], KINDS[line.kind], f"of {line.period_month:%Y-%m}"]
    pdf.text(MARGIN, fitted(", ".join(filter(None, parts)), 9, _QUANTITY - MARGIN - 75))
    pdf.text(_QUANTITY, f"{line.quantity:,}", right=True)
    if line.unit_price_picousd is not None:
        pdf.text(_PRICE, usd_per_million(line.unit_price_picousd), right=True)
    pdf.text(_AMOUNT, f"{line.amount:,}", right=True)


def _sums(pdf: Pdf, invoice: Invoice) -> None:
    taxes = [
        (f"{tax['name']} {tax['region']} {tax['basis_points'] / 100:g} % of {tax['taxable']} ({tax['month']})", tax["amount"])
        for tax in invoice.taxes
    ]
    sums = [("Sum of lines", str(invoice.amount)), *taxes, ("Total", str(invoice.total))]
    if invoice.credits_applied:
        sums.append(("Credits", str(-invoice.credits_applied)))
    for name, value in [*sums, (f"Due, {invoice.currency}", str(invoice.due))]:
        pdf.down(15)
        bold = name.startswith(("Total", "Due"))
        pdf.text(_PRICE, name, bold=bold, right=True)
        pdf.text(_AMOUNT, value, bold=bold, right=True)
