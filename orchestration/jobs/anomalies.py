"""Runaway keys: use in the last minutes that is far over what this hour of the week has been like.

Method, for each key that is busy at all (above the floors): the quarters of hours of the last four weeks that are within half an
hour of this one in the week give a median and a median absolute deviation, which a few odd days do not move. The busiest
hundredth of all quarters of hours is what the key does now and then whatever the hour. What is expected is the larger of
the two, of the window's share, and the threshold a multiple of each. A key with less than three days of history is held
against its organization as a whole, and one of a new organization against floors alone.
Source: median and MAD as in Leys et al., Detecting outliers (2013); the multiples are those that gave no more than the stated
share of false alarms on generated normal use (`python -m tests.bench.anomalies`).
"""

from datetime import datetime, timedelta

import polars as pl

WINDOW = timedelta(minutes=5)
HISTORY = timedelta(days=28)
HISTORY_MIN = timedelta(days=3)
SEASON_SLACK = timedelta(minutes=30)  # more, and the median of an hour of batches is that of the hours around it
WEEK = timedelta(days=7)
QUARTER_HOUR = timedelta(minutes=15)
MAD_TO_SIGMA = 1.4826  # of a normal distribution
SIGMAS = 4
BUSIEST_SHARE = 0.99
# How many times the use of this time of the week, and that of the busiest quarters of hours, are an anomaly. Smaller finds
# more, and more that is none.
TIMES_SEASON = 2
TIMES_BUSIEST = 1.5
# Below these in a window nothing is worth a mail in the night: 60 requests, a dollar.
FLOOR_REQUESTS = 60
FLOOR_PICOUSD = 10**12
# Without any history to be held against: ten times as much.
FLOORS_WITHOUT_HISTORY = 10
# Spend of fewer requests than this is one large request, not a runaway.
REQUESTS_MIN = 10

RECENT_SCHEMA = {
    "org_id": pl.Int64, "project_id": pl.Int64, "api_key_id": pl.Int64, "first_at": pl.Datetime("us", "UTC"),
    "last_at": pl.Datetime("us", "UTC"), "requests": pl.Int64, "spend": pl.Int128,
}  # fmt: skip
HISTORY_SCHEMA = {
    "org_id": pl.Int64, "api_key_id": pl.Int64, "quarter_hour_at": pl.Datetime("us", "UTC"), "requests": pl.Int64,
    "spend": pl.Int128,
}  # fmt: skip
SCHEMA = {
    "org_id": pl.Int64, "project_id": pl.Int64, "api_key_id": pl.Int64, "metric": pl.String, "baseline": pl.String,
    "observed": pl.Int128, "expected": pl.Int128, "threshold": pl.Int128, "first_at": pl.Datetime("us", "UTC"),
    "last_at": pl.Datetime("us", "UTC"),
}  # fmt: skip
_FLOORS = {"requests": FLOOR_REQUESTS, "spend": FLOOR_PICOUSD}


def runaways(recent: pl.DataFrame, history: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Keys whose use in the window before `now` is over their threshold; of two metrics that are, the one that is further.

    Args: recent: as RECENT_SCHEMA, one row a key, sums of WINDOW.  history: as HISTORY_SCHEMA, sums of quarters of hours
        that were over when the window began, of keys and, without a key, of organizations; those without use are not there
        and count as nothing.
    Returns: as SCHEMA, one row a key.
    """
    history = history.filter(pl.col("quarter_hour_at") >= now - HISTORY, pl.col("quarter_hour_at") < now - WINDOW)
    of_keys = _levels(history.drop_nulls("api_key_id"), ["api_key_id"], now)
    of_organizations = _levels(history.filter(pl.col("api_key_id").is_null()), ["org_id"], now)
    held = recent.join(of_keys, on="api_key_id", how="left").join(of_organizations, on="org_id", how="left", suffix="_of_org")
    found = []
    for metric, least in _FLOORS.items():
        own = pl.when(pl.col(f"{metric}_busiest").is_not_null())
        season, busiest = (own.then(f"{metric}_{kind}").otherwise(f"{metric}_{kind}_of_org") for kind in ("season", "busiest"))
        level = pl.max_horizontal(season, busiest)
        times = pl.max_horizontal(season * TIMES_SEASON, busiest * TIMES_BUSIEST)
        floor = pl.when(level.is_null()).then(least * FLOORS_WITHOUT_HISTORY).otherwise(least)
        expected, threshold = ((each.fill_null(0) * (WINDOW / QUARTER_HOUR)).round().cast(pl.Int128) for each in (level, times))
        found.append(
            held.with_columns(
                metric=pl.lit(metric),
                baseline=own.then(pl.lit("key")).when(level.is_not_null()).then(pl.lit("organization")).otherwise(pl.lit("none")),
                observed=pl.col(metric).cast(pl.Int128),
                expected=expected,
                threshold=pl.max_horizontal(threshold, floor.cast(pl.Int128)),
            )
            .filter(pl.col("observed") > pl.col("threshold"), pl.col("requests") >= REQUESTS_MIN)
            .select(*SCHEMA, over=pl.col("observed") / pl.col("threshold"))
        )  # fmt: skip
    return pl.concat(found).sort("over", descending=True).unique("api_key_id", keep="first").select(*SCHEMA).sort("api_key_id")


def _levels(history: pl.DataFrame, scope: list[str], now: datetime) -> pl.DataFrame:
    """(*scope, and of each metric _season and _busiest): what a quarter of an hour is like; no row without history.

    Floats: a threshold is no money that anybody is charged.
    """
    sums = history.group_by(*scope, "quarter_hour_at").agg(pl.col(metric).sum().cast(pl.Float64) for metric in _FLOORS)
    spans = sums.group_by(scope).agg(first=pl.col("quarter_hour_at").min()).filter(pl.col("first") <= now - HISTORY_MIN)
    # Quarters of hours without use have no row and count as nothing: a key that rests at night is known to.
    from_top = ((now - pl.col("first").first()) / QUARTER_HOUR * (1 - BUSIEST_SHARE)).floor().cast(pl.Int64)
    busiest = (
        sums.join(spans, on=scope)
        .group_by(scope)
        .agg(
            pl.col(metric).sort(descending=True).get(from_top, null_on_oob=True).fill_null(0).alias(f"{metric}_busiest")
            for metric in _FLOORS
        )
    )
    seasonal = (
        spans.join(_season(now), how="cross")
        .filter(pl.col("quarter_hour_at") >= pl.col("first"))
        .join(sums, on=[*scope, "quarter_hour_at"], how="left")
        .group_by(scope)
        .agg(_robust_high(pl.col(metric).fill_null(0)).alias(f"{metric}_season") for metric in _FLOORS)
    )
    return busiest.join(seasonal, on=scope, how="left")


def _season(now: datetime) -> pl.DataFrame:
    """Quarters of hours of the weeks before that are near this time of the week."""
    this = now - (now - datetime.min.replace(tzinfo=now.tzinfo)) % QUARTER_HOUR
    near = range(-(SEASON_SLACK // QUARTER_HOUR), SEASON_SLACK // QUARTER_HOUR + 1)
    slots = [this - week * WEEK + step * QUARTER_HOUR for week in range(1, HISTORY // WEEK + 1) for step in near]
    return pl.DataFrame({"quarter_hour_at": slots}, schema={"quarter_hour_at": pl.Datetime("us", "UTC")})


def _robust_high(values: pl.Expr) -> pl.Expr:
    return values.median() + SIGMAS * MAD_TO_SIGMA * (values - values.median()).abs().median()
