"""Routes of credits: further rows of the table in `operations.py`."""

from router.cli.fields import EXPIRES, LIMIT_USD
from router.cli.operation import Field, Operation, get_, list_, post_

CREDITS: tuple[Operation, ...] = (
    list_(
        "credit",
        "/organization/credits",
        "Credits of your organization.",
        columns="id kind amount_usd remaining_usd expires_at reason",
    ),
    Operation("credit", "balance", "GET", "/organization/credits/balance", "What invoices could be paid with now."),
    list_(
        "credit",
        "/organization/credits/entries",
        "What came into the wallet and left it, each with its credits.",
        verb="entries",
        columns="id kind amount_usd balance_usd reference happened_at",
    ),
    list_(
        "credit",
        "/platform/credits",
        "Credits of every organization, for platform admins.",
        Field("organization_id", "Only of this one.", option="for"),
        verb="catalogue",
        columns="id organization_id kind amount_usd remaining_usd expires_at",
    ),
    Operation(
        "credit",
        "grant",
        "POST",
        "/platform/credits",
        "Put a credit into the wallet of an organization.",
        body=(
            Field("organization_id", "Whose it is.", required=True, option="for"),
            Field("amount_usd", LIMIT_USD.help, required=True, option="usd"),
            Field("kind", "promotional or prepaid."),
            EXPIRES,
            Field("reason", "Why.", required=True),
            Field("reference", "What it is known by elsewhere, as the id of a payment; each once."),
        ),
        creates=True,
    ),
    get_("credit", "/platform/credits/{credit_id}"),
    post_(
        "credit",
        "void",
        "/platform/credits/{credit_id}/void",
        "Take back what is left of a credit.",
        Field("reason", "Why.", required=True),
        destroys="take back the rest of",
    ),
)
