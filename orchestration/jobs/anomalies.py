"""Runaway keys: use in the last minutes that is far over what this hour of the week has been like.

Method, for each key that is busy at all (above the floors): the quarters of hours of the last four weeks that are within an
hour of this one in the week give a median and a median absolute deviation, which a few odd days do not move. The busiest
hundredth of all quarters of hours is what the key does now and then whatever the hour. What is expected is the larger of
the two, and the threshold a multiple of it, of the window's share. A key with less than three days of history is held
against its organization as a whole, and one of a new organization against floors alone.
Source: median and MAD as in Leys et al., Detecting outliers (2013); the multiples are those that gave no more than the stated
share of false alarms on generated normal use (`python -m tests.bench.anomalies`).
"""

from datetime import datetime, timedelta

import polars as pl

WINDOW = timedelta(minutes=5)
HISTORY = timedelta(days=28)
HISTORY_MIN = timedelta(days=3)
SEASON_SLACK = timedelta(hours=1)
WEEK = timedelta(days=7)
QUARTER_HOUR = timedelta(minutes=15)
MAD_TO_SIGMA = 1.4826  # of a normal distribution
SIGMAS = 4
BUSIEST_SHARE = 0.99
# How many times the expected use of a window is an anomaly. Smaller finds more, and more that is none.
TIMES_EXPECTED = 3
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
        that were over when the window began; those without use are not there and count as nothing.
    Returns: as SCHEMA, one row a key.
    """
    history = history.filter(pl.col("quarter_hour_at") >= now - HISTORY, pl.col("quarter_hour_at") < now - WINDOW)
    of_keys = _levels(history, ["api_key_id"], now)
    of_organizations = _levels(history, ["org_id"], now)
    found = []
    for metric in _FLOORS:
        level = pl.coalesce(f"{metric}_key", f"{metric}_organization")
        floor = pl.when(level.is_null()).then(_FLOORS[metric] * FLOORS_WITHOUT_HISTORY).otherwise(_FLOORS[metric])
        expected = (level.fill_null(0) * (WINDOW / QUARTER_HOUR)).round().cast(pl.Int128)
        found.append(
            recent.join(of_keys.rename({name: f"{name}_key" for name in _FLOORS}), on="api_key_id", how="left")
            .join(of_organizations.rename({name: f"{name}_organization" for name in _FLOORS}), on="org_id", how="left")
            .with_columns(
                metric=pl.lit(metric),
                baseline=pl.when(pl.col(f"{metric}_key").is_not_null()).then(pl.lit("key"))
                .when(level.is_not_null()).then(pl.lit("organization")).otherwise(pl.lit("none")),
                observed=pl.col(metric).cast(pl.Int128),
                expected=expected,
                threshold=pl.max_horizontal(expected * TIMES_EXPECTED, floor.cast(pl.Int128)),
            )
            .filter(pl.col("observed") > pl.col("threshold"), pl.col("requests") >= REQUESTS_MIN)
            .select(*SCHEMA, over=pl.col("observed") / pl.col("threshold"))
        )  # fmt: skip
    return pl.concat(found).sort("over", descending=True).unique("api_key_id", keep="first").select(SCHEMA).sort("api_key_id")


def _levels(history: pl.DataFrame, scope: list[str], now: datetime) -> pl.DataFrame:
    """(*scope, requests, spend): what a busy quarter of an hour at this time of the week is like; no row without history.

    Floats: a threshold is no money that anybody is charged.
    """
    sums = history.group_by(*scope, "quarter_hour_at").agg(pl.col(metric).sum().cast(pl.Float64) for metric in _FLOORS)
    spans = sums.group_by(scope).agg(first=pl.col("quarter_hour_at").min()).filter(pl.col("first") <= now - HISTORY_MIN)
    known = sums.join(spans, on=scope)
    # Quarters of hours without use have no row: they are counted, so that a key that rests at night is known to.
    whole = ((now - pl.col("first")) / QUARTER_HOUR).ceil().cast(pl.Int64)
    nearest = (now - pl.col("quarter_hour_at") + WEEK / 2).dt.total_microseconds() % (WEEK // timedelta(microseconds=1))
    apart = (nearest - (WEEK / 2) // timedelta(microseconds=1)).abs()
    in_season = apart <= SEASON_SLACK // timedelta(microseconds=1)
    weeks = ((now - pl.col("first")).dt.total_microseconds() / (WEEK // timedelta(microseconds=1))).ceil().cast(pl.Int64)
    quarters = weeks * (2 * SEASON_SLACK // QUARTER_HOUR)
    return (
        known.group_by(scope)
        .agg(
            pl.max_horizontal(
                *(_padded_quantile(pl.col(metric), whole.first(), BUSIEST_SHARE),),
                _robust_high(pl.col(metric).filter(in_season), quarters.first()),
            ).alias(metric)
            for metric in _FLOORS
        )
    )  # fmt: skip


def _padded_quantile(values: pl.Expr, count: pl.Expr, share: float) -> pl.Expr:
    """Nearest rank among `count` values of which those that are not there are 0."""
    from_top = (count.cast(pl.Float64) * (1 - share)).floor().cast(pl.Int64)
    return values.sort(descending=True).get(from_top, null_on_oob=True).fill_null(0.0)


def _robust_high(values: pl.Expr, count: pl.Expr) -> pl.Expr:
    """median + SIGMAS x sigma by the median absolute deviation, values that are not there being 0."""
    count = pl.max_horizontal(count, values.len().cast(pl.Int64))
    filled = pl.concat_list  # noqa: F841
    median = _padded_quantile(values, count, 0.5)
    deviation = _padded_quantile((values - median).abs(), count, 0.5)
    return median + SIGMAS * MAD_TO_SIGMA * deviation
