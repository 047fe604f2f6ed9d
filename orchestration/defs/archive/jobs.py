"""When days are archived and checked, and when they leave the database. Imports inside: see the assets."""

import dagster as dg

from orchestration.defs.archive.assets import Archive, daily_digests, files_are_whole, rows_are_as_chained, usage_events
from orchestration.resources import Warehouse

# Runs with this tag are one at a time: dagster.yaml says so, or a month of days would keep the marts waiting for their turn.
WRITES_ARCHIVE = {"inferhouse/writes": "archive"}


class DropConfig(dg.Config):
    """Set by ORCHESTRATION_RAW_DAYS_KEPT; 0 keeps all."""

    days_kept: int = 0


@dg.op(description="Brings dropped days back for which rows have come, so that the marts compute them from whole days.")
def restore_late_days(context: dg.OpExecutionContext, warehouse: Warehouse, archive: Archive) -> None:
    """They are dropped again when marts, chain and file have the new rows."""
    from orchestration.archive import days  # noqa: PLC0415

    files = archive.files()
    if files is None:
        return
    with days.connected(warehouse.database_url) as conn:
        restored = days.restore_late_days(conn, files)
    context.log.info("restored %s days", len(restored))


@dg.op(
    description="Drops archived days that are older than is kept, each after its file was read back.",
    ins={"after": dg.In(dg.Nothing)},
)
def drop_old_days(context: dg.OpExecutionContext, config: DropConfig, warehouse: Warehouse, archive: Archive) -> None:
    """A day that may not go yet stays, and says why; the others go."""
    from orchestration.archive import days  # noqa: PLC0415
    from orchestration.archive.files import ArchiveDamaged  # noqa: PLC0415

    files = archive.files()
    if files is None or not config.days_kept:
        context.log.info("nothing is dropped: no archive, or everything is kept")
        return
    damaged = []
    with days.connected(warehouse.database_url) as conn:
        for day in days.days_to_drop(conn, config.days_kept):
            try:
                days.archive_day(conn, files, day)  # a no-op unless rows came since
                days.drop_day(conn, files, day)
            except days.DayRefused as refused:
                context.log.warning("%s stays: %s", day, refused)
            except ArchiveDamaged as error:
                damaged.append(str(error))
    if damaged:
        raise dg.Failure("; ".join(damaged), allow_retries=False)


@dg.job(description="Restores dropped days that rows came for, then drops archived days that are old enough.")
def drop_archived_days() -> None:
    """Once a day."""
    drop_old_days(after=restore_late_days())


def archive_definitions(archive_url: str, options: str, days_kept: int) -> dg.Definitions:
    """Assets, checks, jobs and schedules. Without an address nothing runs by itself but the chain."""
    write = dg.define_asset_job(
        # Without the check: it reads the files of 40 days, and this is a run for each day.
        "archive_days", selection=dg.AssetSelection.assets(usage_events).without_checks(), tags=WRITES_ARCHIVE,
        executor_def=dg.in_process_executor,
        description="Writes a day to the archive and reads it back: a day at a time is one process's.",
    )  # fmt: skip
    check = dg.define_asset_job(
        "check_archive", selection=dg.AssetSelection.checks(files_are_whole), executor_def=dg.in_process_executor,
        description="Reads the files of the last 40 days back.",
    )  # fmt: skip
    extend = dg.define_asset_job(
        "chain_days", selection=dg.AssetSelection.assets(daily_digests) | dg.AssetSelection.checks(rows_are_as_chained),
        executor_def=dg.in_process_executor, description="Enters complete days, and days with late rows, into the chain.",
    )  # fmt: skip
    running = dg.DefaultScheduleStatus.RUNNING
    by_itself = running if archive_url else dg.DefaultScheduleStatus.STOPPED

    @dg.schedule(job=write, cron_schedule="17 2 * * *", execution_timezone="UTC", default_status=by_itself)
    def archive_complete_days(warehouse: Warehouse) -> list[dg.RunRequest]:
        """Complete days that the archive does not have as they are now."""
        from orchestration.archive import days  # noqa: PLC0415

        with days.connected(warehouse.database_url) as conn:
            due = days.days_to_archive(conn)
        # Asked for once a tick's day: a run that failed is asked for again the day after.
        return [dg.RunRequest(run_key=f"{day} on {days.days_ago(0)}", partition_key=day.isoformat()) for day in due]

    whole = dg.ScheduleDefinition(job=check, cron_schedule="47 3 * * *", execution_timezone="UTC", default_status=by_itself)
    drop = dg.ScheduleDefinition(
        job=drop_archived_days, cron_schedule="47 4 * * *", execution_timezone="UTC", default_status=by_itself,
        run_config={"ops": {"drop_old_days": {"config": {"days_kept": days_kept}}}},
    )  # fmt: skip
    chain = dg.ScheduleDefinition(job=extend, cron_schedule="37 1 * * *", execution_timezone="UTC", default_status=running)
    return dg.Definitions(
        assets=[daily_digests, usage_events],
        asset_checks=[files_are_whole, rows_are_as_chained],
        jobs=[write, check, extend, drop_archived_days],
        schedules=[archive_complete_days, whole, drop, chain],
        resources={"archive": Archive(url=archive_url, options=options)},
    )
