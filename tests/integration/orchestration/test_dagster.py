"""Real Dagster jobs, with real dbt, on a real database."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from orchestration.assembly import build
from orchestration.defs.transform.assets import TABLE
from orchestration.defs.transform.project import version_of_models
from orchestration.jobs.forecast import DAYS_AHEAD, TESTED_DAYS_AHEAD
from orchestration.resources import Warehouse
from orchestration.settings import OrchestrationSettings
from tests.factories import (
    START,
    Tenant,
    add_engine,
    add_model,
    add_tenant,
    copy_events,
    engine_sample,
    month_of_events,
    usage_event,
)
from warehouse.access import engine_samples

# Great Expectations and what it imports use what Python and pandas are about to remove.
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning", "UserWarning")]


VIEWS = {
    f"marts/{name}" for name in ("requests", "organizations", "projects", "api_keys", "users", "models", "engines", "prices")
}


@pytest.fixture
def settings(role_url: Callable[..., str], dbt_target: Path, monkeypatch: pytest.MonkeyPatch) -> OrchestrationSettings:
    env = {
        "ORCHESTRATION_DATABASE_URL": role_url("inferhouse_transform"),
        "ORCHESTRATION_DAGSTER_DATABASE_URL": role_url("inferhouse_dagster"),
        "ORCHESTRATION_DBT_TARGET_DIR": str(dbt_target),
    }
    settings = OrchestrationSettings.from_env(env)
    for name, value in settings.dbt_environment().items():
        monkeypatch.setenv(name, value)  # taken back after the test, whatever `build` does
    return settings


@pytest.fixture
def defs(settings: OrchestrationSettings) -> dg.Definitions:
    return build(settings)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def tenant(db: psycopg.Connection) -> Tenant:
    tenant = add_tenant(db)
    copy_events(db, month_of_events([tenant], add_model(db, "m"), 300))
    return tenant


def _tick(defs: dg.Definitions, instance: dg.DagsterInstance, settings: OrchestrationSettings, cursor: str) -> str:
    """What the sensor decides: which job and why, or why none."""
    sensor = defs.resolve_sensor_def("refresh_when_rows_arrive")
    warehouse = Warehouse(database_url=settings.database_url.get_secret_value())
    context = dg.build_sensor_context(instance=instance, resources={"warehouse": warehouse}, definitions=defs, cursor=cursor)
    data = sensor.evaluate_tick(context)
    if data.run_requests:
        assert data.cursor == version_of_models()
        (request,) = data.run_requests
        return f"{request.job_name}: {request.tags['inferhouse/why']}"
    return str(data.skip_message)


def test_rows_are_in_the_marts_after_the_sensors_run(
    db: psycopg.Connection, tenant: Tenant, defs: dg.Definitions, instance: dg.DagsterInstance, settings: OrchestrationSettings
) -> None:
    now = version_of_models()
    assert _tick(defs, instance, settings, "") == "build_marts: the marts have never been built"
    assert defs.resolve_job_def("build_marts").execute_in_process(instance=instance).success
    assert db.execute("select sum(usage_rows) from marts.usage_hourly").fetchone() == (300,)
    assert _tick(defs, instance, settings, now) == "no new rows"
    assert _tick(defs, instance, settings, "of yesterday's models") == "build_marts: the models have changed"
    model = db.execute("select id from control.models").fetchone()
    assert model is not None
    copy_events(db, [usage_event(tenant, 10**6, START, model_id=model[0], cost_picousd=0)])
    assert _tick(defs, instance, settings, now) == "refresh_marts: new rows"
    view = "select 'marts.requests'::regclass::oid"
    before = db.execute(view).fetchone()
    assert defs.resolve_job_def("refresh_marts").execute_in_process(instance=instance).success
    assert db.execute("select sum(usage_rows) from marts.usage_hourly").fetchone() == (301,)
    assert db.execute(view).fetchone() == before, "a view that people read was made anew"


def test_an_engine_that_drifts_is_told_to_whoever_runs_the_platform_once_a_day(
    db: psycopg.Connection, tenant: Tenant, settings: OrchestrationSettings, instance: dg.DagsterInstance
) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    model = db.execute("select id from control.models").fetchone()
    assert model is not None
    engine = add_engine(db, "gpu-1", model[0])
    # Somebody calls the engine itself.
    counted = [engine_sample(engine, today - timedelta(hours=5 - n), prompt_tokens=1000 * n) for n in range(2)]
    engine_samples.add(db, counted)
    db.commit()
    defs = build(settings.model_copy(update={"operator_organization": tenant.organization}))
    assert defs.resolve_job_def("build_marts").execute_in_process(instance=instance).success
    for _ in range(2):
        refreshed = defs.resolve_job_def("refresh_service_marts").execute_in_process(instance=instance)
        assert refreshed.success, "a difference stops nothing"
        checks = {check.check_name: check for check in refreshed.get_asset_check_evaluations()}
        assert {name: check.passed for name, check in checks.items()} == {
            "engines_agree_with_rows": False,
            "engines_are_sampled": False,
        }
    assert "+1000 input and +0 output tokens that rows do not have" in str(checks["engines_agree_with_rows"].description)
    assert "no reading for five minutes of gpu-1" in str(checks["engines_are_sampled"].description)
    events = db.execute("select org_id, data ->> 'engine', data ->> 'input_tokens_unexplained' from control.outbox_events")
    assert events.fetchall() == [(tenant.org_id, "gpu-1", "1000")]
    db.commit()
    assert defs.resolve_job_def("verify_service_marts").execute_in_process(instance=instance).success


def test_the_refresh_of_usage_waits_for_no_mart_of_service(defs: dg.Definitions, settings: OrchestrationSettings) -> None:
    quick = {key.to_user_string() for key in defs.resolve_job_def("refresh_marts").asset_layer.selected_asset_keys}
    service = {key.to_user_string() for key in defs.resolve_job_def("refresh_service_marts").asset_layer.selected_asset_keys}
    assert {"intermediate/int_latency_hours", "marts/engine_hourly", "marts/reconciliation_daily"} <= service
    assert quick & service == set()
    warehouse = Warehouse(database_url=settings.database_url.get_secret_value())
    schedule = defs.resolve_schedule_def("refresh_service_marts_schedule")
    with dg.build_schedule_context(resources={"warehouse": warehouse}) as context:
        assert schedule.evaluate_tick(context).skip_message == "the marts have never been built"


def test_the_forecast_is_written_for_each_organization(
    db: psycopg.Connection, tenant: Tenant, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    assert defs.resolve_job_def("build_marts").execute_in_process(instance=instance).success
    assert defs.resolve_job_def("forecast_spend").execute_in_process(instance=instance).success
    rows = db.execute("select org_id, count(*), min(days_of_history) from marts.spend_forecast group by 1").fetchall()
    assert [(row[0], row[1]) for row in rows] == [(tenant.org_id, DAYS_AHEAD)]
    assert db.execute("select count(*) from findings.forecast_backtests").fetchone() == (TESTED_DAYS_AHEAD,)


def test_every_mart_has_a_description_and_an_owner(defs: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    marts = {key: spec for key, spec in specs.items() if spec.group_name == "marts"}
    assert {
        "marts/usage_hourly",
        "marts/usage_daily",
        "marts/invoice_lines",
        "marts/completeness",
        "marts/spend_forecast",
        "marts/latency_hourly",
        "marts/engine_hourly",
        "marts/reconciliation_daily",
    } <= set(marts)
    for key, spec in marts.items():
        assert spec.description, key
        assert spec.owners, key


def test_every_asset_says_whose_it_is_what_it_is_and_where_its_columns_come_from(defs: dg.Definitions) -> None:
    specs = list(defs.resolve_all_asset_specs())
    made = [spec for spec in specs if spec.group_name in {"staging", "intermediate", "marts", "findings"}]
    assert len(made) > 40
    for spec in made:
        key = spec.key.to_user_string()
        assert spec.freshness_policy is not None or TABLE not in spec.tags, key
        assert spec.description, key
        assert spec.owners, key
        if "dbt" in spec.kinds:  # the others are made by Polars, each column of all that it read
            lineage = spec.metadata["dagster/column_lineage"]
            columns = getattr(lineage, "value", lineage).deps_by_column
            assert columns or key.endswith("_horizon"), key


def test_a_cell_of_an_invoice_leads_back_to_the_columns_of_raw_rows(defs: dg.Definitions) -> None:
    lineages = {
        spec.key: getattr(
            spec.metadata["dagster/column_lineage"], "value", spec.metadata["dagster/column_lineage"]
        ).deps_by_column
        for spec in defs.resolve_all_asset_specs()
        if "dagster/column_lineage" in spec.metadata
    }

    def origins(key: dg.AssetKey, column: str) -> set[tuple[str, str]]:
        deps = lineages.get(key, {}).get(column, [])
        further = [origins(dep.asset_key, dep.column_name) for dep in deps]
        return {(key.to_user_string(), column)} if not deps else set().union(*further)

    found = origins(dg.AssetKey(["marts", "invoice_lines"]), "subtotal_picousd")
    counted = {column for table, column in found if table == "router/usage_events"}
    assert {"input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"} <= counted, found
    assert ("control/prices", "output_picousd") in found, found
