"""What a request gives back: to the limits that it has taken from, and once."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from router.inference.auth import Caller
from router.inference.reservations.account import Account, Hold
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.leases import Lease, Pace, wanted
from router.inference.reservations.line import Line
from router.inference.reservations.rate_headers import MINUTE
from router.inference.reservations.rules import PICOUSD_PER_USD, Match, Rules
from warehouse.access.spend_rules import BudgetRule, LimitRule, SpendRules

AT = datetime(2026, 3, 1, tzinfo=UTC)
CALLER = Caller(1, 1, 1, user_id=None, service_account_id=None, models=None, answers_kept_s=0)
MOST = Bounds(1000, 100, 3 * PICOUSD_PER_USD + 7)


class _Sent(Line):
    """A line that keeps what goes over it."""

    def __init__(self) -> None:
        super().__init__("redis://", lambda: None)
        self.up = True
        self.operations: list[tuple[Any, ...]] = []

    def send(self, operation: tuple[Any, ...], done: Any = None) -> None:
        self.operations.append(operation)


def match_of(*limits: LimitRule, budget_usd: int | None = None) -> Match:
    """What the caller's requests fall under."""
    budgets = [] if budget_usd is None else [budget(budget_usd)]
    return Rules(SpendRules("UTC", shares=True, budgets=budgets, limits=limits, boundaries={})).match(CALLER, 1, AT)


def budget(usd: int) -> BudgetRule:
    """Of the organization, for ever."""
    return BudgetRule(
        1, "budget_1", None, None, None, None, None, None, "lifetime", str(usd * PICOUSD_PER_USD), None, None,
        shadow=False, created_at=AT, hold_version=1,
    )  # fmt: skip


def limit(**bounds: int) -> LimitRule:
    """So much a minute, or `at_once`."""
    requests, inputs, outputs, at_once = map(bounds.get, ("requests", "inputs", "outputs", "at_once"))
    return LimitRule(1, "limit_1", None, None, None, None, False, requests, inputs, outputs, at_once)


def taken(match: Match) -> Hold:
    """A hold as it is once Redis has answered."""
    hold = Hold.of(Account(1, 7), match, CALLER, 1, AT, most=MOST)
    hold.rates = match.rates
    return hold


def test_what_was_not_used_goes_back_to_the_limits_that_it_was_taken_from() -> None:
    hold = taken(match_of(limit(requests=10), budget_usd=9))
    assert hold.settlement(2 * PICOUSD_PER_USD + 1, 400, 30, 1)[3:] == (
        3, 7, 2, 1, 600, 70, hold.match.fields, hold.rates, 1, 1, hold.account.teller
    )  # fmt: skip


def test_more_than_was_held_takes_nothing_further() -> None:
    hold = taken(match_of(limit(requests=10)))
    assert hold.settlement(0, 1001, 101, 0)[7:9] == hold.give_back(1001, 101, 0)[7:9] == (0, 0)


def test_limits_that_are_newer_than_a_request_get_nothing_back_for_it() -> None:
    """They have taken nothing for it: what would go back to them is room for requests that they do not allow."""
    hold = taken(match_of(limit(requests=10)))
    taken_from, hold.match = hold.rates, match_of(limit(requests=2, inputs=2000), budget_usd=9)
    settled = hold.settlement(PICOUSD_PER_USD, 400, 30, 1)
    assert settled[3:9] == (3, 7, 1, 0, 0, 0)
    assert settled[11:13] == (1, 0)
    assert hold.give_back(400, 30, 1)[7:14] == (600, 70, (), taken_from, 0, 1, hold.account.teller)


def test_what_is_claimed_and_given_back_whole_is_in_the_order_that_redis_reads() -> None:
    hold, match = taken(match_of(limit(at_once=5), budget_usd=9)), match_of(limit(at_once=5), budget_usd=9)
    hold.match, hold.account.generation = match, 4
    assert hold.claim() == (1, 1, 4, 3, 7, 1000, 100, match.budgets, match.rates, 1, 1, hold.account.teller)
    assert hold.settlement(0, 0, 0, 0)[:3] == hold.give_back(0, 0, 1)[:3] == (0, 1, 4)
    assert hold.give_back(0, 0, 1, running=1)[3:] == (0, 0, 0, 0, 1000, 100, (), hold.rates, 1, 1, hold.account.teller)
    hold.match = match_of(limit(requests=5))
    assert hold.claim()[2] == 0, "rates alone need no account"
    assert hold.claim()[9] == 0


