"""When the marts are built: soon after rows have come, and now and then when none have."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.resources import Warehouse

TICK_S = 5
IDLE_REFRESH = timedelta(minutes=15)  # so that "complete to" moves on while nobody asks anything
PAUSE_AFTER_FAILURE = timedelta(seconds=60)
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]  # fmt: skip


def refresh_sensor(job_name: str, runs_of_marts: list[str]) -> dg.SensorDefinition:
    """A sensor that asks for the job when it is needed. `runs_of_marts`: jobs that build the same tables."""

    @dg.sensor(
        name="refresh_when_rows_arrive",
        job_name=job_name,
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Builds the marts when raw rows have been committed that they do not have.",
    )
    def sensor(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
        if any(_under_way(context.instance, name) for name in runs_of_marts):
            return dg.SkipReason("a run is under way; what has come since is seen when it is done")
        failed_at = _failed_at(context.instance, job_name)
        if failed_at is not None and datetime.now(UTC) - failed_at < PAUSE_AFTER_FAILURE:
            return dg.SkipReason(f"the last run failed; the next one starts {PAUSE_AFTER_FAILURE.seconds} s after it")
        why = _why(warehouse)
        return dg.RunRequest(tags={"inferhouse/why": why}) if why else dg.SkipReason("no new rows")

    return sensor


def _why(warehouse: Warehouse) -> str | None:
    need = warehouse.refresh_need()
    reasons: list[tuple[str, Callable[[], bool]]] = [
        ("the marts have never been built", lambda: not need.built),
        ("new rows", lambda: need.new_rows),
        ("the last run did not finish", lambda: need.unfinished),
        ("nothing new", lambda: need.computed_at is not None and datetime.now(UTC) - need.computed_at > IDLE_REFRESH),
    ]
    return next((reason for reason, holds in reasons if holds()), None)


def _under_way(instance: dg.DagsterInstance, job_name: str) -> bool:
    return bool(instance.get_run_records(dg.RunsFilter(job_name=job_name, statuses=UNDER_WAY), limit=1))


def _failed_at(instance: dg.DagsterInstance, job_name: str) -> datetime | None:
    for record in instance.get_run_records(dg.RunsFilter(job_name=job_name), limit=1):
        if record.dagster_run.status is dg.DagsterRunStatus.FAILURE:
            return record.update_timestamp.astimezone(UTC)
    return None
