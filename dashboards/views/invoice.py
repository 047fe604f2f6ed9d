"""Draft invoice lines and their sum."""

from decimal import Decimal

import pandas as pd

from dashboards.views.words import count, money

CLASSES = {"input": "Input tokens", "cached_input": "Cached input tokens", "output": "Output tokens"}


def months(lines: pd.DataFrame) -> list[str]:
    """The months that have lines, newest first, as `2026-11`."""
    return sorted({f"{month:%Y-%m}" for month in lines["period_month"]}, reverse=True)


def of_month(lines: pd.DataFrame, month: str) -> pd.DataFrame:
    """The lines of one month."""
    return lines[[f"{period:%Y-%m}" == month for period in lines["period_month"]]]


def invoice_table(lines: pd.DataFrame) -> pd.DataFrame:
    """Lines as an invoice shows them: exact subtotal, and the amount that was rounded once."""
    return pd.DataFrame(
        {
            "Model": lines["model"],
            "What": [CLASSES.get(token_class, token_class) for token_class in lines["token_class"]],
            "Tokens": [count(quantity) for quantity in lines["quantity"]],
            "Price per million": [money(price * 1_000_000) for price in lines["unit_price_picousd"]],
            "Subtotal, exact": [money(subtotal) for subtotal in lines["subtotal_picousd"]],
            "Amount": [f"${amount:,.2f}" for amount in lines["amount"]],
            "Project": lines["project"],
            "Line": lines["line_id"],
        }
    )


def total(lines: pd.DataFrame) -> Decimal:
    """The sum of the amounts: what the invoice says."""
    return sum(lines["amount"], start=Decimal(0))
