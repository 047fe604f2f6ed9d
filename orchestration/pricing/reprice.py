"""`python -m orchestration.pricing.reprice`: past months under a corrected price book. `inferhouse reprice` starts it.

The differences go to stdout as CSV, one a line of an organization's month, everything else to stderr. Nothing is written
without --apply; with it, each becomes an adjustment in the month of its usage, with reason and author. Raw rows and final
invoices stay as they are. What earlier runs have adjusted is counted, so that a second run finds nothing left to do.

Rows of unknown cost that it bills are written down too, which lets their month through the gate.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg

from orchestration import programs
from orchestration.jobs import pricing, repricing
from orchestration.pricing.books import read_book
from orchestration.pricing.month import Terms, read_parts, read_rows, read_terms, snapshot_xid
from warehouse.access.queries import load_queries
from warehouse.base.errors import InferhouseError, InvalidRequest
from warehouse.base.money import usd

QUERIES = load_queries(__file__)
MONTHS_MAX = 36
AS_OF_NOW = "as of now"
COLUMNS = (
    "organization", "month", "adjusts", "project", "model", "token_class", "above_quantity", "price_id", "corrected_price_id",
    "quantity", "difference_usd",
)  # fmt: skip


class RepricingRefused(InferhouseError):
    """The months cannot be priced anew: one is not over, its rows are not all there, or the book has no price for one of them."""

    code = "repricing_refused"


@dataclass(frozen=True, slots=True)
class Names:
    """Public names of numbers, for people."""

    organizations: dict[int, str]
    projects: dict[int, str]
    models: dict[int, str]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. `book`: None: the price book as it is now. `unmetered`: rows without counts are billed, too."""

    months: Sequence[date]
    book: Path | None = None
    reason: str | None = None
    author: str | None = None
    unmetered: bool = False


@dataclass(frozen=True, slots=True)
class Repriced:
    """What is left to do. `left`: adjustments, as repricing.ADJUSTMENT_SCHEMA.

    `decisions`: rows of unknown cost that become billed or no longer are: `period_month` beside what repricing.decisions gives.
    `priceless`, `unmetered`: rows of unknown cost that keep the gate closed: without a price in the book, without counts.
    """

    left: pl.DataFrame
    decisions: pl.DataFrame
    priceless: int
    unmetered: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """What all months are priced by: terms of now, the corrected book, the commit horizon."""

    terms: Terms
    corrected: pl.DataFrame
    horizon: str


def months_between(first: date, last: date, today: date) -> list[date]:
    """First days of the months from one to the other, both included.

    Raises: RepricingRefused: none, too many, or one that is not over in every zone.
    """
    months = [_first_day(month) for month in range(_count(first), _count(last) + 1)]
    if not months or len(months) > MONTHS_MAX:
        raise RepricingRefused(f"from {first:%Y-%m} to {last:%Y-%m} are not 1 to {MONTHS_MAX} months")
    if today <= _first_day(_count(last) + 1):  # the last zone is half a day behind UTC
        raise RepricingRefused(f"{last:%Y-%m} is not over in every zone: its prices can still be changed")
    return months


def reprice(conn: psycopg.Connection, wish: Wish, *, apply: bool = False) -> tuple[Repriced, Names]:
    """What is left to do; with `apply` it is written, in the transaction of the reading.

    Args: conn: in autocommit.
    Raises: RepricingRefused, books.BookUnreadable.
    """
    conn.execute(QUERIES["lock"])  # before the snapshot, so that it sees what another run has just written
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with conn.transaction():
        names, terms = _names(conn), read_terms(conn)
        corrected, said = terms.book, AS_OF_NOW
        if wish.book is not None:
            models = {name: number for number, name in names.models.items()}
            corrected, said = read_book(wish.book, models, {name: number for number, name in names.organizations.items()})
        seen = _Seen(terms, corrected, snapshot_xid(conn))
        parts = [_month(conn, month, seen, unmetered=wish.unmetered) for month in wish.months]
        found = Repriced(
            pl.concat([part.left for part in parts]),
            pl.concat([part.decisions for part in parts]),
            sum(part.priceless for part in parts),
            sum(part.unmetered for part in parts),
        )
        if apply and (found.left.height or found.decisions.height):
            _write(conn, found, wish, said)
    return found, names


