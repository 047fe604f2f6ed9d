"""A month for analysis: its rows as local Parquet files, and who and what the numbers in them are."""

from collections.abc import Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg

from orchestration.archive import catalogue, layout
from orchestration.archive.catalogue import bounds
from orchestration.archive.files import ArchiveFiles
from orchestration.jobs.what_if import BOOK, ORGANIZATIONS
from warehouse.access.queries import load_queries
from warehouse.base.errors import InferhouseError

QUERIES = load_queries(__file__)
MARGIN = timedelta(hours=14)
"""The zones furthest from UTC are 12 hours behind and 14 before it: their month begins and ends outside UTC's."""


class DaysMissing(InferhouseError):
    """Rows of the month are not where they were to be read from; the message says which days."""

    code = "days_missing"


def next_month(month: date) -> date:
    """The first day of the month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def reach(month: date) -> tuple[datetime, datetime]:
    """The instants between which a month lies in any zone."""
    return bounds(month)[0] - MARGIN, bounds(next_month(month))[0] + MARGIN


def paths_between(
    conn: psycopg.Connection, files: ArchiveFiles | None, starts_at: datetime, ends_at: datetime, folder: str
) -> list[str]:
    """Files with the rows of every day that has any: the archive's, and copies made in `folder` of days that it does not have.

    Raises: DaysMissing: a dropped day, and nobody said where the archive is.
    """
    archived = catalogue.archived_days(conn, starts_at.date(), ends_at.date())
    paths = []
    own = ArchiveFiles(f"file://{folder}/copies")
    for day in sorted({*archived, *catalogue.raw_days(conn)}):
        if not starts_at.date() <= day <= ends_at.date():
            continue
        file = archived.get(day)
        if file is not None and files is not None:
            paths.append(files.fetch(file.path, folder))
        elif file is not None and file.dropped_at is not None:
            raise DaysMissing(f"{day} is only in the archive, whose address was not given")
        else:
            path = own.path_of(day, 1)
            with closing(catalogue.rows_between(conn, *bounds(day))) as batches:
                own.write(path, batches)
            paths.append(str(Path(folder) / "copies" / path))
    return paths


def rows_of(paths: Sequence[str]) -> pl.LazyFrame:
    """The rows of the files, `request_id` a text that sorts as the identifier; other columns as they are in the files."""
    rows = pl.concat([pl.scan_parquet(path) for path in paths], how="diagonal")
    if layout.TAIL not in rows.collect_schema():
        rows = rows.with_columns(pl.lit(None, pl.Binary).alias(layout.TAIL))
    whole, tail = pl.col("request_id"), pl.col(layout.TAIL)
    # An identifier's first 48 bits, of the 64 that make an integer.
    head = whole.bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big") // 65_536
    ms = pl.coalesce(head.cast(pl.Int64), pl.col("started_at").dt.timestamp("us") // 1000)
    rest = pl.coalesce(tail, whole.bin.slice(6))
    return rows.with_columns(request_id=ms.cast(pl.String).str.zfill(15) + rest.bin.encode("hex"))


def organizations(conn: psycopg.Connection, month: date) -> pl.DataFrame:
    """Every organization with the month in its zone."""
    rows = conn.execute(QUERIES["organizations"], {"month": month}).fetchall()
    return pl.DataFrame(rows, schema=ORGANIZATIONS, orient="row")


def book(conn: psycopg.Connection) -> pl.DataFrame:
    """The price book as it is now."""
    return pl.DataFrame(conn.execute(QUERIES["book"]).fetchall(), schema=BOOK, orient="row")


def models(conn: psycopg.Connection) -> dict[str, int]:
    """{name: id}."""
    return {name: number for number, name in conn.execute(QUERIES["models"])}


def api_keys(conn: psycopg.Connection) -> dict[int, str]:
    """{id: public id}."""
    return dict(conn.execute(QUERIES["api_keys"]).fetchall())
