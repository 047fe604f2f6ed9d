"""Assets, checks, jobs, sensor and schedules, put together over one warehouse."""

import os

import dagster as dg

from orchestration.defs.archive.jobs import archive_definitions
from orchestration.defs.billing.credits import expire_credits
from orchestration.defs.billing.definitions import billing_definitions
from orchestration.defs.findings.definitions import findings_definitions
from orchestration.defs.outbox.outlet import outlet_of
from orchestration.defs.outbox.sensors import delivery_sensors, watch_budgets
from orchestration.defs.service.checks import engines_agree_with_rows, engines_are_sampled
from orchestration.defs.service.jobs import service_jobs, service_schedules
from orchestration.defs.service.sensors import sample_engines_sensor
from orchestration.defs.transform.assets import dbt_models, dbt_service_models, tables_of
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
    service_models = dbt_service_models(project)
    service_checks = [engines_agree_with_rows(settings.operator_organization), engines_are_sampled]
    service = service_jobs(service_models, service_checks)
    refresh = dg.define_asset_job(
        "refresh_marts",
        selection=dg.AssetSelection.assets(*tables_of(models)).without_checks(),
        tags=WRITES_MARTS,
        executor_def=dg.in_process_executor,
        description="Brings the marts up to date with new rows. Started by the sensor; no tests, no views: it is quick.",
    )
    whole = dg.define_asset_job(
        "build_marts",
        selection=dg.AssetSelection.assets(models, service_models).without_checks(),
        tags=WRITES_MARTS,
        executor_def=dg.in_process_executor,
        description="Makes views and tables: the first time, and when the models have changed.",
    )
    verify = dg.define_asset_job(
        "verify_marts",
        selection=dg.AssetSelection.assets(*tables_of(models)) | dg.AssetSelection.checks_for_assets(models),
        tags=WRITES_MARTS,
        executor_def=dg.in_process_executor,
        description="Brings the marts up to date and runs every dbt test.",
    )
    running = dg.DefaultScheduleStatus.RUNNING
    own = dg.Definitions(
        assets=[models, service_models],
        asset_checks=service_checks,
        jobs=[refresh, whole, verify, expire_credits, upkeep, *service],
        sensors=[
            refresh_sensor(refresh=refresh, build=whole, others=["verify_marts"], version=version_of_models()),
            *delivery_sensors(outlet_of(settings)),
            watch_budgets,
            sample_engines_sensor,
        ],
        schedules=[
            dg.ScheduleDefinition(job=verify, cron_schedule="7 * * * *", default_status=running),
            *service_schedules(service),
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
    return dg.Definitions.merge(
        own,
        billing_definitions(settings),
        findings_definitions(settings),
        archive_definitions(settings.archive_url, settings.archive_options, settings.raw_days_kept),
    )
