"""`python -m tests.schema_dump`: write warehouse/schema.sql, what all migrations add up to (`make schema`)."""

import re
import secrets
import subprocess

import psycopg
from psycopg.conninfo import make_conninfo

from deploy.local.postgres import OWNER, create_database, create_owner
from deploy.local.runtime import POSTGRES_BIN
from tests.services import ROOT, RUNTIME, running_services
from warehouse.migrations.runner import migrate

SCHEMA = ROOT / "warehouse" / "schema.sql"
_HEAD = """\
-- What all migrations add up to. Written by `make schema`, kept true by tests/integration/warehouse/test_migrations.py.
-- For reading and for reviews; a database is made by `python -m warehouse.migrations`.
"""
# Session settings, versions and the random guard words of pg_dump say nothing about the schema.
_NOISE = re.compile(r"^(--.*|SET .*;|SELECT pg_catalog\.set_config.*;|\\(un)?restrict .*)?$")

_POLICY_ROLES = re.compile(r"(?<= TO )\w+(, \w+)+(?= USING)")


def dump(dsn: str) -> str:
    """The schema of a database as SQL, without what differs from machine to machine."""
    command = [RUNTIME / POSTGRES_BIN / "pg_dump", "--schema-only", "--no-owner", "--dbname", dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    kept, in_body = [], False
    for line in lines:
        if in_body or not _NOISE.match(line):
            kept.append(_POLICY_ROLES.sub(_in_order, line))
        in_body ^= line.count("$$") % 2 == 1  # the body of a function keeps its comments
    return "\n".join([_HEAD, *_spaced(kept), "", *_hypertables(dsn)]) + "\n"


def _hypertables(dsn: str) -> list[str]:
    """What pg_dump does not know of: which tables are cut into chunks, by what."""
    with psycopg.connect(dsn) as conn:
        rows = conn.execute(
            "select hypertable_schema, hypertable_name, column_name, time_interval::text from timescaledb_information.dimensions"
            " order by hypertable_schema, hypertable_name"
        ).fetchall()
    return [f"-- Hypertable {schema}.{name}: by {column}, a chunk every {interval}." for schema, name, column, interval in rows]


def _in_order(roles: re.Match[str]) -> str:
    """Roles of a policy come as they lie in pg_authid, which changes with every password."""
    return ", ".join(sorted(roles[0].split(", ")))


def _spaced(lines: list[str]) -> list[str]:
    """An empty line after each statement that is longer than one line."""
    spaced: list[str] = []
    for line in lines:
        starts_statement = bool(re.match(r"(CREATE|ALTER|COMMENT|GRANT|REVOKE) ", line))
        kind = line.split(" ", 1)[0]
        if starts_statement and spaced and spaced[-1].split(" ", 1)[0] != kind:
            spaced.append("")
        spaced.append(line)
    return spaced


def main() -> None:
    with running_services() as services, psycopg.connect(services.server_dsn, autocommit=True) as admin:
        password = secrets.token_hex(8)
        create_owner(admin, password)
        create_database(admin, "schema")
        owner = make_conninfo(services.server_dsn, dbname="schema", user=OWNER, password=password)
        migrate(owner)
        SCHEMA.write_text(dump(owner))


if __name__ == "__main__":
    main()
