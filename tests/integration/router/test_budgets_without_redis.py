"""What is spent while Redis is away counts when it is back, and a share is taken once."""

import asyncio
from datetime import timedelta

import psycopg
import pytest
import redis

from router.inference.reservations import accounts
from router.inference.reservations.account import Hold
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.refusals import BudgetExceeded, BudgetHeld, LimitsUnavailable, RateLimited
from router.inference.reservations.reservations import Reservations
from tests.factories import Tenant, add_model, add_tenant, midday_zone
from tests.integration.router.reservations_world import (
    USD,
    Worker,
    Workers,
    add_budget,
    add_limit,
    caller_of,
    left_and_held,
    most,
    through,
    until_they_know_each_other,
)
from tests.integration.router.test_budgets_changed import change
from tests.proxy import TcpProxy
from tests.routing_world import in_loop
from warehouse.base.clock import now


@pytest.fixture
def tenant(db: psycopg.Connection) -> Tenant:
    """An organization whose routers spend a share each while Redis is away."""
    made = add_tenant(db, midday_zone())
    db.execute("update control.organizations set when_redis_is_down = 'share' where id = %s", [made.org_id])
    db.commit()
    return made


async def cut_after_a_rest(one: Worker, tenant: Tenant, line: TcpProxy) -> None:
    """The line is cut when nothing has been asked for long, so that nothing that was asked can be lost."""
    await asyncio.sleep(0.2)
    account = one.reservations.accounts.get(tenant.org_id)
    assert account is not None
    account.touched_s = 0.0
    line.cut()
    await asyncio.sleep(0.3)


async def back(one: Worker, line: TcpProxy) -> None:
    line.mend()
    await one.connected()
    await asyncio.sleep(1)


async def spend_all(one: Worker, tenant: Tenant) -> int:
    """How many dollars fit."""
    spent = 0
    while True:
        try:
            await one.call(tenant, most(USD), cost=USD)
        except (BudgetExceeded, LimitsUnavailable):
            return spent
        spent += 1


@pytest.mark.parametrize("ends", ["while Redis is away", "when it is back"])
@in_loop
async def test_what_a_share_spent_counts(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str, ends: str
) -> None:  # fmt: skip
    add_budget(db, tenant, 10 * USD)
    async with workers(1, url=through(redis_line, redis_url)) as (one,):
        await one.call(tenant, most(USD), cost=USD)
        await cut_after_a_rest(one, tenant, redis_line)
        calling = asyncio.create_task(one.call(tenant, most(USD), cost=USD, seconds=2 if ends == "when it is back" else 0))
        await asyncio.sleep(0.1)
        await back(one, redis_line)
        await calling
        await asyncio.sleep(0.5)
        assert await left_and_held(one, tenant, 10 * USD) == (8 * USD, 0)


