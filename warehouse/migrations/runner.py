"""Applies the migrations: under one advisory lock, each file in one transaction, hashes of what ran kept for ever."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from warehouse.base.errors import InferhouseError

HERE = Path(__file__).parent
_LOCK = 0x1F_E2_40_05E  # any number that nobody else in this database locks
_LOCK_TIMEOUT = "30s"  # a migration that waits longer for a table would queue every request behind it
_BOOKKEEPING = """
create schema if not exists migrations;
create table if not exists migrations.applied (
    name text primary key, sha256 text not null, applied_at timestamptz not null default now()
);
"""


class MigrationError(InferhouseError):
    """A migration cannot be applied. The database is as it was before that file."""

    code = "migration_failed"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name, its text, and the hash that is kept of it."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def load(folder: str) -> Iterator[Migration]:
    """The files of `once` or `always`, in the order of their numbers."""
    for path in sorted((HERE / folder).glob("*.sql")):
        yield Migration(path.name, path.read_text())


def migrate(dsn: str) -> list[str]:
    """Bring the database to this version; names of the `once` files that ran, in order. Safe to run twice and at once.

    Raises: MigrationError: a file failed, or one that ran before has been edited since.
    """
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("select pg_advisory_lock(%s)", [_LOCK])
        conn.execute(_BOOKKEEPING)
        conn.execute(sql.SQL("set lock_timeout = {}").format(_LOCK_TIMEOUT))
        applied: dict[str, str] = dict(conn.execute("select name, sha256 from migrations.applied").fetchall())
        ran = [migration.name for migration in load("once") if _apply_once(conn, migration, applied)]
        for migration in load("always"):
            _run(conn, migration)
        return ran


def _apply_once(conn: psycopg.Connection, migration: Migration, applied: dict[str, str]) -> bool:
    if migration.name in applied:
        if applied[migration.name] != migration.sha256:
            raise MigrationError(f"{migration.name} was applied and has been edited since: put the change into a new file")
        return False
    with conn.transaction():
        _run(conn, migration)
        conn.execute("insert into migrations.applied (name, sha256) values (%s, %s)", [migration.name, migration.sha256])
    return True


def _run(conn: psycopg.Connection, migration: Migration) -> None:
    try:
        with conn.transaction():
            conn.execute(migration.text.encode())
    except psycopg.Error as error:
        raise MigrationError(f"{migration.name}: {error}") from error
