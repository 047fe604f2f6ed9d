"""What a corrected price book changes in the lines of a past month: differences, each in the month of the usage.

Rows keep the price version that they were billed by; a difference names both versions. Usage differs version by version;
what volume and discounts take off differs by line, since it rests on the sums. All differences of a month together are the
corrected lines minus the billed ones, to the last pico-dollar.
"""

from datetime import date

import polars as pl

from orchestration.jobs import pricing

PAIR_KEY = ("org_id", "project_id", "model_id", "price_id", "corrected_price_id")
ADJUSTMENT_SCHEMA = {
    "org_id": pl.Int64, "period_month": pl.Date, "adjusts": pl.String, "project_id": pl.Int64, "model_id": pl.Int32,
    "price_id": pl.Int32, "corrected_price_id": pl.Int32, "token_class": pl.String, "above_quantity": pl.Int64,
    "quantity": pl.Int128, "subtotal_picousd": pl.Int128,
}  # fmt: skip
KEY = tuple(name for name in ADJUSTMENT_SCHEMA if name not in {"quantity", "subtotal_picousd"})


def pairs(rows: pl.LazyFrame, corrected: pl.DataFrame, organizations: pl.DataFrame, month: date) -> pl.LazyFrame:
    """Quantity of each class by PAIR_KEY: the version that the rows name, and the one that the corrected book gives them.

    Args: rows: as pricing.ROW_SCHEMA.  corrected: as pricing.BOOK_SCHEMA.
    """
    kept = rows.with_columns(billed="price_id")
    named = pricing.price_rows(kept, corrected).rename({"price_id": "corrected_price_id", "billed": "price_id"})
    return pricing.quantities(named, organizations, month, PAIR_KEY)


def differences(
    paired: pl.DataFrame, billed: pl.DataFrame, corrected: pl.DataFrame, terms: tuple[pl.DataFrame, pl.DataFrame], month: date
) -> pl.DataFrame:
    """What the corrected book makes of a month beside what the rows were billed by.

    Args: paired: what `pairs` gives, every corrected version being there.  billed, corrected: the two books.
        terms: discounts and volume tiers, the same for both.
    Returns: as ADJUSTMENT_SCHEMA, lines that differ only; `quantity` is of the rows that do.
    """
    lines = {
        book_of: pricing.lines_of(_by_version(paired, version), book, *terms, month)
        for book_of, version, book in (("billed", "price_id", billed), ("corrected", "corrected_price_id", corrected))
    }
    shape = pl.DataFrame(schema=ADJUSTMENT_SCHEMA)
    parts = [_of_usage(paired, billed, corrected), _of_reductions(lines["billed"], lines["corrected"])]
    told = [part.with_columns(period_month=pl.lit(month)) for part in parts]
    whole = pl.concat([shape, *(_shaped(part) for part in told)], how="diagonal").filter(pl.col("subtotal_picousd") != 0)
    assert whole["subtotal_picousd"].sum() == _sum(lines["corrected"]) - _sum(lines["billed"])
    return whole.sort(KEY, nulls_last=True)


def still_to_adjust(wanted: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
    """`wanted` without what earlier runs have adjusted; what they adjusted and is no longer wanted is taken back.

    Args and returns: as ADJUSTMENT_SCHEMA; of `earlier` there may be several rows of a KEY.
    """
    done = earlier.group_by(KEY).agg(done=pl.col("subtotal_picousd").sum())
    return (
        wanted.join(done, on=KEY, how="full", nulls_equal=True, coalesce=True)
        .with_columns(
            quantity=pl.col("quantity").fill_null(0),
            subtotal_picousd=pl.col("subtotal_picousd").fill_null(0) - pl.col("done").fill_null(0),
        )
        .filter(pl.col("subtotal_picousd") != 0)
        .select(*ADJUSTMENT_SCHEMA)
        .sort(KEY, nulls_last=True)
    )


def _by_version(paired: pl.DataFrame, version: str) -> pl.DataFrame:
    """Quantities by one of the two versions, as pricing.lines_of takes them."""
    of_one = paired.drop("price_id" if version != "price_id" else "corrected_price_id").rename({version: "price_id"})
    return pricing.add_up([of_one.drop_nulls("price_id")])


def _of_usage(paired: pl.DataFrame, billed: pl.DataFrame, corrected: pl.DataFrame) -> pl.DataFrame:
    units = pricing.unit_prices(billed).rename({"unit_price_picousd": "unit_billed"})
    new_units = pricing.unit_prices(corrected).rename({"price_id": "corrected_price_id", "unit_price_picousd": "unit_corrected"})
    difference = pl.col("unit_corrected").cast(pl.Int128) - pl.col("unit_billed").fill_null(0).cast(pl.Int128)
    return (
        paired.unpivot(on=pricing.CLASSES, index=PAIR_KEY, variable_name="token_class", value_name="quantity")
        .join(units, on=["price_id", "token_class"], how="left")
        .join(new_units, on=["corrected_price_id", "token_class"], how="left")
        .with_columns(adjusts=pl.lit("usage"), subtotal_picousd=pl.col("quantity") * difference)
    )


def _of_reductions(billed: pl.DataFrame, corrected: pl.DataFrame) -> pl.DataFrame:
    key = ["org_id", "kind", "model_id", "token_class", "above_quantity"]
    both = [lines.filter(pl.col("kind") != "usage").select(*key, "quantity", "subtotal_picousd") for lines in (billed, corrected)]
    return (
        both[1]
        .join(both[0], on=key, how="full", nulls_equal=True, coalesce=True, suffix="_billed")
        .with_columns(
            quantity=pl.coalesce("quantity", "quantity_billed"),
            subtotal_picousd=pl.col("subtotal_picousd").fill_null(0) - pl.col("subtotal_picousd_billed").fill_null(0),
        )
        .rename({"kind": "adjusts"})
    )


def _shaped(part: pl.DataFrame) -> pl.DataFrame:
    return part.select(pl.col(name).cast(kind) for name, kind in ADJUSTMENT_SCHEMA.items() if name in part.columns)


def _sum(lines: pl.DataFrame) -> int:
    return int(lines["subtotal_picousd"].sum())
