"""Is an engine up? A pure state machine over probe results; whoever probes keeps one `Health` per engine."""

from dataclasses import dataclass, replace
from datetime import datetime

FAILURES_TO_DOWN = 2  # one lost probe is no outage; with a probe a second, down is known after two


@dataclass(frozen=True, slots=True)
class Health:
    """`since` is the instant of the last change between up and down, in UTC. `reason` says why it is not up."""

    up: bool
    since: datetime
    failures: int = 0  # in a row
    reason: str | None = None

    @classmethod
    def unknown(cls, now: datetime) -> "Health":
        """Before the first probe: down, because nothing may be sent to an engine that nobody has seen."""
        return cls(up=False, since=now, reason="not probed yet")

    def succeeded(self, now: datetime) -> "Health":
        """After a good probe: up at once."""
        return Health(up=True, since=self.since if self.up else now)

    def failed(self, now: datetime, reason: str) -> "Health":
        """After a bad probe, or a call that could not connect: down from the second in a row."""
        failures = self.failures + 1
        if self.up and failures >= FAILURES_TO_DOWN:
            return Health(up=False, since=now, failures=failures, reason=reason)
        return replace(self, failures=failures, reason=reason)
