"""Which budgets and limits a request falls under, and in which window of time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from router.inference.auth import Caller
from router.inference.reservations import rules as module
from router.inference.reservations.rules import ALWAYS, PICOUSD_PER_USD, Match, NoCalendar, Rules
from warehouse.access.spend_rules import BudgetRule, LimitRule, SpendRules

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = [FIRST + timedelta(days=number) for number in range(4)]
NOON = DAYS[1] + timedelta(hours=12)
TICK = timedelta(microseconds=1)
CALLER = Caller(3, 1, 2, user_id=4, service_account_id=5, models=None, answers_kept_s=0)
BUDGET = BudgetRule(
    1, "budget_1", None, None, None, None, None, None, "day", str(10 * PICOUSD_PER_USD + 5), None, None,
    shadow=False, created_at=FIRST - timedelta(seconds=100), hold_version=7,
)  # fmt: skip
LIMIT = LimitRule(1, "limit_1", None, None, None, None, False, 5, None, None, None)


def rules(*held: BudgetRule | LimitRule, zone: str = "Europe/Berlin") -> Rules:
    """One reading of these."""
    budgets = [rule for rule in held if isinstance(rule, BudgetRule)]
    limits = [rule for rule in held if isinstance(rule, LimitRule)]
    return Rules(SpendRules(zone, shares=True, budgets=budgets, limits=limits, boundaries={"day": DAYS}))


def match(*held: BudgetRule | LimitRule, at: datetime = NOON, model_id: int = 1) -> Match:
    """What the caller's requests fall under."""
    return rules(*held).match(CALLER, model_id, at)


def test_a_window_begins_with_its_first_instant_and_ends_before_its_last() -> None:
    of = rules(BUDGET)
    for at, start in ((DAYS[1] - TICK, DAYS[0]), (DAYS[1], DAYS[1]), (DAYS[2] - TICK, DAYS[1]), (DAYS[2], DAYS[2])):
        found = of.match(CALLER, 1, at)
        assert (found.since, found.until) == (start, start + timedelta(days=1))
        (window,) = found.windows
        assert (window.starts_at, window.ends_at) == (start, start + timedelta(days=1))
        seconds = int(start.timestamp())
        assert (window.field, window.budget) == (f"1.7.Europe/Berlin:{seconds}", "1.7.Europe/Berlin")
        assert msgspec.msgpack.decode(found.budgets) == [[window.field, 10, 5, 0, seconds * 1_000_000]]
        assert msgspec.msgpack.decode(found.fields) == [window.field]


@pytest.mark.parametrize("at", [DAYS[0] - TICK, DAYS[3]])
def test_beyond_the_days_that_are_known_there_is_no_window(at: datetime) -> None:
    with pytest.raises(NoCalendar, match="no day is known"):
        match(BUDGET, at=at)


def test_a_lifetime_has_no_end_and_begins_with_its_budget_whatever_the_time_zone() -> None:
    lifetime = replace(BUDGET, period="lifetime")
    found = match(lifetime, at=datetime(2300, 1, 1, tzinfo=UTC))
    (window,) = found.windows
    assert (window.starts_at, window.ends_at, found.until) == (lifetime.created_at, ALWAYS, ALWAYS)
    assert window.field == f"1.7:{int(lifetime.created_at.timestamp())}"


def test_a_raise_counts_until_its_end_and_never_lowers_a_budget() -> None:
    raised = replace(BUDGET, raised_limit_picousd=str(20 * PICOUSD_PER_USD), raised_until=NOON)
    of = rules(raised)
    before, after = of.match(CALLER, 1, NOON - TICK), of.match(CALLER, 1, NOON)
    assert [found.windows[0].limit_picousd for found in (before, after)] == [20 * PICOUSD_PER_USD, 10 * PICOUSD_PER_USD + 5]
    assert (before.since, before.until, after.since, after.until) == (DAYS[1], NOON, NOON, DAYS[2])
    assert of.match(CALLER, 1, NOON) is after
    assert of.match(CALLER, 1, NOON - TICK).windows[0].limit_picousd == 20 * PICOUSD_PER_USD
    lower = replace(raised, raised_limit_picousd=str(PICOUSD_PER_USD))
    assert match(lower, at=NOON - TICK).windows[0].limit_picousd == 10 * PICOUSD_PER_USD + 5
    assert match(replace(raised, raised_limit_picousd=None), at=NOON - TICK).windows[0].limit_picousd == 10 * PICOUSD_PER_USD + 5
    for_ever = replace(raised, raised_until=None)
    assert match(for_ever, at=NOON - TICK).windows[0].limit_picousd == 10 * PICOUSD_PER_USD + 5


