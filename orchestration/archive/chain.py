"""The chain of daily digests: made from the raw rows, and checked against them or their archive."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row

from orchestration.archive import catalogue
from orchestration.archive.catalogue import EARLIEST, LATEST
from orchestration.archive.files import ArchiveDamaged, ArchiveFiles
from orchestration.jobs.daily_chain import Entry, Finding, check_chain, compare, in_force
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
GRACE = timedelta(hours=1)
"""How long after completeness has passed a day it is entered: a moment's lateness then needs no amendment."""


@dataclass(frozen=True, slots=True)
class Extended:
    """Days entered for the first time, and days entered again because rows came late."""

    days: list[date]
    amended: list[date]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check looked at, and what it found."""

    entries: int
    days_from_raw: int
    days_from_archive: int
    findings: list[Finding]


def entries(conn: psycopg.Connection) -> list[Entry]:
    """The chain, from its first entry."""
    with conn.cursor(row_factory=class_row(Entry)) as cur:
        return cur.execute(QUERIES["entries"]).fetchall()


def extend(conn: psycopg.Connection, grace: timedelta = GRACE) -> Extended:
    """Enter every day that is complete and not in the chain, and again every day whose rows have changed since.

    An entry is never changed: a day with late rows gets another one. A dropped day with late rows is entered when it is
    restored. All of it in one transaction: the chain never says that it looked further than it did.
    """
    with _alone(conn), conn.transaction():
        conn.execute("set transaction isolation level repeatable read")
        horizon = _value(conn, "horizon")
        known = in_force(entries(conn))
        absent = {row[0] for row in conn.execute(QUERIES["absent_days"])}
        changed = {row[0] for row in conn.execute(QUERIES["days_changed"])} - absent if known else set()
        amended = []
        for day in sorted(changed):
            found = catalogue.day_digest(conn, day)
            if day in known and found != (known[day].usage_rows, known[day].row_set_digest):
                _add(conn, day, found, horizon)
                amended.append(day)
        new = [day for day in _days_due(conn, known, grace) if day not in absent]
        # A day before the chain's first that rows came for now: it is entered as any other.
        new = sorted({*new, *(changed - set(known))})
        for day in new:
            _add(conn, day, catalogue.day_digest(conn, day), horizon)
    return Extended(new, amended)


def verify(
    conn: psycopg.Connection, files: ArchiveFiles | None, first: date = EARLIEST, last: date = LATEST,
    published: Sequence[Entry] = (),
) -> Verified:  # fmt: skip
    """Hold the chain against itself, against what was published of it, and each day against the rows that there are.

    Args: files: where the days are that the database does not have; without it they are findings.
    """
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read")
        chain = entries(conn)
        findings = check_chain(chain) + compare(chain, published)
        archived = catalogue.archived_days(conn, first, last)
        from_raw = from_archive = 0
        for day, entry in sorted(in_force(chain).items()):
            if not first <= day <= last:
                continue
            file = archived.get(day)
            if file is None or file.dropped_at is None:
                from_raw += 1
                found = catalogue.day_digest(conn, day)
            elif files is None:
                findings.append(Finding(day, "its rows are in the archive, whose address was not given"))
                continue
            else:
                from_archive += 1
                try:
                    read = files.read_back(file.path)
                except ArchiveDamaged as error:
                    findings.append(Finding(day, str(error)))
                    continue
                found = read.usage_rows, read.row_set_digest
            if found != (entry.usage_rows, entry.row_set_digest):
                findings.append(Finding(day, _difference(found[0], entry.usage_rows)))
    return Verified(len(chain), from_raw, from_archive, sorted(findings, key=lambda finding: finding.day or EARLIEST))


def _difference(found: int, chained: int) -> str:
    if found > chained:
        return f"{found - chained} rows more than the chain has: late ones that it has not entered yet, or added ones"
    if found < chained:
        return f"{chained - found} rows are missing"
    return "as many rows as the chain has, and not the same ones"


def _days_due(conn: psycopg.Connection, known: dict[date, Entry], grace: timedelta) -> list[date]:
    """Days after the chain's last, or from the first with rows on, that were over and complete `grace` ago."""
    complete_to: datetime | None = _value(conn, "complete_to")
    after_last = max(known) + timedelta(days=1) if known else None
    day: date | None = after_last or _value(conn, "first_day")
    due = []
    while day is not None and complete_to is not None and catalogue.bounds(day)[1] + grace <= complete_to:
        due.append(day)
        day += timedelta(days=1)
    return due


def _add(conn: psycopg.Connection, day: date, found: tuple[int, bytes], horizon: str) -> None:
    values = {"day": day, "usage_rows": found[0], "row_set_digest": found[1], "as_of_xid": horizon}
    conn.execute(QUERIES["add"], values)


@contextmanager
def _alone(conn: psycopg.Connection) -> Iterator[None]:
    """One process at a time adds to the chain; taken before the snapshot that it reads in."""
    conn.execute(QUERIES["lock_chain"])
    try:
        yield
    finally:
        conn.execute(QUERIES["unlock_chain"])


def _value(conn: psycopg.Connection, query: str) -> Any:
    row = conn.execute(QUERIES[query]).fetchone()
    assert row is not None
    return row[0]
