"""What a limit or a budget would have blocked, had it been there: pure.

Limits are token buckets as the router has them: as large as the limit, drained continuously. Budgets are sums over windows in
the organization's zone. What is blocked takes nothing. Whole numbers throughout, so that the order of rows decides and nothing
else does.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

MINUTE_US = 60_000_000
RATES = ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute")
SCOPES = {
    "organization": "org_id", "project": "project_id", "key": "api_key_id", "user": "user_id",
    "service_account": "service_account_id",
}  # fmt: skip
Window = Literal["day", "week", "month", "lifetime"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule for every one of a scope: rates a minute, or pico-dollars a window."""

    scope: str
    rates: tuple[int | None, int | None, int | None] = (None, None, None)
    budget_picousd: int | None = None


@dataclass(slots=True)
class Outcome:
    """Of all requests, and by key."""

    requests: Counter[int] = field(default_factory=Counter)
    blocked: Counter[int] = field(default_factory=Counter)
    blocked_picousd: Counter[int] = field(default_factory=Counter)


def requests_of(rows: pl.LazyFrame, scope: str, window: Window) -> pl.LazyFrame:
    """One row a request that ran, in the order of time: what it counted in the scope's account.

    Args: rows: the archive's, each with the `time_zone` of its organization.  scope: a name of SCOPES.
    Returns: (scope_id, window, started_us, input_tokens, output_tokens, cost_picousd, api_key_id); requests without the
        scope's id, as those of a service account where users are asked for, are left out.
    """
    requests = (
        rows.filter(pl.col("status") != "refused")
        .group_by("request_id")
        .agg(
            pl.col("started_at").min(), pl.col("input_tokens").sum(), pl.col("output_tokens").sum(),
            pl.col("cost_picousd").sum(), pl.col("api_key_id", "time_zone").first(),
            scope_id=pl.col(SCOPES[scope]).first(),
        )
        .filter(pl.col("scope_id").is_not_null())
        .sort("started_at", "request_id")
    )  # fmt: skip
    return requests.select(
        "scope_id",
        window=_window(window),
        started_us=pl.col("started_at").dt.timestamp("us"),
        input_tokens="input_tokens",
        output_tokens="output_tokens",
        cost_picousd="cost_picousd",
        api_key_id="api_key_id",
    )


def dry_run(requests: Iterable[tuple[int, str, int, int, int, int, int]], rule: Rule) -> Outcome:
    """Let the requests, as `requests_of` gives them, meet the rule one after another."""
    outcome = Outcome()
    buckets: dict[int, _Bucket] = {}
    spent: Counter[tuple[int, str]] = Counter()
    for scope_id, window, started_us, input_tokens, output_tokens, cost, key in requests:
        outcome.requests[key] += 1
        bucket = buckets.setdefault(scope_id, _Bucket(rule.rates))
        within_budget = rule.budget_picousd is None or spent[scope_id, window] + cost <= rule.budget_picousd
        if within_budget and bucket.admit(started_us, (1, input_tokens, output_tokens)):
            spent[scope_id, window] += cost
        else:
            outcome.blocked[key] += 1
            outcome.blocked_picousd[key] += cost
    return outcome


class _Bucket:
    """Levels of one account, in units of which a minute drains `rate` x MINUTE_US. All rates admit, or none is touched."""

    __slots__ = ("_at_us", "_levels", "_rates")

    def __init__(self, rates: tuple[int | None, ...]) -> None:
        self._rates = rates
        self._levels = [0] * len(rates)
        self._at_us = 0

    def admit(self, now_us: int, wanted: tuple[int, ...]) -> bool:
        """Whether there is room; if so it is taken."""
        passed, self._at_us = now_us - self._at_us, now_us
        room = True
        for number, rate in enumerate(self._rates):
            if rate is not None:
                self._levels[number] = max(self._levels[number] - passed * rate, 0)
                room = room and self._levels[number] + wanted[number] * MINUTE_US <= rate * MINUTE_US
        if room:
            for number, rate in enumerate(self._rates):
                if rate is not None:
                    self._levels[number] += wanted[number] * MINUTE_US
        return room


def _window(window: Window) -> pl.Expr:
    """The first day of the window in the organization's zone, as text; one name for a lifetime."""
    if window == "lifetime":
        return pl.lit("lifetime")
    step = {"day": "1d", "week": "1w", "month": "1mo"}[window]
    return (
        pl.struct("started_at", "time_zone")
        .map_batches(lambda both: _local_days(both.struct.field("started_at"), both.struct.field("time_zone")), pl.Date)
        .dt.truncate(step)
        .cast(pl.String)
    )


def _local_days(started_at: pl.Series, time_zone: pl.Series) -> pl.Series:
    """The local day of each instant: zone by zone, since Polars converts a column to one zone."""
    frame = pl.DataFrame({"started_at": started_at, "time_zone": time_zone})
    day: pl.Expr = pl.lit(None, dtype=pl.Date)
    for zone in time_zone.unique():
        local = pl.col("started_at").dt.convert_time_zone(zone).dt.date()
        day = pl.when(pl.col("time_zone") == zone).then(local).otherwise(day)
    return frame.select(day.alias("day"))["day"]
