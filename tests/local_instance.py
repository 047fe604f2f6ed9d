"""A whole instance of the product for tests, beside any that runs already."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.layout import Layout
from deploy.local.ports import USUAL
from deploy.local.settings import read_dotenv
from tests.services import ROOT, free_port

UP_SECONDS_MAX = 900  # with everything to be downloaded on a slow line; 150 s with the downloads there


@dataclass(frozen=True, slots=True)
class LocalInstance:
    """A second instance: its own state folder and ports, downloads shared with the first."""

    state: Path
    ports: Mapping[str, int]

    @property
    def layout(self) -> Layout:
        return Layout.of(self.state)

    @property
    def outputs(self) -> dict[str, str]:
        """What its `env` file says."""
        return read_dotenv(self.layout.state / "env")

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """`python -m deploy.local WORDS` for this instance, with more variables; its output and exit code."""
        ports = {f"INFERHOUSE_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        return subprocess.run(
            [sys.executable, "-m", "deploy.local", *words],
            cwd=ROOT, env={**os.environ, "INFERHOUSE_STATE_DIR": str(self.state), **ports, **variables},
            capture_output=True, text=True, check=False, timeout=UP_SECONDS_MAX,
        )  # fmt: skip

    def remove(self) -> None:
        done = self.command("reset", "--yes")
        assert done.returncode == 0, done.stderr


def local_instance(name: str) -> LocalInstance:
    """An instance that does not run yet."""
    return LocalInstance(Path(".local") / "instances" / name, {process: free_port() for process in USUAL})
