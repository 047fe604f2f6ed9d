"""Numbers and instants as people read them; exact, never shortened."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pandas as pd

from warehouse.base.money import usd


def count(number: object) -> str:
    """`1234` -> `1,234`."""
    return f"{int(str(number)):,}"


def money(picousd: object) -> str:
    """Exact USD: `$0.0000123`, `$1,204.50`, `-$2.00`; a dash where there is no price."""
    if picousd is None or pd.isna(picousd):
        return "—"
    amount = int(Decimal(str(picousd)))
    whole, _, decimals = usd(abs(amount)).partition(".")
    return f"{'-' if amount < 0 else ''}${int(whole):,}.{decimals}"


def dollars(amount: Decimal) -> str:
    """An amount of an invoice, in cents: `$1,204.50`."""
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def milliseconds(microseconds: object) -> str:
    """`12345` -> `12.3 ms`; a dash where nothing was measured."""
    if microseconds is None or pd.isna(microseconds):
        return "—"
    return f"{int(str(microseconds)) / 1000:,.1f} ms"


def instant(at: datetime, zone: ZoneInfo) -> str:
    """`2026-11-23 14:05:10` in the organization's zone."""
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def complete_line(completeness: pd.DataFrame, zone: ZoneInfo) -> str:
    """What can be trusted: until when, how many rows are set aside, how much is estimated."""
    if completeness.empty or completeness.iloc[0]["complete_to"] is None:
        return "Nothing is known to be complete yet."
    row = completeness.iloc[0]
    share = Decimal(str(row["estimated_share"])) * 100
    return (
        f"Complete to {instant(row['complete_to'], zone)} ({zone.key}) · {count(row['rows_quarantined'])} rows quarantined · "
        f"{share.quantize(Decimal('0.01'))} % estimated"
    )
