"""Migrations: from nothing to schema.sql, once, all or nothing, by one runner at a time."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from deploy.local.postgres import OWNER
from tests.schema_dump import SCHEMA, dump
from warehouse.migrations import MigrationError, migrate, runner


@pytest.fixture
def empty_url(
    server_dsn: str, admin: psycopg.Connection, empty_database: Callable[[], str], template: str, role_passwords: dict[str, str]
) -> Iterator[str]:
    """The owner's connection string to a database with nothing in it. (`template`: the roles are there already.)"""
    name = empty_database()
    yield make_conninfo(server_dsn, dbname=name, user=OWNER, password=role_passwords[OWNER])
    admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations that a test may change; the runner reads it."""
    for folder in ("once", "always"):
        shutil.copytree(runner.HERE / folder, tmp_path / folder)
    monkeypatch.setattr(runner, "HERE", tmp_path)
    return tmp_path


def test_migrations_from_nothing_add_up_to_schema_sql(empty_url: str) -> None:
    migrate(empty_url)
    assert dump(empty_url) == SCHEMA.read_text(), "run `make schema`, and look at what it changes"


def test_every_file_runs_once_in_the_order_of_numbers(empty_url: str) -> None:
    ran = migrate(empty_url)
    assert ran == sorted(path.name for path in (runner.HERE / "once").glob("*.sql"))
    with psycopg.connect(empty_url) as conn:
        assert [name for (name,) in conn.execute("select name from migrations.applied order by name")] == ran


def test_numbers_are_not_used_twice() -> None:
    for folder in ("once", "always"):
        numbers = [path.name.split("_")[0] for path in (runner.HERE / folder).glob("*.sql")]
        assert sorted(numbers) == [f"{number:04d}" for number in range(1, len(numbers) + 1)]


def test_a_second_run_changes_nothing(database_url: str, db: psycopg.Connection) -> None:
    before = dump(database_url)
    applied = db.execute("select name, sha256, applied_at from migrations.applied order by name").fetchall()
    db.commit()
    assert migrate(database_url) == []
    assert dump(database_url) == before
    assert db.execute("select name, sha256, applied_at from migrations.applied order by name").fetchall() == applied


def test_two_runners_at_once_do_the_work_once(empty_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(migrate, [empty_url, empty_url])
    assert sorted([bool(first), bool(second)]) == [False, True]
    assert dump(empty_url) == SCHEMA.read_text()


def test_a_grant_made_by_hand_is_not_kept(database_url: str, db: psycopg.Connection) -> None:
    before = dump(database_url)
    db.execute("grant update on raw.usage_events to inferhouse_router")
    db.execute("grant select (password_hash) on control.users to inferhouse_transform")
    db.commit()
    assert dump(database_url) != before
    migrate(database_url)
    assert dump(database_url) == before


def test_an_edited_file_is_refused_before_anything_runs(database_url: str, files: Path) -> None:
    edited = files / "once" / "0001_control.sql"
    edited.write_text(edited.read_text() + "\n-- one more word\n")
    before = dump(database_url)
    with pytest.raises(MigrationError, match=r"0001_control\.sql was applied and has been edited since"):
        migrate(database_url)
    assert dump(database_url) == before


def test_a_failing_file_leaves_nothing_and_is_not_marked(database_url: str, db: psycopg.Connection, files: Path) -> None:
    before = dump(database_url)
    failing = files / "once" / "9000_failing.sql"
    failing.write_text("create table control.half (id int);\ninsert into control.half values ('not a number');\n")
    with pytest.raises(MigrationError, match=r"9000_failing\.sql: invalid input syntax"):
        migrate(database_url)
    assert dump(database_url) == before
    assert db.execute("select count(*) from migrations.applied where name = '9000_failing.sql'").fetchone() == (0,)
    db.commit()
    failing.write_text("create table control.half (id int);\n")  # it never ran, so it may be mended
    assert migrate(database_url) == ["9000_failing.sql"]


def test_a_failing_file_keeps_those_before_it(database_url: str, files: Path) -> None:
    (files / "once" / "9000_good.sql").write_text("create table control.good (id int);\n")
    (files / "once" / "9001_failing.sql").write_text("select 1 / 0;\n")
    with pytest.raises(MigrationError, match="division by zero"):
        migrate(database_url)
    (files / "once" / "9001_failing.sql").unlink()
    assert migrate(database_url) == []


def test_a_failing_always_file_leaves_nothing(database_url: str, files: Path) -> None:
    before = dump(database_url)
    (files / "always" / "9000_failing.sql").write_text("grant all on raw.usage_events to inferhouse_portal;\nselect 1 / 0;\n")
    with pytest.raises(MigrationError, match=r"9000_failing\.sql"):
        migrate(database_url)
    assert dump(database_url) == before


def test_a_migration_does_not_wait_long_for_a_table_that_is_in_use(
    database_url: str, db: psycopg.Connection, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_LOCK_TIMEOUT", "100ms")
    (files / "once" / "9000_waiting.sql").write_text("alter table control.users add column x int;\n")
    db.execute("select * from control.users")  # a transaction that stays open holds the table
    with pytest.raises(MigrationError, match="lock timeout"):
        migrate(database_url)
