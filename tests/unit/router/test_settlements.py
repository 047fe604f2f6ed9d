"""A request that is at its end is settled once, with what it has cost, in the account and by the rules that it is held in."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from router.inference.auth import Caller
from router.inference.reservations.account import Account, Hold
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.leases import Lease
from router.inference.reservations.refusals import LimitsUnavailable
from router.inference.reservations.reservations import Reservations
from router.inference.reservations.rules import PICOUSD_PER_USD, Rules
from tests.factories import Tenant, usage_event
from warehouse.access.spend_rules import BudgetRule, LimitRule, SpendRules
from warehouse.access.usage_rows import UsageEvent

USD = PICOUSD_PER_USD
AT = datetime(2026, 3, 1, tzinfo=UTC)
CALLER = Caller(1, 1, 1, user_id=None, service_account_id=None, models=None, answers_kept_s=0)
MOST = Bounds(1000, 100, 3 * USD)
BUDGET = BudgetRule(
    1, "budget_1", None, None, None, None, None, None, "lifetime", str(9 * USD), None, None,
    shadow=False, created_at=AT, hold_version=1,
)  # fmt: skip
LIMIT = LimitRule(1, "limit_1", None, None, None, None, False, 10, None, None, None)


class _World:
    """Reservations whose line to Redis is written down, with one account in its generation 4."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *rules: BudgetRule | LimitRule) -> None:
        async def recorded() -> None:
            pass

        self.reservations = Reservations(None, life=7, connect=None, recorded=recorded, budget_wait_s_max=1)  # type: ignore[arg-type]
        self.sent: list[tuple[Any, ...]] = []
        self.line = self.reservations.accounts.line
        monkeypatch.setattr(self.line, "send", lambda operation, done=None: self.sent.append(operation))
        self.line.up = True
        self.account = self.reservations.accounts._of[1] = Account(1, 7)
        self.account.generation = 4
        self.follow(*rules)

    def follow(self, *rules: BudgetRule | LimitRule) -> None:
        """These are the rules from now on."""
        budgets = [rule for rule in rules if isinstance(rule, BudgetRule)]
        limits = [rule for rule in rules if isinstance(rule, LimitRule)]
        self.account.rules = Rules(SpendRules("UTC", shares=True, budgets=budgets, limits=limits, boundaries={}))

    def admitted(self) -> Hold:
        """A hold that Redis has answered."""
        assert self.account.rules is not None
        hold = Hold.of(self.account, self.account.rules.match(CALLER, 1, AT), CALLER, 1, AT, most=MOST)
        hold.claim()
        hold.asked, hold.rates, hold.answer = hold.match, hold.match.rates, (0, [], [[0, 0, 0]], 0, [], [])
        self.account.holds[hold] = None
        return hold

    def row(self, **fields: Any) -> UsageEvent:
        """Of a request that cost one dollar and a pico-dollar."""
        values = {"charge_class": "charged", "cost_picousd": USD + 1, "input_tokens": 400, "output_tokens": 30, "model_id": 1}
        return usage_event(Tenant(1, 1, 1, ""), 0, AT, **values | fields)

    def close(self, hold: Hold | None, **fields: Any) -> None:
        """The row of an attempt is closed."""
        row = self.row(**fields)
        self.reservations.settle_row(hold, CALLER, row)
        assert row.router_life == self.account.number


def test_a_request_is_settled_once_with_what_it_has_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(monkeypatch, BUDGET, LIMIT)
    hold = world.admitted()
    world.close(hold, charge_class="free_engine_failed", cost_picousd=0)
    assert not world.sent, "another attempt may be made under the same hold"
    assert hold in world.account.holds
    world.close(hold)
    assert [operation[:9] for operation in world.sent] == [(0, 1, 4, 3, 0, 1, 1, 600, 70)]
    world.reservations.settle(hold)
    world.close(hold, cost_picousd=2 * USD)
    assert len(world.sent) == 1
    assert not world.account.holds


