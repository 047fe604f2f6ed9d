"""The close of a month: real dbt, real Dagster runs, the real gate, and a fault planted for each of its checks."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from orchestration.assembly import build
from orchestration.defs.billing import closing
from orchestration.defs.billing.gate import Verdict, examine
from orchestration.defs.billing.parity import differences
from orchestration.pricing import reprice
from orchestration.resources import Warehouse
from orchestration.settings import OrchestrationSettings
from tests.factories import START, add_model, add_tenant, copy_events, month_of_events, usage_event

# Great Expectations and what it imports use what Python and pandas are about to remove.
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning", "UserWarning")]
MARCH = date(2026, 3, 1)


@pytest.fixture
def defs(role_url: Callable[..., str], dbt_target: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    settings = OrchestrationSettings.from_env({
        "ORCHESTRATION_DATABASE_URL": role_url("inferhouse_transform"),
        "ORCHESTRATION_DAGSTER_DATABASE_URL": role_url("inferhouse_dagster"),
        "ORCHESTRATION_DBT_TARGET_DIR": str(dbt_target),
    })  # fmt: skip
    for name, value in settings.dbt_environment().items():
        monkeypatch.setenv(name, value)
    return build(settings)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def conn(role_url: Callable[..., str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(role_url("inferhouse_transform")) as connection:
        yield connection


@pytest.fixture
def repriced(role_url: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """`inferhouse reprice --apply` for March, with further options."""

    def run(*options: str) -> None:
        why = ["--reason", "of unknown cost", "--author", "ann@example.org", "--database-url", role_url("inferhouse_transform")]
        assert reprice.main(["--from", "2026-03", "--apply", *why, *options]) == 0
        capsys.readouterr()

    return run


def _job(defs: dg.Definitions, instance: dg.DagsterInstance, name: str, **run: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(name).execute_in_process(instance=instance, **run)


def _close(defs: dg.Definitions, instance: dg.DagsterInstance) -> str:
    """Close March; what the check says."""
    result = _job(defs, instance, "close_month", partition_key="2026-03-01")
    assert result.success
    (evaluation,) = result.get_asset_check_evaluations()
    return str(evaluation.description)


def _states(db: psycopg.Connection) -> dict[str, str]:
    """{organization: status of its invoice}."""
    rows = db.execute(
        "select o.public_id, i.status from billing.invoices as i join control.organizations as o on o.id = i.org_id"
    ).fetchall()
    db.commit()
    return dict(rows)


def test_a_month_closes_for_everybody_but_the_one_with_a_fault_and_for_that_one_once_it_is_mended(
    db: psycopg.Connection,
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    conn: psycopg.Connection,
    repriced: Callable[..., None],
) -> None:
    good, bad, model = add_tenant(db, "Asia/Kolkata"), add_tenant(db), add_model(db, "m")
    copy_events(db, month_of_events([good, bad], model, 300))
    assert _job(defs, instance, "build_marts").success
    # A charged row without a price: quarantined, and no invoice without it.
    copy_events(db, [usage_event(bad, 10**6, START, model_id=model[0], input_tokens=10)])
    assert _job(defs, instance, "refresh_marts").success
    said = _close(defs, instance)
    assert _states(db) == {good.organization: "final", bad.organization: "draft"}
    assert bad.organization in said
    assert "1 rows are quarantined" in said
    assert "`inferhouse reprice --from 2026-03 --to 2026-03 --apply" in said
    told = db.execute("select event_type, data ->> 'words' from control.outbox_events order by id").fetchall()
    assert [name for name, _ in told] == ["invoice.blocked", "invoice.finalized"]
    assert "1 rows are quarantined" in told[0][1]
    assert closing.months_to_close(conn, 3) == [MARCH]
    conn.commit()
    repriced()
    assert _words(conn) == "1 adjustments of re-pricing are not on the draft: draft again"
    assert _close(defs, instance) == "every draft passes"
    assert _states(db) == {good.organization: "final", bad.organization: "final"}
    assert closing.months_to_close(conn, 3) == []
    passed = db.execute(
        "select bool_and(c.passed and c.invoice_digest = i.digest), min(jsonb_array_length(c.checks))"
        " from billing.invoices as i join billing.certificates as c on c.id = i.certificate_id"
    ).fetchone()
    assert passed == (True, 8)
    assert db.execute("select subtotal_picousd from billing.invoice_lines where adjusts = 'price'").fetchall() == [(1000,)]


def test_a_row_without_counts_opens_the_gate_by_a_decision_only_and_the_next_one_closes_it(
    db: psycopg.Connection,
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    conn: psycopg.Connection,
    repriced: Callable[..., None],
) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    uncounted = {"model_id": model[0], "token_source": "none"}
    copy_events(db, [*month_of_events([tenant], model, 50), usage_event(tenant, 10**6, START, **uncounted)])
    assert _job(defs, instance, "build_marts").success
    # Decided before the marts have it: it makes up for no other row.
    copy_events(db, [usage_event(tenant, 10**6 + 1, START, model_id=model[0], input_tokens=10)])
    repriced()
    closing.draft(conn, MARCH)
    conn.commit()
    assert "1 rows are quarantined" in _words(conn)
    repriced("--unmetered")
    repriced("--unmetered")
    assert _words(conn) == "", "it costs nothing, so that nothing is missing on the draft"
    copy_events(db, [usage_event(tenant, 10**6 + 2, START, **uncounted)])
    assert _job(defs, instance, "refresh_marts").success
    assert "1 rows are quarantined" in _close(defs, instance)
    repriced()
    assert "1 rows are quarantined" in _close(defs, instance)
    repriced("--unmetered")
    assert _close(defs, instance) == "every draft passes"
    assert _states(db) == {tenant.organization: "final"}
    assert db.execute("select rows_quarantined from marts.completeness").fetchall() == [(3,)], "raw rows stay as they are"


def test_who_has_only_rows_of_unknown_cost_is_billed_what_is_decided_about_them(
    db: psycopg.Connection,
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    conn: psycopg.Connection,
    repriced: Callable[..., None],
) -> None:
    other, tenant, model = add_tenant(db), add_tenant(db), add_model(db, "m")
    copy_events(db, [*month_of_events([other], model, 50), usage_event(tenant, 10**6, START, model_id=model[0], input_tokens=10)])
    assert _job(defs, instance, "build_marts").success
    assert _close(defs, instance) == "every draft passes"
    assert _states(db) == {other.organization: "final"}, "nothing is known of what it costs"
    assert closing.months_to_close(conn, 3) == []
    conn.commit()
    repriced()
    assert closing.months_to_close(conn, 3) == [MARCH]
    conn.commit()
    assert _close(defs, instance) == "every draft passes"
    assert _states(db) == {other.organization: "final", tenant.organization: "final"}
    lines = "select adjusts, subtotal_picousd from billing.invoice_lines where org_id = %s"
    assert db.execute(lines.encode(), [tenant.org_id]).fetchall() == [("price", 1000)]
    assert closing.months_to_close(conn, 3) == []
    conn.commit()
    assert closing.draft(conn, MARCH) == {}


def _words(conn: psycopg.Connection) -> str:
    """What the gate says about the drafts of March."""
    verdicts = examine(conn, closing.drafts_of(conn, MARCH), differences)
    conn.commit()
    return "; ".join(word for verdict in verdicts for word in verdict.words)


def _planted(conn: psycopg.Connection, monkey: Callable[[psycopg.Connection, date], Mapping[int, int]] = differences) -> Verdict:
    drafts = closing.drafts_of(conn, MARCH)
    (verdict,) = examine(conn, drafts, monkey)
    return verdict


EMPTY = """
alter table marts.{0} rename to was_{0};
create table marts.{0} as select * from marts.was_{0} where false;
"""
FAULTS = {
    "parity": (
        ("update intermediate.int_invoice_lines set quantity = quantity + 1, subtotal_picousd = subtotal_picousd + 100"
        " where token_class = 'input'"), "dbt and the second pricing engine differ",
    ),
    "completeness": (
        "update marts.completeness set complete_to = '2026-03-31 23:59:59+00'", "rows are complete to 2026-03-31",
    ),
    "prices": (
        ("update intermediate.int_usage_quarter_hours set rows_unpriced = 2 where quarter_hour_at"
        " = (select min(quarter_hour_at) from intermediate.int_usage_quarter_hours)"), "2 rows are quarantined",
    ),
    "sums": (
        "update billing.invoices set amount = amount + 1, total = total + 1, due = due + 1", "differ by 1.00 USD",
    ),
    "sums of lines": ("update billing.invoices set subtotal_picousd = subtotal_picousd + 7", "differ by 7 pico-dollars"),
    "sums of rows": (
        ("update intermediate.int_usage_quarter_hours set cost_picousd = cost_picousd + 5 where quarter_hour_at"
        " = (select min(quarter_hour_at) from intermediate.int_usage_quarter_hours)"),
        "lines and recorded costs of their rows differ by 5 pico-dollars",
    ),
    "prices and digests of lines": (
        "update billing.invoice_lines set row_set_digest = null, unit_price_picousd = null where token_class = 'output'",
        "1 lines have no price: draft again; 1 lines have no digest, since not all rows are there",
    ),
    "days": (
        "update marts.usage_daily set cost_picousd = cost_picousd + 5 where day_utc = '2026-03-10'",
        "days and month differ by 5",
    ),
    "reconciliation": (
        EMPTY.format("reconciliation_daily") + "insert into marts.reconciliation_daily (day_utc, engine, status, is_settled)"
        " values ('2026-03-10', 'e', 'drift', true)",
        "rows and engine counters do not agree: e on 2026-03-10 (drift)",
    ),
    "late counters": (
        EMPTY.format("reconciliation_daily") + "insert into marts.reconciliation_daily (day_utc, engine, status, is_settled)"
        " values ('2026-03-10', 'e', 'ok', false)",
        "its counters are not settled yet",
    ),
    "hours": (
        EMPTY.format("engine_hourly") + "insert into marts.engine_hourly"
        " (hour_utc, engine, input_tokens, output_tokens, usage_rows) values ('2026-03-10 10:00+00', 'e', 7, 0, 0)",
        "hours without a row: 2026-03-10 10:00Z on e (7 tokens)",
    ),
    "draft": ("update billing.invoices set digest = sha256('other')", "the draft is not what its digest says"),
}  # fmt: skip
"""{check: (what is planted, words that say what to do)}. Done as the owner, and taken back after the look."""


def test_each_planted_fault_closes_the_gate_and_says_what_to_do(
    db: psycopg.Connection, defs: dg.Definitions, instance: dg.DagsterInstance, conn: psycopg.Connection
) -> None:
    copy_events(db, month_of_events([add_tenant(db)], add_model(db, "m"), 200))
    assert _job(defs, instance, "build_marts").success
    closing.draft(conn, MARCH)
    conn.commit()
    assert _planted(conn).passed, _planted(conn).words
    conn.commit()
    for check, (fault, words) in FAULTS.items():
        db.execute(fault.encode())
        verdict = _look_as_owner(db)
        db.rollback()
        assert not verdict.passed, check
        assert words in "; ".join(verdict.words), (check, verdict.words)
    db.execute("alter table marts.engine_hourly rename to gone")
    verdict = _look_as_owner(db)
    db.rollback()
    assert "marts.engine_hourly is not there" in "; ".join(verdict.words)
    assert closing.finalize(conn, closing.drafts_of(conn, MARCH)).finalized, "what was refused was taken back with its fault"


def _look_as_owner(db: psycopg.Connection) -> Verdict:
    """In the transaction of the fault, so that it goes with it."""
    return _planted(db)


def test_the_schedule_waits_for_the_grace_and_the_sensor_for_drafts(
    db: psycopg.Connection,
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    conn: psycopg.Connection,
    role_url: Callable[..., str],
) -> None:
    tenant, model = add_tenant(db, "America/New_York"), add_model(db, "m")
    now = datetime.now(UTC)
    priced = {"model_id": model[0], "price_id": model[1], "input_tokens": 1, "cost_picousd": 100}
    copy_events(db, [usage_event(tenant, 1, START + timedelta(days=2), **priced), usage_event(tenant, 2, now, **priced)])
    assert _job(defs, instance, "build_marts").success
    assert closing.months_to_close(conn, 3) == [MARCH], "the running month is not over"
    age = (now - datetime(2026, 4, 1, 4, tzinfo=UTC)).days
    assert closing.months_to_close(conn, age + 1) == []
    sensor = defs.resolve_sensor_def("certify_new_drafts")
    warehouse = Warehouse(database_url=role_url("inferhouse_transform"))
    with dg.build_sensor_context(instance=instance, resources={"warehouse": warehouse}, definitions=defs) as context:
        assert "no draft waits" in str(sensor.evaluate_tick(context).skip_message)
        closing.draft(conn, MARCH)
        conn.commit()
        (request,) = sensor.evaluate_tick(context).run_requests or ()
        assert _job(defs, instance, "certify_drafts", run_config=request.run_config).success
        assert "no draft waits" in str(sensor.evaluate_tick(context).skip_message)
    assert db.execute("select passed from billing.certificates").fetchall() == [(True,)]
