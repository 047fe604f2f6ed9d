"""Real dbt runs against a database of the test's own."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

DBT = Path(__file__).resolve().parents[3] / "dbt"


@dataclass(frozen=True, slots=True)
class Dbt:
    """Runs the project as the transform role."""

    url: str
    target: Path

    def run(self, *arguments: str) -> str:
        """`dbt build …`; its output. Fails the test if dbt does."""
        done = self.process(*arguments)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    def process(self, *arguments: str, target: Path | None = None) -> subprocess.CompletedProcess[str]:
        """`dbt …`, whatever becomes of it. Runs at the same time need a target folder each."""
        parts = conninfo_to_dict(self.url)
        env = {f"DBT_{name}": str(parts[key]) for name, key in CONNECTION.items()}
        folder = str(target or self.target)
        command = [str(Path(sys.executable).with_name("dbt")), *(arguments or ("build",))]
        places = ["--project-dir", str(DBT), "--profiles-dir", str(DBT), "--target-path", folder, "--log-path", folder]
        return subprocess.run(
            [*command, *places],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": folder, **env, **(BUILD if "build" in command else {})},
            capture_output=True,
            text=True,
            check=False,
        )


# Unit tests are run by a test of their own, not at the start of every build.
BUILD = {"DBT_EXCLUDE_RESOURCE_TYPES": "unit_test"}
CONNECTION = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password", "DATABASE": "dbname"}


@pytest.fixture(scope="session")
def dbt_target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One target folder for the session, so that the project is parsed once."""
    return tmp_path_factory.mktemp("dbt")


@pytest.fixture
def dbt(role_url: Callable[..., str], dbt_target: Path) -> Dbt:
    """dbt on this test's database."""
    return Dbt(role_url("inferhouse_transform"), dbt_target)


def table(db: psycopg.Connection, name: str, without: tuple[str, ...] = ("as_of_xid",)) -> list[tuple[Any, ...]]:
    """Every row of a mart in one order, without the columns that differ from run to run."""
    names = [
        str(row[0])
        for row in db.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
            [name],
        )
        if row[0] not in without
    ]
    columns = ", ".join(f'"{column}"' for column in names)
    rows = db.execute(f"select {columns} from {name} order by ({columns})::text").fetchall()  # type: ignore[arg-type]
    db.commit()
    return rows
