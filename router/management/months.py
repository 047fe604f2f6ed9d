"""Whole months. Of discounts and volume tiers, one that has begun keeps what it has."""

from datetime import date, timedelta
from typing import Annotated

from pydantic import Field

from router.management.changes import Conflict
from router.management.price_changes import ConfirmationNeeded
from warehouse.base.errors import InvalidRequest

Month = Annotated[str, Field(pattern=r"^2[0-9]{3}-(0[1-9]|1[0-2])$", description="As 2026-12.")]
BasisPoints = Annotated[
    int, Field(ge=1, le=10_000, strict=True, description="Parts of 10,000 that are not paid: 250 is 2.5 percent.")
]
BASIS_POINTS_SANE = 5000  # half of the price; above it somebody must say that it is meant
KEPT = "what has been in force is never changed"


def first_day(month: str) -> date:
    """Of `2026-12`."""
    return date.fromisoformat(f"{month}-01")


def next_month(day: date) -> date:
    """The first day of the month after the one that begins on this day."""
    return (day + timedelta(days=31)).replace(day=1)


def shown(day: date | None) -> str | None:
    """The month of a first day."""
    return None if day is None else f"{day:%Y-%m}"


def period(first_month: str, last_month: str | None, this_month: date) -> tuple[date, date | None]:
    """(first day, day after the last or None). Raises: InvalidRequest.  Conflict: it begins in a month that is over."""
    first, end = first_day(first_month), None if last_month is None else next_month(first_day(last_month))
    if end is not None and end <= first:
        raise InvalidRequest("it must not be before first_month", param="last_month")
    if first < this_month:
        raise Conflict(
            f"that month is over, and {KEPT}: put in an adjustment, and begin with {this_month:%Y-%m}", param="first_month"
        )
    return first, end


def end_of(first: date, last: date | None, last_month: str | None, this_month: date) -> date:
    """The day after the new last month; without one it is this month. Raises: Conflict: it is not possible."""
    wanted = this_month if last_month is None else first_day(last_month)
    if wanted < this_month:
        raise Conflict(f"{KEPT}: it may end with {this_month:%Y-%m} at the earliest", param="last_month")
    if wanted < first:
        raise Conflict("it has not begun by then: delete it", param="last_month")
    if last is not None and last <= wanted:
        raise Conflict(f"it ends with {last:%Y-%m}", param="last_month")
    return next_month(wanted)


def check_not_begun(first: date, this_month: date, param: str) -> None:
    """Raises: Conflict: some of it is or has been in force."""
    if first <= this_month:
        raise Conflict(f"{KEPT}: end it instead, so that later months do not have it", param=param)


def check_size(basis_points: int, *, confirmed: bool) -> None:
    """Raises: ConfirmationNeeded: it is so large that it is most likely a slip."""
    if basis_points > BASIS_POINTS_SANE and not confirmed:
        raise ConfirmationNeeded(
            f"{basis_points} basis points, which are parts of 10,000, are more than half of the price. "
            "If it is meant, send confirm_change: true (--confirm)",
            param="basis_points",
        )
