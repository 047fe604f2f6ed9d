"""Days in the archive and in the chain. Days are archived side by side; the chain is one after another.

What works on files is imported inside: every run of any job loads these definitions, and would wait for Polars and Arrow.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.resources import Warehouse

if TYPE_CHECKING:
    from orchestration.archive.files import ArchiveFiles

COMPLETENESS = dg.AssetKey(["marts", "completeness"])
USAGE_EVENTS, DAILY_DIGESTS = dg.AssetKey(["archive", "usage_events"]), dg.AssetKey(["archive", "daily_digests"])
# Before any row: one day that is no partition stops the tick that asks for it, and with it every other day.
DAYS = dg.DailyPartitionsDefinition(start_date="2001-01-01")
# Each attempt reads the whole day again; a bucket that is away for an hour is tried for longer than that by the schedule.
RETRIES = dg.RetryPolicy(max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL)
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30), warn_window=timedelta(hours=26))


class Archive(dg.ConfigurableResource):
    """Where the archive is. Without an address nothing is archived, and nothing dropped."""

    url: str = ""
    options: str = "{}"

    def files(self) -> "ArchiveFiles | None":
        """The archive, if there is one."""
        from orchestration.archive.files import ArchiveFiles  # noqa: PLC0415

        return ArchiveFiles(self.url, self.options) if self.url else None


@dg.asset(key=DAILY_DIGESTS, deps=[COMPLETENESS], group_name="archive", owners=["team:finance"], retry_policy=RETRIES,
          freshness_policy=FRESH)  # fmt: skip
def daily_digests(warehouse: Warehouse) -> dg.MaterializeResult:
    """The chain of what the raw rows of each UTC day are, entered when the day is complete; late rows make another entry."""
    from orchestration.archive import chain, days  # noqa: PLC0415

    with days.connected(warehouse.database_url) as conn:
        extended = chain.extend(conn)
    return dg.MaterializeResult(
        metadata={"days": [str(day) for day in extended.days], "amended": [str(day) for day in extended.amended]}
    )


@dg.asset(key=USAGE_EVENTS, deps=[DAILY_DIGESTS], partitions_def=DAYS, group_name="archive", owners=["team:data"],
          retry_policy=RETRIES)  # fmt: skip
def usage_events(context: dg.AssetExecutionContext, warehouse: Warehouse, archive: Archive) -> dg.MaterializeResult:
    """The raw rows of a UTC day as Parquet, read back and compared with the database; a new version when rows came late."""
    from orchestration.archive import days  # noqa: PLC0415

    day = context.partition_time_window.start.date()
    files = archive.files()
    if files is None:
        raise dg.Failure("ORCHESTRATION_ARCHIVE_URL is not set", allow_retries=False)
    with days.connected(warehouse.database_url) as conn:
        try:
            file = days.archive_day(conn, files, day)
        except days.DayRefused as refused:
            return dg.MaterializeResult(metadata={"skipped": str(refused)})
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": file.usage_rows, "bytes": file.size_bytes, "bytes_per_row": file.size_bytes / file.usage_rows,
            "version": file.version, "path": file.path, "row_set_digest": file.row_set_digest.hex(),
        }
    )  # fmt: skip


@dg.asset_check(asset=USAGE_EVENTS, description="Every file of the last 40 days is whole, as the catalogue has it.")
def files_are_whole(warehouse: Warehouse, archive: Archive) -> dg.AssetCheckResult:
    """Reads them back, byte and row."""
    from orchestration.archive import days  # noqa: PLC0415
    from orchestration.archive.files import ArchiveDamaged  # noqa: PLC0415

    files = archive.files()
    damaged: list[str] = []
    checked = 0
    with days.connected(warehouse.database_url) as conn:
        for day in [] if files is None else days.days_of_the_last(conn, timedelta(days=40)):
            checked += 1
            try:
                days.verify_day(conn, files, day)
            except ArchiveDamaged as error:
                damaged.append(str(error))
    return dg.AssetCheckResult(passed=not damaged, description="; ".join(damaged) or "whole", metadata={"checked": checked})


@dg.asset_check(asset=DAILY_DIGESTS, description="The chain holds, and the last 40 days have the rows that it says.")
def rows_are_as_chained(warehouse: Warehouse, archive: Archive) -> dg.AssetCheckResult:
    """`inferhouse verify-usage` for the days that change."""
    from orchestration.archive import chain, days  # noqa: PLC0415

    with days.connected(warehouse.database_url) as conn:
        found = chain.verify(conn, archive.files(), first=days.days_ago(40))
    said = "; ".join(f"{finding.day}: {finding.what}" for finding in found.findings)
    return dg.AssetCheckResult(passed=not found.findings, description=said or "as chained", metadata={"entries": found.entries})
