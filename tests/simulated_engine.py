"""The simulated engine as a real process on a free port, for any test that needs something to call."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from engines.load import EngineLoad, parse_load

START_S = 20.0


@dataclass(frozen=True)
class RunningEngine:
    """`base_url` has no path; `process` may be killed by the test."""

    base_url: str
    process: subprocess.Popen[str]

    def ledger(self, request_id: str | None = None) -> dict[str, Any]:
        """What it saw."""
        query = {"request_id": request_id} if request_id else None
        report: dict[str, Any] = httpx.get(f"{self.base_url}/simulated/ledger", params=query).raise_for_status().json()
        return report

    def load(self) -> EngineLoad:
        """What it counts."""
        return parse_load(httpx.get(f"{self.base_url}/metrics").raise_for_status().text)

    def wait_until(self, ready: "Any", timeout_s: float = 5.0) -> EngineLoad:
        """The first load for which `ready(load)` holds. Raises: TimeoutError: none within the time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            load = self.load()
            if ready(load):
                return load
            time.sleep(0.01)
        raise TimeoutError(f"still {self.load()}")


@contextmanager
def running_engine(*flags: str) -> Iterator[RunningEngine]:
    """A simulated engine with these flags, gone at the end of the block."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SIMULATED_")}
    command = [sys.executable, "-m", "engines.simulated", "--port", "0", *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"http://\S+", line)
            assert found, f"the engine did not start: {line}{process.stderr.read()}"
            yield RunningEngine(found[0], process)
        finally:
            process.terminate()
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