@in_loop
async def test_what_began_under_no_budget_and_ended_without_redis_counts(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:  # fmt: skip
    async with workers(1, url=through(redis_line, redis_url)) as (one,):
        at = now()
        assert await one.reservations.reserve(caller_of(tenant), one.model_id, at, most(USD)) is None
        add_budget(db, tenant, 10 * USD)
        await change(db, tenant, [one], "select 1")
        await one.call(tenant, most(USD), cost=USD)
        await cut_after_a_rest(one, tenant, redis_line)
        one.record(tenant, None, caller_of(tenant), cost=USD, at=at)
        await back(one, redis_line)
        assert await left_and_held(one, tenant, 10 * USD) == (8 * USD, 0)


@in_loop
async def test_a_share_is_spent_once_though_redis_goes_away_twice(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str, model: tuple[int, int]
) -> None:  # fmt: skip
    other = add_model(db, "other")
    add_budget(db, tenant, 10 * USD, model_id=model[0])
    add_budget(db, tenant, 100 * USD, model_id=other[0])
    spent = 1
    async with workers(1, url=through(redis_line, redis_url)) as (one,):
        await one.call(tenant, most(USD), cost=USD)
        for _ in range(2):
            # Of the other budget alone Redis says how much is left.
            held = await one.reservations.reserve(caller_of(tenant), other[0], now(), most(USD))
            assert held is not None
            one.reservations.settle(held)
            redis_line.cut()
            await asyncio.sleep(0.3)
            spent += await spend_all(one, tenant)
            await back(one, redis_line)
    assert spent <= 10


@in_loop
async def test_routers_that_have_not_come_back_after_a_flush_have_their_share_all_the_same(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:  # fmt: skip
    add_budget(db, tenant, 100 * USD)
    async with workers(2, url=through(redis_line, redis_url)) as pair:
        await until_they_know_each_other(pair)
        for one in pair:
            await one.call(tenant, most(USD), cost=USD)
        await asyncio.sleep(0.2)
        of_pair = [one.reservations.accounts for one in pair]
        beaten = asyncio.Event()
        ask = of_pair[0].line.ask

        async def ask_and_tell(*command: object) -> object:
            answer = await ask(*command)
            if command[0] == "beat" and not answer[0]:
                beaten.set()  # it is the first one after the flush, and alone
            return answer

        of_pair[0].line.ask = ask_and_tell  # type: ignore[method-assign]
        with redis.Redis.from_url(redis_url) as flushing:
            flushing.flushall()
        await beaten.wait()
        redis_line.cut()
        await asyncio.sleep(0.3)
        spent = 2
        for one in pair:
            spent += await spend_all(one, tenant)
    assert spent <= 100


@pytest.mark.parametrize("when_redis_is_down", ["refuse", "share"])
@in_loop
async def test_rules_on_trial_refuse_nobody_without_redis(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, when_redis_is_down: str
) -> None:
    db.execute("update control.organizations set when_redis_is_down = %s", [when_redis_is_down])
    add_budget(db, tenant, 10 * USD, mode="shadow")
    add_limit(db, tenant, mode="shadow", requests_per_minute=3)
    async with workers(url=None) as (one,):
        for _ in range(20):
            await one.call(tenant, most(USD), cost=USD)


async def hold_of(one: Worker, tenant: Tenant, *, days: int = 0, model_id: int | None = None, tokens: int = 1) -> Hold:
    """What a request holds that starts so many days from now, and can cost a dollar."""
    at, of = now() + timedelta(days=days), model_id or one.model_id
    held = await one.reservations.reserve(caller_of(tenant), of, at, Bounds(tokens, tokens, USD))
    assert held is not None
    return held


@in_loop
async def test_a_window_that_begins_without_redis_begins_with_a_share_of_all(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:  # fmt: skip
    add_budget(db, tenant, 10 * USD, period="day")
    async with workers(2, url=through(redis_line, redis_url)) as pair:
        await until_they_know_each_other(pair)
        for one in pair:
            await one.call(tenant, most(USD), cost=USD)
        await asyncio.sleep(0.3)
        redis_line.cut()
        await asyncio.sleep(0.3)
        for one in pair:
            for _ in range(5):
                await hold_of(one, tenant, days=1)
            with pytest.raises(LimitsUnavailable, match="share"):
                await hold_of(one, tenant, days=1)


@in_loop
async def test_a_window_that_began_without_redis_and_was_not_asked_for_since_admits_nobody_when_redis_goes_away_again(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add_budget(db, tenant, 10 * USD, period="day")
    async with workers(2, url=through(redis_line, redis_url)) as pair:
        await until_they_know_each_other(pair)
        one, two = pair
        for each in (one, two):
            await each.call(tenant, most(USD), cost=USD)
        await cut_after_a_rest(one, tenant, redis_line)
        one.reservations.settle(await hold_of(one, tenant, days=1))
        await back(two, redis_line)
        await back(one, redis_line)
        for _ in range(10):
            await hold_of(two, tenant, days=1)
        monkeypatch.setattr(accounts, "now", lambda: now() + timedelta(days=1))  # Redis goes away in that window
        redis_line.cut()
        await asyncio.sleep(0.3)
        with pytest.raises(LimitsUnavailable, match="does not know"):
            await hold_of(one, tenant, days=1)


@pytest.mark.parametrize(("settles", "refusal"), [(True, BudgetExceeded), (False, BudgetHeld)], ids=["spent", "held"])
@in_loop
async def test_a_share_is_of_what_was_left_when_redis_last_refused(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str,
    settles: bool, refusal: type[Exception],
) -> None:  # fmt: skip
    """What others have used up, a worker hears of by being refused alone."""
    add_budget(db, tenant, 10 * USD)
    async with workers(2, url=through(redis_line, redis_url), wait_s=0.1) as pair:
        await until_they_know_each_other(pair)
        one, two = pair
        await one.call(tenant, most(USD), cost=USD)
        for _ in range(9):
            if settles:
                await two.call(tenant, most(USD), cost=USD)
            else:
                await hold_of(two, tenant)
        await asyncio.sleep(0.1)
        with pytest.raises(refusal):
            await hold_of(one, tenant)
        redis_line.cut()
        await asyncio.sleep(0.3)
        with pytest.raises((BudgetExceeded, LimitsUnavailable)):
            await hold_of(one, tenant)


@in_loop
async def test_a_budget_that_is_made_without_redis_admits_nobody(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:  # fmt: skip
    add_limit(db, tenant, requests_per_minute=1000)
    async with workers(1, url=through(redis_line, redis_url)) as (one,):
        await hold_of(one, tenant)
        redis_line.cut()
        await asyncio.sleep(0.3)
        await hold_of(one, tenant)
        add_budget(db, tenant, 10 * USD, period="day")
        await change(db, tenant, [one], "select 1")
        for days in (0, 1):
            with pytest.raises(LimitsUnavailable, match="does not know"):
                await hold_of(one, tenant, days=days)


@in_loop
async def test_who_is_refused_by_a_share_is_not_told_that_the_budget_is_spent(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:  # fmt: skip
    add_budget(db, tenant, 3 * USD)
    async with workers(2, url=through(redis_line, redis_url)) as pair:
        await until_they_know_each_other(pair)
        one = pair[0]
        await one.call(tenant, most(USD), cost=USD)
        redis_line.cut()
        await asyncio.sleep(0.3)
        await hold_of(one, tenant)
        with pytest.raises(LimitsUnavailable, match="share"):
            await hold_of(one, tenant)
        with pytest.raises(LimitsUnavailable, match="share"):
            await one.call(tenant, most(2 * USD), cost=0)
        with pytest.raises(BudgetExceeded):
            await one.call(tenant, most(3 * USD), cost=0)


@in_loop
async def test_a_request_that_goes_on_to_another_model_counts_once_in_a_share(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:  # fmt: skip
    other = add_model(db, "other")[0]
    add_limit(db, tenant, requests_per_minute=1, input_tokens_per_minute=100)
    async with workers(1, url=through(redis_line, redis_url)) as (one,):
        await hold_of(one, tenant, tokens=0)
        redis_line.cut()
        await asyncio.sleep(0.3)
        first = await hold_of(one, tenant, tokens=100)
        one.reservations.move(first)
        await hold_of(one, tenant, model_id=other, tokens=100)
        with pytest.raises(RateLimited):
            await hold_of(one, tenant)


@in_loop
async def test_tokens_that_were_not_used_go_back_to_a_share(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:  # fmt: skip
    add_limit(db, tenant, input_tokens_per_minute=100)
    async with workers(1, url=through(redis_line, redis_url)) as (one,):
        await hold_of(one, tenant, tokens=0)
        redis_line.cut()
        await asyncio.sleep(0.3)
        one.reservations.settle(await hold_of(one, tenant, tokens=90), input_tokens=10)
        await hold_of(one, tenant, tokens=90)
        with pytest.raises(RateLimited):
            await hold_of(one, tenant, tokens=90)


@in_loop
async def test_a_share_of_those_at_once_is_of_those_that_the_limit_is_about(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:  # fmt: skip
    other = add_model(db, "other")[0]
    add_limit(db, tenant, requests_at_once=2, model_id=other)
    add_limit(db, tenant, requests_per_minute=1000)
    async with workers(1, url=through(redis_line, redis_url)) as (one,):
        before = await hold_of(one, tenant, model_id=other)
        redis_line.cut()
        await asyncio.sleep(0.3)
        for _ in range(3):
            await hold_of(one, tenant)  # of another model
        second = await hold_of(one, tenant, model_id=other)
        with pytest.raises(RateLimited, match="at once"):
            await hold_of(one, tenant, model_id=other)  # one of the two began before
        for ended in (before, second):
            one.reservations.settle(ended)
            await hold_of(one, tenant, model_id=other)


@pytest.mark.parametrize("rates", [{"requests_per_minute": 1}, {"input_tokens_per_minute": 101}, {"requests_at_once": 1}])
@in_loop
async def test_who_fits_into_a_limit_and_into_no_share_is_not_told_that_the_limit_is_too_low(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str, rates: dict[str, int]
) -> None:  # fmt: skip
    add_limit(db, tenant, **rates)
    add_limit(db, tenant, requests_per_minute=1000)
    async with workers(2, url=through(redis_line, redis_url)) as pair:
        await until_they_know_each_other(pair)
        one = pair[0]
        one.reservations.settle(await hold_of(one, tenant, tokens=0))
        redis_line.cut()
        await asyncio.sleep(0.3)
        with pytest.raises(LimitsUnavailable, match="share"):
            await hold_of(one, tenant, tokens=100)


@in_loop
async def test_a_worker_that_starts_without_redis_leaves_their_shares_to_the_others_of_its_router(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    add_limit(db, tenant, requests_per_minute=8)
    async with workers(url=None) as (one,):
        connect, recorded = one.pool.connection, one.sink.recorded
        one.reservations = Reservations(None, life=1, connect=connect, recorded=recorded, budget_wait_s_max=1, workers=4)
        for _ in range(2):
            await hold_of(one, tenant)
        with pytest.raises(RateLimited):
            await hold_of(one, tenant)


@in_loop
async def test_what_others_only_held_is_not_spent_without_redis_either(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:  # fmt: skip
    add_budget(db, tenant, 10 * USD)
    async with workers(1, url=through(redis_line, redis_url)) as (one,):
        await one.call(tenant, most(USD), cost=USD)
        held = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), most(6 * USD))
        assert held is not None
        await cut_after_a_rest(one, tenant, redis_line)
        with pytest.raises(LimitsUnavailable):
            await one.call(tenant, most(4 * USD), cost=0)
        with pytest.raises(BudgetExceeded) as refused:
            await one.call(tenant, most(10 * USD), cost=0)
        assert [refused.value.details[name] for name in ("spent_usd", "held_usd")] == ["1.00", "6.00"]
        await one.call(tenant, most(3 * USD), cost=2 * USD)
        with pytest.raises(BudgetExceeded) as refused:
            await one.call(tenant, most(8 * USD), cost=0)
        assert [refused.value.details[name] for name in ("spent_usd", "held_usd")] == ["3.00", "6.00"]
        one.reservations.settle(held)
