"""Expected spend: what holds whatever the history is."""

import random
from datetime import date, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from orchestration.jobs.forecast import DAYS_AHEAD, INTERVAL_SHARE, TESTED_DAYS_AHEAD, backtest, spend_forecast

TODAY = date(2026, 3, 30)  # a Monday


def _daily(costs: dict[date, int], org_id: int = 1) -> pl.LazyFrame:
    rows = [(org_id, day, cost) for day, cost in costs.items()]
    return pl.LazyFrame(rows, schema={"org_id": pl.Int64, "day_utc": pl.Date, "cost_picousd": pl.Int128}, orient="row")


def _history(costs: list[int]) -> dict[date, int]:
    return {TODAY - timedelta(days=len(costs) - n): cost for n, cost in enumerate(costs)}


@given(costs=st.lists(st.integers(0, 10**24), min_size=1, max_size=90))
def test_the_interval_holds_the_point_and_nothing_is_negative(costs: list[int]) -> None:
    forecast = spend_forecast(_daily(_history(costs)), TODAY).collect()
    assert forecast.height == DAYS_AHEAD
    assert forecast["day_utc"].to_list() == [TODAY + timedelta(days=n) for n in range(DAYS_AHEAD)]
    for low, point, high in forecast.select("cost_picousd_low", "cost_picousd", "cost_picousd_high").iter_rows():
        assert 0 <= low <= point <= high
        assert point <= max(costs)


@given(cost=st.integers(0, 10**24), days=st.integers(1, 60))
def test_a_constant_history_expects_itself(cost: int, days: int) -> None:
    forecast = spend_forecast(_daily(_history([cost] * days)), TODAY).collect()
    assert set(forecast["cost_picousd"].to_list()) == {cost}
    if days >= 21:
        assert set(forecast["cost_picousd_high"].to_list()) == {cost}


def test_weekends_are_expected_to_be_weekends() -> None:
    costs = {TODAY - timedelta(days=n): 1000 if (TODAY - timedelta(days=n)).weekday() < 5 else 10 for n in range(1, 57)}
    forecast = spend_forecast(_daily(costs), TODAY).collect()
    for day, cost in forecast.select("day_utc", "cost_picousd").iter_rows():
        assert cost == (1000 if day.weekday() < 5 else 10)


@given(costs=st.lists(st.integers(0, 10**24), min_size=7, max_size=60))
def test_a_day_is_expected_to_cost_the_mean_of_the_last_four_of_its_weekday(costs: list[int]) -> None:
    history = _history(costs)
    for day, cost in spend_forecast(_daily(history), TODAY).collect().select("day_utc", "cost_picousd").iter_rows():
        like = [history[known] for known in sorted(history, reverse=True) if known.weekday() == day.weekday()][:4]
        assert cost == sum(like) // len(like)


def test_days_without_usage_cost_nothing() -> None:
    forecast = spend_forecast(_daily({TODAY - timedelta(days=28): 700}), TODAY).collect()
    assert forecast["cost_picousd"].to_list()[0] == 175  # one of four Mondays
    assert forecast["days_of_history"].to_list()[0] == 28


def test_today_is_not_over_and_does_not_count() -> None:
    history = _history([100] * 30)
    with_today = history | {TODAY: 10**12}
    assert spend_forecast(_daily(with_today), TODAY).collect().equals(spend_forecast(_daily(history), TODAY).collect())


def test_organizations_do_not_mix() -> None:
    both = pl.concat([_daily(_history([100] * 30), 1), _daily(_history([7] * 3), 2)])
    forecast = spend_forecast(both, TODAY).collect()
    assert dict(forecast.group_by("org_id").agg(pl.col("cost_picousd").max()).iter_rows()) == {1: 100, 2: 7}


def test_no_history_is_no_forecast() -> None:
    assert spend_forecast(_daily({TODAY: 5}), TODAY).collect().height == 0


def _tested(costs: list[int]) -> list[dict[str, float]]:
    return backtest(_daily(_history(costs)), TODAY).collect().to_dicts()


def test_a_week_that_repeats_itself_is_forecast_without_error() -> None:
    tested = _tested([1000, 900, 800, 700, 600, 50, 40] * 10)
    assert [row["days_ahead"] for row in tested] == list(range(1, TESTED_DAYS_AHEAD + 1))
    assert {(row["error_share"], row["coverage"]) for row in tested} == {(0.0, 1.0)}


def test_an_origin_knows_only_its_own_past() -> None:
    """Spend that doubles for good: the day of the change is missed, whatever came later."""
    (first, *_) = _tested([100] * 60 + [200] * 10)
    assert first["forecasts"] == 56
    assert first["error_share"] > 0
    assert first["coverage"] < 1


def test_a_back_test_is_of_what_was_forecast_on_each_day_from_all_that_was_known() -> None:
    chance = random.Random(7)
    history = _history([chance.randrange(10**6) * (1 if n < 200 else 3) for n in range(300)])
    errors, spent, within = ([0] * TESTED_DAYS_AHEAD for _ in range(3))
    for back in range(1, 57):
        told = spend_forecast(_daily(history), TODAY - timedelta(days=back), TESTED_DAYS_AHEAD).collect().iter_rows()
        for ahead, (_, day, cost, low, high, _) in enumerate(told):
            if day < TODAY:
                errors[ahead] += abs(cost - history[day])
                spent[ahead] += history[day]
                within[ahead] += low <= history[day] <= high
    for ahead, row in enumerate(backtest(_daily(history), TODAY).collect().to_dicts()):
        assert row["error_share"] == errors[ahead] / spent[ahead]
        assert row["coverage"] == within[ahead] / row["forecasts"]


def test_days_of_less_than_two_weeks_are_not_tested() -> None:
    assert _tested([100] * 14) == []
    assert [row["forecasts"] for row in _tested([100] * 16)][:2] == [2, 1]


def test_the_forecast_is_nearer_than_last_week_and_its_interval_holds_about_its_share() -> None:
    chance = random.Random(4)
    days = [
        (org, TODAY - timedelta(days=back), int(10**12 * (0.3 if back % 7 in (1, 2) else 1) * chance.lognormvariate(0, 0.25)))
        for org in range(20) for back in range(1, 121)
    ]  # fmt: skip
    daily = pl.LazyFrame(days, schema={"org_id": pl.Int64, "day_utc": pl.Date, "cost_picousd": pl.Int128}, orient="row")
    tested = backtest(daily, TODAY).collect()
    assert tested["error_share"].mean() < 0.9 * tested["naive_error_share"].mean()  # type: ignore[operator]
    assert abs(tested["coverage"].mean() - INTERVAL_SHARE) < 0.05  # type: ignore[operator]
