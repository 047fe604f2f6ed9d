"""dbt's lines of a month beside those of the second engine: equal to the last pico-dollar, or it says where not."""

from dataclasses import dataclass
from datetime import date

import polars as pl
import psycopg

from orchestration.jobs import pricing
from orchestration.pricing.month import PricedMonth, price_month, read_terms
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Parity:
    """`differences`: lines that only one engine has, or that differ; sums are of all lines, in pico-dollars."""

    month: PricedMonth
    differences: pl.DataFrame
    dbt_picousd: int
    polars_picousd: int


def compare_month(conn: psycopg.Connection, month: date) -> Parity:
    """Both engines read the rows below one commit horizon: the newest that dbt has computed quarter hours by."""
    horizon = conn.execute(QUERIES["horizon"]).fetchone()
    assert horizon is not None
    found = conn.execute(QUERIES["lines"], {"month": month}).fetchall()
    by_dbt = pl.DataFrame([_whole(row) for row in found], schema=pricing.LINE_SCHEMA, orient="row")
    by_polars = price_month(conn, month, read_terms(conn), horizon[0] or "0")
    return Parity(
        by_polars,
        differences(by_dbt, by_polars.lines),
        int(by_dbt["subtotal_picousd"].sum()),
        int(by_polars.lines["subtotal_picousd"].sum()),
    )


def differences(by_dbt: pl.DataFrame, by_polars: pl.DataFrame) -> pl.DataFrame:
    """(*LINE_KEY, quantity_dbt, quantity_polars, subtotal_picousd_dbt, subtotal_picousd_polars): 0 rows where they are equal."""
    values = ["basis_points", "quantity", "unit_price_picousd", "subtotal_picousd"]
    both = by_dbt.rename({name: f"{name}_dbt" for name in values}).join(
        by_polars.rename({name: f"{name}_polars" for name in values}), on=pricing.LINE_KEY, how="full", nulls_equal=True,
        coalesce=True,
    )  # fmt: skip
    return both.filter(pl.any_horizontal(pl.col(f"{name}_dbt").ne_missing(pl.col(f"{name}_polars")) for name in values))


def _whole(row: tuple[object, ...]) -> tuple[object, ...]:
    """Quantity and subtotal are NUMERIC without a fraction; Polars takes them as integers."""
    *head, quantity, unit_price, subtotal = row
    return *head, int(str(quantity)), unit_price, int(str(subtotal))