def _month(conn: psycopg.Connection, month: date, seen: _Seen, *, unmetered: bool) -> Repriced:
    by = seen.corrected, seen.terms.organizations, month
    spans = pricing.month_spans(seen.terms.organizations["time_zone"], month)
    schema = {name: repricing.ADJUSTMENT_SCHEMA[name] for name in repricing.PAIR_KEY}
    paired = pl.DataFrame(schema=schema | dict.fromkeys(pricing.CLASSES, pl.Int128))
    unknown = pl.DataFrame(schema=repricing.JUDGED_SCHEMA)
    first, before = spans["month_starts_at"].min(), spans["month_ends_at"].max()
    if isinstance(first, datetime) and isinstance(before, datetime):
        _require_all_days(conn, month, first, before)
        for rows in read_rows(conn, first, before, seen.horizon):
            counted = repricing.pairs(rows.lazy().filter(pl.col("cost_picousd").is_not_null()), *by).collect()
            paired = pricing.add_up([paired, counted], repricing.PAIR_KEY)
        values = {"first": first, "before": before, "as_of_xid": seen.horizon}
        for rows in read_parts(conn, QUERIES["unknown_rows"], values, repricing.UNKNOWN_SCHEMA):
            unknown = pl.concat([unknown, repricing.judged(rows.lazy(), *by).collect()])
    decided = pl.concat([
        pl.DataFrame(schema=repricing.DECIDED_SCHEMA),
        *read_parts(conn, QUERIES["decided_rows"], {"month": month}, repricing.DECIDED_SCHEMA),
    ])  # fmt: skip
    billed = repricing.to_bill(unknown, decided, unmetered=unmetered)
    paired = pricing.add_up([paired, repricing.pairs(billed.lazy(), *by).collect()], repricing.PAIR_KEY)
    return Repriced(
        _left(conn, month, seen, paired),
        repricing.decisions(billed, decided).with_columns(period_month=pl.lit(month)),
        int((~unknown["is_priced"]).sum()),
        int(unknown["is_priced"].sum()) - billed.height,
    )


def _require_all_days(conn: psycopg.Connection, month: date, first: datetime, before: datetime) -> None:
    """Without rows that are only in the archive, what was billed for them would be taken back. Raises: RepricingRefused."""
    dropped = conn.execute(QUERIES["dropped_days"], {"first": first, "before": before}).fetchone()
    if dropped is not None and dropped[0] is not None:
        raise RepricingRefused(
            f"days of {month:%Y-%m} are only in the archive: restore them first"
            f" (inferhouse archive restore {dropped[0]} {dropped[1]})"
        )


def _left(conn: psycopg.Connection, month: date, seen: _Seen, paired: pl.DataFrame) -> pl.DataFrame:
    priceless = paired.filter(pl.col("corrected_price_id").is_null())["request"].sum()
    if priceless:
        raise RepricingRefused(f"the corrected book has no price for {priceless} charged rows of {month:%Y-%m}")
    terms = seen.terms
    wanted = repricing.differences(paired, terms.book, seen.corrected, (terms.discounts, terms.tiers), month)
    if wanted["corrected_price_id"].min() is not None:  # versions of a file have no ids
        numbered = pl.col("corrected_price_id")
        wanted = wanted.with_columns(corrected_price_id=pl.when(numbered > 0).then(numbered))
        wanted = wanted.group_by(repricing.KEY).agg(pl.col("quantity", "subtotal_picousd").sum())
    return repricing.still_to_adjust(wanted.select(*repricing.ADJUSTMENT_SCHEMA), _earlier(conn, month))


def _earlier(conn: psycopg.Connection, month: date) -> pl.DataFrame:
    rows = conn.execute(QUERIES["earlier"], {"month": month}).fetchall()
    whole = [(*row[:-2], int(row[-2]), int(row[-1])) for row in rows]
    return pl.DataFrame(whole, schema=repricing.ADJUSTMENT_SCHEMA, orient="row")


def _names(conn: psycopg.Connection) -> Names:
    rows = conn.execute(QUERIES["names"]).fetchall()
    models = dict(conn.execute(QUERIES["models"]).fetchall())
    return Names({row[0]: row[1] for row in rows}, {row[2]: row[3] for row in rows if row[2]}, models)


