"""Watches over the instance: `python -m deploy.local.guardian STATE`, itself a program of the supervisor.

The supervisor sees only whether a process exists. The guardian asks it: one that has stopped answering is restarted, one
that the supervisor has given up is tried again, and the supervisor itself is started again when it was killed.
"""

import contextlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xmlrpc import client

from deploy.local import supervisor
from deploy.local.errors import StepFailed
from deploy.local.health import complaint
from deploy.local.layout import Layout
from deploy.local.program import Program, load

ROUND_SECONDS = 3
# A process that once was well is restarted after this many complaints in a row: one slow answer is no illness.
COMPLAINTS_MAX = 3


@dataclass(slots=True)
class Watch:
    """What is remembered of one process, as long as it has the same pid."""

    pid: int
    was_well: bool = False
    complaints: int = 0

    def is_hung(self, program: Program, running_s: float, why: str | None) -> bool:
        """Count one answer; True when the process should be restarted."""
        if why is None:
            self.was_well, self.complaints = True, 0
            return False
        self.complaints += 1
        return self.complaints >= COMPLAINTS_MAX if self.was_well else running_s > program.boot_seconds_max


@dataclass(slots=True)
class Guardian:
    """One round a few seconds: look at every program once."""

    layout: Layout
    watches: dict[str, Watch] = field(default_factory=dict)

    def round(self) -> None:
        states = supervisor.states(self.layout)
        if not states:
            self._revive_supervisor()
            return
        for name, program in load(self.layout.run / "programs.json").items():
            state = states.get(name, {})
            if state.get("statename") == "FATAL":
                _say(f"{name} could not be started; trying again")
                supervisor.restart(self.layout, name)
            elif state.get("statename") == "RUNNING" and program.health_url:
                self._look_at(program, state)

    def _look_at(self, program: Program, state: Mapping[str, object]) -> None:
        pid, running_s = int(str(state["pid"])), float(str(state["now"])) - float(str(state["start"]))
        watch = self.watches.get(program.name)
        if watch is None or watch.pid != pid:
            watch = self.watches[program.name] = Watch(pid)
        why = complaint(program.health_url, program.health_sql)
        if watch.is_hung(program, running_s, why):
            _say(f"restarting {program.name} (pid {pid}, up {running_s:.0f} s): {why}")
            supervisor.restart(self.layout, program.name)

    def _revive_supervisor(self) -> None:
        """Start the supervisor, unless `down` has said that nothing is wanted. It will start a guardian of its own."""
        if not is_wanted(self.layout):
            sys.exit(0)
        if supervisor.is_up(self.layout):
            return
        _say("the supervisor is gone; starting it again")
        supervisor.start(self.layout, None)


def is_wanted(layout: Layout) -> bool:
    return (layout.run / "wanted").exists()


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # the supervisor reads our output, and may be what has died
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} guardian: {text}", flush=True)


def main() -> int:
    guardian = Guardian(Layout.of(Path(sys.argv[1])))
    while True:
        try:
            guardian.round()
        except (OSError, StepFailed, client.Error) as error:  # the supervisor went away, or a program was stopped meanwhile
            _say(f"will look again: {error}")
        time.sleep(ROUND_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
