"""What a corrected price book changes in the lines of a past month: differences, each in the month of the usage.

Rows keep the price version that they were billed by; a difference names both versions. Usage differs version by version;
what volume and discounts take off differs by line, since it rests on the sums. All differences of a month together are the
corrected lines minus the billed ones, to the last pico-dollar.

Rows of unknown cost are billed by the corrected book alone, and only if it has a price for them and their engine has stated
what it used, or somebody has decided that they are billed without.
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

UNKNOWN_SCHEMA = pricing.ROW_SCHEMA | {"request_id": pl.String, "attempt": pl.Int16, "is_metered": pl.Boolean}
DECIDED_SCHEMA = {
    "started_at": pl.Datetime("us", "UTC"), "org_id": pl.Int64, "request_id": pl.String, "attempt": pl.Int16,
    "is_metered": pl.Boolean,
}  # fmt: skip
JUDGED_SCHEMA = UNKNOWN_SCHEMA | {"is_priced": pl.Boolean}
_TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")


def judged(rows: pl.LazyFrame, corrected: pl.DataFrame, organizations: pl.DataFrame, month: date) -> pl.LazyFrame:
    """Rows of unknown cost that are in a month, and whether the corrected book has a price for each.

    Args: rows: as UNKNOWN_SCHEMA.  corrected: as pricing.BOOK_SCHEMA.
    Returns: as JUDGED_SCHEMA, with 0 tokens where they are not metered. `is_metered` is also false where the counts cost more
        than a row can hold: such an engine has stated nonsense.
    """
    is_priced = pl.col("price_id").is_not_null()
    is_metered = pl.col("is_metered") & (pl.col("cost_picousd").is_not_null() | ~is_priced)
    priced = pricing.within(pricing.price_rows(rows, corrected, strict=False), organizations, month)
    return (
        priced.with_columns(is_priced=is_priced, is_metered=is_metered, price_id=pl.lit(None, pl.Int32))
        .with_columns(pl.when("is_metered").then(name).otherwise(0).cast(pl.Int32).alias(name) for name in _TOKENS)
        .select(list(JUDGED_SCHEMA))
    )  # fmt: skip


def to_bill(rows: pl.DataFrame, decided: pl.DataFrame, *, unmetered: bool) -> pl.DataFrame:
    """Those of the rows of unknown cost that are billed: with a price, and with counts or by a decision.

    Args: rows: what `judged` gives.  decided: as DECIDED_SCHEMA, what earlier runs have billed.
        unmetered: whether rows without counts are decided now.
    """
    before = decided.filter(~pl.col("is_metered"))
    again = rows.filter("is_priced", ~pl.col("is_metered"))
    return pl.concat([
        rows.filter("is_priced", "is_metered"),
        again if unmetered else again.join(before, on=list(DECIDED_SCHEMA), how="semi"),
    ])  # fmt: skip


def decisions(billed: pl.DataFrame, decided: pl.DataFrame) -> pl.DataFrame:
    """DECIDED_SCHEMA and `change`: 1 for rows that are billed from now on, -1 for those that no longer are."""
    key = list(DECIDED_SCHEMA)
    sides = ((billed.select(key), decided, 1), (decided, billed, -1))
    parts = [one.join(other, on=key, how="anti").with_columns(change=pl.lit(change)) for one, other, change in sides]
    return pl.concat(parts).sort(key)


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
