"""Routers measured by turns: medians of what each used, and ratios within a turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.router.figures import median


@dataclass(frozen=True, slots=True)
class Turns:
    """CPU time per unit of work of each router, one figure a turn, in microseconds. Turn n of one is beside turn n of another."""

    cpu_us: Mapping[str, Sequence[float]]

    def median_us(self, name: str) -> float | None:
        """Of one router; None where nothing is known of its processes."""
        return median(self.cpu_us[name]) if self.cpu_us.get(name) else None

    def ratio(self, name: str, other: str) -> float | None:
        """How much one uses of what another does: the median over the turns; None where one of the two did not run."""
        if not self.cpu_us.get(name) or not self.cpu_us.get(other):
            return None
        pairs = zip(self.cpu_us[name], self.cpu_us[other], strict=True)
        return median([one / two for one, two in pairs if two])
