"""How much a new price version differs from what it takes the place of, and whether somebody must say that it is meant."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from pydantic import BaseModel

from warehouse.access.prices import PriceVersion
from warehouse.base.errors import InferhouseError
from warehouse.base.money import usd, usd_per_million

CHANGE_FACTOR_MAX = 10  # up or down; a slipped decimal point or a price per thousand tokens is at least that
PRICES = ("input_picousd", "cached_input_picousd", "output_picousd", "reasoning_picousd", "request_picousd")
"""Columns of a version; the API has each per million tokens, and the last per request."""


class ConfirmationNeeded(InferhouseError):
    """It is possible and most likely a slip. Nothing was changed."""

    status, code, type = 409, "confirmation_needed", "invalid_request_error"


class PriceChange(BaseModel):
    """One price of a version, before and after."""

    field: Literal[
        "input_usd_per_million", "cached_input_usd_per_million", "output_usd_per_million", "reasoning_usd_per_million",
        "request_usd",
    ]  # fmt: skip
    before: str | None
    after: str
    percent: str | None
    """Exact to two decimals, as `-12.50`; null where there was none, or it was 0."""
    needs_confirmation: bool


def field_of(column: str) -> str:
    """The API's name of a price."""
    return "request_usd" if column == "request_picousd" else column.replace("_picousd", "_usd_per_million")


def shown(column: str, picousd: int) -> str:
    """A price in the unit of its field."""
    return usd(picousd) if column == "request_picousd" else usd_per_million(picousd)


def changes(before: PriceVersion | None, after: Mapping[str, int | None]) -> list[PriceChange]:
    """What differs. Without a version before, each price that is none needs a confirmation, but that of a request."""
    found = []
    for column in PRICES:
        if column == "reasoning_picousd" and after.get(column) is None and (before is None or before.reasoning_picousd is None):
            continue  # as any other output token, before and after
        old, new = None if before is None else _price(column, before), _price(column, after)
        if old == new:
            continue
        if old is None:
            needed = new == 0 and column != "request_picousd"
        else:
            needed = not old or not new or new > old * CHANGE_FACTOR_MAX or old > new * CHANGE_FACTOR_MAX
        found.append(
            PriceChange(
                field=field_of(column),  # type: ignore[arg-type]  # one of the literals by its making
                before=None if old is None else shown(column, old),
                after=shown(column, new),
                percent=None if not old else percent(old, new),
                needs_confirmation=needed,
            )
        )
    return found


def check(found: list[PriceChange]) -> None:
    """Raises: ConfirmationNeeded: one of them is out of the band."""
    beyond = [change for change in found if change.needs_confirmation]
    if beyond:
        said = "; ".join(
            f"{change.field} is {change.after}" + ("" if change.before is None else f" and was {change.before}")
            for change in beyond
        )
        raise ConfirmationNeeded(
            f"{said}: a price of 0, from 0, or more than {CHANGE_FACTOR_MAX} times up or down. "
            "See POST /v1/platform/price_previews; if it is meant, send confirm_change: true (--confirm)",
            param=beyond[0].field,
        )


def percent(before: int, after: int) -> str:
    """By how much, to two decimals."""
    return str((Decimal(after - before) * 100 / before).quantize(Decimal("0.01"), ROUND_HALF_UP))


def _price(column: str, of: PriceVersion | Mapping[str, int | None]) -> int:
    """A price; reasoning costs what other output tokens do unless it has its own."""
    value = of.get(column) if isinstance(of, Mapping) else getattr(of, column)
    if value is None:
        return _price("output_picousd", of)
    return int(value)
