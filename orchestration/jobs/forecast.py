"""Daily spend to come, per organization, with an interval from what the same method would have got wrong before.

Method: a day is expected to cost the mean of the last four days of its weekday; an organization with less than a week of
history, the mean of its last seven days. The interval is the point plus and minus the 80 % quantile of the absolute errors
that this method would have made, one day ahead, over the last eight weeks. Whole pico-dollars throughout.
Source: seasonal naive forecast, Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 5.2.
"""

from datetime import date, timedelta

import polars as pl

DAYS_AHEAD = 14
WEEKDAYS_MEANT = 4
BACKTEST_DAYS = 56
ERRORS_MIN = 7  # fewer errors say nothing about the next one
INTERVAL_SHARE = 0.8

DAILY_SCHEMA = {"org_id": pl.Int64, "day_utc": pl.Date, "cost_picousd": pl.Int128}
SCHEMA = {
    "org_id": pl.Int64,
    "day_utc": pl.Date,
    "cost_picousd": pl.Int128,
    "cost_picousd_low": pl.Int128,
    "cost_picousd_high": pl.Int128,
    "days_of_history": pl.Int32,
}


def spend_forecast(daily: pl.LazyFrame, today: date) -> pl.LazyFrame:
    """Expected spend of today and the days after it.

    Args: daily: (org_id, day_utc, cost_picousd), one row per organization and day with usage.  today: the UTC day that is
        not over yet; it and later days are not used.
    Returns: as SCHEMA, DAYS_AHEAD rows per organization that has any day before today.
    """
    history = _without_gaps(daily.filter(pl.col("day_utc") < today), today)
    spans = history.group_by("org_id").agg(
        days_of_history=pl.len().cast(pl.Int32),
        first_day=pl.col("day_utc").min(),
        largest=pl.col("cost_picousd").max(),
    )
    ahead = pl.LazyFrame({"day_utc": [today + timedelta(days=n) for n in range(DAYS_AHEAD)]}, schema={"day_utc": pl.Date})
    future = spans.select("org_id").join(ahead, how="cross").with_columns(origin=pl.lit(today))
    past = (
        history.join(spans.select("org_id", "first_day"), on="org_id")
        .filter(pl.col("day_utc") >= today - timedelta(days=BACKTEST_DAYS))
        .filter(pl.col("day_utc") >= pl.col("first_day") + timedelta(days=7))
        .select("org_id", "day_utc", origin=pl.col("day_utc"))
    )
    errors = (
        _expected(past, history)
        .join(history, on=["org_id", "day_utc"], suffix="_actual")
        .select("org_id", error=(pl.col("expected") - pl.col("cost_picousd")).abs())
        .group_by("org_id")
        .agg(error=_quantile(pl.col("error"), INTERVAL_SHARE), errors=pl.len())
    )
    return (
        _expected(future, history)
        .join(spans, on="org_id")
        .join(errors, on="org_id", how="left")
        .with_columns(
            error=pl.when(pl.col("errors") >= ERRORS_MIN)
            .then(pl.col("error"))
            .otherwise(pl.max_horizontal("expected", "largest"))
        )
        .select(
            "org_id",
            "day_utc",
            cost_picousd=pl.col("expected"),
            cost_picousd_low=pl.max_horizontal(pl.col("expected") - pl.col("error"), pl.lit(0, dtype=pl.Int128)),
            cost_picousd_high=pl.col("expected") + pl.col("error"),
            days_of_history=pl.col("days_of_history"),
        )
        .sort("org_id", "day_utc")
    )


def _without_gaps(daily: pl.LazyFrame, today: date) -> pl.LazyFrame:
    """A day without usage cost nothing; it is not missing."""
    days = (
        daily.group_by("org_id")
        .agg(day_utc=pl.col("day_utc").min())
        .select("org_id", pl.date_ranges("day_utc", pl.lit(today - timedelta(days=1))).alias("day_utc"))
        .explode("day_utc")
    )
    return days.join(daily, on=["org_id", "day_utc"], how="left").with_columns(pl.col("cost_picousd").fill_null(0))


def _expected(questions: pl.LazyFrame, history: pl.LazyFrame) -> pl.LazyFrame:
    """(org_id, day_utc, expected) of (org_id, day_utc, origin): only days before the origin are known."""
    known = history.select("org_id", known_day=pl.col("day_utc"), cost=pl.col("cost_picousd"))
    before = questions.join(known, on="org_id").filter(pl.col("known_day") < pl.col("origin"))
    mean = (pl.col("cost").sum() // pl.len()).cast(pl.Int128)
    same_weekday = (
        before.filter(pl.col("known_day").dt.weekday() == pl.col("day_utc").dt.weekday())
        .sort("known_day", descending=True)
        .group_by("org_id", "day_utc")
        .head(WEEKDAYS_MEANT)
        .group_by("org_id", "day_utc")
        .agg(by_weekday=mean)
    )
    last_week = (
        before.filter(pl.col("known_day") >= pl.col("origin") - timedelta(days=7)).group_by("org_id", "day_utc").agg(by_week=mean)
    )
    return last_week.join(same_weekday, on=["org_id", "day_utc"], how="left").select(
        "org_id", "day_utc", expected=pl.coalesce("by_weekday", "by_week")
    )


def _quantile(values: pl.Expr, share: float) -> pl.Expr:
    """Nearest rank, as PostgreSQL's percentile_disc: always a value that occurred."""
    rank = (values.len() * share).ceil().cast(pl.Int64) - 1
    return values.sort().get(rank)
