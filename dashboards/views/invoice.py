"""Draft invoice lines and their sums."""

from decimal import Decimal

import pandas as pd

from dashboards.views.words import dollars, money

CLASSES = {"input": "Input tokens", "cached_input": "Cached input tokens", "output": "Output tokens"}
PRICE, SUBTOTAL, AMOUNT = "Price per million", "Subtotal, exact", "Amount"


def invoice_table(lines: pd.DataFrame) -> pd.DataFrame:
    """Lines as an invoice shows them: exact subtotal, and the amount that was rounded once."""
    return pd.DataFrame(
        {
            "Model": lines["model"],
            "What": [_class(token_class) for token_class in lines["token_class"]],
            "Tokens": [int(quantity) for quantity in lines["quantity"]],
            PRICE: [money(price * 1_000_000) for price in lines["unit_price_picousd"]],
            SUBTOTAL: [money(subtotal) for subtotal in lines["subtotal_picousd"]],
            AMOUNT: [dollars(amount) for amount in lines["amount"]],
            "Project": lines["project"],
            "Line": lines["line_id"],
        }
    )


def line_label(line: pd.Series) -> str:
    """What a line is for, in words."""
    return f"{line['model']} · {_class(line['token_class'])} · {dollars(line['amount'])} · {line['line_id']}"


def total(lines: pd.DataFrame) -> Decimal:
    """The sum of the amounts in USD: what the invoice says."""
    return sum(lines["amount"], start=Decimal(0))


def exact_total(lines: pd.DataFrame) -> Decimal:
    """The sum of the subtotals in pico-dollars, before any rounding."""
    return sum(lines["subtotal_picousd"], start=Decimal(0))


def _class(token_class: str) -> str:
    return CLASSES.get(token_class, token_class)
