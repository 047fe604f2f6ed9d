"""The running programs of an instance, as `up` builds them up step by step."""

import threading
import time
from collections.abc import Iterable

from deploy.local import supervisor
from deploy.local.account import tail
from deploy.local.errors import StepFailed
from deploy.local.health import complaint
from deploy.local.instance import Instance
from deploy.local.program import Program, load

_LOG_TAIL_BYTES = 20_000


class Fleet:
    """Adds programs to the supervisor and waits until they are well. Steps that run side by side share one."""

    def __init__(self, instance: Instance) -> None:
        self._layout, self._account = instance.layout, instance.account
        self._lock = threading.Lock()
        self.was_running = supervisor.is_up(self._layout)
        # What runs goes on running until its new description comes, or until `settle`.
        self._programs = load(self._layout.run / "programs.json") if self.was_running else {}
        self._added: set[str] = set()
        self._closed = False

    def runs(self, name: str) -> bool:
        """Whether this program belongs to the instance that was running before."""
        return self.was_running and name in self._programs

    def add(self, programs: Iterable[Program]) -> list[str]:
        """Start programs, restart those whose description changed; names of both."""
        with self._lock:
            self._require_open()
            for program in programs:
                self._programs[program.name] = program
                self._added.add(program.name)
            return self._apply()

    def close(self) -> None:
        """From now on nothing is started or waited for: the steps still under way come to an end."""
        with self._lock:
            self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise StepFailed("the start was given up")

    def settle(self) -> None:
        """Stop what ran before and has not been added again."""
        with self._lock:
            self._programs = {name: program for name, program in self._programs.items() if name in self._added}
            self._apply()

    def _apply(self) -> list[str]:
        supervisor.write(self._layout, self._account, sorted(self._programs.values(), key=lambda program: program.stage))
        if supervisor.is_up(self._layout):
            return supervisor.update(self._layout)
        supervisor.start(self._layout, self._account)
        return list(self._programs)

    def wait(self, name: str, timeout_s: float, url: str | None = None) -> None:
        """Return when a program is well. `url`: ask this instead of its health address.

        Raises: StepFailed: it does not start, or is not well in time; the end of its log is in the message.
        """
        deadline = time.monotonic() + timeout_s
        program = self._programs[name]
        while why := complaint(url or program.health_url, program.health_sql):
            self._require_open()
            state = supervisor.states(self._layout).get(name, {}).get("statename")
            if state == "FATAL" or time.monotonic() > deadline:
                what = "does not start" if state == "FATAL" else f"is not well after {timeout_s:.0f} s ({why})"
                raise StepFailed(f"{name} {what}; its log ends with:\n{self._log_tail(name)}")
            time.sleep(0.2)

    def _log_tail(self, name: str) -> str:
        path = self._layout.logs / f"{name}.log"
        if not path.is_file():
            return "(nothing)"
        with path.open("rb") as log:
            log.seek(max(path.stat().st_size - _LOG_TAIL_BYTES, 0))
            return tail(log.read().decode(errors="replace"))
