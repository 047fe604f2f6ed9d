"""A month of raw rows as frames, in bounded memory, and the price book that goes with it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO

import polars as pl
import psycopg

from orchestration.jobs import pricing
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
# Text of one part; about 100 bytes a row, and some 300 while it is priced: a month of any size is read in 300 MiB.
PART_BYTES_MAX = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Terms:
    """What rows are priced by, as orchestration.jobs.pricing takes it."""

    book: pl.DataFrame
    discounts: pl.DataFrame
    tiers: pl.DataFrame
    organizations: pl.DataFrame


@dataclass(frozen=True, slots=True)
class PricedMonth:
    """Lines of a month and what was seen on the way.

    `rows_otherwise`: charged rows whose recorded price version or cost is not the one that the book gives.
    """

    lines: pl.DataFrame
    rows: int
    rows_otherwise: int
    rows_unpriced: int


def read_terms(conn: psycopg.Connection) -> Terms:
    """The price book, discounts, tiers and zones as they are now."""
    schemas = {
        "book": pricing.BOOK_SCHEMA,
        "discounts": pricing.DISCOUNT_SCHEMA,
        "volume_tiers": pricing.TIER_SCHEMA,
        "organizations": pricing.ORGANIZATION_SCHEMA,
    }
    frames = [
        pl.DataFrame(conn.execute(QUERIES[name]).fetchall(), schema=schema, orient="row") for name, schema in schemas.items()
    ]
    return Terms(*frames)


def snapshot_xid(conn: psycopg.Connection) -> str:
    """The commit horizon of now: every row below it is committed."""
    row = conn.execute(QUERIES["snapshot_xid"]).fetchone()
    assert row is not None
    return str(row[0])


def read_rows(conn: psycopg.Connection, first: datetime, before: datetime, as_of_xid: str) -> Iterator[pl.DataFrame]:
    """Rows that started in [first, before) and were recorded below a commit horizon, part by part, as ROW_SCHEMA."""
    return read_parts(conn, QUERIES["rows"], {"first": first, "before": before, "as_of_xid": as_of_xid}, pricing.ROW_SCHEMA)


def read_parts(
    conn: psycopg.Connection, query: bytes, values: Mapping[str, object], schema: Mapping[str, pl.DataType]
) -> Iterator[pl.DataFrame]:
    """What a COPY to CSV gives, part by part. Its first column is `started_at`, in microseconds.

    CSV and not binary: Polars parses it natively, and every value of these columns is exact as text.
    """
    with conn.cursor() as cur, cur.copy(query, values) as copy:
        part, size = [], 0
        for chunk in copy:
            part.append(chunk)
            size += len(chunk)
            if size >= PART_BYTES_MAX:  # a chunk is a whole row
                yield _parsed(b"".join(part), schema)
                part, size = [], 0
        if part:
            yield _parsed(b"".join(part), schema)


def price_month(conn: psycopg.Connection, month: date, terms: Terms, as_of_xid: str, *, anew: bool = False) -> PricedMonth:
    """A month of every organization, each in its own zone.

    Args: anew: by the versions that the book gives the rows now, and not by those that the rows name.
    """
    spans = pricing.month_spans(terms.organizations["time_zone"], month)
    if spans.is_empty():
        return PricedMonth(pl.DataFrame(schema=pricing.LINE_SCHEMA), 0, 0, 0)
    first, before = spans["month_starts_at"].min(), spans["month_ends_at"].max()
    assert isinstance(first, datetime)
    assert isinstance(before, datetime)
    parts, seen = [pl.DataFrame(schema=_quantity_schema())], [0, 0, 0]
    for rows in read_rows(conn, first, before, as_of_xid):
        by_book = pricing.price_rows(rows.lazy().with_row_index("number"), terms.book).collect().sort("number")
        charged = rows["charge_class"] == "charged"
        other = rows["price_id"].ne_missing(by_book["price_id"]) | rows["cost_picousd"].ne_missing(by_book["cost_picousd"])
        unpriced = charged & (by_book if anew else rows)["price_id"].is_null()
        seen = [seen[0] + rows.height, seen[1] + int((charged & other).sum()), seen[2] + int(unpriced.sum())]
        counted = pricing.quantities((by_book if anew else rows).lazy(), terms.organizations, month).collect()
        parts = [pricing.add_up([*parts, counted])]
    lines = pricing.lines_of(parts[0], terms.book, terms.discounts, terms.tiers, month)
    return PricedMonth(lines, *seen)


def _parsed(text: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    frame = pl.read_csv(BytesIO(text), has_header=False, schema={**schema, "started_at": pl.Int64})
    return frame.with_columns(pl.from_epoch("started_at", "us").dt.replace_time_zone("UTC"))


def _quantity_schema() -> dict[str, pl.DataType]:
    return {name: pricing.ROW_SCHEMA[name] for name in pricing.QUANTITY_KEY} | dict.fromkeys(pricing.CLASSES, pl.Int128)
