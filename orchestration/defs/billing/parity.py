"""dbt's lines of a month beside those of the second pricing engine, as the gate wants them."""

from collections.abc import Mapping
from datetime import date

import psycopg

from orchestration.defs.billing.closing import QUERIES


def differences(conn: psycopg.Connection, month: date) -> Mapping[int, int]:
    """{org_id: lines that only one engine has, or that differ}. Both read the rows before one commit."""
    # Imported here: every refresh loads the definitions, and would wait for Polars.
    import polars as pl  # noqa: PLC0415

    from orchestration.jobs.pricing import LINE_KEY, LINE_SCHEMA  # noqa: PLC0415
    from orchestration.pricing.month import price_month, read_terms  # noqa: PLC0415

    horizon = conn.execute(QUERIES["horizon"]).fetchone()
    found = conn.execute(QUERIES["lines_by_dbt"], {"month": month}).fetchall()
    as_of_xid = str(horizon[0]) if horizon and horizon[0] is not None else "0"
    by_dbt = pl.DataFrame([_whole(row) for row in found], schema=LINE_SCHEMA, orient="row")
    by_polars = price_month(conn, month, read_terms(conn), as_of_xid).lines
    values = [name for name in LINE_SCHEMA if name not in LINE_KEY]
    both = by_dbt.join(by_polars, on=LINE_KEY, how="full", nulls_equal=True, coalesce=True, suffix="_polars")
    differ = both.filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_polars")) for name in values))
    return dict(differ.group_by("org_id").len().iter_rows())


def _whole(row: tuple[object, ...]) -> tuple[object, ...]:
    """Quantity and subtotal are NUMERIC without a fraction; Polars takes them as integers."""
    *head, quantity, unit_price, subtotal = row
    return *head, int(str(quantity)), unit_price, int(str(subtotal))
