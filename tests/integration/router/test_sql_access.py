"""SQL access: a login reads the rows of its organization and nothing else; its password is shown once."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, InvalidRoleSpecification, QueryCanceled

from tests.factories import Tenant, add_tenant
from tests.integration.router.callers import add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack

Url = Callable[..., str]


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


@pytest.fixture
def other(stack: Stack, role_url: Url) -> Tenant:
    """Another organization, and a mart with a row of each."""
    other, mine = add_tenant(stack.db, name="Other"), demo(stack)
    stack.db.commit()
    with psycopg.connect(role_url("inferhouse_transform")) as conn:
        conn.execute("create table marts.example (org_id bigint not null, tokens bigint not null)")
        conn.execute("alter table marts.example enable row level security")
        conn.execute("create policy p on marts.example for select to inferhouse_tenant using (org_id = control.current_org_id())")
        conn.execute("insert into marts.example values (%s, 1), (%s, 2)", [mine.org_id, other.org_id])
    return other


def _made(client: httpx.Client, name: str = "Metabase") -> dict[str, Any]:
    made = client.post("/organization/sql_access", json={"name": name})
    assert made.status_code == 200, made.text
    shape: dict[str, Any] = made.json()
    return shape


def test_who_may_not_is_refused(stack: Stack, client: httpx.Client) -> None:
    mine = demo(stack)
    with signed_in(stack, add_user(stack, mine.org_id, "member")) as member:
        assert error(member.get("/organization/sql_access"))[:2] == (403, "not_allowed")
    with signed_in(stack, add_user(stack, mine.org_id, "auditor")) as auditor:
        assert auditor.get("/organization/sql_access").status_code == 200
        assert error(auditor.post("/organization/sql_access", json={"name": "x"}))[:2] == (403, "not_allowed")
    assert error(client.post("/organization/sql_access", json={"name": ""}))[2] == "name"


def test_a_login_reads_its_own_rows_and_nothing_else(client: httpx.Client, stack: Stack, role_url: Url, other: Tenant) -> None:
    made = _made(client)
    assert made["object"] == "organization.sql_access"
    assert made["id"].startswith("inferhouse_sql_")
    with psycopg.connect(role_url(made["id"], made["password"]), autocommit=True) as conn:
        assert conn.execute("select tokens from example").fetchall() == [(1,)]
        assert conn.execute("show statement_timeout").fetchone() == ("1min",)
        conn.execute("set default_transaction_read_only = off")
        conn.execute("select set_config('inferhouse.org_id', %s, false)", [str(other.org_id)])
        assert conn.execute("select tokens from example").fetchall() == [(1,)]
        for statement in (
            "insert into marts.example values (1, 1)", "delete from marts.example", "create table marts.t (id int)",
            "set role inferhouse_portal", "set session authorization inferhouse_owner", "select * from control.sql_logins",
            f"select control.drop_sql_access('{made['id']}', 1)", "select * from raw.usage_events", "create role x",
        ):  # fmt: skip
            with pytest.raises(InsufficientPrivilege):
                conn.execute(statement.encode())
        with pytest.raises(psycopg.Error):
            conn.execute(f"alter role {made['id']} connection limit 100".encode())
        conn.execute("set statement_timeout = '50ms'")
        with pytest.raises(QueryCanceled):
            conn.execute("select pg_sleep(5)")


def test_more_than_ten_connections_are_refused(client: httpx.Client, role_url: Url) -> None:
    made = _made(client)
    with contextlib.ExitStack() as opened:
        for _ in range(10):
            opened.enter_context(psycopg.connect(role_url(made["id"], made["password"])))
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            psycopg.connect(role_url(made["id"], made["password"]))


def test_a_password_is_shown_once_and_kept_nowhere(client: httpx.Client, stack: Stack) -> None:
    headers = {"idempotency-key": "one"}
    first = client.post("/organization/sql_access", json={"name": "One"}, headers=headers).json()
    again = client.post("/organization/sql_access", json={"name": "One"}, headers=headers).json()
    assert again == first | {"password": None}
    rotated = client.post(f"/organization/sql_access/{first['id']}/rotate").json()
    shown = client.get(f"/organization/sql_access/{first['id']}").json()
    assert shown == {name: value for name, value in rotated.items() if name != "password"}
    for query in (
        "select array_agg(l.*::text)::text from control.audit_log l",
        "select array_agg(l.*::text)::text from control.idempotent_answers l",
        "select array_agg(query)::text from pg_stat_activity",
    ):
        row = stack.db.execute(query.encode()).fetchone()
        assert row is not None
        assert first["password"] not in str(row[0])
        assert rotated["password"] not in str(row[0])
    assert events(stack) == ["sql_access.created", "sql_access.rotated"]


def test_a_rotated_password_stops_at_once_and_its_sessions_end(client: httpx.Client, role_url: Url, other: Tenant) -> None:
    made = _made(client)
    conn = psycopg.connect(role_url(made["id"], made["password"]), autocommit=True)
    assert conn.execute("select tokens from marts.example").fetchall() == [(1,)]
    new = client.post(f"/organization/sql_access/{made['id']}/rotate").json()["password"]
    with pytest.raises(psycopg.OperationalError):
        conn.execute("select 1")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(role_url(made["id"], made["password"]))
    with psycopg.connect(role_url(made["id"], new)) as again:
        assert again.execute("select tokens from example").fetchall() == [(1,)]


def test_a_deleted_login_is_gone_with_its_sessions(client: httpx.Client, stack: Stack, role_url: Url) -> None:
    made = _made(client)
    conn = psycopg.connect(role_url(made["id"], made["password"]), autocommit=True)
    conn.execute("set default_transaction_read_only = off")
    conn.execute("create temporary table t (id int)")
    assert client.delete(f"/organization/sql_access/{made['id']}").json()["deleted"] is True
    with pytest.raises(psycopg.OperationalError):
        conn.execute("select 1")
    assert stack.db.execute("select from pg_roles where rolname = %s", [made["id"]]).fetchone() is None
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(role_url(made["id"], made["password"]))
    assert error(client.delete(f"/organization/sql_access/{made['id']}")) == (404, "not_found", "login_id")


def test_a_suspended_organization_sees_nothing_by_sql(client: httpx.Client, stack: Stack, role_url: Url, other: Tenant) -> None:
    made = _made(client)
    with psycopg.connect(role_url(made["id"], made["password"]), autocommit=True) as conn:
        assert conn.execute("select tokens from example").fetchall() == [(1,)]
        stack.db.execute("update control.organizations set suspended_at = now() where name = 'Demo'")
        stack.db.commit()
        assert conn.execute("select tokens from example").fetchall() == []


def test_logins_of_another_organization_are_not_there(client: httpx.Client, stack: Stack, other: Tenant) -> None:
    with signed_in(stack, add_user(stack, other.org_id, "owner")) as there:
        theirs = _made(there)["id"]
    for answer in (
        client.get(f"/organization/sql_access/{theirs}"), client.post(f"/organization/sql_access/{theirs}/rotate"),
        client.delete(f"/organization/sql_access/{theirs}"), client.delete("/organization/sql_access/inferhouse_portal"),
    ):  # fmt: skip
        assert error(answer) == (404, "not_found", "login_id")
    listed = [login["id"] for login in client.get("/organization/sql_access").json()["data"]]
    assert theirs not in listed
    assert len(listed) == 1, "the demo's own"


def test_an_organization_has_at_most_twenty_logins(client: httpx.Client) -> None:
    for number in range(19):
        _made(client, f"L{number}")
    assert error(client.post("/organization/sql_access", json={"name": "one more"}))[:2] == (409, "conflict")
    page = client.get("/organization/sql_access", params={"limit": 15}).json()
    rest = client.get("/organization/sql_access", params={"limit": 15, "after": page["last_id"]}).json()
    assert (len(page["data"]), len(rest["data"]), rest["has_more"]) == (15, 5, False)


VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"


def test_the_functions_refuse_every_role_that_is_no_login_of_the_organization(
    client: httpx.Client, stack: Stack, role_url: Url, other: Tenant
) -> None:
    """Even somebody who has the management role's password makes no login for an organization that it did not open."""
    mine = _made(client)["id"]
    with psycopg.connect(role_url("inferhouse_management"), autocommit=True) as conn:
        conn.execute("select set_config('inferhouse.org_id', %s, false)", [str(other.org_id)])
        for role in ("inferhouse_owner", "inferhouse_portal", "inferhouse_tenant", "postgres", mine, "nobody"):
            for statement in (
                "control.rotate_sql_access(%(role)s, %(org)s, %(v)s)",
                "control.drop_sql_access(%(role)s, %(org)s)",
            ):
                values = {"role": role, "org": other.org_id, "v": VERIFIER}
                with pytest.raises(InvalidRoleSpecification):
                    conn.execute(f"select {statement}".encode(), values)
        for login, org_id, verifier, refusal in (
            ("inferhouse_portal", other.org_id, VERIFIER, InvalidRoleSpecification),
            ("inferhouse_sql_new_one1", demo(stack).org_id, VERIFIER, InsufficientPrivilege),
            ("inferhouse_sql_new_one1", None, VERIFIER, InsufficientPrivilege),
            ("inferhouse_sql_new_one1", other.org_id, "a password", InvalidRoleSpecification),
            (mine, other.org_id, VERIFIER, psycopg.errors.DuplicateObject),
        ):
            with pytest.raises(refusal):
                conn.execute("select control.add_sql_access(%s, %s, 'x', %s, 'x')", [login, org_id, verifier])
        for statement in (
            "insert into control.sql_logins (role_name, org_id) values ('inferhouse_portal', 1)", "create role x",
            "update control.sql_logins set org_id = 1", "select control.create_sql_login('inferhouse_sql_x', 1, 'x')",
            "delete from control.sql_logins", "alter role inferhouse_portal password 'x'",
        ):  # fmt: skip
            with pytest.raises(InsufficientPrivilege):
                conn.execute(statement.encode())
