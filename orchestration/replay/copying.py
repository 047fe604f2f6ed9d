"""What a replay starts from: the rows of control, ledger and billing with their ids, and the month's raw rows."""

from collections.abc import Mapping
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from orchestration.archive import catalogue, layout
from orchestration.archive.catalogue import bounds
from orchestration.archive.files import ArchiveFiles
from orchestration.archive.month import DaysMissing, reach
from warehouse.access.queries import load_queries
from warehouse.base.errors import InferhouseError

QUERIES = load_queries(__file__)
_NOBODY = {
    "secret_hash": "sha256(public_id::bytea)", "previous_secret_hash": "null", "password_hash": "null", "totp_secret": "null",
    "totp_enabled_at": "null", "recovery_hashes": "'{}'", "sealed_key": "null",
}  # fmt: skip
"""Secrets stay where they are: what takes their place in the copy."""


class NotEmpty(InferhouseError):
    """The database that a month is to be replayed into has something in it. Nothing was changed."""

    code = "database_not_empty"


def check_empty(target: psycopg.Connection) -> None:
    """Raises: NotEmpty: it was migrated before."""
    if not _value(target, "is_empty"):
        raise NotEmpty("a month is replayed into an empty database")


def copy_control(source: psycopg.Connection, target: psycopg.Connection) -> int:
    """Rows of control, ledger and billing, with their ids, without secrets; how many tables.

    One after another along their references; triggers off: what they make of a row is copied too.
    """
    tables = _in_order_of_references(source)
    with target.transaction():
        for table in tables:
            target.execute(_format("triggers_off", table=table))
            names = [row[0] for row in source.execute(QUERIES["columns"], {"table": table.as_string(source)})]
            values = sql.SQL(", ").join(
                sql.SQL(_NOBODY[name]) if name in _NOBODY else sql.Identifier(name)
                for name in names  # type: ignore[arg-type]
            )
            _pipe(
                source, _format("copy_from", values=values, table=table),
                target, _format("copy_to", table=table, columns=_identifiers(names)),
            )  # fmt: skip
        for table in tables:
            target.execute(_format("triggers_on", table=table))
    return len(tables)


def copy_rows(
    source: psycopg.Connection, target: psycopg.Connection, month: date, files: ArchiveFiles | None, place: str
) -> dict[str, int]:
    """The month's raw rows, day by day; how many days came from where.

    Args: place: `raw`, `archive`, or `either`: each day from the database if it is there.
    Raises: DaysMissing.
    """
    starts_at, ends_at = reach(month)
    archived = catalogue.archived_days(source, starts_at.date(), ends_at.date())
    dropped = {day for day, file in archived.items() if file.dropped_at is not None}
    present = set(catalogue.raw_days(source)) - dropped
    days = [day for day in _days_between(starts_at, ends_at) if day in present or day in archived]
    if place == "raw":
        _require(days, present, "only in the archive")
    elif place == "archive":
        _require(days, set(archived), "not in the archive")
    if files is None:
        _require(days, present, "only in the archive, whose address was not given")
    counts = {"raw": 0, "archive": 0}
    names = [name for name in layout.NAMES if name != "recorded_xid"]
    query = sql.SQL("copy raw.usage_events ({}) from stdin (format csv)").format(_identifiers(names))
    for day in days:
        from_archive = place == "archive" or day not in present
        counts["archive" if from_archive else "raw"] += 1
        low, high = bounds(day)
        with target.cursor() as cur, cur.copy(query) as copy:
            if from_archive:
                assert files is not None
                found = files.batches(archived[day].path)
            else:
                found = catalogue.rows_between(source, max(low, starts_at), min(high, ends_at))
            with closing(found) as batches:
                for batch in batches:
                    copy.write(catalogue.csv_of(batch, without=("recorded_xid",)))
    _copy_engine_samples(source, target, starts_at, ends_at)
    return counts


def _copy_engine_samples(source: psycopg.Connection, target: psycopg.Connection, starts_at: datetime, ends_at: datetime) -> None:
    if not _value(source, "has_engine_samples"):
        return
    names = [
        row[0] for row in source.execute(QUERIES["columns"], {"table": "raw.engine_samples"}) if row[0] != "recorded_xid"
    ]  # fmt: skip
    columns = _identifiers(names)
    query = _format("engine_samples_from", columns=columns, starts_at=sql.Literal(starts_at), ends_at=sql.Literal(ends_at))
    samples = sql.Identifier("raw", "engine_samples")
    _pipe(source, query, target, _format("copy_to", table=samples, columns=columns))


def _require(days: list[date], there: set[date], what: str) -> None:
    missing = [day.isoformat() for day in days if day not in there]
    if missing:
        raise DaysMissing(f"{len(missing)} days are {what}: {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}")


def _days_between(starts_at: datetime, ends_at: datetime) -> list[date]:
    return [starts_at.date() + timedelta(days=number) for number in range((ends_at.date() - starts_at.date()).days + 1)]


def _in_order_of_references(source: psycopg.Connection) -> list[sql.Identifier]:
    tables = {oid: sql.Identifier(schema, name) for oid, schema, name in source.execute(QUERIES["tables"])}
    needs: Mapping[int, set[int]] = {oid: set() for oid in tables}
    for from_oid, to_oid in source.execute(QUERIES["references_between"]):
        if from_oid in tables and to_oid in tables:
            needs[from_oid].add(to_oid)
    ordered: list[int] = []
    while len(ordered) < len(tables):
        ready = [oid for oid in tables if oid not in ordered and needs[oid] <= set(ordered)]
        assert ready, "tables that refer to each other in a circle"
        ordered += ready
    return [tables[oid] for oid in ordered]


def _pipe(source: psycopg.Connection, read: sql.Composed, target: psycopg.Connection, write: sql.Composed) -> None:
    with source.cursor() as reading, reading.copy(read) as out, target.cursor() as writing, writing.copy(write) as into:
        for block in out:
            into.write(block)


def _format(query: str, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(QUERIES[query].decode()).format(**parts)  # type: ignore[arg-type]


def _identifiers(names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _value(conn: psycopg.Connection, query: str) -> Any:
    row = conn.execute(QUERIES[query]).fetchone()
    assert row is not None
    return row[0]
