"""Small statistics: quantiles that occurred, medians of repeats, slopes."""

import math
import statistics
from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """Nearest rank, always a value that occurred; NaN of nothing."""
    if not values:
        return math.nan
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def median(values: Sequence[float | None]) -> float:
    """Of repeats, those that measured something; NaN of nothing."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else math.nan


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Least squares: change of value per unit of time. Raises: ValueError: fewer than two points."""
    if len(times) != len(values) or len(times) < 2:
        raise ValueError("a slope needs two points")
    return statistics.linear_regression(times, values).slope


def shown(value: float | str | None, digits: int = 0) -> str:
    """A cell: thousands separated, a dash where nothing was measured."""
    if isinstance(value, str):
        return value
    return "-" if value is None or math.isnan(value) else f"{value:,.{digits}f}"
