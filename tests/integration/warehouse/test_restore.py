"""docs/runbooks/restore.md, as it is written there: a copy of the database is the database."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from deploy.local.postgres import OWNER
from deploy.local.runtime import POSTGRES_BIN
from tests.schema_dump import dump
from tests.services import RUNTIME
from warehouse.access import usage_events
from warehouse.access.usage_rows import UsageEvent, encode
from warehouse.migrations import migrate


@pytest.fixture
def restored_dsn(server_dsn: str, admin: psycopg.Connection, empty_database: Callable[[], str]) -> Iterator[str]:
    """The superuser's connection string to an empty database."""
    name = empty_database()
    yield make_conninfo(server_dsn, dbname=name)
    admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def _run(program: str, *arguments: str | Path) -> None:
    done = subprocess.run([RUNTIME / POSTGRES_BIN / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_restored_copy_is_the_database(
    database_url: str,
    restored_dsn: str,
    role_passwords: dict[str, str],
    tmp_path: Path,
    event: Callable[..., UsageEvent],
) -> None:
    async def add(url: str, numbers: range) -> None:
        async with await AsyncConnection.connect(url) as conn:
            await usage_events.add(conn, [encode(event(number)) for number in numbers])

    asyncio.run(add(database_url, range(1000)))
    _run("pg_dump", "--format=custom", "--file", tmp_path / "inferhouse.dump", "--dbname", database_url)
    with psycopg.connect(restored_dsn, autocommit=True) as conn:
        conn.execute("create extension timescaledb")
        conn.execute("select timescaledb_pre_restore()")
    _run("pg_restore", "--dbname", restored_dsn, "--exit-on-error", tmp_path / "inferhouse.dump")
    with psycopg.connect(restored_dsn, autocommit=True) as conn:
        conn.execute("select timescaledb_post_restore()")
        conn.execute("analyze")

    owner = make_conninfo(restored_dsn, user=OWNER, password=role_passwords[OWNER])
    assert migrate(owner) == []
    assert dump(owner) == dump(database_url)
    router = make_conninfo(restored_dsn, user="inferhouse_router", password=role_passwords["inferhouse_router"])
    asyncio.run(add(router, range(990, 1010)))  # a journal replayed onto the copy meets the rows that are there
    with psycopg.connect(owner) as conn:
        conn.execute("update raw.usage_events set recorded_xid = '99999999999'")  # as rows of another server's transactions
        conn.commit()
        conn.execute("update raw.usage_events set recorded_xid = default")
        conn.execute("update raw.journal_positions set recorded_xid = default")
        conn.commit()
        readable = conn.execute(
            "select count(*) from raw.usage_events where recorded_xid < pg_snapshot_xmin(pg_current_snapshot())"
        ).fetchone()
        assert readable == (1010,)
        assert conn.execute("select count(*), count(distinct request_id) from raw.usage_events").fetchone() == (1010, 1010)
