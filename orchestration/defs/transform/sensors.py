"""When the marts are built: soon after rows have come, and now and then when none have."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from orchestration.resources import RefreshNeed, Warehouse

AssetJob = Any  # what define_asset_job makes; Dagster does not export its type
TICK_S = 5
IDLE_REFRESH = timedelta(minutes=15)  # so that "complete to" moves on while nobody asks anything
PAUSE_AFTER_FAILURE = timedelta(seconds=60)
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]  # fmt: skip


def refresh_sensor(*, refresh: AssetJob, build: AssetJob, others: Sequence[str], version: str) -> dg.SensorDefinition:
    """A sensor that asks for one of two jobs when it is needed.

    Args: refresh: brings tables up to date.  build: makes views too: first of all, when `version` of the models is a new one
        (the cursor is the last one built), and after a failure, whose reason may be a view that is not there.
        others: jobs that write the same tables; nothing is asked for while one of them runs.
    """

    @dg.sensor(
        name="refresh_when_rows_arrive",
        jobs=[refresh, build],
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Builds the marts when raw rows have been committed that they do not have.",
    )
    def sensor(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
        if any(_under_way(context.instance, name) for name in (refresh.name, build.name, *others)):
            return dg.SkipReason("a run is under way; what has come since is seen when it is done")
        failed_at = max(filter(None, (_failed_at(context.instance, name) for name in (refresh.name, build.name))), default=None)
        if failed_at is not None and datetime.now(UTC) - failed_at < PAUSE_AFTER_FAILURE:
            return dg.SkipReason(f"the last run failed; the next one starts {PAUSE_AFTER_FAILURE.seconds} s after it")
        need = warehouse.refresh_need()
        why = _why(need, new_models=context.cursor != version)
        if why is None:
            return dg.SkipReason("no new rows")
        whole = not need.built or context.cursor != version or failed_at is not None
        request = dg.RunRequest(job_name=build.name if whole else refresh.name, tags={"inferhouse/why": why})
        return dg.SensorResult(run_requests=[request], cursor=version)

    return sensor


def _why(need: RefreshNeed, *, new_models: bool) -> str | None:
    reasons = {
        "the marts have never been built": not need.built,
        "the models have changed": new_models,
        "new rows": need.new_rows,
        "the last run did not finish": need.unfinished,
        "nothing new": need.computed_at is not None and datetime.now(UTC) - need.computed_at > IDLE_REFRESH,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _under_way(instance: dg.DagsterInstance, job_name: str) -> bool:
    return bool(instance.get_run_records(dg.RunsFilter(job_name=job_name, statuses=UNDER_WAY), limit=1))


def _failed_at(instance: dg.DagsterInstance, job_name: str) -> datetime | None:
    for record in instance.get_run_records(dg.RunsFilter(job_name=job_name), limit=1):
        if record.dagster_run.status is dg.DagsterRunStatus.FAILURE:
            return record.update_timestamp.astimezone(UTC)
    return None
