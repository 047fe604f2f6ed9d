"""An engine that can die with its connections, and whose account outlives it."""

import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.processes import ServerProcess
from tests.proxy import TcpProxy

IDLE_S_MAX = 20.0


@dataclass(slots=True)
class Engine:
    """A simulated engine and the line to it."""

    process: ServerProcess
    line: TcpProxy
    _compared: int = 0
    _kept: list[dict[str, Any]] = field(default_factory=list)

    def kill(self) -> None:
        """`kill -9`, and a start from nothing.

        Its account is read when its connections are broken and before it dies: what a client has had by then is in it.
        """
        self.line.cut()
        self._kept += self._fresh(self._report())
        self.process.kill()
        self._compared = 0
        self.process.start()
        self.line.mend()

    def stall(self) -> None:
        """It keeps its connections and says nothing more."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """It goes on where it was."""
        self._signal(signal.SIGCONT)

    def entries(self) -> list[dict[str, Any]]:
        """The calls that it has seen since this was asked last, over all its lives. Raises: AssertionError: it still works."""
        deadline = time.monotonic() + IDLE_S_MAX
        while (report := self._report())["totals"]["started"]:
            assert time.monotonic() < deadline, "an engine still works though its callers are gone"
            time.sleep(0.05)
        kept, self._kept = self._kept, []
        return kept + self._fresh(report)

    def _report(self) -> dict[str, Any]:
        report: dict[str, Any] = httpx.get(self.process.url + "/simulated/ledger").json()
        return report

    def _fresh(self, report: dict[str, Any]) -> list[dict[str, Any]]:
        fresh = [entry for entry in report["requests"] if entry["sequence"] > self._compared]
        self._compared = max([self._compared, *(entry["sequence"] for entry in fresh)])
        return fresh

    def _signal(self, what: signal.Signals) -> None:
        assert self.process.process is not None
        os.kill(self.process.process.pid, what)
