"""Every login x every table x select, insert, update, delete, really tried, and the rows that row-level security leaves."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

from tests.integration.router.matrix import World

ALL = "siud"
SCHEMAS = ["archive", "billing", "control", "raw", "findings", "ledger", "marts", "migrations"]
LOGINS = ("router", "management", "transform", "portal", "platform", "dagster", "read-only login")
_READ_BY_SERVICES = {"management": ALL, "router": "s", "transform": "s"}
_MARTS = {"transform": ALL, "portal": "s", "platform": "s", "read-only login": "s"}
MAY: dict[str, dict[str, str]] = {
    "control.organizations": _READ_BY_SERVICES,
    "control.projects": _READ_BY_SERVICES,
    "control.api_keys": _READ_BY_SERVICES,
    "control.models": _READ_BY_SERVICES,
    "control.engines": _READ_BY_SERVICES,
    "control.prices": _READ_BY_SERVICES,
    "control.discounts": {"management": ALL, "transform": "s"},
    "control.volume_tiers": {"management": ALL, "transform": "s"},
    "control.users": _READ_BY_SERVICES,
    "control.service_accounts": _READ_BY_SERVICES,
    "control.org_members": {"management": ALL, "router": "s", "transform": "s"},
    "control.project_members": {"management": ALL},
    "control.sessions": {"management": ALL},
    "control.login_failures": {"management": ALL},
    "control.device_logins": {"management": ALL},
    "control.oidc_logins": {"management": ALL},
    "control.invites": {"management": ALL},
    "control.budgets": _READ_BY_SERVICES,
    "control.limits": {"management": ALL, "router": "s"},
    "control.shadow_refusals": {"management": ALL, "router": "siu"},
    "control.model_aliases": {"management": ALL, "router": "s"},
    "control.budget_alerts": {"management": ALL, "router": "si"},
    "control.webhooks": {"management": ALL, "transform": "s"},
    "control.alert_recipients": {"management": ALL},
    "control.outbox_events": {"management": "s", "transform": "sd"},
    "control.outbox_deliveries": {"management": "s", "transform": "s"},
    "control.idempotent_answers": {"management": ALL},
    "control.audit_log": {"management": "si"},
    "control.audit_head": {"management": "su"},
    "control.sql_logins": {"management": "s"},
    "billing.invoices": {"management": "s", "transform": "s"},
    "billing.invoice_lines": {"management": "s", "transform": "s"},
    "billing.tax_lines": {"management": "s", "transform": "s"},
    "billing.certificates": {"management": "s", "transform": "s"},
    "billing.tax_rates": {"management": "si", "transform": "s"},
    "billing.tax_regions": {"management": ALL, "transform": "s"},
    "billing.billed_lines": {},
    "billing.numbers": {},
    "raw.idempotent_answers": {"router": ALL},
    "raw.usage_events": {"router": "si", "transform": "s"},
    "raw.engine_samples": {"transform": "si"},
    "raw.journal_positions": {"router": ALL, "transform": "s", "management": "s"},
    "findings.anomalies": {"transform": "siu"},
    "findings.forecast_backtests": {"transform": "sid"},
    "findings.repricing_runs": {"transform": "si"},
    "findings.adjustments": {"transform": "si"},
    "findings.decided_rows": {"transform": "si"},
    "ledger.accounts": {"management": "s", "transform": "s"},
    "ledger.allocations": {"management": "s", "transform": "s"},
    "ledger.credits": {"management": "s", "transform": "s"},
    "ledger.entries": {"management": "s", "transform": "s"},
    "ledger.transactions": {"management": "s", "transform": "s"},
    "marts.spend_forecast": _MARTS,
    "archive.files": {"transform": "si", "management": "s"},  # what it holds; that it was dropped is said by a function
    "archive.daily_digests": {"transform": "s", "management": "s"},
    "archive.incoming_rows": {"transform": "sid"},
    "archive.budget_days": {"transform": "s", "router": "s"},
    "archive.absent_days": {"transform": "s", "management": "s"},
    "migrations.applied": {},
}  # fmt: skip
"""{table: {login: s(elect), i(nsert), u(pdate), d(elete)}}; who is not named may do nothing."""


@pytest.fixture
def world(db: psycopg.Connection) -> World:
    return World(db, b"a pepper of the tests")


@pytest.fixture
def url_of(db: psycopg.Connection, world: World, role_url: Callable[..., str]) -> Callable[[str], str]:
    """`url_of("router")`: the connection string of a service, or of the first tenant's read-only login."""
    name = f"inferhouse_sql_{world.own.organization[4:16]}"
    db.execute("select control.create_sql_login(%s, %s, 'of-the-tests')", [name, world.own.org_id])
    db.commit()
    return lambda login: role_url(name, "of-the-tests") if login == "read-only login" else role_url(f"inferhouse_{login}")