def _write(conn: psycopg.Connection, found: Repriced, wish: Wish, book: str) -> None:
    why = {"reason": wish.reason, "author": wish.author}
    run = conn.execute(
        QUERIES["insert_run"], {"first_month": wish.months[0], "last_month": wish.months[-1], "book": book, **why}
    ).fetchone()
    assert run is not None
    with conn.cursor() as cur:
        rows = [row | why | {"run_id": run[0]} for row in found.left.iter_rows(named=True)]
        cur.executemany(QUERIES["insert_adjustment"], rows)
        with cur.copy(QUERIES["copy_decisions"]) as copy:
            for decision in found.decisions.select("period_month", *repricing.DECIDED_SCHEMA, "change").iter_rows():
                copy.write_row((run[0], *decision))


def told(left: pl.DataFrame, names: Names) -> Iterator[dict[str, Any]]:
    """Rows of the CSV, as COLUMNS; dollars exact."""
    as_they_are = ("adjusts", "token_class", "above_quantity", "price_id", "corrected_price_id", "quantity")
    for row in left.iter_rows(named=True):
        yield {
            "organization": names.organizations[row["org_id"]],
            "month": f"{row['period_month']:%Y-%m}",
            "project": names.projects.get(row["project_id"], ""),
            "model": names.models[row["model_id"]],
            "difference_usd": usd(row["subtotal_picousd"]),
            **{name: row[name] for name in as_they_are},
        }


def main(argv: Sequence[str]) -> int:
    """Compare, and apply if asked to; the exit code."""
    said = parser().parse_args(argv)
    if said.apply and not (said.reason and said.author):
        raise InvalidRequest("--apply needs --reason and --author")
    months = months_between(said.first, said.last or said.first, datetime.now(UTC).date())
    with psycopg.connect(programs.database(said), autocommit=True) as conn:
        wish = Wish(months, said.book, said.reason, said.author, said.unmetered)
        found, names = reprice(conn, wish, apply=said.apply)
    left = found.left
    if said.json:
        programs.show(list(told(left, names)), as_json=True)
    else:
        writer = csv.DictWriter(sys.stdout, COLUMNS)
        writer.writeheader()
        writer.writerows(told(left, names))
    total = usd(int(left["subtotal_picousd"].sum()))
    done = "written" if said.apply else "nothing was written; --apply writes them"
    programs.note(f"{left.height} differences, {total} USD in all: {done}")
    for words in _of_unknown(found):
        programs.note(words)
    return programs.DONE


def _of_unknown(found: Repriced) -> Iterator[str]:
    """What becomes of rows of unknown cost, one sentence each."""
    changes = found.decisions["change"]
    for rows, words in (
        (int((changes == 1).sum()), "become billed, and let their month through the gate"),
        (int((changes == -1).sum()), "are no longer billed, and close the gate again"),
        (found.priceless, "have no price in this book"),
        (found.unmetered, "have no usable counts: --unmetered bills them with 0 tokens"),
    ):
        if rows:
            yield f"{rows} rows of unknown cost {words}"


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="inferhouse reprice", description="Price past months by a corrected price book.")
    made.add_argument("--from", dest="first", type=programs.month, required=True, metavar="YYYY-MM", help="the first month")
    made.add_argument("--to", dest="last", type=programs.month, metavar="YYYY-MM", help="the last month (default: the first)")
    made.add_argument("--book", type=Path, metavar="FILE", help="a corrected book as JSON (default: the price book as of now)")
    made.add_argument("--unmetered", action="store_true", help="also bill rows whose engine stated no usage, with 0 tokens")
    made.add_argument("--apply", action="store_true", help="write the differences as adjustments")
    made.add_argument("--reason", help="why, for who reads the invoice")
    made.add_argument("--author", help="who answers for it")
    made.add_argument("--json", action="store_true", help="print JSON and not CSV")
    programs.add_database(made)
    return made


def _first_day(count: int) -> date:
    return date(count // 12, count % 12 + 1, 1)


def _count(month: date) -> int:
    """Months since year 0."""
    return month.year * 12 + month.month - 1


if __name__ == "__main__":
    sys.exit(programs.run(main))
