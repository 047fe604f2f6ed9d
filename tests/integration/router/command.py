"""The `inferhouse` command as people and scripts run it, in the process of the tests: a new one for each run takes longer."""

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from router.cli.main import main
from tests.integration.router.conftest import Stack


@dataclass(frozen=True, slots=True)
class Done:
    """What a run said."""

    stdout: str
    stderr: str


@dataclass
class Command:
    """Runs of somebody with a home folder."""

    stack: Stack
    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, typed: str = "", expects: int = 0, **environment: str) -> Done:
        """One run that must end with this exit code. There is no terminal; an exception that it does not explain is raised."""
        stdout, stderr = io.StringIO(), io.StringIO()
        settings = {"PATH": os.environ["PATH"], "HOME": str(self.home), "INFERHOUSE_BASE_URL": self.stack.base_url}
        with (
            mock.patch.dict(os.environ, settings | self.environment | environment, clear=True),
            mock.patch.object(sys, "argv", ["inferhouse", *arguments]),
            mock.patch.object(sys, "stdin", io.StringIO(typed)),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            try:
                code = main()
            except SystemExit as left:
                code = left.code or 0  # type: ignore[assignment]  # typer ends with a number
        done = Done(stdout.getvalue(), stderr.getvalue())
        assert code == expects, (arguments, done)
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
