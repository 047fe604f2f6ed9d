"""What was asked for, and how many rows each hour of it gets. All of it follows from the plan: no clock, no chance."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from warehouse.base.errors import InferhouseError

Numbers = NDArray[Any]  # of int64
HOURS_A_DAY = 24
ROWS_OF_PIECE_MAX = 32_768  # rows drawn at once: 10 MB of columns and 15 MB on the way to the database
DAYS_OF_UNIT_MAX = 7
ROWS_MAX = 1_000_000_000
MONTHS_MAX = 60
ORGANIZATIONS_MAX = 20_000
# Of the rows that come late, which part comes after how many days. The last are later than a month is open.
LATE_AFTER_DAYS = (1, 3, 10, 40)
_LATE_PARTS = (0, 8, 14, 18, 20)  # twentieths


class HistoryRefused(InferhouseError):
    """The history that is asked for cannot be, or would be mixed with rows that are none of a demonstration."""

    code = "history_refused"


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows in whole UTC days, the first of them the first of a month. Shares are basis points."""

    rows: int
    organizations: int
    seed: int
    first_day: date
    days: int
    late_basis_points: int
    twice_basis_points: int

    @property
    def starts_at(self) -> datetime:
        """First instant of the first day."""
        return datetime.combine(self.first_day, time(), UTC)

    @property
    def ends_at(self) -> datetime:
        """First instant after the last day."""
        return self.starts_at + timedelta(days=self.days)


def plan(*, rows: int, months: int, organizations: int, seed: int, end: str | None, late: int, twice: int, today: date) -> Plan:
    """A plan whose last month is `end`, as YYYY-MM, or the month of `today`; the days before `today` only.

    Raises: HistoryRefused: a number is out of its bounds, or the months have no day yet.
    """
    bounds = (("--rows", rows, ROWS_MAX), ("--months", months, MONTHS_MAX), ("--organizations", organizations, ORGANIZATIONS_MAX))
    for name, value, most in bounds:
        if not 1 <= value <= most:
            raise HistoryRefused(f"{name} is from 1 to {most}", param=name)
    if not 0 <= seed < 2**63:
        raise HistoryRefused("--seed is a whole number that is not negative", param="--seed")
    if end is None:
        last = today.replace(day=1) if today.day > 1 else _month(today, -1)
    else:
        try:
            last = datetime.strptime(end, "%Y-%m").replace(tzinfo=UTC).date()
        except ValueError as error:
            raise HistoryRefused(f"--end is a month as 2026-05, not {end}", param="--end") from error
    first_day, after = _month(last, 1 - months), min(_month(last, 1), today)
    if after <= last or first_day.year < 2001:
        raise HistoryRefused(f"the month {last:%Y-%m} has no whole day that is over, or begins too long ago", param="--end")
    return Plan(rows, organizations, seed, first_day, (after - first_day).days, late, twice)


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that are drawn at once: so many in each of some hours, counted from the first instant of the plan."""

    key: tuple[int, ...]
    """What its chance is made of, beside the seed."""
    hours: Numbers
    counts: Numbers


@dataclass(frozen=True, slots=True)
class Unit:
    """Some days of on-time rows, and what arrives late meanwhile; written in one go."""

    days: range
    pieces: tuple[Piece, ...]


def units(asked: Plan, weights: Numbers) -> Iterator[Unit]:
    """The whole plan, in the order in which rows are recorded. `weights`: (days * 24,) how busy each hour is, at least 1 each."""
    all_rows = spread(asked.rows, weights)
    late = spread(asked.rows * asked.late_basis_points // 10_000, weights)
    late = np.minimum(late, all_rows)
    parts = [late * upper // 20 - late * lower // 20 for lower, upper in pairwise(_LATE_PARTS)]
    span = min(max(ROWS_OF_PIECE_MAX * asked.days // asked.rows, 1), DAYS_OF_UNIT_MAX)
    for number, first in enumerate(range(0, asked.days, span)):
        days = range(first, min(first + span, asked.days))
        hours = np.arange(days.start * HOURS_A_DAY, days.stop * HOURS_A_DAY)
        pieces = [*_pieces((number, 0), hours, (all_rows - late)[hours])]
        last = days.stop == asked.days
        for part, after_days in zip(parts, LATE_AFTER_DAYS, strict=True):
            # What would come after the last day comes on it.
            stop = asked.days if last else days.stop - after_days
            came = np.arange(max(days.start - after_days, 0) * HOURS_A_DAY, max(stop, 0) * HOURS_A_DAY)
            pieces += _pieces((number, after_days), came, part[came])
        yield Unit(days, tuple(pieces))


def spread(rows: int, weights: Numbers) -> Numbers:
    """Whole rows by weight, which add up to `rows`."""
    reached = np.cumsum(weights, dtype=np.float64)
    rounded: Numbers = np.diff(np.floor(reached / reached[-1] * rows + 0.5).astype(np.int64), prepend=0)
    return rounded


def _pieces(key: tuple[int, int], hours: Numbers, counts: Numbers) -> Iterator[Piece]:
    reached = np.cumsum(counts)
    for number, lower in enumerate(range(0, int(reached[-1]) if len(reached) else 0, ROWS_OF_PIECE_MAX)):
        upper = lower + ROWS_OF_PIECE_MAX
        within = np.clip(reached, lower, upper) - np.clip(reached - counts, lower, upper)
        yield Piece((*key, number), hours[within > 0], within[within > 0])


def _month(day: date, later: int) -> date:
    """First day of the month that is so many months later."""
    months = day.year * 12 + day.month - 1 + later
    return date(months // 12, months % 12 + 1, 1)