def test_requests_under_way_are_counted_by_each_limit_that_has_not_let_them_pass_on_trial() -> None:
    hold, passing = taken(match_of(limit(at_once=5))), taken(match_of(limit(at_once=5)))
    account = hold.account
    passing.passed = [1]
    hold.requests = 3
    account.holds = dict.fromkeys([hold, passing])
    assert account.running() == {1: 3}
    passing.passed = ()
    assert account.running() == {1: 4}


def test_a_lease_settles_what_has_ended_and_gives_the_rest_back_when_it_is_over() -> None:
    line, lease = _Sent(), _lease(match_of(limit(requests=10), budget_usd=99), requests=3)
    first, second, third = (Hold.of(lease.hold.account, lease.hold.match, CALLER, 1, AT, most=MOST) for _ in range(3))
    assert lease.take(first)
    assert lease.take(second)
    lease.settle(first, PICOUSD_PER_USD, 400, 30, 0)
    lease.settle(second, 0, 0, 0, 1)
    assert not lease.post(line)
    rates, fields, teller = lease.hold.match.rates, lease.hold.match.fields, lease.hold.account.teller
    assert line.operations.pop()[3:] == (6, 14, 1, 0, 1600, 170, fields, rates, 2, 1, teller)
    assert (lease.hold.requests, lease.hold.cost_picousd) == (1, MOST.cost_picousd)
    assert not lease.post(line)
    assert not line.operations, "it is said once"
    assert lease.take(third)
    lease.open = False
    assert not lease.post(line), "one of it is under way"
    assert not line.operations
    lease.settle(third, PICOUSD_PER_USD, 1000, 100, 0)
    assert lease.post(line)
    assert line.operations.pop()[3:] == (3, 7, 1, 0, 0, 0, fields, rates, 1, 0, teller)


def test_a_lease_that_nobody_took_from_goes_back_whole() -> None:
    line, lease = _Sent(), _lease(match_of(limit(requests=10), budget_usd=99), requests=3)
    lease.open = False
    assert lease.post(line)
    (back,) = line.operations
    assert back[3:9] == (9, 21, 0, 0, 3000, 300)
    assert back[11:13] == (3, 3)
    assert not lease.take(taken(lease.hold.match))
    assert lease.post(line)
    assert len(line.operations) == 1, "and once"


def test_what_a_lease_has_settled_is_known_for_the_time_without_redis() -> None:
    line, lease = _Sent(), _lease(match_of(budget_usd=99), requests=2)
    shares, match = lease.hold.account.shares, lease.hold.match
    shares.told(match, [6, 14], [5, 0])
    for used, is_up in ((PICOUSD_PER_USD, True), (2 * PICOUSD_PER_USD, False)):
        one = Hold.of(lease.hold.account, match, CALLER, 1, AT, most=MOST)
        assert lease.take(one)
        line.up = is_up
        lease.settle(one, used, 1001, 101, 0)
        lease.post(line)
    assert shares.heard == {match.windows[0].field: 6 * PICOUSD_PER_USD}, "what Redis was told of"
    (settled,) = line.operations
    assert settled[7:9] == (0, 0), "more than was held takes nothing further"
    assert not lease.hold.requests


def test_a_lease_of_other_limits_gives_back_to_them_and_not_to_those_of_now() -> None:
    line, lease = _Sent(), _lease(match_of(limit(requests=10), budget_usd=99), requests=2)
    one = Hold.of(lease.hold.account, lease.hold.match, CALLER, 1, AT, most=MOST)
    assert lease.take(one)
    taken_from, lease.hold.match = lease.hold.rates, match_of(limit(requests=5), budget_usd=99)
    lease.settle(one, PICOUSD_PER_USD, 400, 30, 0)
    lease.open = False
    assert lease.post(line)
    back, settled = line.operations
    assert back[3:13] == (0, 0, 0, 0, 1600, 170, (), taken_from, 0, 1)
    assert settled[3:9] == (6, 14, 1, 0, 0, 0)
    assert settled[11:13] == (2, 0)


@pytest.mark.parametrize("lacks", ["cost", "input", "output", "free"])
def test_a_lease_admits_nobody_whom_it_has_no_room_for(lacks: str) -> None:
    lease = _lease(match_of(limit(requests=10), budget_usd=99), requests=1)
    one = taken(lease.hold.match)
    setattr(lease, lacks, getattr(lease, lacks) - 1)
    assert not lease.take(one)
    setattr(lease, lacks, getattr(lease, lacks) + 1)
    assert lease.take(one), "just as much is enough"
    assert (one.lease, one.answer, one.generation, lease.last) == (lease, lease.hold.answer, 4, one)
    assert (lease.free, lease.cost, lease.input, lease.output) == (0, 0, 0, 0)


