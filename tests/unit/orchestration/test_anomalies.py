"""A runaway is found, and what a key does every week is not one."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from orchestration.jobs import anomalies
from orchestration.jobs.anomalies import FLOOR_PICOUSD, FLOOR_REQUESTS, HISTORY_SCHEMA, RECENT_SCHEMA, runaways

NOW = datetime(2026, 3, 30, 10, 3, tzinfo=UTC)  # a Monday
QUARTER_HOUR = timedelta(minutes=15)


def _recent(requests: int, spend: int = 0, key: int = 1, org: int = 1) -> pl.DataFrame:
    first = NOW - timedelta(minutes=2)
    return pl.DataFrame([(org, 1, key, first, NOW, requests, spend)], schema=RECENT_SCHEMA, orient="row")


def _history(days: int, requests: int, spend: int = 0, key: int = 1, org: int = 1, hours: range = range(24)) -> pl.DataFrame:
    start = datetime(2026, 3, 30, tzinfo=UTC)
    slots = [start - n * QUARTER_HOUR for n in range(1, days * 96 + 1)]
    rows = [(org, of, slot, requests, spend) for slot in slots if slot.hour in hours for of in (key, None)]
    return pl.DataFrame(rows, schema=HISTORY_SCHEMA, orient="row")


def _found(recent: pl.DataFrame, history: pl.DataFrame) -> list[tuple[str, str]]:
    return runaways(recent, history, NOW).select("metric", "baseline").rows()


@pytest.mark.parametrize(("requests", "found"), [(200, []), (201, [("requests", "key")])])
def test_twice_the_expected_use_is_no_anomaly_and_more_is(requests: int, found: list[tuple[str, str]]) -> None:
    assert _found(_recent(requests), _history(28, requests=300)) == found


def test_spend_of_few_but_dear_requests_is_found_by_its_own_metric() -> None:
    history = _history(28, requests=300, spend=FLOOR_PICOUSD)
    assert _found(_recent(50, spend=2 * FLOOR_PICOUSD), history) == [("spend", "key")]
    assert _found(_recent(9, spend=2 * FLOOR_PICOUSD), history) == [], "one large request is no runaway"


def test_what_happens_at_this_hour_of_each_week_is_expected() -> None:
    """A batch of Monday mornings, 20 times the rest of the week."""
    quiet = _history(28, requests=30)
    mondays = pl.col("quarter_hour_at").dt.weekday() == 1
    batch = quiet.with_columns(
        requests=pl.when(mondays & (pl.col("quarter_hour_at").dt.hour() == 10)).then(600).otherwise("requests")
    )
    assert _found(_recent(200), quiet) == [("requests", "key")]
    assert _found(_recent(200), batch) == []
    # One Monday is no season: the median of four does not see it.
    once = batch.with_columns(
        requests=pl.when(pl.col("quarter_hour_at") < NOW - timedelta(days=8)).then(30).otherwise("requests")
    )
    assert _found(_recent(200), once) == [("requests", "key")]


def test_small_use_is_never_an_anomaly() -> None:
    assert _found(_recent(FLOOR_REQUESTS, spend=FLOOR_PICOUSD), _history(28, requests=1, spend=1)) == []


def test_a_new_key_is_held_against_its_organization() -> None:
    others = _history(28, requests=1200, key=2)
    young = _history(1, requests=1)
    assert _found(_recent(800), pl.concat([others, young])) == []
    assert _found(_recent(1000), pl.concat([others, young])) == [("requests", "organization")]
    assert _found(_recent(1000, org=9, key=9), others) == [("requests", "none")], "another's history is none of it"


def test_without_any_history_only_the_raised_floors_hold() -> None:
    nothing = pl.DataFrame(schema=HISTORY_SCHEMA)
    raised = FLOOR_REQUESTS * anomalies.FLOORS_WITHOUT_HISTORY
    assert _found(_recent(raised), nothing) == []
    assert _found(_recent(raised + 1), nothing) == [("requests", "none")]
