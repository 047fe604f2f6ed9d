"""Chunks go when everything that they hold is elsewhere, and the marts never notice."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from orchestration.archive import chain, days
from orchestration.archive.days import DayRefused
from orchestration.archive.files import ArchiveDamaged, ArchiveFiles
from tests.dbt_runs import Dbt, table
from tests.factories import START, copy_events
from tests.integration.archive.conftest import DAY, History

MARTS = ("marts.usage_hourly", "marts.usage_daily", "intermediate.int_invoice_lines", "intermediate.int_usage_quarter_hours")
RAW = "select count(*) from raw.usage_events where started_at >= '2026-03-01+00' and started_at < '2026-03-02+00'"


def _marts(db: psycopg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {mart: table(db, mart, ("as_of_xid", "computed_at")) for mart in MARTS}


def _refresh(dbt: Dbt) -> None:
    dbt.run("build", "--select", "config.materialized:incremental", "--exclude", "resource_type:test")


def _count(db: psycopg.Connection) -> int:
    row = db.execute(RAW).fetchone()
    db.commit()
    assert row is not None
    return int(row[0])


def test_a_day_is_dropped_only_when_its_rows_are_in_file_marts_and_chain(
    db: psycopg.Connection, dbt: Dbt, transform: psycopg.Connection, files: ArchiveFiles, history: History, database_url: str
) -> None:
    before = _count(db)
    with pytest.raises(DayRefused, match="not in the archive"):
        days.drop_day(transform, files, DAY)
    days.archive_day(transform, files, DAY)
    with pytest.raises(DayRefused, match="chain of daily digests"):
        days.drop_day(transform, files, DAY)
    chain.extend(transform)
    copy_events(db, [history.row(1, START + timedelta(hours=1))])  # between the archive and the drop
    with pytest.raises(DayRefused, match="archive it again"):
        days.drop_day(transform, files, DAY)
    days.archive_day(transform, files, DAY)
    with pytest.raises(DayRefused, match="the marts do not have all rows"):
        days.drop_day(transform, files, DAY)
    dbt.run("run", "--select", "config.materialized:incremental", "--exclude", "tag:service")
    with pytest.raises(DayRefused, match="the marts of service do not have all rows"):
        days.drop_day(transform, files, DAY)
    _refresh(dbt)
    with pytest.raises(DayRefused, match="chain of daily digests"):
        days.drop_day(transform, files, DAY)
    assert chain.extend(transform).amended == [DAY]
    with psycopg.connect(database_url) as tampering:
        tampering.execute(
            "update raw.usage_events set output_tokens = output_tokens + 1 where started_at < '2026-03-01 04:00+00'"
        )
        tampering.commit()
    with pytest.raises(DayRefused, match="not those of its file"):
        days.drop_day(transform, files, DAY)
    assert _count(db) == before + 1


def test_the_command_drops_nothing_where_nobody_can_be_asked(
    db: psycopg.Connection, ready: psycopg.Connection, files: ArchiveFiles, database_url: str
) -> None:
    before = _count(db)
    options = ["drop", DAY.isoformat(), "--database-url", database_url, "--archive-url", files.url]
    command = [sys.executable, "-m", "orchestration.archive", *options]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    assert _count(db) == before


def test_a_row_under_way_to_the_day_is_waited_for(ready: psycopg.Connection, files: ArchiveFiles, database_url: str) -> None:
    with psycopg.connect(database_url) as writer:
        writer.execute(
            "insert into raw.usage_events select made.*"
            " from (select * from raw.usage_events order by started_at limit 1) as event"
            " cross join lateral jsonb_populate_record("
            "null::raw.usage_events, to_jsonb(event) || jsonb_build_object('request_id', gen_random_uuid())) as made"
        )
        with pytest.raises(DayRefused, match="being read or written"):
            days.drop_day(ready, files, DAY)
        writer.commit()
    with pytest.raises(DayRefused, match="archive it again"):
        days.drop_day(ready, files, DAY)


def test_young_days_are_not_dropped(
    db: psycopg.Connection, dbt: Dbt, transform: psycopg.Connection, files: ArchiveFiles, history: History
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=2)
    copy_events(db, [history.row(1, yesterday)])
    days.archive_day(transform, files, yesterday.date())
    with pytest.raises(DayRefused, match="45 days"):
        days.drop_day(transform, files, yesterday.date())


def test_marts_keep_the_history_of_dropped_days(
    db: psycopg.Connection, dbt: Dbt, ready: psycopg.Connection, files: ArchiveFiles, history: History
) -> None:
    before, rows = _marts(db), _count(db)
    days.drop_day(ready, files, DAY)
    assert _count(db) == 0
    assert db.execute("select count(*) from show_chunks('raw.usage_events') ").fetchone() == (3,)
    db.commit()
    _refresh(dbt)
    assert _marts(db) == before
    # A row that comes for the day now, in a quarter of an hour that has rows, and one sent twice.
    late = START + timedelta(hours=7, minutes=1)
    copy_events(db, [history.row(1, late), history.row(10**7 + 4, START + timedelta(hours=7), attempt=3)])
    _refresh(dbt)
    assert _marts(db) == before, "a sum of the late rows has taken the place of the day's"
    with pytest.raises(AssertionError, match="only in the archive"):
        dbt.run("run", "--full-refresh", "--select", "config.materialized:incremental")
    assert _marts(db) == before, "a table was built anew without the days of the archive"
    assert days.restore_late_days(ready, files) == [DAY]
    assert _count(db) == rows + 1
    _refresh(dbt)
    after = _marts(db)
    assert after != before
    assert chain.extend(ready).amended == [DAY]
    dbt.run("build", "--full-refresh")
    assert _marts(db) == after, "restored rows are not what they were"
    # And the day goes again, in a file that has the late row.
    assert days.archive_day(ready, files, DAY).usage_rows == rows + 1
    days.drop_day(ready, files, DAY)
    assert chain.verify(ready, files).findings == []


def test_a_late_row_in_an_empty_quarter_of_an_hour_is_counted_after_the_restore(
    db: psycopg.Connection, dbt: Dbt, ready: psycopg.Connection, files: ArchiveFiles, history: History
) -> None:
    quarter = db.execute(
        "select at from generate_series('2026-03-01+00'::timestamptz, '2026-03-01 23:45+00', '15 minutes') as at"
        " where not exists (select from raw.usage_events where started_at >= at and started_at < at + interval '15 minutes')"
        " limit 1"
    ).fetchone()
    db.commit()
    assert quarter is not None
    days.drop_day(ready, files, DAY)
    copy_events(db, [history.row(1, quarter[0])])
    _refresh(dbt)  # reads past the late row and leaves it
    days.restore_day(ready, files, DAY)
    _refresh(dbt)
    sums = "select sum(usage_rows) from intermediate.int_usage_quarter_hours where quarter_hour_at = %s"
    assert db.execute(sums, [quarter[0]]).fetchone() == (1,)


def test_a_restored_day_is_what_was_dropped_or_nothing(
    db: psycopg.Connection, ready: psycopg.Connection, files: ArchiveFiles, tmp_path: Path, history: History
) -> None:
    query = "select to_jsonb(event) - 'recorded_xid' from raw.usage_events as event order by started_at, request_id, attempt"
    rows = db.execute(query).fetchall()  # type: ignore[arg-type]
    db.commit()
    with pytest.raises(DayRefused, match="not dropped"):
        days.restore_day(ready, files, DAY)
    archived = days.drop_day(ready, files, DAY)
    path = tmp_path / "archive" / archived.path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ArchiveDamaged):
        days.restore_day(ready, files, DAY)
    assert "inferhouse" not in str(_findings(ready, files))
    path.write_bytes(whole)
    # Rows that are not those of the file cannot be smuggled in by whoever may restore.
    with ready.transaction(force_rollback=True):
        ready.execute("insert into archive.incoming_rows select * from raw.usage_events limit 1")
        with pytest.raises(psycopg.Error, match="not the rows that were dropped"):
            ready.execute("select archive.restore_day(%s)", [DAY])
    assert days.restore_day(ready, files, DAY) == archived.usage_rows
    assert db.execute(query).fetchall() == rows  # type: ignore[arg-type]
    assert db.execute("select count(*) from archive.incoming_rows").fetchone() == (0,)


def _findings(conn: psycopg.Connection, files: ArchiveFiles) -> list[date | None]:
    found = [finding.day for finding in chain.verify(conn, files).findings]
    assert found == [DAY]
    return found
