"""The second wall: a session sees the rows of its own organization, whatever it sets, whatever it becomes."""

import secrets
from collections.abc import Callable

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.integration.warehouse.conftest import Control

Url = Callable[..., str]


@pytest.fixture
def mart(role_url: Url, control: Control) -> str:
    """A mart as dbt builds it: owned by transform, a row for each organization, protected."""
    with psycopg.connect(role_url("inferhouse_transform")) as conn:
        conn.execute("create table marts.example (org_id bigint not null, tokens bigint not null)")
        conn.execute("alter table marts.example enable row level security")
        conn.execute(
            "create policy tenant_rows on marts.example for select to inferhouse_portal, inferhouse_tenant"
            " using (org_id = (select control.current_org_id()))"
        )
        conn.execute("create policy platform_rows on marts.example for select to inferhouse_platform using (true)")
        conn.execute("insert into marts.example values (%s, 1), (%s, 2)", [control.first.org_id, control.second.org_id])
    return "marts.example"


@pytest.fixture
def login(db: psycopg.Connection, control: Control, role_url: Url) -> Callable[[int], str]:
    """`login(org_id)`: the connection string of a new SQL login of that organization."""

    def make(org_id: int) -> str:
        name, password = f"inferhouse_sql_{secrets.token_hex(4)}", secrets.token_hex(8)
        db.execute("select control.create_sql_login(%s, %s, %s)", [name, org_id, password])
        db.commit()
        return role_url(name, password)

    return make


def _tokens(conn: psycopg.Connection) -> list[int]:
    return [tokens for (tokens,) in conn.execute("select tokens from marts.example order by 1")]


@pytest.mark.usefixtures("mart")
def test_a_sql_login_sees_its_own_organization(login: Callable[[int], str], control: Control) -> None:
    for org_id, tokens in ((control.first.org_id, 1), (control.second.org_id, 2)):
        with psycopg.connect(login(org_id)) as conn:
            assert _tokens(conn) == [tokens]
            assert conn.execute("select control.current_org_id()").fetchone() == (org_id,)


PRETENCES = [
    "set inferhouse.org_id = '{other}'",
    "set inferhouse.platform = 'on'",
    "set role inferhouse_tenant",
    "set search_path = pg_temp, marts",
    "set default_transaction_read_only = off",
    "select set_config('inferhouse.org_id', '{other}', false)",
]
FORBIDDEN = [
    "set role inferhouse_platform",
    "set role inferhouse_portal",
    "set session authorization inferhouse_portal",
    "select * from raw.usage_events",
    "select * from control.sql_logins",
    "select * from control.organizations",
    "create table marts.t (id int)",
    "create table public.t (id int)",
    "alter table marts.example disable row level security",
    "drop policy tenant_rows on marts.example",
    "create or replace function control.current_org_id() returns bigint language sql as 'select 2::bigint'",
    "update marts.example set org_id = 1",
    "select control.create_sql_login('inferhouse_sql_intruder', 1, 'x')",
    "set row_security = off; select * from marts.example",  # an error instead of rows
]


@pytest.mark.usefixtures("mart")
def test_a_sql_login_cannot_pretend_to_be_another(login: Callable[[int], str], control: Control) -> None:
    with psycopg.connect(login(control.first.org_id), autocommit=True) as conn:
        for pretence in PRETENCES:
            conn.execute(pretence.format(other=control.second.org_id).encode())
            assert _tokens(conn) == [1], pretence


@pytest.mark.usefixtures("mart")
def test_a_sql_login_may_do_nothing_but_read_marts(login: Callable[[int], str], control: Control) -> None:
    allowed = []
    with psycopg.connect(login(control.first.org_id), autocommit=True) as conn:
        conn.execute("set default_transaction_read_only = off")
        for statement in FORBIDDEN:
            try:
                conn.execute(statement.encode())
                allowed.append(statement)
            except InsufficientPrivilege:
                pass
    assert allowed == []


@pytest.mark.usefixtures("mart")
def test_a_temporary_table_does_not_hide_who_somebody_is(login: Callable[[int], str], control: Control) -> None:
    """current_org_id() reads control.sql_logins by its full name, with pg_temp last."""
    with psycopg.connect(login(control.first.org_id), autocommit=True) as conn:
        conn.execute("set default_transaction_read_only = off")
        conn.execute("create temporary table sql_logins as select session_user::name as role_name, 2::bigint as org_id")
        conn.execute("create function pg_temp.current_setting(text, boolean) returns text language sql as 'select ''2'''")
        conn.execute("set search_path = pg_temp, control, marts")
        assert _tokens(conn) == [1]


@pytest.mark.usefixtures("mart")
def test_a_login_without_an_organization_sees_nothing(
    db: psycopg.Connection, login: Callable[[int], str], control: Control
) -> None:
    url = login(control.first.org_id)
    db.execute("delete from control.sql_logins")
    db.commit()
    with psycopg.connect(url) as conn:
        assert _tokens(conn) == []


def test_a_sql_login_is_bounded(login: Callable[[int], str], control: Control) -> None:
    with psycopg.connect(login(control.first.org_id)) as conn:
        assert conn.execute("show statement_timeout").fetchone() == ("1min",)
        assert conn.execute("show default_transaction_read_only").fetchone() == ("on",)
        assert conn.execute("show search_path").fetchone() == ("marts",)
        rights = conn.execute(
            "select rolconnlimit, rolsuper, rolcreaterole from pg_roles where rolname = session_user"
        ).fetchone()
    assert rights == (10, False, False)


def test_a_login_made_again_has_the_new_password_and_organization(
    db: psycopg.Connection, login: Callable[[int], str], control: Control, role_url: Url
) -> None:
    url = login(control.first.org_id)
    name = psycopg.conninfo.conninfo_to_dict(url)["user"]
    db.execute("select control.create_sql_login(%s, %s, %s)", [name, control.second.org_id, "another-password"])
    db.commit()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)
    with psycopg.connect(role_url(name, "another-password")) as conn:
        assert conn.execute("select control.current_org_id()").fetchone() == (control.second.org_id,)


@pytest.mark.parametrize("role", ["inferhouse_platform", "inferhouse_portal", "inferhouse_owner"])
def test_a_service_role_cannot_be_made_a_sql_login(db: psycopg.Connection, control: Control, role: str) -> None:
    with pytest.raises(psycopg.DatabaseError, match=f"{role} is no SQL login"):
        db.execute("select control.create_sql_login(%s, %s, 'taken over')", [role, control.first.org_id])


@pytest.mark.usefixtures("mart")
def test_the_portal_sees_the_organization_that_it_chose(role_url: Url, control: Control) -> None:
    with psycopg.connect(role_url("inferhouse_portal"), autocommit=True) as conn:
        assert _tokens(conn) == []
        for org_id, tokens in ((control.first.org_id, 1), (control.second.org_id, 2)):
            with conn.transaction():
                conn.execute("select set_config('inferhouse.org_id', %s, true)", [str(org_id)])
                assert _tokens(conn) == [tokens]
            assert _tokens(conn) == [], "a choice ends with its transaction"


@pytest.mark.usefixtures("mart")
def test_the_platform_role_sees_every_organization(role_url: Url) -> None:
    with psycopg.connect(role_url("inferhouse_platform")) as conn:
        assert _tokens(conn) == [1, 2]


def test_a_mart_of_the_migrations_is_protected(db: psycopg.Connection) -> None:
    unprotected = db.execute(
        "select relname from pg_class where relnamespace = 'marts'::regnamespace and relkind in ('r', 'p') and not relrowsecurity"
    ).fetchall()
    assert unprotected == []
