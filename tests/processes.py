"""Our own processes as tests run them: really started, on free ports, ended by their id."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_S_MAX = 60


@dataclass(slots=True)
class ServerProcess:
    """A server of ours under test."""

    argv: list[str]
    env: Mapping[str, str]
    url: str
    ready_path: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **self.env}, stdout=log, stderr=log
            )
        deadline, said = time.monotonic() + START_S_MAX, "nothing"
        while True:
            assert self.process.poll() is None, f"{self.argv} ended:\n{self.log.read_text()[-4000:]}"
            try:
                answer = httpx.get(self.url + self.ready_path)
                if answer.status_code == 200:
                    return
                said = answer.text
            except httpx.TransportError as error:
                said = str(error)
            assert time.monotonic() < deadline, f"{self.argv} says {said}\n{self.log.read_text()[-4000:]}"
            time.sleep(0.05)

    def kill(self) -> None:
        """`kill -9`, at once."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=60)
            self.process = None


@contextmanager
def running(server: ServerProcess) -> Iterator[ServerProcess]:
    """The server, up; stopped at the end if the test has not done so."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


def simulated_engine(port: int, log: Path, *flags: str) -> ServerProcess:
    """The simulated engine; as fast as it can unless flags say otherwise."""
    argv = [sys.executable, "-m", "engines.simulated", "--port", str(port), *flags]
    return ServerProcess(argv, {}, f"http://127.0.0.1:{port}", "/health", log)


def router(port: int, log: Path, env: Mapping[str, str]) -> ServerProcess:
    """The router, inference and management."""
    argv = [sys.executable, "-m", "router"]
    settings = {"ROUTER_PORT": str(port), **env}
    return ServerProcess(argv, settings, f"http://127.0.0.1:{port}", "/health/ready", log)
