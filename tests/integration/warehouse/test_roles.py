"""Each service role may do its work and nothing else, whatever the code that uses it says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.integration.warehouse.conftest import Control
from warehouse.migrations import migrate

ALL = ("router", "management", "transform", "portal", "platform", "dagster")
READ_ROWS = "select count(*) from raw.usage_events"
# The widest that any of them can set for itself; which rows are seen without it is test_grants.py's question.
FOR_THE_PLATFORM = "select set_config('inferhouse.platform', 'on', false)"
CHUNK = "select count(*) from {chunk}"

MAY = {
    "router": [
        "select * from control.organizations, control.projects, control.api_keys",
        "select * from control.models, control.engines, control.prices",
        "insert into raw.usage_events select * from raw.usage_events where false",
        "create temporary table replay (like raw.usage_events including defaults)",
        "insert into raw.journal_positions (worker, reported_at, complete_to) values ('w/0', now(), now())",
        "update raw.journal_positions set complete_to = now()",
        "delete from raw.journal_positions",
        "update control.api_keys set last_used_at = now()",
        "select id, disabled_at, platform_admin from control.users",
        "listen control_changed",
    ],
    "management": [
        "insert into control.organizations (public_id, name) values ('org_000000000099', 'New')",
        "update control.api_keys set revoked_at = now()",
        "update control.users set name = 'New name'",
        "select password_hash from control.users",
        "delete from control.org_members",
        "update control.prices set reason = 'corrected'",
        "select * from raw.journal_positions",
    ],
    "transform": [
        READ_ROWS,
        "select pg_snapshot_xmin(pg_current_snapshot()), max(recorded_xid::text) from raw.usage_events",
        "select * from raw.journal_positions",
        "select id, public_id, name, time_zone, currency, suspended_at from control.organizations",
        "select * from control.projects, control.service_accounts, control.models, control.prices",
        "select * from control.discounts, control.volume_tiers",
        "select id, name, kind, base_url, model_id, enabled, created_at from control.engines",
        "select id, public_id, email, name from control.users",
        "select id, public_id, name, org_id from control.api_keys",
        "create table staging.t (id int)",
        "create table intermediate.t (id int)",
        "create table marts.t (id int)",
        "create schema another",
    ],
    "portal": ["select * from marts.spend_forecast", "select control.current_org_id()"],
    "platform": ["select * from marts.spend_forecast"],
    "dagster": ["create table runs (id int)", "create table dagster.events (id int)"],
}

_SECRETS = ["select secret_hash from control.api_keys", "select password_hash from control.users"]
_CHANGES_ROWS = [
    "update raw.usage_events set cost_picousd = 0",
    "delete from raw.usage_events",
    "truncate raw.usage_events",
    "update {chunk} set cost_picousd = 0",
    "delete from {chunk}",
    "drop table {chunk}",
    "select public.drop_chunks('raw.usage_events', now())",
    "alter table raw.usage_events drop constraint usage_events_check",
]
_NOBODY = [
    *_CHANGES_ROWS,
    "create table public.t (id int)",
    "create table control.t (id int)",
    "drop table control.api_keys",
    "select control.create_sql_login('inferhouse_sql_intruder', 1, 'x')",
    "delete from migrations.applied",
    "create role intruder",
    "grant inferhouse_owner to inferhouse_portal",
    "set role inferhouse_owner",
    "set session authorization inferhouse_owner",
    "alter role inferhouse_owner password 'x'",
    "copy (select 1) to program 'true'",
    "select pg_read_file('postgresql.conf')",
]
_NO_ROWS = [READ_ROWS, CHUNK, "insert into raw.usage_events select * from raw.usage_events where false"]
_NO_CONTROL_CHANGES = [
    "insert into control.organizations (public_id, name) values ('org_000000000099', 'New')",
    "update control.api_keys set revoked_at = null",
    "delete from control.prices",
    "update control.users set platform_admin = true",
    "update control.sql_logins set org_id = 1",
]
_NO_CONTROL = [f"select * from control.{table}" for table in ("organizations", "users", "api_keys", "prices", "sql_logins")]
_NO_MARTS = [
    "select * from marts.spend_forecast", "delete from marts.spend_forecast", "create table marts.t (id int)",
    "drop table marts.spend_forecast",
]  # fmt: skip
_READS_MARTS_ONLY = [*_NOBODY, *_NO_ROWS, *_SECRETS, *_NO_CONTROL, *_NO_CONTROL_CHANGES, *_NO_MARTS[1:]]

MUST_NOT = {
    "router": [
        *_NOBODY, *_NO_CONTROL_CHANGES, *_NO_MARTS, "select password_hash from control.users", "select * from control.users",
        "select * from control.sql_logins",
    ],
    "management": [
        "insert into control.sql_logins (role_name, org_id) values ('inferhouse_portal', 1)",
        "update control.sql_logins set org_id = 1", "update control.audit_log set actor_id = 'x'",
        "delete from control.audit_log",
        "truncate control.audit_log", "delete from control.audit_head", *_NOBODY, *_NO_ROWS, *_NO_MARTS[1:],
        "update raw.journal_positions set complete_to = now()",
    ],
    "transform": [
        *_NOBODY, *_SECRETS, *_NO_CONTROL_CHANGES, *_NO_ROWS[2:], "select * from control.api_keys", "select * from control.users",
        "select platform_admin from control.users", "select * from control.sql_logins",
        "update raw.journal_positions set complete_to = now()",
    ],
    "portal": [*_READS_MARTS_ONLY, "set role inferhouse_platform"],
    "platform": [*_READS_MARTS_ONLY, "set role inferhouse_portal"],
    "dagster": [*_READS_MARTS_ONLY, *_NO_MARTS],
}  # fmt: skip


@pytest.fixture
def chunk(db: psycopg.Connection, database_url: str, control: Control) -> str:
    """The table of the one chunk, with one row in it: what a hypertable denies, its chunk must deny too."""
    db.execute(
        "insert into raw.usage_events (request_id, attempt, started_at, finished_at, org_id, project_id, api_key_id, endpoint,"
        " status, token_source, charge_class, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, duration_us,"
        " http_status, stream, cost_picousd) values (gen_random_uuid(), 0, now(), now(), %s, 1, 1, 'chat.completions',"
        " 'refused', 'none', 'free_refused', 0, 0, 0, 0, 0, 400, false, 0)",
        [control.first.org_id],
    )
    row = db.execute("select show_chunks('raw.usage_events')::text").fetchone()
    db.commit()
    migrate(database_url)  # what is granted on a database is not copied from the template
    assert row is not None
    return str(row[0])


@contextmanager
def _undone(conn: psycopg.Connection) -> Iterator[None]:
    """What is done inside leaves nothing."""
    with conn.transaction(force_rollback=True):
        yield


def test_every_role_is_looked_at(db: psycopg.Connection) -> None:
    roles = db.execute("select rolname from pg_roles where rolname like 'inferhouse\\_%' and rolcanlogin and not rolcreaterole")
    services = {name.removeprefix("inferhouse_") for (name,) in roles if not name.startswith("inferhouse_sql_")}
    assert services == set(ALL) == set(MAY) == set(MUST_NOT)


@pytest.mark.parametrize("role", ALL)
def test_a_role_may_do_its_work(role: str, role_url: Callable[..., str], chunk: str) -> None:
    with psycopg.connect(role_url(f"inferhouse_{role}")) as conn:
        conn.execute(FOR_THE_PLATFORM)
        for statement in MAY[role]:
            with _undone(conn):
                conn.execute(statement.format(chunk=chunk).encode())


@pytest.mark.parametrize("role", ALL)
def test_a_role_may_do_nothing_else(role: str, role_url: Callable[..., str], chunk: str) -> None:
    allowed = []
    with psycopg.connect(role_url(f"inferhouse_{role}")) as conn:
        conn.execute(FOR_THE_PLATFORM)
        for statement in MUST_NOT[role]:
            try:
                with _undone(conn):
                    conn.execute(statement.format(chunk=chunk).encode())
                allowed.append(statement)
            except InsufficientPrivilege:
                pass
    assert allowed == []


@pytest.mark.parametrize("role", ALL)
def test_no_role_has_rights_over_the_server(role: str, db: psycopg.Connection) -> None:
    rights = db.execute(
        "select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls from pg_roles where rolname = %s",
        [f"inferhouse_{role}"],
    ).fetchone()
    assert rights == (False,) * 5
    member_of = db.execute(
        "select count(*) from pg_auth_members where member = (select oid from pg_roles where rolname = %s)",
        [f"inferhouse_{role}"],
    ).fetchone()
    assert member_of == (0,)