def test_what_nobody_can_price_costs_what_was_held(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(monkeypatch, BUDGET)
    world.close(world.admitted(), cost_picousd=None)
    assert [operation[3:7] for operation in world.sent] == [(3, 0, 3, 0)]


def test_a_request_that_goes_on_to_another_model_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(monkeypatch, BUDGET, LIMIT)
    world.reservations.move(world.admitted())
    assert [(*operation[3:9], *operation[11:13]) for operation in world.sent] == [(3, 0, 0, 0, 1000, 100, 1, 1)]


def test_what_is_settled_by_newer_rules_goes_back_to_the_limits_that_it_was_taken_from(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(monkeypatch, BUDGET, LIMIT)
    hold = world.admitted()
    world.follow(BUDGET, replace(LIMIT, requests_per_minute=1))
    assert world.account.rules is not None
    hold.match = world.account.rules.match(CALLER, 1, AT)
    world.close(hold)
    settled, back = world.sent
    assert (*settled[3:9], *settled[10:13]) == (3, 0, 1, 1, 0, 0, hold.match.rates, 1, 0)
    assert (*back[3:9], *back[10:13]) == (0, 0, 0, 0, 600, 70, hold.rates, 0, 0)


def test_who_was_bound_by_no_budget_counts_for_one_that_was_made_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(monkeypatch, LIMIT)
    hold = world.admitted()
    assert hold.generation == 0
    world.follow(BUDGET, LIMIT)
    assert world.account.rules is not None
    match = world.account.rules.match(CALLER, 1, AT)
    unheld = (0, 1, 4, 0, 0, 1, 1, 0, 0, match.fields, (), 0, 0, world.account.teller)
    world.close(hold)
    assert world.sent.pop() == unheld
    assert len(world.sent) == 1, "and its limit has got back what it did not use"
    world.account.touched_s = 0.0
    world.close(None)
    assert world.sent.pop() == unheld
    assert world.account.touched_s > 0, "what is sent last may be lost"
    for nothing in ({"cost_picousd": 0}, {"cost_picousd": None}, {"model_id": None}, {"charge_class": "free_refused"}):
        world.close(None, **nothing)
    assert len(world.sent) == 1
    world.account.generation = 0
    world.close(None)
    assert len(world.sent) == 1, "its row will be summed up"
    world.account.generation, world.account.touched_s = 4, 0.0
    world.follow(LIMIT)
    world.close(None)
    world.line.up = False
    world.close(None)
    assert len(world.sent) == 1, "no budget, nothing to count for"
    assert (world.account.doubtful, world.account.touched_s) == (False, 0.0)
    world.follow(BUDGET)
    world.close(None)
    assert len(world.sent) == 1
    assert (world.account.generation, world.account.doubtful) == (0, True), "it is summed up of rows"


def test_what_is_settled_without_redis_is_used_of_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(monkeypatch, BUDGET)
    hold = world.admitted()
    (window,) = hold.match.windows
    shares = world.account.shares
    shares.told(hold.match, (3, 0), (2, 0))
    hold.generation, hold.answer = 0, None
    shares.add(hold.match, hold.cost_picousd)
    world.line.up = False
    world.reservations.settle(hold, cost_picousd=USD)
    assert not world.sent
    assert (shares._used[window.field], shares.heard[window.field]) == (USD, 3 * USD)
    told, world.line.up = world.admitted(), False
    world.reservations.settle(told, cost_picousd=USD)
    assert shares.heard[window.field] == 3 * USD, "Redis was not told, and may hold it for spent or not"
    told, world.line.up = world.admitted(), True
    world.reservations.settle(told, cost_picousd=USD)
    assert len(world.sent) == 1
    assert (shares._used[window.field], shares.heard[window.field]) == (USD, 4 * USD)


def test_what_is_admitted_by_a_share_is_told_to_redis_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody had asked for long before it went away, and nothing of the account can have been lost with it."""
    world = _World(monkeypatch, BUDGET)
    hold = world.admitted()
    world.account.shares.told(hold.match, (0, 0), (0, 0))
    world.account.holds.clear()
    world.line.up = False
    world.reservations._share(hold)
    assert (world.account.generation, world.account.doubtful) == (0, True)
    assert (hold.generation, hold.answer, hold in world.account.holds) == (0, None, True)
    assert world.reservations.counts == {"shared": 1}


@pytest.mark.parametrize(("shares", "shadow", "is_admitted"), [(True, False, True), (False, True, True), (False, False, False)])
def test_without_redis_only_what_refuses_nobody_or_may_share_is_admitted(
    monkeypatch: pytest.MonkeyPatch, shares: bool, shadow: bool, is_admitted: bool
) -> None:
    world = _World(monkeypatch, replace(BUDGET, shadow=shadow))
    hold = world.admitted()
    world.account.holds.clear()
    world.account.shares.told(hold.match, (0, 0), (0, 0))
    assert world.account.rules is not None
    world.account.rules.shares, world.line.up = shares, False
    if is_admitted:
        world.reservations._share(hold)
    else:
        with pytest.raises(LimitsUnavailable, match="is not set"):
            world.reservations._share(hold)
    assert (hold in world.account.holds) is is_admitted
    assert world.reservations.counts == {"shared" if is_admitted else LimitsUnavailable.code: 1}


def test_a_share_of_a_limit_gets_back_what_was_not_used_though_redis_is_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(monkeypatch, replace(LIMIT, input_tokens_per_minute=10_000, output_tokens_per_minute=10_000))
    shares = world.account.shares
    for used, left in (((400, 30), (1, 400, 30)), ((1001, 101), (1, 1000, 100))):
        shares._rates.clear()
        hold = world.admitted()
        hold.generation, hold.answer, hold.rates = 0, None, None
        shares.take(hold.match, hold.cost_picousd, hold.input_tokens, hold.output_tokens, workers=1, running={})
        world.reservations.settle(hold, input_tokens=used[0], output_tokens=used[1])
        assert shares._rates[1][1] == [part * 60_000_000 for part in left]
    assert not world.sent, "Redis knows nothing of it"
    hold.settled, hold.generation = False, 4  # but of one that it was told of since then
    world.reservations.settle(hold)
    assert [operation[2] for operation in world.sent] == [4]


def test_who_is_under_a_lease_is_settled_there(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(monkeypatch, BUDGET)
    lease = Lease(world.admitted())
    hold = Hold.of(world.account, lease.hold.match, CALLER, 1, AT, most=MOST)
    assert lease.take(hold)
    hold.generation = 0
    world.close(hold)
    assert lease.ended == [MOST.cost_picousd, 1000, 100, USD + 1, 400, 30]
    assert not world.sent


def test_who_waits_for_what_goes_back_is_called_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        world = _World(monkeypatch, BUDGET)
        hold = world.admitted()
        first, second, other = (Hold.of(world.account, hold.match, CALLER, 1, AT, most=MOST) for _ in range(3))
        for waiting in (first, second, other):
            waiting.turn = asyncio.get_running_loop().create_future()
        world.account.queues = {hold.match.windows[0].field: {first: None, second: None}, "another": {other: None}}
        world.account.touched_s = 0.0
        world.reservations.settle(hold)
        assert world.account.touched_s > 0
        assert [waiting.turn is not None and waiting.turn.done() for waiting in (first, second, other)] == [True, True, False]
        world.account.queues = {"another": {other: None}}
        world.reservations.settle(world.admitted())
        assert other.turn is not None
        assert not other.turn.done()

    asyncio.run(run())


def test_a_row_of_an_organization_that_nobody_knows_here_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _World(monkeypatch, BUDGET)
    row = world.row(org_id=2, router_life=5)
    world.reservations.settle_row(None, CALLER, row)
    assert (row.router_life, world.sent) == (5, [])
    assert (world.reservations.number_of(2), world.reservations.number_of(1)) == (7, world.account.number)
