"""The second pricing engine: what rows cost and what a month's invoice lines are, computed from raw rows and the price book.

It shares nothing with dbt's SQL, so that two mistakes would have to be the same one to go unseen. The rules that both follow
are in docs/pricing-twice.md. Whole pico-dollars throughout: Int64 a row, Int128 a sum; what is divided is rounded once, half up.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta

import polars as pl

CLASSES = ("input", "cached_input", "output", "reasoning", "request")
BASIS_POINTS = 10_000
# Clocks differ from UTC by less than 26 hours, in steps of a quarter of an hour.
ZONES_FROM_UTC = timedelta(hours=26)
QUARTER_HOUR = timedelta(minutes=15)

ROW_SCHEMA = {
    "started_at": pl.Datetime("us", "UTC"), "org_id": pl.Int64, "project_id": pl.Int64, "model_id": pl.Int32,
    "endpoint": pl.String, "tags": pl.String, "charge_class": pl.String, "input_tokens": pl.Int32,
    "cached_input_tokens": pl.Int32, "output_tokens": pl.Int32, "reasoning_tokens": pl.Int32,
    "price_id": pl.Int32, "cost_picousd": pl.Int64,
}  # fmt: skip
BOOK_SCHEMA = {
    "price_id": pl.Int32, "model_id": pl.Int32, "org_id": pl.Int64, "priority": pl.Int16, "endpoint": pl.String,
    "input_tokens_from": pl.Int64, "input_tokens_below": pl.Int64, "tags": pl.List(pl.List(pl.String)),
    "effective_from": pl.Datetime("us", "UTC"), "effective_before": pl.Datetime("us", "UTC"), "input_picousd": pl.Int64,
    "cached_input_picousd": pl.Int64, "output_picousd": pl.Int64, "reasoning_picousd": pl.Int64, "request_picousd": pl.Int64,
}  # fmt: skip
DISCOUNT_SCHEMA = {
    "org_id": pl.Int64, "model_id": pl.Int32, "basis_points": pl.Int32, "first_month": pl.Date, "before_month": pl.Date,
}  # fmt: skip
TIER_SCHEMA = {
    "model_id": pl.Int32, "org_id": pl.Int64, "token_class": pl.String, "above_quantity": pl.Int64, "basis_points": pl.Int32,
    "first_month": pl.Date, "before_month": pl.Date,
}  # fmt: skip
ORGANIZATION_SCHEMA = {"org_id": pl.Int64, "time_zone": pl.String}
QUANTITY_KEY = ("org_id", "project_id", "model_id", "price_id")
VOLUME_KEY = ("org_id", "model_id", "token_class")
LINE_SCHEMA = {
    "org_id": pl.Int64, "period_month": pl.Date, "kind": pl.String, "project_id": pl.Int64, "model_id": pl.Int32,
    "price_id": pl.Int32, "token_class": pl.String, "above_quantity": pl.Int64, "basis_points": pl.Int32,
    "quantity": pl.Int128, "unit_price_picousd": pl.Int64, "subtotal_picousd": pl.Int128,
}  # fmt: skip
LINE_KEY = ("org_id", "period_month", "kind", "project_id", "model_id", "price_id", "token_class", "above_quantity")


def price_rows(rows: pl.LazyFrame, book: pl.DataFrame, *, strict: bool = True) -> pl.LazyFrame:
    """The rows with the price version that the book gives each, and its exact cost; what they named before is replaced.

    Args: rows: as ROW_SCHEMA; `price_id` and `cost_picousd` may be missing.  book: as BOOK_SCHEMA; null bounds are open.
        strict: otherwise a cost that is more than a bigint holds is null.
    Returns: `price_id` is null where no version is in force; `cost_picousd` is then null for a charged row. Rows that are
        not charged cost 0. Their order may be another.
    Raises: polars.exceptions.InvalidOperationError: a row costs more than a bigint holds.
    """
    keys = sorted({pair[0] for pairs in book["tags"].to_list() for pair in pairs or []})
    case = ["org_id", "model_id", "endpoint", "_at", "_length", *(f"_tag{n}" for n in range(len(keys)))]
    cut = rows.drop("price_id", "cost_picousd", strict=False).with_columns(
        # Rows between the same two bounds of the book meet the same versions: choosing is done once for all of them.
        _at=_interval(book, "effective_from", "effective_before", pl.col("started_at")),
        _length=_interval(book, "input_tokens_from", "input_tokens_below", pl.col("input_tokens").cast(pl.Int64)),
        **_tag_values(keys),
    )
    cases = cut.group_by(case).agg(started_at=pl.col("started_at").first(), input_tokens=pl.col("input_tokens").first())
    chosen = _choose(cases, book, case, keys)
    charged = pl.col("charge_class") == "charged"
    return (
        cut.join(chosen, on=case, how="left", nulls_equal=True)
        .join(book.lazy().select("price_id", *_prices(book)), on="price_id", how="left")
        .with_columns(cost_picousd=pl.when(charged).then(_cost()).otherwise(0).cast(pl.Int64, strict=strict))
        .drop(*(name for name in case if name.startswith("_")), *_prices(book))
    )


def invoice_lines(  # noqa: PLR0917  # one for each thing that a line is made of
    rows: pl.LazyFrame,
    book: pl.DataFrame,
    discounts: pl.DataFrame,
    tiers: pl.DataFrame,
    organizations: pl.DataFrame,
    month: date,
) -> pl.DataFrame:
    """Lines of a month of each organization, in its own zone, by the price versions that the rows name.

    Args: rows: as ROW_SCHEMA; those of other months are left out.  month: its first day.
    Returns: as LINE_SCHEMA, sorted by LINE_KEY.
    """
    return lines_of(quantities(rows, organizations, month).collect(), book, discounts, tiers, month)


def quantities(rows: pl.LazyFrame, organizations: pl.DataFrame, month: date, key: Sequence[str] = QUANTITY_KEY) -> pl.LazyFrame:
    """Quantity of each class by `key`: sums, so that a month may be read in parts and the parts added up.

    Charged rows without any of the price versions that the key names are left out.
    """
    named = pl.any_horizontal(pl.col(name).is_not_null() for name in key if name.endswith("price_id"))
    counted = {
        "input": pl.col("input_tokens") - pl.col("cached_input_tokens"),
        "cached_input": pl.col("cached_input_tokens"),
        "output": pl.col("output_tokens") - pl.col("reasoning_tokens"),
        "reasoning": pl.col("reasoning_tokens"),
    }
    return (
        within(rows.filter((pl.col("charge_class") == "charged") & named), organizations, month)
        .group_by(key)
        .agg(**{name: count.cast(pl.Int128).sum() for name, count in counted.items()}, request=pl.len().cast(pl.Int128))
    )


def within(rows: pl.LazyFrame, organizations: pl.DataFrame, month: date) -> pl.LazyFrame:
    """The rows that are in the month of their organization, by its own zone."""
    spans = organizations.join(month_spans(organizations["time_zone"].unique(), month), on="time_zone")
    in_month = (pl.col("started_at") >= pl.col("month_starts_at")) & (pl.col("started_at") < pl.col("month_ends_at"))
    bounds = ("month_starts_at", "month_ends_at")
    return rows.join(spans.lazy().select("org_id", *bounds), on="org_id").filter(in_month).drop(bounds)


def add_up(parts: Iterable[pl.DataFrame], key: Sequence[str] = QUANTITY_KEY) -> pl.DataFrame:
    """Quantities of a month that was read in parts."""
    return pl.concat(parts).group_by(key).agg(pl.col(CLASSES).sum())


def lines_of(summed: pl.DataFrame, book: pl.DataFrame, discounts: pl.DataFrame, tiers: pl.DataFrame, month: date) -> pl.DataFrame:
    """Lines of quantities: usage, then what volume takes off a class of a model, then what a discount takes off a model."""
    usage = (
        summed.unpivot(on=CLASSES, index=QUANTITY_KEY, variable_name="token_class", value_name="quantity")
        .filter(pl.col("quantity") > 0)
        .join(unit_prices(book), on=["price_id", "token_class"])
        .filter((pl.col("token_class") != "request") | (pl.col("unit_price_picousd") > 0))
        .with_columns(subtotal_picousd=pl.col("quantity") * pl.col("unit_price_picousd").cast(pl.Int128))
    )
    volume = _volume_lines(usage, _in_force(tiers, month))
    discounted = _discount_lines(usage, volume, _in_force(discounts, month))
    kinds = {"usage": usage, "volume_discount": volume, "discount": discounted}
    lines = [part.with_columns(period_month=pl.lit(month), kind=pl.lit(kind)) for kind, part in kinds.items()]
    shape = pl.DataFrame(schema=LINE_SCHEMA)
    told = pl.concat([shape, *(part.select(_as_told(part)) for part in lines)], how="diagonal")
    return told.sort(LINE_KEY, nulls_last=True)


def _as_told(part: pl.DataFrame) -> list[pl.Expr]:
    return [pl.col(name).cast(kind) for name, kind in LINE_SCHEMA.items() if name in part.columns]


def month_spans(zones: Iterable[str], month: date) -> pl.DataFrame:
    """(time_zone, month_starts_at, month_ends_at) in UTC, end excluded.

    A month begins at the first instant whose local time is in it, also where midnight is left out or comes twice.
    """
    following = (month.replace(day=1) + timedelta(days=32)).replace(day=1)
    names = sorted(set(zones))
    starts = {"month_starts_at": month.replace(day=1), "month_ends_at": following}
    return pl.DataFrame(
        {"time_zone": names, **{name: [_first_instant(zone, day) for zone in names] for name, day in starts.items()}},
        schema={"time_zone": pl.String, "month_starts_at": pl.Datetime("us", "UTC"), "month_ends_at": pl.Datetime("us", "UTC")},
    )


def _first_instant(zone: str, day: date) -> datetime:
    midnight = datetime.combine(day, time())
    instants = pl.datetime_range(midnight - ZONES_FROM_UTC, midnight + ZONES_FROM_UTC, QUARTER_HOUR, time_zone="UTC", eager=True)
    local = instants.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    first: datetime = instants.filter(local >= midnight)[0]
    return first


def _interval(book: pl.DataFrame, first: str, before: str, value: pl.Expr) -> pl.Expr:
    """Which of the intervals between the bounds in the book the value is in."""
    bounds = pl.concat([book[first], book[before]]).drop_nulls().unique().sort()
    return pl.lit(bounds).search_sorted(value, side="right").cast(pl.UInt32)


def _tag_values(keys: list[str]) -> Mapping[str, pl.Expr]:
    """The row's value of each tag that the book asks for."""
    decoded = pl.col("tags").str.json_decode(pl.Struct(dict.fromkeys(keys, pl.String)))
    return {f"_tag{n}": decoded.struct.field(key) for n, key in enumerate(keys)}


