"""Days go to Parquet and come back the same; what is not in a verified file stays in the database."""

import re
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import duckdb
import polars as pl
import psycopg
import pytest

from orchestration.archive import catalogue, days, layout
from orchestration.archive.days import DayRefused
from orchestration.archive.files import ArchiveDamaged, ArchiveFiles
from tests.factories import START, copy_events
from tests.integration.archive.conftest import DAY, History, as_before, later, rows_as_written
from tests.services import ROOT

RUNBOOK = ROOT / "docs" / "runbooks" / "archive-and-restore.md"


def _raw(db: psycopg.Connection) -> list[tuple[object, ...]]:
    """Every row, whole, but for the order of commits."""
    rows = db.execute(
        "select to_jsonb(event) - 'recorded_xid' from raw.usage_events as event order by started_at, request_id, attempt"
    ).fetchall()
    db.commit()
    return rows


def test_an_archived_day_is_the_day_to_the_last_field(
    db: psycopg.Connection, transform: psycopg.Connection, files: ArchiveFiles, tmp_path: Path
) -> None:
    archived = days.archive_day(transform, files, DAY)
    path = tmp_path / "archive" / archived.path
    assert archived.usage_rows > 250
    assert archived.size_bytes == path.stat().st_size
    exact = db.execute(
        "select count(*), sum(cost_picousd), count(end_user), min(started_at), max(length(model_asked)), sum(stream::integer)"
        " from raw.usage_events where started_at < '2026-03-02+00'"
    ).fetchone()
    with duckdb.connect() as duck:
        duck.execute("set timezone = 'UTC'")
        seen = duck.execute(
            "select count(*), sum(cost_picousd), count(end_user), min(started_at), max(length(model_asked)), sum(stream::integer)"
            " from read_parquet(?, hive_partitioning = true) where day = '2026-03-01'", [str(path)],
        ).fetchone()  # fmt: skip
    assert seen == exact
    assert pl.read_parquet(path).height == archived.usage_rows


def test_the_view_of_the_runbook_has_whole_rows_of_new_and_of_old_files(
    db: psycopg.Connection, transform: psycopg.Connection, files: ArchiveFiles, tmp_path: Path
) -> None:
    days.archive_day(transform, files, DAY)
    as_before(files, days.archive_day(transform, files, later(DAY, 1)).path)
    statement = re.findall(r"```sql\n(create view .*?)```", RUNBOOK.read_text(), re.DOTALL)[0]
    columns = [name for name in layout.NAMES if name not in ("tags", "trace_id", "recorded_at", "recorded_xid")]
    select = f"select {', '.join(columns)} from %s where started_at < '2026-03-03' order by started_at, request_id, attempt"
    with duckdb.connect() as duck:
        duck.execute("set timezone = 'UTC'")
        duck.execute(statement.replace("ARCHIVE", f"{tmp_path}/archive"))
        seen = duck.execute(select % "usage_events").fetchall()
    assert seen == db.execute((select % "raw.usage_events").encode()).fetchall()


def test_what_a_row_says_twice_is_in_the_file_once(
    history: History, transform: psycopg.Connection, files: ArchiveFiles, tmp_path: Path
) -> None:
    held = pl.read_parquet(tmp_path / "archive" / days.archive_day(transform, files, DAY).path)
    written = rows_as_written(history)
    own = [row for row in written if row.request_id.int >> 80 == int(row.started_at.timestamp() * 1000)]
    assert held["request_id_tail"].count() == len(own) > 0
    assert held.select((pl.col("request_id").is_null() ^ pl.col("request_id_tail").is_null()).all()).item()
    odd = [row for row in written if row.finished_at - row.started_at != timedelta(microseconds=row.duration_us)]
    assert held["finished_at"].count() == len(odd) > 0


def test_a_file_of_before_is_verified_and_restored(
    db: psycopg.Connection, transform: psycopg.Connection, files: ArchiveFiles
) -> None:
    before = _raw(db)
    archived = days.archive_day(transform, files, DAY)
    as_before(files, archived.path)
    old = files.read_back(archived.path)
    assert (old.usage_rows, old.row_set_digest) == (archived.usage_rows, archived.row_set_digest)
    with transform.transaction():
        catalogue.put_incoming(transform, files.batches(archived.path))
        rows = transform.execute(
            "select to_jsonb(row) - 'recorded_xid' from archive.incoming_rows as row order by started_at, request_id, attempt"
        ).fetchall()
    assert rows == [row for row in before if row[0]["started_at"] < "2026-03-02"]


def test_any_file_system_of_fsspec_will_do(transform: psycopg.Connection) -> None:
    memory = ArchiveFiles(f"memory://archive-{uuid4().hex}")
    archived = days.archive_day(transform, memory, DAY)
    assert memory.read_back(archived.path).row_set_digest == archived.row_set_digest


def test_a_day_with_late_rows_gets_a_new_version_and_loses_the_old_file(
    db: psycopg.Connection, transform: psycopg.Connection, files: ArchiveFiles, history: History, tmp_path: Path
) -> None:
    first = days.archive_day(transform, files, DAY)
    assert days.archive_day(transform, files, DAY).version == 1, "the same rows were written twice"
    copy_events(db, [history.row(1, START + timedelta(hours=1))])
    second = days.archive_day(transform, files, DAY)
    assert (second.version, second.usage_rows) == (2, first.usage_rows + 1)
    assert [path.name for path in (tmp_path / "archive").rglob("*.parquet")] == ["part-2.parquet"]


def test_a_day_that_is_not_over_or_has_no_rows_is_refused(transform: psycopg.Connection, files: ArchiveFiles) -> None:
    with pytest.raises(DayRefused, match="not over"):
        days.archive_day(transform, files, catalogue.LATEST)
    with pytest.raises(DayRefused, match="no rows"):
        days.archive_day(transform, files, DAY - timedelta(days=1))


def test_a_damaged_or_missing_file_is_found_and_written_again_while_its_rows_are_here(
    transform: psycopg.Connection, files: ArchiveFiles, tmp_path: Path
) -> None:
    path = tmp_path / "archive" / days.archive_day(transform, files, DAY).path
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], b""):
        path.write_bytes(damaged)
        with pytest.raises(ArchiveDamaged):
            days.verify_day(transform, files, DAY)
        with pytest.raises(ArchiveDamaged):
            days.drop_day(transform, files, DAY)
    path.unlink()
    with pytest.raises(ArchiveDamaged, match="missing"):
        days.drop_day(transform, files, DAY)
    assert days.archive_day(transform, files, DAY).version == 2
    days.verify_day(transform, files, DAY)


def test_no_role_can_drop_a_day_or_forge_its_entry(transform: psycopg.Connection, role_url: Callable[..., str]) -> None:
    for role in ("inferhouse_transform", "inferhouse_router", "inferhouse_management"):
        with psycopg.connect(role_url(role), autocommit=True) as conn:
            for statement in (
                "select drop_chunks('raw.usage_events', older_than => now())",
                "delete from raw.usage_events",
                "update archive.files set dropped_at = now()",
                "update archive.files set row_set_digest = ''",
                "delete from archive.files",
                "insert into archive.daily_digests select * from archive.daily_digests",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(statement.encode())


def test_a_read_that_is_broken_off_leaves_the_connection_free(transform: psycopg.Connection) -> None:
    with closing(catalogue.rows_between(transform, *catalogue.bounds(DAY))) as batches:
        next(batches)
    assert transform.execute("select 1").fetchone() == (1,)
