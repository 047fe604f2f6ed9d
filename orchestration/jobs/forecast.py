"""Daily spend to come, per organization, with an interval from what the same method would have got wrong before.

Method: a day is expected to cost the mean of the last four days of its weekday; an organization with less than a week of
history, the mean of its last seven days. The interval is the point plus and minus the 80 % quantile of the absolute errors
that this method would have made, one day ahead, over the last eight weeks. Whole pico-dollars throughout.
Source: seasonal naive forecast, Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 5.2.
"""

from datetime import date, timedelta

import polars as pl
from polars.lazyframe.group_by import LazyGroupBy

DAYS_AHEAD = 35  # to the end of any budget's month
TESTED_DAYS_AHEAD = 14
WEEKDAYS_MEANT = 4
BACKTEST_DAYS = 56
ERRORS_MIN = 7  # fewer errors say nothing about the next one
INTERVAL_SHARE = 0.8
HISTORY_MIN_DAYS = 14  # a forecast from less is shown, with a wide interval, but is not tested

DAILY_SCHEMA = {"org_id": pl.Int64, "day_utc": pl.Date, "cost_picousd": pl.Int128}
BACKTEST_SCHEMA = {
    "org_id": pl.Int64, "days_ahead": pl.Int32, "forecasts": pl.Int32, "first_day": pl.Date, "last_day": pl.Date,
    "error_share": pl.Float64, "naive_error_share": pl.Float64, "coverage": pl.Float64, "interval_share": pl.Float64,
}  # fmt: skip
SCHEMA = {
    "org_id": pl.Int64,
    "day_utc": pl.Date,
    "cost_picousd": pl.Int128,
    "cost_picousd_low": pl.Int128,
    "cost_picousd_high": pl.Int128,
    "days_of_history": pl.Int32,
}


def spend_forecast(daily: pl.LazyFrame, today: date, days_ahead: int = DAYS_AHEAD) -> pl.LazyFrame:
    """Expected spend of today and the days after it.

    Args: daily: (org_id, day_utc, cost_picousd), one row per organization and day with usage.  today: the UTC day that is
        not over yet; it and later days are not used.
    Returns: as SCHEMA, `days_ahead` rows per organization that has any day before today.
    """
    history = _without_gaps(daily.filter(pl.col("day_utc") < today), today)
    spans = history.group_by("org_id").agg(
        days_of_history=pl.len().cast(pl.Int32),
        first_day=pl.col("day_utc").min(),
        largest=pl.col("cost_picousd").max(),
    )
    ahead = pl.LazyFrame({"day_utc": [today + timedelta(days=n) for n in range(days_ahead)]}, schema={"day_utc": pl.Date})
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


def backtest(daily: pl.LazyFrame, today: date) -> pl.LazyFrame:
    """How far `spend_forecast` would have been off on the days before today, had it been asked on each of them.

    Rolling origins: each of the last BACKTEST_DAYS days forecasts the TESTED_DAYS_AHEAD that begin with it, from the days
    before it alone, with the interval that it would have shown. Origins with less than HISTORY_MIN_DAYS of history are left out.
    Args: as `spend_forecast`.
    Returns: as BACKTEST_SCHEMA, one row per organization and days ahead, 1 being the origin itself; error shares are null
        where nothing was spent. Naive: as on the same weekday of the last week that is known.
    """
    daily = daily.filter(pl.col("day_utc") < today)
    first = daily.group_by("org_id").agg(first_day=pl.col("day_utc").min()).collect()
    # The first origin's own interval comes from as many days before it, and each of these from the weekdays before it.
    read_from = today - timedelta(days=2 * BACKTEST_DAYS + 7 * WEEKDAYS_MEANT)
    history = _without_gaps(daily, today).filter(pl.col("day_utc") >= read_from).collect().lazy()
    told = []
    for back in range(BACKTEST_DAYS, 0, -1):
        origin = today - timedelta(days=back)
        old = first.filter(pl.col("first_day") <= origin - timedelta(days=HISTORY_MIN_DAYS)).lazy().select("org_id")
        known = history.join(old, on="org_id", how="semi")
        told.append(spend_forecast(known, origin, TESTED_DAYS_AHEAD).with_columns(origin=pl.lit(origin)))
    actual = history.select("org_id", "day_utc", actual="cost_picousd")
    ahead = (pl.col("day_utc") - pl.col("origin")).dt.total_days()
    return (
        pl.concat(pl.collect_all(told))
        .lazy()
        .with_columns(
            days_ahead=(ahead + 1).cast(pl.Int32),
            # Days past the first week are as the last known one too.
            naive_day=pl.col("day_utc") - pl.duration(days=(ahead // 7 + 1) * 7),
        )
        .join(actual, on=["org_id", "day_utc"])
        .join(actual.rename({"day_utc": "naive_day", "actual": "naive"}), on=["org_id", "naive_day"])
        .with_columns(
            error=(pl.col("cost_picousd") - pl.col("actual")).abs(),
            naive_error=(pl.col("naive") - pl.col("actual")).abs(),
            within=pl.col("actual").is_between("cost_picousd_low", "cost_picousd_high"),
        )
        .group_by("org_id", "days_ahead")
        .agg(
            forecasts=pl.len().cast(pl.Int32),
            first_day=pl.col("day_utc").min(),
            last_day=pl.col("day_utc").max(),
            error_share=_share(pl.col("error").sum()),
            naive_error_share=_share(pl.col("naive_error").sum()),
            coverage=pl.col("within").mean(),
            interval_share=pl.lit(INTERVAL_SHARE),
        )
        .sort("org_id", "days_ahead")
    )


def _share(errors: pl.Expr) -> pl.Expr:
    """Of what was spent. A float: an error is no money."""
    spent = pl.col("actual").sum()
    return pl.when(spent > 0).then(errors.cast(pl.Float64) / spent.cast(pl.Float64))


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
    mean = (pl.col("cost").sum() // pl.len()).cast(pl.Int128)
    weeks_ahead = (pl.col("day_utc") - pl.col("origin")).dt.total_days() // 7 + 1

    def of_days(known_day: pl.Expr, back: range) -> LazyGroupBy:
        """Only the days that count are looked up: a long history is not gone through for each question."""
        days = questions.join(pl.LazyFrame({"back": back}), how="cross").with_columns(known_day=known_day)
        return days.join(known, on=["org_id", "known_day"]).group_by("org_id", "day_utc")

    weekday = pl.col("day_utc") - pl.duration(days=(weeks_ahead + pl.col("back")) * 7)
    same_weekday = of_days(weekday, range(WEEKDAYS_MEANT)).agg(by_weekday=mean)
    last_week = of_days(pl.col("origin") - pl.duration(days="back"), range(1, 8)).agg(by_week=mean)
    return last_week.join(same_weekday, on=["org_id", "day_utc"], how="left").select(
        "org_id", "day_utc", expected=pl.coalesce("by_weekday", "by_week")
    )


def _quantile(values: pl.Expr, share: float) -> pl.Expr:
    """Of so many values the one that so large a share of the *next* ones is not above: rank (n + 1) x share, at most n.

    Source: split conformal prediction; with n x share, four in five of few past errors cover less than that of those to come.
    """
    rank = ((values.len() + 1) * share).ceil().cast(pl.Int64).clip(upper_bound=values.len().cast(pl.Int64)) - 1
    return values.sort().get(rank)
