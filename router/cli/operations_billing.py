"""Routes of invoices and taxes: further rows of the table in `operations.py`."""

from router.cli.operation import Field, Operation, create_, get_, list_, post_

_O = "/organization"

BILLING: tuple[Operation, ...] = (
    list_(
        "invoice",
        f"{_O}/invoices",
        "Invoices and credit notes of your organization.",
        Field("month", "Only of this month, as 2026-03."),
        columns="id number kind purpose status month amount tax_amount total credits_applied due",
    ),
    get_("invoice", f"{_O}/invoices/{{invoice_id}}"),
    list_(
        "invoice",
        f"{_O}/invoices/{{invoice_id}}/lines",
        "Its lines.",
        verb="lines",
        columns="id month kind model token_class quantity subtotal_usd amount project_id price_id",
    ),
    Operation(
        "invoice", "certificate", "GET", f"{_O}/invoices/{{invoice_id}}/certificate", "What was checked before it became final."
    ),
    Operation("invoice", "pdf", "GET", f"{_O}/invoices/{{invoice_id}}/pdf", "As a PDF.", hidden=True),
    Operation("invoice", "csv", "GET", f"{_O}/invoices/{{invoice_id}}/csv", "As CSV.", hidden=True),
    Operation("explain", "check", "GET", f"{_O}/invoice_lines/{{line_id}}", "A line computed again.", hidden=True),
    Operation(
        "explain", "rows", "GET", f"{_O}/invoice_lines/{{line_id}}/rows", "The raw rows of a line.", many=True, hidden=True
    ),
    list_(
        "invoice",
        "/platform/invoices",
        "Invoices of every organization, drafts too, for platform admins.",
        Field("organization", "Only of this one."),
        Field("month", "Only of this month, as 2026-03."),
        Field("status", "draft, final or void."),
        verb="all",
        columns="id number organization_id kind purpose status month total due",
    ),
    Operation(
        "invoice",
        "preview",
        "GET",
        "/platform/invoices/preview",
        "What a month comes to now; makes nothing.",
        query=(
            Field("organization", "Whose month.", required=True, option="for"),
            Field("month", "As 2026-03.", required=True),
        ),
    ),
    Operation("invoice", "show", "GET", "/platform/invoices/{invoice_id}", "One of any organization, also a draft."),
    Operation(
        "invoice",
        "gate",
        "GET",
        "/platform/invoices/{invoice_id}/certificate",
        "What the gate found about a draft, and what to do.",
    ),
    Operation(
        "invoice",
        "draft",
        "POST",
        "/platform/invoices",
        "A draft of a month, made anew; of a final one, what has come since.",
        body=(
            Field("organization", "Whose month.", required=True, option="for"),
            Field("month", "As 2026-03.", required=True),
        ),
        creates=True,
    ),
    post_(
        "invoice",
        "finalize",
        "/platform/invoices/{invoice_id}/finalize",
        "Freeze a draft that the gate has passed.",
        destroys="freeze for good",
    ),
    post_(
        "invoice",
        "void",
        "/platform/invoices/{invoice_id}/void",
        "Take a final invoice back by a credit note, or give up a draft.",
        Field("reason", "Stands on the credit note.", required=True),
        destroys="void",
    ),
    post_(
        "invoice",
        "credit",
        "/platform/invoices/{invoice_id}/credit",
        "Take an amount off a final invoice by a credit note.",
        Field("amount_usd", "Before taxes, as 12.50.", required=True, option="amount"),
        Field("reason", "Stands on the credit note.", required=True),
    ),
    Operation("tax", "list", "GET", "/platform/tax_rates", "Taxes of regions by month, for platform admins."),
    create_(
        "tax",
        "/platform/tax_rates",
        "A tax from a month on.",
        Field("region", "As DE or US-CA.", required=True),
        Field("name", "As VAT.", required=True),
        Field("basis_points", "Hundredths of a percent.", "number", required=True),
        Field("first_month", "As 2026-03.", required=True, option="from"),
        Field("before_month", "The first month without it.", option="until"),
    ),
    post_(
        "tax",
        "region",
        "/platform/organizations/{organization_id}/tax_region",
        "Where an organization pays taxes.",
        Field("region", "As DE or US-CA.", required=True, can_clear=True),
    ),
)
