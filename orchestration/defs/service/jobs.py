"""When the marts of service are built: every five minutes, beside those of usage."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from orchestration.defs.transform.assets import tables_of
from orchestration.resources import Warehouse

Job = Any  # what define_asset_job makes; Dagster does not export its type
# Runs with this tag write the marts of service: dagster.yaml lets one of them run at a time.
WRITES_SERVICE_MARTS = {"inferhouse/writes": "service_marts"}
TIMES = {"refresh_service_marts": "*/5 * * * *", "verify_service_marts": "37 * * * *"}


def service_jobs(models: dg.AssetsDefinition, checks: Sequence[dg.AssetChecksDefinition]) -> list[Job]:
    """Two jobs: what is quick, and what reads the marts whole."""
    tables, own_checks = dg.AssetSelection.assets(*tables_of(models)), dg.AssetSelection.checks(*checks)
    refresh = dg.define_asset_job(
        "refresh_service_marts",
        selection=tables.without_checks() | own_checks,
        tags=WRITES_SERVICE_MARTS,
        executor_def=dg.in_process_executor,
        description="Latencies, engines, and rows against engines' counters: brings the marts of service up to date.",
    )
    verify = dg.define_asset_job(
        "verify_service_marts",
        selection=tables | dg.AssetSelection.checks_for_assets(models),
        tags=WRITES_SERVICE_MARTS,
        executor_def=dg.in_process_executor,
        description="Brings the marts of service up to date and runs every dbt test on them.",
    )
    return [refresh, verify]


def service_schedules(jobs: Sequence[Job]) -> list[dg.ScheduleDefinition]:
    """The refresh every five minutes, so that it costs little while nothing happens; the tests every hour."""
    return [_schedule(job) for job in jobs]


def _schedule(job: Job) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{job.name}_schedule", job=job, cron_schedule=TIMES[job.name], default_status=dg.DefaultScheduleStatus.RUNNING
    )
    def schedule(warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
        # The views beneath are made by `build_marts`, which the sensor of usage asks for first of all.
        if not warehouse.service_marts_are_built():
            return dg.SkipReason("the marts have never been built")
        return dg.RunRequest()

    return schedule
