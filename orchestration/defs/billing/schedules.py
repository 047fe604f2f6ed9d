"""When months are closed, and when the gate looks at drafts that people have made."""

import hashlib
from typing import Any

import dagster as dg

from orchestration.defs.billing import closing
from orchestration.resources import Warehouse

TICK_S = 20
# A draft that was refused is looked at again after this long: what was missing may have come.
AGAIN_S = 15 * 60
JobLike = Any  # what define_asset_job makes; Dagster does not export its type


def close_schedule(job: JobLike, *, grace_days: int, first_month: str) -> dg.ScheduleDefinition:
    """Every day: each month that ended `grace_days` ago and is not final for everybody is tried (again)."""

    @dg.schedule(
        job=job,
        cron_schedule="37 4 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Closes each month that is over for so many days as ORCHESTRATION_CLOSE_GRACE_DAYS says, until all is final.",
    )
    def close_months(context: dg.ScheduleEvaluationContext, warehouse: Warehouse) -> list[dg.RunRequest] | dg.SkipReason:
        with warehouse.connect() as conn:
            months = [str(month) for month in closing.months_to_close(conn, grace_days) if str(month) >= first_month]
        day = f"{context.scheduled_execution_time:%Y-%m-%d}"
        requests = [dg.RunRequest(run_key=f"{month} on {day}", partition_key=month) for month in months]
        return requests or dg.SkipReason("every month that is over is final, or its grace is not")

    return close_months


def certify_sensor(job: dg.JobDefinition) -> dg.SensorDefinition:
    """Drafts without a certificate are looked at at once."""

    @dg.sensor(
        name="certify_new_drafts",
        job_name=job.name,  # with the job itself Dagster warns of what is beta in it
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the gate for drafts that have no certificate yet, and again for those that were refused a while ago.",
    )
    def sensor(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
        with warehouse.connect() as conn:
            invoices = closing.uncertified(conn, AGAIN_S)
        if not invoices:
            return dg.SkipReason("no draft waits for the gate")
        active = context.instance.get_run_records(
            dg.RunsFilter(job_name=job.name, statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED]), limit=1
        )
        if active:
            return dg.SkipReason("the gate is looking at drafts; the others come next")
        key = hashlib.sha256(" ".join(invoices).encode()).hexdigest()[:16]
        return dg.RunRequest(run_config={"ops": {"certify": {"config": {"invoices": invoices}}}}, tags={"inferhouse/drafts": key})

    return sensor