def _tables(db: psycopg.Connection) -> dict[str, list[str]]:
    """{schema.table: its columns} of every table and view of ours."""
    rows = db.execute(
        "select table_schema || '.' || table_name, array_agg(column_name::text order by ordinal_position)"
        " from information_schema.columns where table_schema = any(%s) group by 1 order by 1",
        [SCHEMAS],
    )
    return dict(rows.fetchall())


def _statement(verb: str, table: str, columns: list[str]) -> str:
    return {
        "s": f"select 1 from {table} limit 1",
        "i": f"insert into {table} default values",
        "u": f"update {table} set {columns[-1]} = default where false",
        "d": f"delete from {table} where false",
    }[verb]


def _may(conn: psycopg.Connection, statement: str) -> bool:
    """Whether the right is there: what a constraint refuses after that is another matter."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(statement.encode())
    except InsufficientPrivilege:
        return False
    except psycopg.IntegrityError:
        return True
    return True


def test_every_table_is_listed(db: psycopg.Connection) -> None:
    assert sorted(_tables(db)) == sorted(MAY)


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_may_do_what_is_listed_and_nothing_else(login: str, db: psycopg.Connection, url_of: Callable[[str], str]) -> None:
    tables, wrong = _tables(db), []
    with psycopg.connect(url_of(login), autocommit=True) as conn:
        conn.execute("set default_transaction_read_only = off")
        conn.execute("select set_config('inferhouse.platform', 'on', false)")
        for table, columns in tables.items():
            for verb in ALL:
                expected = verb in MAY[table].get(login, "")
                if _may(conn, _statement(verb, table, columns)) != expected:
                    wrong.append(f"{verb} on {table}: expected {expected}")
    assert wrong == []


MAY_LINES = {"raw.usage_events": "s", "findings.adjustments": "s"}


def test_the_query_of_a_line_is_run_by_who_reads_what_lines_rest_on_and_nothing_else(db: psycopg.Connection) -> None:
    db.commit()
    refused = r"permission denied|not allowed"
    for statement in ("select 1 from control.api_keys", "select ledger.draw(1, 1, 'x', now())", "set role inferhouse_owner"):
        with pytest.raises(psycopg.Error, match=refused), db.transaction():
            db.execute("select billing.run_line_query(%s)", [statement])
    tables = _tables(db)
    db.execute("set role inferhouse_lines")
    allowed = {table: "".join(v for v in ALL if _may(db, _statement(v, table, columns))) for table, columns in tables.items()}
    assert {table: verbs for table, verbs in allowed.items() if verbs} == MAY_LINES


OWN_AND_NO_TENANTS = {"prices", "discounts", "volume_tiers"}
"""The price book: a row of no organization, such as a list price, is everybody's to read; the platform alone writes."""


