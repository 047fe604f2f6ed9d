"""Rules on trial count whom they would have refused, and who is refused is told how long to wait."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from router.inference.reservations.account import Hold
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.refusals import BudgetHeld, RateLimited
from router.inference.reservations.reservations import CALLED_MAX, Reservations
from router.inference.reservations.rules import Window
from router.inference.state import InferenceState
from router.settings import RouterSettings
from tests.factories import Tenant, add_model, add_tenant
from tests.integration.router.reservations_world import USD, Workers, add_budget, add_limit, caller_of, most
from tests.proxy import TcpProxy
from tests.routing_world import in_loop
from warehouse.base.clock import now


@in_loop
async def test_a_budget_on_trial_counts_nobody_who_would_only_have_waited(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    budget = add_budget(db, tenant, 2 * USD, mode="shadow")
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=0)
        await asyncio.gather(*(one.call(tenant, most(USD), cost=1, seconds=0.2) for _ in range(10)))
        assert one.reservations.take_shadows() == {}
        await one.call(tenant, most(2 * USD), cost=0)
        assert one.reservations.take_shadows() == {("budget", budget, tenant.org_id): 1}


@in_loop
async def test_a_budget_on_trial_counts_who_asks_for_a_model_without_a_price(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    budget = add_budget(db, tenant, 10 * USD, mode="shadow")
    async with workers() as (one,):
        hold = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(10, 10, 0, is_priced=False))
        assert hold is not None
        one.reservations.settle(hold)
        assert one.reservations.take_shadows() == {("budget", budget, tenant.org_id): 1}
        await one.call(tenant, most(USD), cost=USD)
        assert one.reservations.take_shadows() == {}


@in_loop
async def test_what_a_limit_on_trial_would_have_refused_takes_nothing_from_it(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    limit = add_limit(db, tenant, input_tokens_per_minute=1000, mode="shadow")
    counted = {("limit", limit, tenant.org_id): 1}
    async with workers() as (one,):

        async def ask(tokens: int) -> None:
            hold = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(tokens, 0, 0))
            assert hold is not None
            one.reservations.settle(hold, input_tokens=tokens // 2)

        await ask(1000)  # takes 500 in the end
        for _ in range(5):
            await ask(600)  # would not fit, and gives nothing back
            assert one.reservations.take_shadows() == counted
        await ask(480)
        assert one.reservations.take_shadows() == {}
        await ask(600)
        assert one.reservations.take_shadows() == counted


@pytest.mark.parametrize("told_anew", [False, True])
@in_loop
async def test_who_would_have_been_refused_is_none_of_those_at_once(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, told_anew: bool
) -> None:
    limit = add_limit(db, tenant, requests_at_once=2, mode="shadow")
    async with workers() as (one,):

        async def ask() -> tuple[Hold, int]:
            hold = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(1, 1, 0))
            assert hold is not None
            return hold, one.reservations.take_shadows().get(("limit", limit, tenant.org_id), 0)

        (first, _), (_, refused), (third, third_refused) = [await ask() for _ in range(3)]
        assert (refused, third_refused) == (0, 1)
        if told_anew:
            account = one.reservations.accounts.get(tenant.org_id)
            assert account is not None
            one.reservations.accounts.doubt([account])
            await one.reservations.accounts.open(account)
        one.reservations.settle(first)
        assert (await ask())[1] == 0, "had the limit refused, only the second would run"
        one.reservations.settle(third)
        assert (await ask())[1] == 1, "it was none of the two that run"


@in_loop
async def test_who_is_refused_waits_for_all_limits_that_are_in_the_way(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    add_limit(db, tenant, requests_per_minute=60)
    add_limit(db, tenant, input_tokens_per_minute=6000, project_id=tenant.project_id)
    async with workers() as (one,):
        began_s = time.monotonic()
        for _ in range(60):
            await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(100, 0, 0))
        with pytest.raises(RateLimited) as refused:
            await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(500, 0, 0))
        assert refused.value.details["dimension"] == "input_tokens_per_minute"
        took_ms = (time.monotonic() - began_s) * 1000
        waits_ms = refused.value.details["retry_after_ms"]
        assert 5000 - took_ms <= waits_ms <= 5000, "a request fits in a second, its tokens in five"


@pytest.mark.parametrize("is_one", [True, False])
@in_loop
async def test_what_never_fits_is_not_told_to_wait(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, is_one: bool
) -> None:  # fmt: skip
    rates = [{"requests_per_minute": 1}, {"input_tokens_per_minute": 6000}]
    for each in [rates[0] | rates[1]] if is_one else rates:
        add_limit(db, tenant, **each)
    async with workers() as (one,):
        await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(1, 0, 0))
        with pytest.raises(RateLimited) as refused:
            await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(7000, 0, 0))
        assert (refused.value.details["dimension"], refused.value.retry_after_s) == ("input_tokens_per_minute", None)


@in_loop
async def test_a_request_that_goes_on_to_other_models_is_counted_once_by_each_rule_on_trial(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    others = [add_model(db, name)[0] for name in ("other", "third")]
    of_all = add_limit(db, tenant, requests_per_minute=0, mode="shadow")
    of_other = add_limit(db, tenant, requests_per_minute=0, mode="shadow", model_id=others[0])
    budget = add_budget(db, tenant, USD, mode="shadow")
    async with workers() as (one,):
        hold = None
        for model_id in (one.model_id, *others):
            if hold is not None:
                one.reservations.move(hold)
            hold = await one.reservations.reserve(caller_of(tenant), model_id, now(), most(2 * USD), moved=hold)
            assert hold is not None
        rules = ("limit", of_all), ("limit", of_other), ("budget", budget)
        assert one.reservations.take_shadows() == {(*rule, tenant.org_id): 1 for rule in rules}
        await one.call(tenant, most(2 * USD), cost=0)
        assert one.reservations.take_shadows() == {(*rule, tenant.org_id): 1 for rule in (rules[0], rules[2])}


@in_loop
async def test_what_was_on_trial_while_the_database_was_away_is_written_when_it_is_back(
    db: psycopg.Connection,
    tenant: Tenant,
    workers: Workers,
    role_url: Callable[..., str],
    database_line: TcpProxy,
    redis_url: str,
    tmp_path: Path,
) -> None:
    add_limit(db, tenant, requests_per_minute=0, mode="shadow")
    env = {
        "ROUTER_DATABASE_URL": make_conninfo(role_url("inferhouse_router"), port=database_line.port),
        "ROUTER_MANAGEMENT_DATABASE_URL": role_url("inferhouse_management"),
        "ROUTER_JOURNAL_DIR": str(tmp_path / "none"),
        "ROUTER_KEY_PEPPER": "a pepper of the tests",
        "ROUTER_SESSION_SECRET": "a secret of the tests",
        "ROUTER_REDIS_URL": redis_url,
    }
    state = InferenceState(RouterSettings.from_env(env))
    async with workers() as (one,), state._pool:
        state.reservations = one.reservations
        for is_away in (True, False):
            await one.call(tenant, most(0), cost=0)
            (database_line.cut if is_away else database_line.mend)()
            await state._write_trials()
    assert db.execute("select sum(requests) from control.shadow_refusals where org_id = %s", [tenant.org_id]).fetchone() == (2,)


@in_loop
async def test_who_needs_little_goes_on_behind_many_who_wait_for_more(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    add_budget(db, tenant, 10 * USD)
    async with workers() as (one,):
        held = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), most(5 * USD))
        assert held is not None
        large = [asyncio.create_task(one.call(tenant, most(6 * USD), cost=0)) for _ in range(3 * CALLED_MAX)]
        await asyncio.sleep(0.5)
        small = asyncio.create_task(one.call(tenant, most(USD), cost=USD))
        await asyncio.wait([small, *large], return_when=asyncio.FIRST_COMPLETED)
        assert small.done()
        assert not any(task.done() for task in large)
        await small
        one.reservations.settle(held)
        await asyncio.gather(*large)


@in_loop
async def test_a_request_that_goes_on_to_another_model_waits_for_budgets_no_longer_than_any(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    add_budget(db, tenant, 10 * USD)
    turns = asyncio.Queue[float]()
    turn = Reservations._turn

    async def noting(self: Reservations, hold: Hold, window: Window, left_s: float) -> None:
        turns.put_nowait(left_s)
        await turn(self, hold, window, left_s)

    monkeypatch.setattr(Reservations, "_turn", noting)
    async with workers(wait_s=5) as (one,):
        reservations = one.reservations

        async def reserve(moved: Hold | None = None) -> Hold:
            hold = await reservations.reserve(caller_of(tenant), one.model_id, now(), most(10 * USD), moved=moved)
            assert hold is not None
            return hold

        first, moved = await reserve(), None
        for left_s in (5.0, 4.5):
            asking = asyncio.create_task(reserve(moved))
            assert await turns.get() <= left_s
            await asyncio.sleep(0.5)
            reservations.settle(first)
            moved = await asking
            while not turns.empty():
                turns.get_nowait()
            reservations.move(moved)
            first = await reserve()
        reservations.settle(first)


@in_loop
async def test_an_organization_whose_requests_wait_keeps_no_other_from_waiting(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("router.inference.reservations.reservations.OF_ORGANIZATION_MAX", 2)
    other = add_tenant(db, name="Other")
    for one_of in (tenant, other):
        add_budget(db, one_of, 10 * USD)
    async with workers() as (one,):
        held = [await one.reservations.reserve(caller_of(of), one.model_id, now(), most(10 * USD)) for of in (tenant, other)]
        waiting = [asyncio.create_task(one.call(tenant, most(USD), cost=0)) for _ in range(2)]
        await asyncio.sleep(0.3)
        with pytest.raises(BudgetHeld):
            await one.call(tenant, most(USD), cost=0)
        waiting.append(asyncio.create_task(one.call(other, most(USD), cost=0)))
        await asyncio.sleep(0.3)
        for hold in held:
            assert hold is not None
            one.reservations.settle(hold)
        await asyncio.gather(*waiting)