def test_what_has_ended_under_a_lease_is_not_told_in_a_new_generation() -> None:
    line, lease = _Sent(), _lease(match_of(limit(requests=10), budget_usd=99), requests=3)
    ended, under_way = (Hold.of(lease.hold.account, lease.hold.match, CALLER, 1, AT, most=MOST) for _ in range(2))
    assert lease.take(ended)
    assert lease.take(under_way)
    lease.settle(ended, PICOUSD_PER_USD, 1, 1, 1)
    lease.forget_ended()
    assert (lease.hold.requests, lease.hold.cost_picousd) == (2, 2 * MOST.cost_picousd)
    assert not lease.post(line)
    assert not line.operations
    lease.settle(under_way, 0, 1000, 100, 0)
    lease.post(line)
    assert line.operations[0][11:13] == (1, 0), "nor is the one that went on to another model"


@pytest.mark.parametrize(("level", "bound"), [(0, {"requests": 2401}), (1, {"inputs": 2_400_001}), (2, {"outputs": 240_001})])
def test_a_lease_is_at_most_a_200th_of_what_a_limit_has_left(level: int, bound: dict[str, int]) -> None:
    """Eight requests in a tick are twelve in the lease."""
    match = match_of(limit(**bound))
    used = [0, 0, 0, 0]
    used[level] = MINUTE
    assert wanted(match, _pace(match, [used], [])) == (12, Bounds(12_000, 1200, 12 * MOST.cost_picousd))
    used[level] += 1
    assert wanted(match, _pace(match, [used], [])) is None


def test_a_lease_is_at_most_a_200th_of_the_requests_at_once() -> None:
    for at_once, running, is_wanted in ((2400, 0, True), (2399, 0, False), (2407, 7, True), (2407, 8, False)):
        match = match_of(limit(at_once=at_once))
        assert (wanted(match, _pace(match, [[0, 0, 0, running]], [])) is not None) is is_wanted


def test_a_lease_is_at_most_a_200th_of_what_a_budget_has_left() -> None:
    match = match_of(budget_usd=7201)
    used_usd, used_picousd = divmod(7201 * PICOUSD_PER_USD - 12 * MOST.cost_picousd * 200, PICOUSD_PER_USD)
    assert wanted(match, _pace(match, [], [used_usd, used_picousd])) is not None
    assert wanted(match, _pace(match, [], [used_usd, used_picousd + 1])) is None


def test_the_narrowest_of_several_budgets_decides_on_a_lease() -> None:
    """What is used of each stands behind the other's, in dollars and pico-dollars."""
    budgets = [budget(10**6), replace(budget(7201), id=2)]
    match = Rules(SpendRules("UTC", shares=True, budgets=budgets, limits=[], boundaries={})).match(CALLER, 1, AT)
    assert wanted(match, _pace(match, [], [10, 10**11, 0, 10**11])) is not None
    assert wanted(match, _pace(match, [], [0, 0, 1, 0])) is None


def test_there_is_no_lease_of_what_is_on_trial_or_before_an_answer() -> None:
    match = match_of(limit(requests=10**6))
    pace = _pace(match, [[0, 0, 0, 0]], [])
    assert wanted(match, pace) is not None
    pace.first.asked = match_of(limit(requests=10**6))  # its answer is about other rules
    assert wanted(match, pace) is None
    pace.first.asked, pace.first.answer = match, None
    assert wanted(match, pace) is None
    on_trial = match_of(replace(limit(requests=10**6), shadow=True))
    assert wanted(on_trial, _pace(on_trial, [[0, 0, 0, 0]], [])) is None


def test_few_requests_are_no_reason_for_a_lease() -> None:
    match = match_of(budget_usd=10**6)
    assert wanted(match, _pace(match, [], [0, 0], requests=8)) is not None
    assert wanted(match, _pace(match, [], [0, 0], requests=7)) is None


def _lease(match: Match, *, requests: int) -> Lease:
    """For so many requests of MOST."""
    most = Bounds(requests * MOST.input_tokens, requests * MOST.output_tokens, requests * MOST.cost_picousd)
    hold = Hold.of(Account(1, 7), match, CALLER, 1, AT, most=most)
    hold.generation = 4
    hold.requests, hold.answer = requests, (0, [], [[0, 0, 0, 0]], 0, [0, 0], [0, 0])
    return Lease(hold)


def _pace(match: Match, levels: list[list[int]], used: list[int], *, requests: int = 8) -> Pace:
    """So many requests of MOST in a tick. Args: levels, used: as Redis answered the first."""
    first = taken(match)
    first.answer = (0, [], levels, 0, used, [0, 0])
    pace = Pace(first)
    for _ in range(requests):
        pace.add(1, first.cost_picousd, first.input_tokens, first.output_tokens)
    return pace
