"""What is spent while Redis is away counts when it is back, and a share is taken once."""

import asyncio

import psycopg
import pytest
import redis

from router.inference.reservations.refusals import BudgetExceeded
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
        except BudgetExceeded:
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
        await asyncio.sleep(0.5)
        for one in pair:
            await one.call(tenant, most(USD), cost=USD)
        await asyncio.sleep(0.2)
        accounts = [one.reservations.accounts for one in pair]
        beaten = asyncio.Event()
        ask = accounts[0].line.ask

        async def ask_and_tell(*command: object) -> object:
            answer = await ask(*command)
            if command[0] == "beat" and not answer[0]:
                beaten.set()  # it is the first one after the flush, and alone
            return answer

        accounts[0].line.ask = ask_and_tell  # type: ignore[method-assign]
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
