"""Quantiles, medians, slopes and ratios as the benchmark takes them."""

import math

import pytest

from tests.bench.router.figures import median, quantile, shown, slope
from tests.bench.router.turns import Turns


@pytest.mark.parametrize(("share", "value"), [(0, 1), (0.5, 2), (0.75, 3), (0.99, 4), (1, 4)])
def test_quantile_is_a_value_that_occurred(share: float, value: float) -> None:
    assert quantile([4, 1, 3, 2], share) == value


def test_nothing_measured_is_a_dash() -> None:
    assert math.isnan(quantile([], 0.5))
    assert math.isnan(median([None]))
    assert shown(median([])) == shown(None) == "-"


def test_repeats_without_a_measurement_do_not_count() -> None:
    assert median([3.0, None, 1.0, 2.0]) == 2


def test_slope_of_a_straight_line() -> None:
    assert slope([0, 5, 10], [80.0, 81.0, 82.0]) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="two points"):
        slope([1], [1])


def test_numbers_are_read_in_thousands() -> None:
    assert shown(12_345.678, 1) == "12,345.7"


def test_ratio_is_taken_within_each_turn() -> None:
    """A turn in which the machine was twice as slow for everybody changes nothing."""
    turns = Turns({"ours": [40, 80, 42], "other": [50, 100, 50], "none": []})
    assert turns.ratio("ours", "other") == 0.8
    assert turns.median_us("ours") == 42
    assert turns.ratio("ours", "absent") is None
    assert turns.ratio("none", "ours") is None
    assert turns.median_us("absent") is None
