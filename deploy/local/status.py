"""What runs, since when, and whether it is well."""

from dataclasses import dataclass
from datetime import timedelta

from deploy.local import supervisor
from deploy.local.health import complaint
from deploy.local.layout import Layout
from deploy.local.program import load


@dataclass(frozen=True, slots=True)
class Condition:
    """One program: its state as the supervisor has it, and its own answer."""

    name: str
    state: str
    pid: int
    up: timedelta
    address: str
    complaint: str | None

    @property
    def is_well(self) -> bool:
        return self.state == "RUNNING" and self.complaint is None

    def __str__(self) -> str:
        said = "well" if self.is_well else (self.complaint or "not running").splitlines()[0][:80]
        up = str(self.up) if self.pid else "-"
        return f"{self.name:<20} {self.state:<9} {self.pid or '-':>8} {up:>16}  {self.address:<28} {said}"


def conditions(layout: Layout) -> list[Condition]:
    """Every program of the instance; empty when it was never started or is stopped."""
    states = supervisor.states(layout)
    if not states:
        return []
    found = []
    for name, program in load(layout.run / "programs.json").items():
        state = states.get(name, {})
        pid = int(str(state.get("pid", 0)))
        seconds = int(str(state.get("now", 0))) - int(str(state.get("start", 0))) if pid else 0
        why = complaint(program.health_url, program.health_sql) if pid else None
        statename = str(state.get("statename", "STOPPED"))
        found.append(Condition(name, statename, pid, timedelta(seconds=seconds), program.address, why))
    return found