def test_what_is_decided_holds_until_the_first_of_several_windows_ends() -> None:
    early = replace(BUDGET, id=2, raised_limit_picousd="0", raised_until=NOON - timedelta(hours=2))
    late = replace(BUDGET, id=3, raised_limit_picousd="0", raised_until=NOON + timedelta(hours=2))
    lifetime = replace(BUDGET, id=4, period="lifetime")
    found = match(lifetime, BUDGET, early, late)
    assert (found.since, found.until) == (NOON - timedelta(hours=2), NOON + timedelta(hours=2))
    found = match(lifetime, BUDGET)
    assert (found.since, found.until) == (DAYS[1], DAYS[2])


@pytest.mark.parametrize("name", ["project_id", "user_id", "service_account_id", "api_key_id", "model_id"])
def test_a_rule_binds_whom_it_names_and_nobody_else(name: str) -> None:
    own = {"project_id": 2, "user_id": 4, "service_account_id": 5, "api_key_id": 3, "model_id": 9}
    for value, is_bound in ((None, True), (own[name], True), (77, False)):
        of: dict[str, Any] = {name: value}
        assert bool(match(replace(BUDGET, **of), model_id=9)) is is_bound
        if hasattr(LIMIT, name):
            assert bool(match(replace(LIMIT, **of), model_id=9)) is is_bound


def test_it_is_known_whether_a_rule_refuses_and_whether_an_account_is_needed() -> None:
    on_trial = replace(BUDGET, id=2, shadow=True), replace(LIMIT, id=2, shadow=True)
    at_once = replace(LIMIT, requests_at_once=1, requests_per_minute=None)
    for held, told in (
        ((), (False, False, False)),
        ((BUDGET,), (False, True, True)),
        ((LIMIT,), (False, True, False)),
        ((at_once,), (False, True, True)),
        ((LIMIT, at_once), (False, True, True)),
        ((on_trial[0],), (True, False, True)),
        ((on_trial[1],), (True, False, False)),
        ((BUDGET, on_trial[0]), (True, True, True)),
        ((LIMIT, on_trial[1]), (True, True, False)),
        ((BUDGET, on_trial[1]), (True, True, True)),
        ((LIMIT, on_trial[0]), (True, True, True)),
        (on_trial, (True, False, True)),
    ):
        found = match(*held)
        assert (found.on_trial, found.refuses, found.needs_account) == told, held
    assert [rules(*held).is_empty for held in ((), (BUDGET,), (LIMIT,))] == [True, False, False]


def test_what_a_limit_on_trial_would_have_refused_is_taken_from_the_others() -> None:
    found = match(LIMIT, replace(LIMIT, id=2, shadow=True), replace(LIMIT, id=3, input_tokens_per_minute=0))
    assert found.passed([1, -3]) == {3}
    rates = [[1, 0, 5, -1, -1, -1], [2, 1, 5, -1, -1, -1], [3, 0, 5, 0, -1, -1]]
    assert msgspec.msgpack.decode(found.rates_without(())) == rates
    assert msgspec.msgpack.decode(found.rates_without({2})) == [rates[0], rates[2]]


def test_the_same_budgets_are_known_by_the_same_name_whatever_their_order_and_limits() -> None:
    other = replace(BUDGET, id=2)
    digest = rules(BUDGET, other).budgets_digest
    assert rules(other, replace(BUDGET, limit_picousd="1"), LIMIT).budgets_digest == digest
    for changed in (rules(BUDGET), rules(replace(BUDGET, hold_version=8), other), rules(BUDGET, other, zone="Asia/Tokyo")):
        assert changed.budgets_digest != digest


def test_windows_of_several_instants_are_each_there_once() -> None:
    of = rules(BUDGET, replace(BUDGET, id=2, period="lifetime"))
    fields = [window.field for window in of.windows_at([NOON, NOON - timedelta(hours=1), NOON - timedelta(days=1)])]
    assert len(fields) == len(set(fields)) == 3


def test_what_is_decided_is_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MATCHES_MAX", 2)
    of = rules(BUDGET)
    first = of.match(CALLER, 1, NOON)
    assert of.match(CALLER, 2, NOON) is not first
    assert of.match(CALLER, 1, NOON + TICK) is first
    of.match(CALLER, 3, NOON)
    assert len(of._matches) == 1
    assert of.match(CALLER, 1, NOON) is not first
