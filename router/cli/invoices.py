"""Invoices as files, and a line of one down to its raw rows."""

import base64
import hashlib
from pathlib import Path
from typing import Annotated

import typer

from router.cli import output
from router.cli.context import Context
from router.cli.output import Format

FOUND = 8
COLUMNS = ("started_at", "request_id", "attempt", "quantity", "subtotal_usd", "cost_usd")
InvoiceId = Annotated[str, typer.Argument(metavar="INVOICE_ID")]
To = Annotated[Path | None, typer.Option("--to", help="File to write; without it, the invoice's number in this folder.")]
Output = Annotated[Format | None, typer.Option("--output", "-o", help="table, json or csv.")]
Rows = Annotated[int | None, typer.Option("--rows", min=0, help="At most so many rows; without it, all.")]


def pdf(context: typer.Context, invoice_id: InvoiceId, to: To = None) -> None:
    """Write an invoice as a PDF; the same bytes each time."""
    _write(context.obj, "pdf", invoice_id, to)


def csv(context: typer.Context, invoice_id: InvoiceId, to: To = None) -> None:
    """Write the lines and taxes of an invoice as CSV; the same bytes each time."""
    _write(context.obj, "csv", invoice_id, to)


def _write(asked: Context, verb: str, invoice_id: str, to: Path | None) -> None:
    with asked.client() as client:
        file = getattr(client.invoice, verb)(invoice_id)
    content = base64.b64decode(file["content_base64"])
    if hashlib.sha256(content).hexdigest() != file["sha256"]:
        output.note("What came is not what was sent: try again.")
        raise typer.Exit(1)
    path = to or Path(Path(file["filename"]).name)
    path.write_bytes(content)
    output.line(str(path))


def invoice_line(
    context: typer.Context,
    line_id: Annotated[str, typer.Argument(metavar="LINE_ID")],
    rows: Rows = None,
    form: Output = None,
) -> None:
    """The raw rows whose sum a line is, with sum and digest checked. Exit code 8 where they do not agree."""
    asked: Context = context.obj
    with asked.client() as client:
        checked = client.explain.check(line_id)
        found = client.explain.rows(line_id)
        output.rows((row for row, _ in zip(found, range(rows))) if rows is not None else found, COLUMNS, form or asked.output)  # noqa: B905
    line = checked["line"]
    of_rows = "its lines" if checked["usage_rows"] is None else f"{checked['usage_rows']} raw rows"
    output.note(f"{line['kind']} {line['model'] or ''} {line['token_class'] or ''}, {line['month']}: {line['subtotal_usd']} USD")
    output.note(f"{of_rows} come to {checked['subtotal_usd']} USD, digest {checked['row_set_digest']}")
    if not checked["agrees"]:
        output.note(f"They do not agree: the line has digest {line['row_set_digest']}. Rows were changed or are gone.")
        raise typer.Exit(FOUND)
    output.note("Sum and digest agree.")