def _choose(cases: pl.LazyFrame, book: pl.DataFrame, case: list[str], keys: list[str]) -> pl.LazyFrame:
    """(*case, price_id): the organization's own version before the list's, then the highest priority."""
    wanted = book.lazy().with_columns(
        **{
            f"_want{n}": pl.col("tags").list.eval(
                pl.element().filter(pl.element().list.first() == key).list.last()
            ).list.first()
            for n, key in enumerate(keys)
        }
    )  # fmt: skip
    own = cases.join(wanted.filter(pl.col("org_id").is_not_null()), on=["model_id", "org_id"], suffix="_of_price")
    listed = cases.join(wanted.filter(pl.col("org_id").is_null()).drop("org_id"), on="model_id", suffix="_of_price")
    meets = [
        pl.col("effective_from").is_null() | (pl.col("effective_from") <= pl.col("started_at")),
        pl.col("effective_before").is_null() | (pl.col("effective_before") > pl.col("started_at")),
        pl.col("endpoint_of_price").is_null() | (pl.col("endpoint_of_price") == pl.col("endpoint")),
        pl.col("input_tokens_from") <= pl.col("input_tokens"),
        pl.col("input_tokens_below").is_null() | (pl.col("input_tokens_below") > pl.col("input_tokens")),
        *(pl.col(f"_want{n}").is_null() | pl.col(f"_want{n}").eq_missing(pl.col(f"_tag{n}")) for n in range(len(keys))),
    ]
    ranked = [
        candidates.filter(*meets).select(*case, "price_id", "priority", _own=pl.lit(is_own))
        for candidates, is_own in ((own, True), (listed, False))
    ]
    return (
        pl.concat(ranked)
        .sort("_own", "priority", "price_id", descending=True)
        .unique(case, keep="first", maintain_order=True)
        .select(*case, "price_id")
    )


