"""A PostgreSQL server of our own: its folder, its settings, its command. On 127.0.0.1 only, passwords for everybody."""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from deploy.local.account import Account
from deploy.local.errors import StepFailed
from deploy.local.runtime import POSTGRES_BIN

SUPERUSER = "postgres"
OWNER = "inferhouse_owner"
ALWAYS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    # No socket file: the path to a checkout may be longer than the 107 bytes a socket's name can have.
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    # More would make a guess dearer, but every password here is made at random; a client would pay 5 ms for each connection.
    "scram_iterations": "1",
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    # Debian's edition has no jobs; its workers would only log that each day, and keep a template database from being copied.
    "timescaledb.max_background_workers": "0",
    "jit": "off",  # its compiler, LLVM, is left out of the runtime
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
    # A hypertable takes a lock for each chunk that a statement touches: 64 a transaction is too few for a year of days.
    "max_locks_per_transaction": "256",
    "work_mem": "16MB",  # enough for the marts of a demo; an analyst's larger sort goes to disk
}
# A test's server may lose everything in a power cut, and each test copies a database: nothing waits for the disk.
FOR_TESTS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "200",
    "shared_buffers": "256MB",  # of several servers at once
}
BUFFERS_MIB_MIN, BUFFERS_MIB_MAX = 128, 4096


def shared_buffers(memory_bytes: int) -> str:
    """An eighth of the machine's memory, since engines and pipelines are on it too; taken as pages are used, not at the start.

    Late rows touch hours of the last week or so: where these stay in memory, a run takes as long with a year behind them as with
    a month.
    """
    return f"{min(max(memory_bytes // 8 // 2**20, BUFFERS_MIB_MIN), BUFFERS_MIB_MAX)}MB"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """Where a server's programs and data are, and on which port it listens."""

    runtime: Path
    data: Path
    port: int
    password: str
    account: Account

    @property
    def dsn(self) -> str:
        """Connection string of the superuser to the maintenance database."""
        return make_conninfo(
            host="127.0.0.1", port=self.port, user=SUPERUSER, password=self.password, dbname="postgres", connect_timeout=5
        )

    @property
    def argv(self) -> list[str]:
        """The command of the server, in the foreground. To be run as the account."""
        return [str(self.runtime / POSTGRES_BIN / "postgres"), "-D", str(self.data)]

    def prepare(self, settings: Mapping[str, str] | None = None) -> None:
        """Make the data folder when it is missing, and write the settings; the server must not be running for a new port."""
        if not (self.data / "PG_VERSION").is_file():
            self._initialize()
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        own = {"port": str(self.port), "shared_buffers": shared_buffers(memory)}
        lines = [f"{name} = '{value}'" for name, value in {**ALWAYS, **own, **(settings or {})}.items()]
        self.account.write(self.data / "inferhouse.conf", "\n".join(lines) + "\n")

    def _initialize(self) -> None:
        self.account.folder(self.data.parent)
        with tempfile.NamedTemporaryFile("w", dir=self.data.parent) as password:
            password.write(self.password)
            password.flush()
            self.account.own(Path(password.name))
            self.account.run([
                self.runtime / POSTGRES_BIN / "initdb", "--pgdata", self.data, "--username", SUPERUSER,
                "--pwfile", password.name, "--auth", "scram-sha-256", "--encoding", "UTF8", "--data-checksums",
                # Sorts by code point, the same on every machine: a C library's update cannot break an index.
                "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C", "--no-sync",
            ], cwd=self.data.parent)  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("include = 'inferhouse.conf'\n")

    def wait(self, timeout_s: float = 30) -> None:
        """Return when the server takes connections.

        Raises: StepFailed: it does not within the time.
        """
        deadline = time.monotonic() + timeout_s
        while not answers(self.dsn):
            if time.monotonic() > deadline:
                raise StepFailed(f"PostgreSQL on port {self.port} takes no connections after {timeout_s:.0f} s")
            time.sleep(0.1)


def create_owner(conn: psycopg.Connection, password: str) -> None:
    """Make the role that owns the database: no superuser, but it makes the service roles and may become them."""
    if conn.execute("select from pg_roles where rolname = %s", [OWNER]).fetchone() is None:
        conn.execute(SQL("create role {} login createrole").format(Identifier(OWNER)))
    conn.execute(SQL("alter role {} password {}").format(Identifier(OWNER), password))
    conn.execute(SQL("alter role {} set createrole_self_grant = 'set, inherit'").format(Identifier(OWNER)))


def create_database(conn: psycopg.Connection, name: str) -> None:
    """Make a database that belongs to the owner, when it is missing."""
    if conn.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
        conn.execute(SQL("create database {} owner {}").format(Identifier(name), Identifier(OWNER)))


def answers(dsn: str) -> bool:
    """Whether a server takes a connection and answers a query."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as conn:
            return conn.execute("select true").fetchone() == (True,)
    except psycopg.OperationalError:
        return False
