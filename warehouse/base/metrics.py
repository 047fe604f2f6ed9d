"""Counters of one process: plain additions while it works, text when Prometheus asks, and a bound on how many there are.

The names are those of the exposition format. A label never has an organization, a key or a person as its value; a label whose
values come from outside is cut off at `SERIES_MAX`, so that nobody can fill the memory of a process or of Prometheus.
"""

import bisect
from collections.abc import Iterator, Mapping, Sequence

SERIES_MAX = 500
OTHER = "other"


class Counts:
    """A counter by labels. Beyond `SERIES_MAX` label sets, new ones are counted together as `other`."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, *values: str, by: float = 1) -> None:
        """Args: values: one for each label."""
        key = _bounded(values, self.labels, self._values)
        self._values[key] = self._values.get(key, 0) + by

    def items(self) -> Iterator[tuple[list[str], float]]:
        """(label values, count) of each series, as they are now."""
        for values, count in list(self._values.items()):
            yield list(values), count


class Durations:
    """A histogram of seconds by labels, with fixed buckets."""

    # From the fastest answer without a database to the longest that a caller waits for.
    BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._values: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, seconds: float, *values: str) -> None:
        """Args: values: one for each label."""
        key = _bounded(values, self.labels, self._values)
        counts = self._values.setdefault(key, [0] * (len(self.BUCKETS_S) + 1))
        counts[bisect.bisect_left(self.BUCKETS_S, seconds)] += 1
        self._sums[key] = self._sums.get(key, 0.0) + seconds

    def items(self) -> Iterator[tuple[list[str], list[tuple[str, float]], float]]:
        """(label values, cumulative [(upper bound, count)], sum of seconds) of each series."""
        for values, counts in list(self._values.items()):
            total, cumulative = 0, []
            for bound, count in zip([*map(str, self.BUCKETS_S), "+Inf"], counts, strict=True):
                total += count
                cumulative.append((bound, float(total)))
            yield list(values), cumulative, self._sums[values]


def _bounded(values: tuple[str, ...], labels: tuple[str, ...], known: Mapping[tuple[str, ...], object]) -> tuple[str, ...]:
    """The label values, or `other` for each where there are too many sets. Raises: ValueError: not one for each label."""
    if len(values) != len(labels):
        raise ValueError(f"{len(labels)} labels, {len(values)} values")
    return values if values in known or len(known) < SERIES_MAX else (OTHER,) * len(labels)