def _prices(book: pl.DataFrame) -> list[str]:
    return [name for name in book.columns if name.endswith("_picousd")]


def _cost() -> pl.Expr:
    """Exact, in Int128; null without a version."""
    wide = {name: pl.col(name).cast(pl.Int128) for name in (
        "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "input_picousd", "cached_input_picousd",
        "output_picousd", "reasoning_picousd", "request_picousd",
    )}  # fmt: skip
    return (
        (wide["input_tokens"] - wide["cached_input_tokens"]) * wide["input_picousd"]
        + wide["cached_input_tokens"] * wide["cached_input_picousd"]
        + (wide["output_tokens"] - wide["reasoning_tokens"]) * wide["output_picousd"]
        + wide["reasoning_tokens"] * pl.coalesce(wide["reasoning_picousd"], wide["output_picousd"])
        + wide["request_picousd"]
    )


def unit_prices(book: pl.DataFrame) -> pl.DataFrame:
    """(price_id, token_class, unit_price_picousd)."""
    named = [pl.col(f"{name}_picousd").alias(name) for name in CLASSES]
    whole = book.with_columns(reasoning_picousd=pl.coalesce("reasoning_picousd", "output_picousd")).select("price_id", *named)
    return whole.unpivot(on=CLASSES, index="price_id", variable_name="token_class", value_name="unit_price_picousd")


