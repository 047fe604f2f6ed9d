"""Old runs and old events are removed, so that storage does not grow for ever."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.defs.outbox.sensors import forget_old_events
from orchestration.defs.service.sensors import drop_old_samples

KEPT = timedelta(days=14)
REMOVED_AT_ONCE_MAX = 5000


@dg.op(description="Removes runs, with their logs, that ended more than 14 days ago.")
def remove_old_runs(context: dg.OpExecutionContext) -> None:
    """At most REMOVED_AT_ONCE_MAX a day: about three times what a busy day makes."""
    old = dg.RunsFilter(created_before=datetime.now(UTC) - KEPT)
    records = context.instance.get_run_records(old, limit=REMOVED_AT_ONCE_MAX, ascending=True)
    for record in records:
        context.instance.delete_run(record.dagster_run.run_id)
    context.log.info("removed %s runs", len(records))


@dg.job(description="Keeps Dagster's storage, the outbox and the samples of engines bounded.")
def upkeep() -> None:
    """Once a day."""
    remove_old_runs()
    forget_old_events()
    drop_old_samples()
