"""Digests of marts and invoices of a month, in one database."""

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

import psycopg
from psycopg import sql

from orchestration.archive.catalogue import bounds
from orchestration.archive.month import next_month, reach
from orchestration.jobs.mart_digests import Question, TableDigest, question
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
Lines = Mapping[tuple[str, str], tuple[Any, ...]]
"""{(organization, line): (quantity, pico-dollars, digest of its rows)}."""


def mart_digests(conn: psycopg.Connection, month: date) -> dict[str, TableDigest]:
    """Of every mart that is about months, in one snapshot."""
    with conn.transaction(force_rollback=True):
        conn.execute("set transaction isolation level repeatable read")
        conn.execute("set local timezone to 'UTC'")
        conn.execute("set local datestyle to 'ISO, YMD'")
        conn.execute("set local intervalstyle to 'postgres'")
        conn.execute("set local extra_float_digits to 1")
        conn.execute(sql.SQL(QUERIES["see_everything"].decode()).format(owner=sql.Identifier(conn.info.user)))
        questions = [question(name, columns) for name, columns in conn.execute(QUERIES["marts"])]
        return {asked.table: _digest(conn, asked, month) for asked in questions if asked is not None}


def invoice_lines(conn: psycopg.Connection, month: date, status: str) -> Lines:
    """What invoices of a status say of a month, line by line; nothing where there are no invoices."""
    row = conn.execute(QUERIES["has_invoices"]).fetchone()
    if row is None or not row[0]:
        return {}
    found = conn.execute(QUERIES["lines_of_invoices"], {"month": month, "status": status})
    return {(line[0], line[1]): tuple(line[2:]) for line in found}


def draft(conn: psycopg.Connection, month: date) -> Lines:
    """The month's invoices, drafted anew in a database that has none."""
    row = conn.execute(QUERIES["has_invoices"]).fetchone()
    if row is None or not row[0]:
        return {}
    conn.execute(QUERIES["draft_invoices"], {"month": month})
    return invoice_lines(conn, month, "draft")


def invoice_digests(frozen: Lines, drafted: Lines) -> tuple[dict[str, TableDigest], dict[str, TableDigest]]:
    """Digests by organization that has something final: of what is final, and of what was drafted anew.

    A line that was adjusted has two sets of rows; its sums are compared, and digests of rows where both have one.
    """
    organizations = {organization for organization, _ in frozen}
    return _of_lines(organizations, frozen, drafted), _of_lines(organizations, drafted, frozen)


def _of_lines(organizations: Collection[str], own: Lines, other: Lines) -> dict[str, TableDigest]:
    lines: dict[str, list[list[Any]]] = {name: [] for name in sorted(organizations)}
    for (name, key), (quantity, subtotal, rows) in sorted(own.items(), key=lambda line: line[0]):
        if name in lines and (quantity, subtotal) != ("0", "0"):
            theirs = other.get((name, key))
            lines[name].append([key, quantity, subtotal, rows if theirs is not None and theirs[2] is not None else None])
    return {
        f"invoice of {name}": TableDigest(len(of), hashlib.sha256(json.dumps(of).encode()).hexdigest())
        for name, of in lines.items()
    }


def _digest(conn: psycopg.Connection, asked: Question, month: date) -> TableDigest:
    first: Any = month
    last: Any = next_month(month)
    if asked.period_column == "BillingPeriodStart":  # an instant: the month's first moment in the organization's zone
        first = reach(month)[0]
        last = reach(last)[0]
    elif not asked.whole_months and asked.period_column != "day_utc":
        first, last = bounds(month)[0], bounds(next_month(month))[0]
    query = sql.SQL(QUERIES["digest"].decode()).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, asked.columns)),
        table=sql.Identifier("marts", asked.table),
        period=sql.Identifier(asked.period_column),
        first=sql.Literal(first),
        last=sql.Literal(last),
    )
    row = conn.execute(query).fetchone()
    assert row is not None
    return TableDigest(row[0], row[1])
