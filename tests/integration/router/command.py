"""The `inferhouse` command as a process of its own, as people and scripts run it."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.router.conftest import Stack
from tests.services import ROOT


@dataclass
class Command:
    """Runs of somebody with a home folder."""

    stack: Stack
    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(
        self, *arguments: str, typed: str = "", expects: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """One run that must end with this exit code; a traceback is a failure whatever the code."""
        done = subprocess.run(
            [ROOT / "bin" / "inferhouse", *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "INFERHOUSE_BASE_URL": self.stack.base_url}
            | self.environment
            | environment,
            input=typed, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == expects, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def json(self, *arguments: str, **environment: str) -> Any:
        """What a run prints for programs."""
        return json.loads(self(*arguments, "--output", "json", **environment).stdout)

    @property
    def credentials(self) -> Path:
        """Where it keeps a session."""
        return self.home / ".config" / "inferhouse" / "credentials.json"

    def login(self, email: str | None = None, password: str | None = None, *, typed: str = "") -> None:
        """Sign in with a password."""
        said = f"{password or self.stack.password}\n{typed}"
        self("login", "--password", "--email", email or self.stack.email, typed=said)
