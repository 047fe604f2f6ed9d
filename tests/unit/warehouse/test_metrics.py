"""Counters are bounded, whatever values a label is given."""

import pytest

from warehouse.base.metrics import OTHER, SERIES_MAX, Counts, Durations


def test_beyond_the_bound_new_series_are_counted_together() -> None:
    counts = Counts(("route", "status"))
    for number in range(SERIES_MAX + 50):
        counts.add(f"/{number}", "200")
    counts.add("/1", "200")
    found = {tuple(values): count for values, count in counts.items()}
    assert len(found) == SERIES_MAX + 1
    assert found[OTHER, OTHER] == 50
    assert found["/1", "200"] == 2
    assert sum(found.values()) == SERIES_MAX + 51, "nothing is lost"


def test_a_wrong_number_of_labels_is_a_fault() -> None:
    with pytest.raises(ValueError, match="2 labels"):
        Counts(("route", "status")).add("/")


def test_buckets_are_cumulative_and_end_with_everything() -> None:
    durations = Durations(("route",))
    for seconds in (0.001, 0.002, 0.003, 99.0):
        durations.add(seconds, "/")
    ((values, buckets, total),) = durations.items()
    assert values == ["/"]
    assert buckets[:2] == [("0.002", 2.0), ("0.005", 3.0)]
    assert buckets[-1] == ("+Inf", 4.0)
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert total == pytest.approx(99.006)
