"""Invoices, their lines and sums, and what was checked before they became final."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd

from dashboards.views.words import dollars, money

CLASSES = {
    "input": "Input tokens", "cached_input": "Cached input tokens", "output": "Output tokens", "reasoning": "Reasoning tokens",
    "request": "Requests",
}  # fmt: skip
KINDS = {"volume_discount": "volume discount", "discount": "Discount", "adjustment": "adjusted", "credit": "Credit"}
CHECKS = {
    "parity": "Two pricing engines agree", "completeness": "Every row is there", "prices": "Every row has a price",
    "sums": "Lines, invoice and rows add up", "days": "Days add up to the month",
    "reconciliation": "Rows and engine counters agree", "hours": "No hour without rows", "draft": "The draft is unchanged",
}  # fmt: skip
QUANTITY, PRICE, SUBTOTAL, AMOUNT = "Quantity", "Price per million", "Subtotal, exact", "Amount"


def invoice_label(invoice: pd.Series) -> str:
    """What an invoice is, in a list: its month, and its number or that it is a draft."""
    month = f"{invoice['period_month']:%B %Y}"
    if invoice["invoice"] is None:
        return f"{month} · draft · {dollars(invoice['total'])}"
    void = ", void" if invoice["status"] == "void" else ""
    return f"{month} · {invoice['number']}{void} · {dollars(invoice['total'])}"


def invoice_table(lines: pd.DataFrame) -> pd.DataFrame:
    """Lines as an invoice shows them: exact subtotal, and the amount that was rounded once."""
    return pd.DataFrame(
        {
            "Month": [f"{month:%Y-%m}" for month in lines["period_month"]],
            "Model": [_or_dash(model) for model in lines["model"]],
            "What": [_what(line) for _, line in lines.iterrows()],
            QUANTITY: [int(quantity) for quantity in lines["quantity"]],
            PRICE: [_price(price) for price in lines["unit_price_picousd"]],
            SUBTOTAL: [money(subtotal) for subtotal in lines["subtotal_picousd"]],
            AMOUNT: [dollars(amount) for amount in lines["amount"]],
            "Project": [_or_dash(project) for project in lines["project"]],
            "Line": lines["line_id"],
        }
    )


def line_label(line: pd.Series) -> str:
    """What a line is for, in words."""
    return f"{_or_dash(line['model'])} · {_what(line)} · {dollars(line['amount'])} · {line['line_id']}"


def certificate_table(checks: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Each check of the gate, whether it held, and the figures it looked at."""
    return pd.DataFrame(
        {
            "Check": [CHECKS.get(check["name"], check["name"]) for check in checks],
            "Held": ["yes" if check["passed"] else "no" for check in checks],
            "Figures": [", ".join(f"{name} = {value}" for name, value in check["figures"].items()) for check in checks],
        }
    )


def total(lines: pd.DataFrame) -> Decimal:
    """The sum of the amounts in USD: what the invoice says before taxes."""
    return sum(lines["amount"], start=Decimal(0))


def exact_total(lines: pd.DataFrame) -> Decimal:
    """The sum of the subtotals in pico-dollars, before any rounding."""
    return sum(lines["subtotal_picousd"], start=Decimal(0))


def _what(line: pd.Series) -> str:
    token_class = None if pd.isna(line["token_class"]) else line["token_class"]
    parts = [CLASSES.get(token_class, token_class) if token_class else None, KINDS.get(line["kind"])]
    return ", ".join(part for part in parts if part)


def _price(picousd: Any) -> str:
    return "—" if pd.isna(picousd) else money(int(picousd) * 1_000_000)


def _or_dash(name: Any) -> str:
    return "—" if pd.isna(name) else str(name)
