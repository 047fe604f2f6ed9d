"""A month that is computed again in an empty database comes out the same, from raw rows and from the archive."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from orchestration.archive import chain, days
from orchestration.archive.files import ArchiveFiles
from tests.dbt_runs import Dbt
from tests.integration.archive.conftest import DAY, later


@pytest.fixture
def empty(admin: psycopg.Connection, empty_database: Callable[[], str], database_url: str) -> Iterator[Callable[[], str]]:
    """Makes an empty database and returns its owner's connection string."""
    made: list[str] = []

    def create() -> str:
        made.append(empty_database())
        return f"{database_url.rpartition('/')[0]}/{made[-1]}"

    yield create
    for name in made:
        admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def _replay(source: str, into: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestration.replay", "2026-03", "--into", into, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), "WAREHOUSE_DATABASE_URL": source},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def _finalize(db: psycopg.Connection) -> None:
    """Invoices of March, final, behind a gate that finds nothing."""
    db.execute("select billing.draft_invoices('2026-03-01', 'test')")
    db.execute(
        'select billing.certify(public_id, digest, true, \'[{"name": "all", "passed": true}]\', \'test\') from billing.invoices'
    )
    db.execute("select billing.finalize_invoice(public_id, 'test') from billing.invoices")
    db.commit()


def test_a_replayed_month_has_the_same_digests_from_raw_and_from_the_archive(
    db: psycopg.Connection, dbt: Dbt, transform: psycopg.Connection, files: ArchiveFiles, empty: Callable[[], str],
    database_url: str, server_dsn: str, tmp_path: Path,
) -> None:  # fmt: skip
    report = tmp_path / "report.json"
    _finalize(db)
    done = _replay(database_url, empty(), "--from", "raw", "--report", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(report.read_text())
    tables = {table["table"]: table for table in said["tables"]}
    assert {"usage_hourly", "usage_daily", "latency_hourly", "invoices", "invoice_lines", "focus_costs"} <= set(tables)
    assert sum(name.startswith("invoice of org_") for name in tables) == 3
    assert all(table["source"]["rows"] > 0 for name, table in tables.items() if name.startswith(("usage", "invoice_lines")))
    # The first day is dropped; the archive is now the only place that has the month whole.
    chain.extend(transform)
    for number in range(4):
        days.archive_day(transform, files, later(DAY, number))
    days.drop_day(transform, files, DAY)
    refused = _replay(database_url, empty(), "--from", "raw")
    assert refused.returncode == 1
    assert "only in the archive: 2026-03-01" in refused.stderr
    with psycopg.connect(database_url) as owner:  # and the secrets of keys stay where they are
        owner.execute("update control.api_keys set secret_hash = decode(repeat('ab', 32), 'hex') where id = 1")
    replayed = empty()
    again = _replay(database_url, replayed, "--from", "archive", "--archive-url", files.url, "--report", str(report))
    assert again.returncode == 0, again.stdout + again.stderr
    assert {table["table"]: table["replayed"] for table in json.loads(report.read_text())["tables"]} == {
        name: table["source"] for name, table in tables.items()
    }
    with psycopg.connect(replayed) as conn:
        same = "select secret_hash = decode(repeat('ab', 32), 'hex') from control.api_keys where id = 1"
        assert conn.execute(same).fetchone() == (False,)
    # Into what is not empty, nothing is replayed; and what is different is said.
    assert "empty database" in _replay(database_url, replayed).stderr
    db.execute("update marts.usage_hourly set cost_picousd = cost_picousd + 1 where hour_utc = '2026-03-02 05:00+00'")
    db.commit()
    different = _replay(database_url, empty(), "--archive-url", files.url, "--json")
    assert different.returncode == 7
    assert [row["table"] for row in json.loads(different.stdout) if row["same"] == "NO"] == ["usage_hourly"]
