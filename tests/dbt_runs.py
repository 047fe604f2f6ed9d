"""Real dbt runs against a database of the test's own, and the rows that they leave."""

import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.services import ROOT

DBT = ROOT / "dbt"
# Unit tests are run by a test of their own, not at the start of every build.
BUILD = {"DBT_EXCLUDE_RESOURCE_TYPES": "unit_test"}
CONNECTION = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password", "DATABASE": "dbname"}
# Each run is a process of its own, forked from one that has imported dbt: 1.5 s of CPU less than `dbt` itself, a hundred times.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["dbt.cli.main", "dbt.adapters.postgres", "psycopg", "tests.services"])


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

    def process(self, *arguments: str, target: Path | None = None) -> CompletedProcess[str]:
        """`dbt …`, whatever becomes of it. Runs at the same time need a target folder each."""
        parts = conninfo_to_dict(self.url)
        env = {f"DBT_{name}": str(parts[key]) for name, key in CONNECTION.items()}
        folder = str(target or self.target)
        command = [*(arguments or ("build",))]
        places = ["--project-dir", str(DBT), "--profiles-dir", str(DBT), "--target-path", folder, "--log-path", folder]
        env |= {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": folder} | (BUILD if "build" in command else {})
        with TemporaryDirectory() as said:
            streams = [Path(said) / "stdout", Path(said) / "stderr"]
            process = FORKS.Process(target=_dbt, args=([*command, *places], env, [str(stream) for stream in streams]))
            process.start()
            process.join()
            assert process.exitcode is not None
            stdout, stderr = (stream.read_text() if stream.exists() else "" for stream in streams)
            return CompletedProcess(command, process.exitcode, stdout, stderr)


def _dbt(arguments: list[str], env: dict[str, str], streams: list[str]) -> None:
    """The command `dbt`, in this process, which has nothing of the test's but what is given here."""
    os.environ.clear()
    os.environ.update(env)
    for number, stream in enumerate(streams, start=1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["dbt", *arguments]
    from dbt.cli.main import cli  # noqa: PLC0415 - the tests' own process has no use for it

    sys.exit(cli())


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
