"""DDL that would stop a running service is refused, unless its file says why not."""

import subprocess
import sys
from pathlib import Path

from tests.architecture.tree import ROOT, files

SQUAWK = Path(sys.executable).with_name("squawk")


def _squawk(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SQUAWK, "--config", ROOT / ".squawk.toml", *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_no_migration_is_dangerous() -> None:
    migrations = files("warehouse/migrations/*.sql")
    assert len(migrations) >= 4
    done = _squawk(*migrations)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_dangerous_one_would_be_found(tmp_path: Path) -> None:
    dangerous = tmp_path / "0001_dangerous.sql"
    dangerous.write_text("alter table control.users drop column name;\ncreate index on control.users (name);\n")
    done = _squawk(dangerous)
    assert done.returncode != 0
    assert "ban-drop-column" in done.stdout
    assert "require-concurrent-index-creation" in done.stdout
