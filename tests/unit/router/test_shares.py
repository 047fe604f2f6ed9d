"""What a worker knows of budgets for itself."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from router.inference.auth import Caller
from router.inference.reservations.refusals import DIMENSIONS, BudgetExceeded, LimitsUnavailable, RateLimited
from router.inference.reservations.rules import PICOUSD_PER_USD, Match, Rules
from router.inference.reservations.shares import Shares
from warehouse.access.spend_rules import BudgetRule, LimitRule, SpendRules

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = [FIRST + timedelta(days=number) for number in range(4)]
CALLER = Caller(1, 1, 1, user_id=None, service_account_id=None, models=None, answers_kept_s=0)

USD = PICOUSD_PER_USD
BUDGET = BudgetRule(
    1, "budget_1", None, None, None, None, None, None, "day", str(10 * USD), None, None,
    shadow=False, created_at=FIRST, hold_version=1,
)  # fmt: skip
LIMIT = LimitRule(1, "limit_1", None, None, None, None, False, None, None, None, None)


def test_the_windows_of_the_past_are_forgotten_and_the_others_are_not() -> None:
    """A worker lives for months, and each day begins a window of every budget."""
    rules = Rules(SpendRules("UTC", shares=True, budgets=[BUDGET], limits=[], boundaries={"day": DAYS}))
    past, present = (rules.match(CALLER, 1, day) for day in DAYS[:2])
    shares = Shares()
    for match in (past, present):
        shares.told(match, (4, 0), (3, 0))
        _take(shares, match, 5)
    shares.keep({window.field for window in rules.windows_at([DAYS[1]])})
    assert shares.heard == {present.windows[0].field: 3 * PICOUSD_PER_USD}
    with pytest.raises(LimitsUnavailable, match="does not know"):
        _take(shares, past, 1)
    with pytest.raises(LimitsUnavailable, match="share"):
        _take(shares, present, 2)
    _take(shares, present, 1)


def _match(*limits: LimitRule, budgets: int = 0) -> Match:
    """Under these limits, and so many budgets of 10 USD a day."""
    held = [replace(BUDGET, id=number) for number in range(budgets)]
    return Rules(SpendRules("UTC", shares=True, budgets=held, limits=limits, boundaries={"day": DAYS})).match(CALLER, 1, FIRST)


def _fields(match: Match) -> list[str]:
    return [window.field for window in match.windows]


def test_a_share_is_of_what_is_left_and_a_budget_is_used_up_only_by_what_is_settled() -> None:
    shares, match = Shares(), _match(budgets=1)
    shares.told(match, (4, 0), (3, 0))  # 4 USD are spent or held by anybody, 3 of them are settled
    take = partial(shares.take, match, input_tokens=0, output_tokens=0, workers=2, running={})
    with pytest.raises(LimitsUnavailable, match="share of a budget"):
        take(3 * USD + 1)
    take(2 * USD)
    with pytest.raises(LimitsUnavailable):
        take(USD + 1)
    take(USD)
    with pytest.raises(LimitsUnavailable):
        take(7 * USD - 1)
    with pytest.raises(BudgetExceeded) as refused:
        take(7 * USD + 1)
    assert (refused.value.details["spent_usd"], refused.value.details["held_usd"]) == ("3.00", "4.00")
    shares.add(match, -USD)
    shares.settled(match, USD)
    assert shares.heard == {_fields(match)[0]: 4 * USD}
    take(USD)
    shares.told(match, (9, 0), (8, 0))
    take(USD // 2)
    with pytest.raises(LimitsUnavailable):
        take(1)


def test_what_was_heard_with_a_refusal_counts_and_what_is_used_of_it_begins_anew() -> None:
    shares, match = Shares(), _match(budgets=2)
    shares.told(match, (1, 2, 3, 4), (1, 0, 2, 3))
    assert shares.heard == dict(zip(_fields(match), (USD, 2 * USD + 3), strict=True))
    assert shares._known == dict(zip(_fields(match), (USD + 2, 3 * USD + 4), strict=True))
    _take(shares, match, 6)
    shares.refused(match.windows[0], 9 * USD, 5 * USD)
    assert shares.heard == dict(zip(_fields(match), (5 * USD, 2 * USD + 3), strict=True))
    with pytest.raises(LimitsUnavailable):
        _take(shares, match, 1)  # of the other budget six are used, and one is not left
    shares.add(match, -6 * USD)
    shares.add(match, 6 * USD)
    shares.refused(match.windows[1], 9 * USD, 5 * USD)
    _take(shares, match, 1)
    with pytest.raises(LimitsUnavailable):
        _take(shares, match, 1)


def test_more_than_a_budget_leaves_no_share_at_all() -> None:
    shares, match = Shares(), _match(budgets=1)
    shares.told(match, (12, 0), (3, 0))
    _take(shares, match, 0)
    with pytest.raises(LimitsUnavailable):
        _take(shares, match, 1)


@pytest.mark.parametrize(
    ("late", "is_held", "is_known"), [(-1, True, False), (0, True, True), (1, True, True), (1, False, False)]
)
def test_of_a_window_that_begins_without_redis_all_is_left_where_its_budget_was_held(
    late: int, is_held: bool, is_known: bool
) -> None:
    shares, match = Shares(), _match(budgets=1)
    with pytest.raises(LimitsUnavailable, match="does not know"):
        _take(shares, match, 1)
    (window,) = match.windows
    shares.lost(window.starts_at - late * timedelta(seconds=1), {window.budget} if is_held else set())
    if not is_known:
        with pytest.raises(LimitsUnavailable, match="does not know"):
            _take(shares, match, 1)
        return
    _take(shares, match, 10)
    assert shares.heard == {window.field: 0}
    with pytest.raises(LimitsUnavailable, match="share"):
        _take(shares, match, 1)


@pytest.mark.parametrize(("number", "name"), list(enumerate(DIMENSIONS[:3])))
def test_a_share_of_a_rate_drains_and_takes_back_what_was_not_used(
    monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    at_ns = [10**12]
    monkeypatch.setattr(time, "monotonic_ns", lambda: at_ns[0])
    shares, match = Shares(), _match(replace(LIMIT, **{name: 120}))

    def take(wanted: int) -> None:
        tokens = (wanted if number == 1 else 1, wanted if number == 2 else 1)
        for _ in range(wanted if number == 0 else 1):
            shares.take(match, 0, *tokens, workers=2, running={})

    take(60)
    with pytest.raises(RateLimited) as refused:
        take(1)
    assert refused.value.details["retry_after_ms"] == 1000
    at_ns[0] += 999_999_000
    with pytest.raises(RateLimited):
        take(1)
    at_ns[0] += 1000
    take(1)
    with pytest.raises(RateLimited):
        take(1)
    back = [0, 0, 0]
    back[number] = 1
    shares.give_back(match, *back)
    take(1)
    with pytest.raises(RateLimited):
        take(1)
    shares.told(match, (), ())
    take(60)
    at_ns[0] += 600 * 10**9  # ten minutes of nothing are no ten shares
    take(60)
    with pytest.raises(RateLimited):
        take(1)
    shares.give_back(match, 1000, 1000, 1000)  # nor is what was taken from another
    take(60)
    with pytest.raises(RateLimited):
        take(1)


def test_who_fits_into_no_share_is_told_apart_from_who_fits_into_no_limit() -> None:
    shares, match = Shares(), _match(replace(LIMIT, input_tokens_per_minute=100))
    take = partial(shares.take, match, 0, output_tokens=0, workers=2, running={})
    with pytest.raises(LimitsUnavailable, match="share of a limit"):
        take(51)
    with pytest.raises(LimitsUnavailable, match="share of a limit"):
        take(100)
    with pytest.raises(RateLimited, match="ask for less"):
        take(101)
    take(50)
    with pytest.raises(RateLimited, match="there is room for this request in"):
        take(50)


def test_a_share_of_requests_at_once_is_of_those_that_run_here() -> None:
    shares, match = Shares(), _match(replace(LIMIT, requests_at_once=4))
    take = partial(shares.take, match, 0, 0, 0, workers=2)
    take(running={1: 1})
    for running in (2, 3):
        with pytest.raises(LimitsUnavailable):
            take(running={1: running})
    with pytest.raises(RateLimited, match="as many are under way"):
        take(running={1: 4})
    on_trial = _match(replace(LIMIT, requests_at_once=4, requests_per_minute=0, shadow=True))
    shares.take(on_trial, 0, 0, 0, workers=2, running={1: 9})


def _take(shares: Shares, match: Match, usd: int) -> None:
    shares.take(match, usd * PICOUSD_PER_USD, 0, 0, workers=1, running={})
