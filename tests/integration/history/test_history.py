"""`inferhouse demo history`: what it leaves in a real database, and where it refuses to leave anything."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from deploy.local.postgres import OWNER
from orchestration.archive.catalogue import rows_between
from orchestration.archive.files import ArchiveFiles
from orchestration.history.world import ZONES
from tests.factories import add_model, add_tenant, copy_events, month_of_events
from tests.services import ROOT

ROWS = 40_000
ASKED = ("--rows", str(ROWS), "--months", "3", "--organizations", "20", "--end", "2026-06", "--late", "5%", "--twice", "2%")
DIGEST = """
select encode(sha256(string_agg(raw.row_digest(e), ''::bytea order by e.started_at, e.request_id, e.attempt)), 'hex')
from raw.usage_events as e
"""


def _command(url: str, *arguments: str, module: str = "router.cli") -> subprocess.CompletedProcess[str]:
    """`inferhouse demo history …`, as somebody runs it who has sourced `.local/env`."""
    environment = {
        "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "INFERHOUSE_DATABASE_URL": url,
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", module, "demo", "history", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd="/")


@pytest.fixture(scope="module")
def made(
    admin: psycopg.Connection, template: str, server_dsn: str, role_passwords: dict[str, str]
) -> Iterator[tuple[psycopg.Connection, dict[str, Any], str]]:
    """(a database with a history, what the command said, its connection string)."""
    name = f"test_{uuid4().hex}"
    admin.execute(
        SQL("create database {} template {} owner {}").format(Identifier(name), Identifier(template), Identifier(OWNER))
    )
    parts = psycopg.conninfo.conninfo_to_dict(server_dsn)
    url = f"postgresql://{OWNER}:{role_passwords[OWNER]}@{parts['host']}:{parts['port']}/{name}"
    done = _command(url, *ASKED)
    assert done.returncode == 0, done.stderr
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn, json.loads(done.stdout), url
    admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


Made = tuple[psycopg.Connection, dict[str, Any], str]


def _one(conn: psycopg.Connection, query: str) -> Any:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_every_row_is_there_once_and_those_sent_twice_are_counted(made: Made) -> None:
    conn, said, _ = made
    assert _one(conn, "select count(*) from raw.usage_events") == said["rows"] == ROWS
    assert said["sent_twice_and_refused"] == pytest.approx(ROWS * 0.02, rel=0.2)


def test_the_same_seed_leaves_the_same_rows(made: Made, database_url: str) -> None:
    conn, _, _ = made
    assert _command(database_url, *ASKED).returncode == 0
    with psycopg.connect(database_url) as again:
        assert _one(again, DIGEST) == _one(conn, DIGEST)


def test_every_cost_is_exact_at_the_version_in_force(made: Made) -> None:
    conn, _, _ = made
    wrong = """
    select count(*) from raw.usage_events as e left join control.prices as p on e.price_id = p.id
    where case when e.charge_class <> 'charged' then e.cost_picousd <> 0 or e.price_id is not null
        else p.id is null or e.model_id <> p.model_id or not p.effective @> e.started_at or p.org_id <> e.org_id
            or (p.org_id is null and exists (select from control.prices as own where own.org_id = e.org_id
                and own.model_id = e.model_id and own.effective @> e.started_at))
            or e.cost_picousd <> (e.input_tokens - e.cached_input_tokens)::numeric * p.input_picousd
            + e.cached_input_tokens::numeric * p.cached_input_picousd + e.output_tokens::numeric * p.output_picousd end
    """
    assert _one(conn, wrong) == 0
    assert _one(conn, "select count(distinct e.price_id) from raw.usage_events as e") > 12


def test_the_rows_are_as_a_router_makes_them(made: Made) -> None:
    conn, _, _ = made
    odd = """
    select count(*) from raw.usage_events as e
    where (e.status = 'refused') <> (e.attempt = 0) or (e.attempt = 0 and (e.engine_id is not null or e.input_tokens > 0))
        or (e.status = 'completed' and e.finish_reason is null and e.endpoint in ('chat.completions', 'responses'))
        or (e.status = 'client_closed') <> (e.token_source = 'running') or (e.ttft_us is not null and not e.stream)
        or e.finished_at - e.started_at <> e.duration_us * interval '1 microsecond'
        or (('x' || translate(left(e.request_id::text, 13), '-', ''))::bit(48)::bigint / 1000 > extract(epoch from e.started_at))
        or substr(e.request_id::text, 15, 1) <> '7'
    """
    assert _one(conn, odd) == 0
    strangers = """
    select count(*) from raw.usage_events as e
    left join control.api_keys as k on e.api_key_id = k.id and e.org_id = k.org_id and e.project_id = k.project_id
        and e.user_id is not distinct from k.user_id and e.service_account_id is not distinct from k.service_account_id
    where k.id is null
    """
    assert _one(conn, strangers) == 0
    assert _one(conn, "select count(*) from raw.usage_events as e where e.attempt = 2") > 50
    assert _one(conn, "select count(distinct e.status) from raw.usage_events as e") == 6
    assert _one(conn, "select count(distinct o.time_zone) from control.organizations as o") == len(ZONES)


def test_late_rows_are_recorded_after_later_ones(made: Made) -> None:
    conn, _, _ = made
    late = """
    select count(*) from (
        select e.started_at, max(e.started_at) over (order by e.recorded_xid rows unbounded preceding) as latest
        from raw.usage_events as e
    ) as recorded where latest - started_at > interval '10 days'
    """
    assert _one(conn, late) > ROWS * 0.004


def test_an_archived_row_takes_forty_bytes_at_most(made: Made, tmp_path: Path) -> None:
    conn, _, _ = made
    with closing(rows_between(conn, datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))) as batches:
        written = ArchiveFiles(f"file://{tmp_path}").write("rows.parquet", batches)
    assert written.usage_rows == ROWS
    assert written.size_bytes <= 40 * ROWS


def test_a_second_history_is_refused(made: Made) -> None:
    conn, _, url = made
    done = _command(url, *ASKED, "--seed", "2", "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert "history_refused: this database has a history already" in done.stderr
    assert _one(conn, "select count(*) from raw.usage_events") == ROWS


def test_usage_of_somebody_is_not_mixed_with_a_history_unless_one_says_so(db: psycopg.Connection, database_url: str) -> None:
    copy_events(db, month_of_events([add_tenant(db)], add_model(db, "m"), 5))
    done = _command(database_url, "--rows", "10")
    assert (done.returncode, done.stdout) == (1, "")
    assert "say --yes" in done.stderr
    assert _command(database_url, "--rows", "10", "--yes").returncode == 0
    assert _one(db, "select count(*) from raw.usage_events") == 15


@pytest.mark.parametrize("said", [("--rows", "many"), ("--late", "a lot"), ("--late", "101%"), ("--rowz", "5")])
def test_wrong_usage_is_2(said: tuple[str, ...]) -> None:
    assert _command("postgresql://nobody@127.0.0.1:1/none", *said).returncode == 2


def test_a_database_that_does_not_answer_is_one_line() -> None:
    done = _command("postgresql://nobody@127.0.0.1:1/none", "--rows", "5")
    assert (done.returncode, done.stdout) == (6, "")
    assert "Traceback" not in done.stderr