@pytest.fixture
def tables_of_tenants(db: psycopg.Connection, world: World, url_of: Callable[[str], str]) -> list[str]:
    """Every table of the control schema that has an organization in its rows, with rows of both tenants in each."""
    url_of("management")
    model = db.execute(
        "insert into control.models (name, context_tokens_max, output_tokens_max) values ('m', 10, 10) returning id"
    ).fetchone()
    assert model is not None
    for number, home in enumerate((world.own, world.foreign), start=1):
        db.execute(
            "insert into control.prices (model_id, org_id, input_picousd, cached_input_picousd, output_picousd, effective,"
            " reason) values (%s, %s, 1, 1, 1, '[2020-01-01 00:00+00,)', 'of one tenant')",
            [model[0], home.org_id],
        )
        db.execute(
            "insert into control.discounts (org_id, basis_points, months, reason) values (%s, 100, '[2026-01-01,)', 'of one')",
            [home.org_id],
        )
        db.execute(
            "insert into control.volume_tiers (model_id, org_id, token_class, above_quantity, basis_points, months, reason)"
            " values (%s, %s, 'input', 1, 100, '[2026-01-01,)', 'of one')",
            [model[0], home.org_id],
        )
        db.execute(
            "insert into control.audit_log (sequence, public_id, org_id, effective_at, event_type, actor_type, actor_id,"
            " target_id, previous_mac, mac) values (%s, %s, %s, now(), 'project.created', 'user', 'u', 't', %s, %s)",
            [number, f"audit_{number:012d}", home.org_id, b"\0" * 32, b"\0" * 32],
        )
    other = f"inferhouse_sql_{world.foreign.organization[4:16]}"
    db.execute("select control.create_sql_login(%s, %s, 'of-the-tests')", [other, world.foreign.org_id])
    db.commit()
    found = [name.removeprefix("control.") for name, columns in _tables(db).items() if "org_id" in columns]
    tables = [name for name in found if f"control.{name}" in MAY and name != "organizations"]
    homes = (world.own, world.foreign)
    empty = [(table, home.organization) for table in tables for home in homes if not _count(db, table, home.org_id)]
    db.commit()
    assert empty == [], "a table without rows here would pass every test"
    return tables


