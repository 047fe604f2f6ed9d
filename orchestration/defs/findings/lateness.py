"""Marts that are behind are told of, once until they are built again, with what the last run said."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg
from psycopg.rows import class_row

from orchestration.resources import Warehouse, marts_are_built, tell_organization
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
TICK_S = 60
# The sensor builds every 15 minutes even when nothing has come; three of them missed is no coincidence.
BUILT_WITHIN = timedelta(minutes=45)
# A row is in the marts within a minute when all is well.
ROWS_WITHIN = timedelta(minutes=10)
JOBS = ("refresh_marts", "build_marts")
WORDS_MAX = 500


@dataclass(frozen=True, slots=True)
class State:
    """How far the marts are. `waiting_since`: when the oldest row was recorded that they do not have."""

    built_at: datetime
    finished_at: datetime | None
    waiting_since: datetime | None

    def lateness(self, now: datetime) -> str | None:
        """What is late; None: nothing is."""
        finished = min(self.built_at, self.finished_at or self.built_at)
        if now - finished > BUILT_WITHIN:
            return f"the marts were last built at {finished:%Y-%m-%d %H:%M} UTC"
        if self.waiting_since is not None and now - self.waiting_since > ROWS_WITHIN:
            return f"rows have been waiting since {self.waiting_since:%Y-%m-%d %H:%M} UTC to come into the marts"
        return None


def lateness_sensor(operator_organization: str | None) -> dg.SensorDefinition:
    """It tells the operator's organization where there is one; its own ticks say it in any case."""

    @dg.sensor(
        name="watch_lateness",
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells when the marts have not been built for 45 minutes, or rows have waited for 10, and why.",
    )
    def watch_lateness(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SkipReason:
        now = datetime.now(UTC)
        with warehouse.connect() as conn:
            state = _state(conn, now)
            late = state.lateness(now) if state else None
            if state is None or late is None:
                return dg.SkipReason("the marts are on time" if state else "the marts have never been built")
            why = last_run(context.instance)
            if operator_organization is not None:
                data = {"late": late, "why": why, "built_at": f"{state.built_at:%Y-%m-%dT%H:%M:%SZ}"}
                once = f"marts late {state.built_at.timestamp():.0f}"
                tell_organization(conn, operator_organization, "marts.late", data, once=once)
        return dg.SkipReason(f"{late}; {why}")

    return watch_lateness


def last_run(instance: dg.DagsterInstance) -> str:
    """What the newest run of the jobs that build marts has come to, in words."""
    newest = [record for job in JOBS for record in instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)]
    if not newest:
        return "no run has been asked for: is the daemon running, and the sensor refresh_when_rows_arrive on?"
    record = max(newest, key=lambda each: each.create_timestamp)
    run = record.dagster_run
    said = f"the newest run, {run.run_id} of {run.job_name}, is {run.status.value}"
    return f"{said}: {_failure(instance, run.run_id)}" if run.status is dg.DagsterRunStatus.FAILURE else said


def _failure(instance: dg.DagsterInstance, run_id: str) -> str:
    wanted = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    for record in instance.get_records_for_run(run_id, of_type=wanted, limit=1).records:
        event: Any = record.event_log_entry.dagster_event
        error = getattr(event.event_specific_data, "error", None)
        cause = error.cause or error if error else None
        return str(cause.message if cause else event.message).strip()[:WORDS_MAX]
    return "its log does not say why"


def _state(conn: psycopg.Connection, now: datetime) -> State | None:
    if not marts_are_built(conn):
        return None
    with conn.cursor(row_factory=class_row(State)) as cur:
        return cur.execute(QUERIES["state"], {"now": now}).fetchone()
