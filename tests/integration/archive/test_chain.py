"""The daily chain finds whoever changes the past."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from orchestration.archive import chain
from orchestration.jobs.daily_chain import document, in_force
from tests.factories import START, copy_events
from tests.integration.archive.conftest import DAY, History, later

ADDED = """
insert into raw.usage_events
select made.*
from raw.usage_events as event
cross join lateral jsonb_populate_record(null::raw.usage_events, to_jsonb(event) || '{"attempt": 9}') as made
where event.request_id = %s
"""
COMPLETE_TO = START + timedelta(days=3, hours=12)


@pytest.fixture
def chained(db: psycopg.Connection, transform: psycopg.Connection) -> psycopg.Connection:
    """Three days of March, complete to noon of the fourth."""
    db.execute("create table marts.completeness (complete_to timestamptz)")
    db.execute("grant select on marts.completeness to inferhouse_transform")
    db.execute("insert into marts.completeness values (%s)", [COMPLETE_TO])
    db.commit()
    assert chain.extend(transform).days == [DAY, later(DAY, 1), later(DAY, 2)]
    return transform


def _verify(database_url: str, *arguments: str) -> tuple[int, list[dict[str, str]]]:
    """What the command says: its exit code and findings."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.verify_usage", "--json", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), "WAREHOUSE_DATABASE_URL": database_url},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in {0, 8}, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_day_is_entered_when_it_has_been_complete_for_a_while(db: psycopg.Connection, chained: psycopg.Connection) -> None:
    db.execute("update marts.completeness set complete_to = '2026-03-05 00:59+00'")
    db.commit()
    assert chain.extend(chained).days == []
    db.execute("update marts.completeness set complete_to = '2026-03-06 01:00+00'")
    db.commit()
    assert chain.extend(chained).days == [later(DAY, 3), later(DAY, 4)], "a day without rows is entered as one without rows"
    assert in_force(chain.entries(chained))[later(DAY, 4)].usage_rows == 0


def test_late_rows_are_an_amendment_and_nothing_is_edited(
    db: psycopg.Connection, chained: psycopg.Connection, history: History
) -> None:
    before = chain.entries(chained)
    copy_events(db, [history.row(1, START + timedelta(hours=30)), history.row(2, START + timedelta(days=3, hours=5))])
    assert chain.verify(chained, None).findings[0].what.startswith("1 rows more than the chain has")
    extended = chain.extend(chained)
    assert (extended.days, extended.amended) == ([], [later(DAY, 1)])
    after = chain.entries(chained)
    assert after[:-1] == before
    assert after[-1].usage_rows == before[1].usage_rows + 1
    assert chain.verify(chained, None, published=before).findings == []
    assert chain.extend(chained).amended == []
    for statement in ("update archive.daily_digests set usage_rows = 0", "delete from archive.daily_digests",
                      "truncate archive.daily_digests"):  # fmt: skip
        with pytest.raises(psycopg.errors.RaiseException, match="only added to"):
            db.execute(statement.encode())
        db.rollback()


@pytest.mark.parametrize(
    ("tampering", "day", "finding"),
    [
        ("update raw.usage_events set cost_picousd = cost_picousd + 1 where request_id = %s", 1, "not the same ones"),
        ("update raw.usage_events set end_user = 'somebody' where request_id = %s", 1, "not the same ones"),
        ("delete from raw.usage_events where request_id = %s", 1, "1 rows are missing"),
        (ADDED, 1, "1 rows more than the chain has"),
    ],
    ids=["alter", "alter text", "delete", "add"],
)  # fmt: skip
def test_whoever_changes_the_past_is_found_by_day(
    chained: psycopg.Connection, server_dsn: str, database_url: str, tampering: str, day: int, finding: str
) -> None:
    assert _verify(database_url) == (0, [])
    with psycopg.connect(make_conninfo(server_dsn, dbname=database_url.rpartition("/")[2])) as superuser:
        row = superuser.execute(
            "select request_id from raw.usage_events where started_at >= %s order by started_at limit 1 offset 40",
            [START + timedelta(days=day)],
        ).fetchone()
        assert row is not None
        superuser.execute(tampering.encode(), [row[0]])
    code, findings = _verify(database_url)
    assert code == 8
    assert [found["day"] for found in findings] == [later(DAY, day).isoformat()]
    assert finding in findings[0]["what"]
    assert _verify(database_url, "--from", "2026-03-03") == (0, []), "the other days are as they were"


def test_a_chain_that_is_computed_anew_is_not_the_published_one(
    chained: psycopg.Connection, server_dsn: str, database_url: str, tmp_path: Path
) -> None:
    published = tmp_path / "published.json"
    published.write_text(json.dumps(document(chain.entries(chained))))
    assert _verify(database_url, "--against", str(published)) == (0, [])
    with psycopg.connect(make_conninfo(server_dsn, dbname=database_url.rpartition("/")[2])) as superuser:
        superuser.execute("set session_replication_role = replica")  # no trigger stops a superuser
        superuser.execute("delete from raw.usage_events where started_at < '2026-03-01 01:00+00'")
        superuser.execute("delete from archive.daily_digests")
    chain.extend(chained)
    assert _verify(database_url) == (0, []), "by itself the new chain is whole"
    code, findings = _verify(database_url, "--against", str(published))
    assert code == 8
    assert findings[0] == {"day": "2026-03-01", "what": "entry 1 was published with another digest than it has now"}


def test_an_entry_that_was_changed_with_its_rows_does_not_follow_from_the_one_before(
    chained: psycopg.Connection, server_dsn: str, database_url: str
) -> None:
    """Rows and their digest agree again: only the chain itself says that somebody was there."""
    with psycopg.connect(make_conninfo(server_dsn, dbname=database_url.rpartition("/")[2])) as superuser:
        superuser.execute("set session_replication_role = replica")
        superuser.execute(
            "delete from raw.usage_events where request_id = (select request_id from raw.usage_events"
            " where started_at >= '2026-03-02+00' and started_at < '2026-03-03+00' limit 1)"
        )
        superuser.execute(
            "update archive.daily_digests set (usage_rows, row_set_digest)"
            " = (select usage_rows, row_set_digest from archive.count_and_digest('2026-03-02')) where sequence = 2"
        )
    what = "entry 2 of the chain does not follow from the one before it"
    assert _verify(database_url) == (8, [{"day": "2026-03-02", "what": what}])