def _count(conn: psycopg.Connection, table: str, org_id: int) -> int:
    row = conn.execute(SQL("select count(*) from control.{} where org_id = %s").format(Identifier(table)), [org_id]).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def management(url_of: Callable[[str], str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url_of("management"), autocommit=True) as conn:
        yield conn


def _choose(conn: psycopg.Connection, org_id: int | None) -> None:
    conn.execute("select set_config('inferhouse.org_id', %s, false)", [str(org_id or "")])


def test_rows_of_another_organization_cannot_be_read(
    management: psycopg.Connection, tables_of_tenants: list[str], world: World
) -> None:
    for chosen, other in ((world.own, world.foreign), (world.foreign, world.own)):
        _choose(management, chosen.org_id)
        assert {table: _count(management, table, other.org_id) for table in tables_of_tenants} == dict.fromkeys(
            tables_of_tenants, 0
        )
        assert [table for table in tables_of_tenants if not _count(management, table, chosen.org_id)] == []
        names = [name for (name,) in management.execute("select public_id from control.organizations")]
        assert names == [chosen.organization]


def test_with_nothing_chosen_nothing_is_seen(management: psycopg.Connection, tables_of_tenants: list[str]) -> None:
    _choose(management, None)
    seen = {}
    for table in [*tables_of_tenants, "organizations"]:
        condition = SQL("where org_id is not null") if table in OWN_AND_NO_TENANTS else SQL("")
        row = management.execute(SQL("select count(*) from control.{} {}").format(Identifier(table), condition)).fetchone()
        seen[table] = row[0] if row else None
    assert seen == dict.fromkeys(seen, 0)


@pytest.mark.parametrize(
    "call",
    [
        "ledger.draw(%(org)s, 1, 'r', now())",
        "ledger.grant_credit(%(org)s, 1, 'prepaid', null, 'why', 'who', 'r')",
        "ledger.void_credit(%(org)s, 'credit_1', 'why', 'who')",
        "billing.draft_invoices('2026-03-01', 'who', %(org)s)",
    ],
)
def test_a_transaction_that_was_opened_for_nobody_moves_no_money(management: psycopg.Connection, world: World, call: str) -> None:
    with pytest.raises(InsufficientPrivilege, match="not opened for that"):  # no setting was ever made in this session
        management.execute(f"select {call}", {"org": world.own.org_id})  # type: ignore[arg-type]


def test_rows_of_another_organization_cannot_be_changed_or_deleted(
    management: psycopg.Connection, tables_of_tenants: list[str], world: World
) -> None:
    _choose(management, world.own.org_id)
    touched = {}
    for table in tables_of_tenants:
        for verb, statement in (
            ("u", "update control.{} set org_id = org_id where org_id = %s"),
            ("d", "delete from control.{} where org_id = %s"),
        ):
            if verb not in MAY[f"control.{table}"]["management"]:
                continue
            with management.transaction(force_rollback=True):
                done = management.execute(SQL(statement).format(Identifier(table)), [world.foreign.org_id])  # type: ignore[arg-type]
                touched[table, verb] = done.rowcount
    assert len(touched) >= 16
    assert touched == dict.fromkeys(touched, 0)


def test_rows_cannot_be_given_to_another_organization(
    db: psycopg.Connection, management: psycopg.Connection, tables_of_tenants: list[str], world: World
) -> None:
    _choose(management, world.own.org_id)
    let_in = []
    for table in tables_of_tenants:
        if table in OWN_AND_NO_TENANTS:  # no organization writes the price book, not even its own part
            continue
        row = _row(db, table, world.foreign.org_id)
        insert = SQL(
            "insert into control.{0} overriding system value select (jsonb_populate_record(null::control.{0}, %s)).*"
        ).format(Identifier(table))
        move = SQL("update control.{} set org_id = %s where org_id = %s").format(Identifier(table))
        rights = MAY[f"control.{table}"]["management"]
        if "i" in rights and _may_write(management, insert, [row]):
            let_in.append(f"insert into {table}")
        if "u" in rights and _may_write(management, move, [world.foreign.org_id, world.own.org_id]):
            let_in.append(f"update {table}")
    assert let_in == []


def _row(db: psycopg.Connection, table: str, org_id: int) -> str:
    query = SQL("select to_jsonb(t)::text from control.{} as t where org_id = %s limit 1").format(Identifier(table))
    row = db.execute(query, [org_id]).fetchone()
    db.commit()
    assert row is not None
    return str(row[0])


def _may_write(conn: psycopg.Connection, statement: Any, values: list[Any]) -> bool:
    """Row-level security answers before constraints do: any other error means that the row would have been let in."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(statement, values)
    except InsufficientPrivilege:
        return False
    except psycopg.IntegrityError:
        return True
    return True


def test_prices_are_written_by_the_platform_only(
    management: psycopg.Connection, tables_of_tenants: list[str], world: World
) -> None:
    _choose(management, world.own.org_id)
    for org_id in (None, world.own.org_id, world.foreign.org_id):
        with pytest.raises(InsufficientPrivilege):
            management.execute(
                "insert into control.prices (model_id, org_id, input_picousd, cached_input_picousd, output_picousd, effective,"
                " reason) values (1, %s, 1, 1, 1, '[2020-01-01 00:00+00,)', 'x')",
                [org_id],
            )
    for change in ("prices set input_picousd = 0", "volume_tiers set basis_points = 1"):
        assert management.execute(f"update control.{change} where org_id is null".encode()).rowcount == 0
    tier = "model_id, token_class, above_quantity"
    for insert in (
        "discounts (org_id, basis_points, months, reason) values (%s, 100, '[2027-01-01,)', 'x')",
        f"volume_tiers (org_id, basis_points, months, reason, {tier}) values (%s, 1, '[2027-01-01,)', 'x', 1, 'output', 1)",
    ):
        with pytest.raises(InsufficientPrivilege):
            management.execute(f"insert into control.{insert}".encode(), [world.own.org_id])
    assert tables_of_tenants
