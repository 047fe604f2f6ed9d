"""Assets, checks, jobs, sensor and schedules, put together over one warehouse."""

import os

import dagster as dg

from orchestration.defs.billing.assets import draft_certificate
from orchestration.defs.billing.checks import draft_lines_add_up
from orchestration.defs.billing.credits import expire_credits
from orchestration.defs.forecast.assets import spend_forecast
from orchestration.defs.outbox.outlet import outlet_of
from orchestration.defs.outbox.sensors import delivery_sensors, watch_budgets
from orchestration.defs.transform.assets import dbt_models, tables_of
from orchestration.defs.transform.project import DBT, QuickDbt, dbt_project, version_of_models
from orchestration.defs.transform.sensors import refresh_sensor
from orchestration.defs.upkeep.ops import upkeep
from orchestration.resources import Warehouse
from orchestration.settings import DBT_PROJECT, OrchestrationSettings

# Runs with this tag write the marts: dagster.yaml lets one of them run at a time.
WRITES_MARTS = {"inferhouse/writes": "marts"}


def build(settings: OrchestrationSettings) -> dg.Definitions:
    """All definitions over one warehouse."""
    os.environ.update(settings.dbt_environment())  # dbt runs as a child process and reads its profile from there
    project = dbt_project(settings)
    models = dbt_models(project)
    refresh = dg.define_asset_job(
        "refresh_marts",
        selection=dg.AssetSelection.assets(*tables_of(models)).without_checks(),
        tags=WRITES_MARTS,
        executor_def=dg.in_process_executor,
        description="Brings the marts up to date with new rows. Started by the sensor; no tests, no views: it is quick.",
    )
    whole = dg.define_asset_job(
        "build_marts",
        selection=dg.AssetSelection.assets(models).without_checks(),
        tags=WRITES_MARTS,
        executor_def=dg.in_process_executor,
        description="Makes views and tables: the first time, and when the models have changed.",
    )
    verify = dg.define_asset_job(
        "verify_marts",
        selection=dg.AssetSelection.assets(*tables_of(models), draft_certificate)
        | dg.AssetSelection.checks_for_assets(models)
        | dg.AssetSelection.checks(draft_lines_add_up),
        tags=WRITES_MARTS,
        executor_def=dg.in_process_executor,
        description="Brings the marts up to date, runs every dbt test and the billing gate, and certifies the drafts.",
    )
    forecast = dg.define_asset_job(
        "forecast_spend",
        selection=dg.AssetSelection.assets(spend_forecast),
        executor_def=dg.in_process_executor,
        description="Expected spend of the next two weeks.",
    )
    running = dg.DefaultScheduleStatus.RUNNING
    return dg.Definitions(
        assets=[models, spend_forecast, draft_certificate],
        asset_checks=[draft_lines_add_up],
        jobs=[refresh, whole, verify, forecast, expire_credits, upkeep],
        sensors=[
            refresh_sensor(refresh=refresh, build=whole, others=["verify_marts"], version=version_of_models()),
            *delivery_sensors(outlet_of(settings)),
            watch_budgets,
        ],
        schedules=[
            dg.ScheduleDefinition(job=verify, cron_schedule="7 * * * *", default_status=running),
            dg.ScheduleDefinition(job=forecast, cron_schedule="23 0 * * *", execution_timezone="UTC", default_status=running),
            dg.ScheduleDefinition(
                job=expire_credits, cron_schedule="11 0 * * *", execution_timezone="UTC", default_status=running
            ),
            dg.ScheduleDefinition(job=upkeep, cron_schedule="41 3 * * *", execution_timezone="UTC", default_status=running),
        ],
        resources={
            "warehouse": Warehouse(database_url=settings.database_url.get_secret_value()),
            "dbt": QuickDbt(project_dir=project, profiles_dir=str(DBT_PROJECT), dbt_executable=str(DBT)),
        },
    )