def _in_force(terms: pl.DataFrame, month: date) -> pl.DataFrame:
    begun = pl.col("first_month").is_null() | (pl.col("first_month") <= month)
    return terms.filter(begun, pl.col("before_month").is_null() | (pl.col("before_month") > month))


def _volume_lines(usage: pl.DataFrame, tiers: pl.DataFrame) -> pl.DataFrame:
    """Units of a class above a tier, up to the next one, cost so much less than the month's average price of the class.

    Their price is subtotal / quantity, which need not be whole. The quotient is taken apart before it is multiplied, so that
    nothing on the way is larger than Int128 holds, which would go round and not fail; it is exact up to 1e16 units.
    """
    used = usage.group_by(VOLUME_KEY).agg(used=pl.col("quantity").sum(), cost=pl.col("subtotal_picousd").sum())
    ends = tiers.sort("above_quantity").with_columns(
        up_to=pl.col("above_quantity").shift(-1).over("model_id", "org_id", "token_class")
    )
    own = used.join(ends.filter(pl.col("org_id").is_not_null()), on=VOLUME_KEY)
    common = ends.filter(pl.col("org_id").is_null()).drop("org_id")
    for_everybody = used.join(own, on=VOLUME_KEY, how="anti").join(common, on=["model_id", "token_class"])
    wide = {name: pl.col(name).cast(pl.Int128) for name in ("used", "cost", "above_quantity", "up_to", "basis_points")}
    shares = pl.col("quantity") * wide["basis_points"]
    by_whole_price = shares * (wide["cost"] // wide["used"])
    rest = by_whole_price % BASIS_POINTS * wide["used"] + shares * (wide["cost"] % wide["used"])
    unit = wide["used"] * BASIS_POINTS
    off = by_whole_price // BASIS_POINTS + (rest * 2 + unit) // (unit * 2)
    return (
        pl.concat([own, for_everybody.select(own.columns)])
        .with_columns(quantity=pl.min_horizontal(wide["used"], wide["up_to"]) - wide["above_quantity"])
        .filter(pl.col("quantity") > 0)
        .with_columns(subtotal_picousd=pl.lit(0, dtype=pl.Int128) - off)
        .filter(pl.col("subtotal_picousd") != 0)
    )


def _discount_lines(usage: pl.DataFrame, volume: pl.DataFrame, discounts: pl.DataFrame) -> pl.DataFrame:
    """The discount of the model comes before that of all models; it is of what volume has left, half up."""
    of_model = discounts.filter(pl.col("model_id").is_not_null()).select("org_id", "model_id", of_model="basis_points")
    of_all = discounts.filter(pl.col("model_id").is_null()).select("org_id", of_all="basis_points")
    parts = [part.select("org_id", "model_id", "subtotal_picousd") for part in (usage, volume)]
    amount = pl.col("subtotal_picousd") * pl.col("basis_points").cast(pl.Int128)
    off = (amount + BASIS_POINTS // 2) // BASIS_POINTS
    return (
        pl.concat(parts)
        .group_by("org_id", "model_id")
        .agg(pl.col("subtotal_picousd").sum())
        .join(of_model, on=["org_id", "model_id"], how="left")
        .join(of_all, on="org_id", how="left")
        .with_columns(basis_points=pl.coalesce("of_model", "of_all"), quantity=pl.lit(1))
        .filter(pl.col("basis_points").is_not_null())
        .with_columns(subtotal_picousd=pl.lit(0, dtype=pl.Int128) - off)
        .filter(pl.col("subtotal_picousd") != 0)
    )
