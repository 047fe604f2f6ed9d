"""What a command needs and is not there is said in a line, not by a traceback or by the shell."""

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.local import runtime
from deploy.local.__main__ import run_psql
from deploy.local.errors import PreflightFailed
from deploy.local.settings import LocalSettings
from tests.services import ROOT


def test_the_command_of_a_new_checkout_says_what_installs_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    command = shutil.copy(ROOT / "bin" / "inferhouse", tmp_path / "bin")
    said = subprocess.run([command, "project", "list"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == "nothing is installed in this checkout yet: `make up` does that\n"


def test_psql_is_looked_for_before_it_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database is given from outside, PostgreSQL's programs were never fetched."""
    (tmp_path / "env").write_text("INFERHOUSE_DATABASE_URL=postgresql://owner@db.example/house\n")
    monkeypatch.setattr(runtime, "POSTGRES_BIN", "nowhere")
    asked = argparse.Namespace(demo=False, arguments=[])
    with pytest.raises(PreflightFailed, match="no psql was unpacked here"):
        run_psql(LocalSettings(state_dir=tmp_path), {}, asked)
