"""A budget that changes, or begins to be held, counts all that its window has spent, and binds who waits."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
import pytest
import redis

from router.inference.reservations.account import Account
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.refusals import BudgetExceeded, ModelUnpriced
from tests.factories import Tenant, copy_events, midday_zone, usage_event
from tests.integration.router.reservations_world import (
    USD,
    Worker,
    Workers,
    add_budget,
    caller_of,
    left,
    most,
    spent_by_rows,
)
from tests.routing_world import in_loop
from warehouse.base.clock import now


async def change(
    db: psycopg.Connection, tenant: Tenant, workers: Sequence[Worker], statement: LiteralString, *values: Any
) -> None:
    """A change of the organization's rules, which every worker hears of."""
    db.execute(statement, values)
    db.commit()
    for one in workers:
        one.reservations.accounts.changed(tenant.org_id)


def pretend_it_was_opened_two_days_ago(redis_url: str, tenant: Tenant) -> None:
    """The account, before today's window began."""
    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"ih:o:{tenant.org_id}", "a", int((now() - timedelta(days=2)).timestamp() * 1_000_000))


@pytest.mark.parametrize("how", ["made", "soft before", "soft meanwhile", "of another zone"])
@in_loop
async def test_a_budget_that_begins_to_be_held_in_an_account_of_days_ago_counts_what_was_spent_before(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, model: tuple[int, int], redis_url: str, how: str
) -> None:
    at = now()
    copy_events(db, [usage_event(tenant, n, at, model_id=model[0], price_id=model[1], cost_picousd=USD) for n in range(2)])
    if how == "made":
        add_budget(db, tenant, 10 * USD, period="lifetime")
    else:
        day = add_budget(db, tenant, 4 * USD, period="day", mode="soft" if how == "soft before" else "hard")
        if how == "soft before":
            add_budget(db, tenant, 10 * USD, period="lifetime")
    mode: LiteralString = "update control.budgets set mode = %s where id = %s"
    async with workers(2) as pair:
        for one in pair:
            await one.call(tenant, most(USD), cost=0)
        pretend_it_was_opened_two_days_ago(redis_url, tenant)
        if how == "soft meanwhile":
            await change(db, tenant, pair, mode, "soft", day)
        await pair[0].call(tenant, most(USD), cost=USD)
        if how == "made":
            add_budget(db, tenant, 4 * USD, period="day")
            await change(db, tenant, pair, "select 1")
        elif how == "of another zone":
            zone: LiteralString = "update control.organizations set time_zone = %s where id = %s"
            await change(db, tenant, pair, zone, midday_zone(west=1), tenant.org_id)
        else:
            await change(db, tenant, pair, mode, "hard", day)
        with pytest.raises(BudgetExceeded) as refused:
            await pair[1].call(tenant, most(2 * USD), cost=0)
        assert (refused.value.details["period"], refused.value.details["spent_usd"]) == ("day", "3.00")
        await pair[0].call(tenant, most(USD), cost=USD)


@in_loop
async def test_an_account_is_opened_only_by_routers_that_know_the_same_budgets(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    add_budget(db, tenant, 1000 * USD)
    async with workers(2) as (one, late):
        for each in (one, late):
            await each.call(tenant, most(USD), cost=USD)
        running = asyncio.create_task(late.call(tenant, most(USD), cost=USD, seconds=1.0))
        await asyncio.sleep(0.1)
        add_budget(db, tenant, 10 * USD, period="day")
        accounts = late.reservations.accounts
        read, sum_up = accounts._read, accounts._sum_up

        async def read_just_before_the_budget_was_made(account: Account) -> None:
            accounts._read = read  # type: ignore[method-assign]

        async def leave_it_to_the_other(account: Account, *values: Any) -> None:
            if account.rules is not None and len(account.rules.rules.budgets) == 2:
                await sum_up(account, *values)

        accounts._read = read_just_before_the_budget_was_made  # type: ignore[method-assign]
        accounts._sum_up = leave_it_to_the_other  # type: ignore[method-assign]
        await change(db, tenant, [one], "select 1")
        await one.call(tenant, most(USD), cost=USD)
        await running
        assert await left(one, tenant, 10 * USD) == 6 * USD


@pytest.mark.parametrize("how", ["lowered", "deleted", "raised"])
@in_loop
async def test_who_waits_is_bound_by_the_budget_as_it_is_now(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, how: str
) -> None:
    budget = add_budget(db, tenant, 4 * USD)
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=USD)
        running = asyncio.create_task(one.call(tenant, most(3 * USD), cost=0, seconds=1.5))
        await asyncio.sleep(0.3)
        waiting = asyncio.create_task(one.call(tenant, most(2 * USD), cost=USD))
        await asyncio.sleep(0.1)
        assert one.reservations.waiting == 1
        if how == "deleted":
            await change(db, tenant, [one], "update control.budgets set deleted_at = now() where id = %s", budget)
        else:
            limit = (2 if how == "lowered" else 6) * USD
            await change(db, tenant, [one], "update control.budgets set limit_picousd = %s where id = %s", limit, budget)
        began = now()
        if how == "lowered":
            with pytest.raises(BudgetExceeded) as refused:
                await waiting
            assert refused.value.details["limit_usd"] == "2.00"
        else:
            await waiting
        assert now() - began < timedelta(seconds=5)
        await running
        assert one.reservations.waiting == 0
    assert spent_by_rows(db, tenant) == (1 if how == "lowered" else 2) * USD


@in_loop
async def test_nobody_goes_by_the_rules_of_before_while_new_ones_are_read(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    budget = add_budget(db, tenant, 0)
    async with workers() as (one,):
        with pytest.raises(BudgetExceeded):
            await one.call(tenant, most(USD), cost=0)
        await change(db, tenant, [one], "update control.budgets set limit_picousd = %s where id = %s", 100 * USD, budget)
        asking = asyncio.create_task(one.call(tenant, most(USD), cost=USD))
        await asyncio.sleep(0)  # it reads them
        await asyncio.gather(*(one.call(tenant, most(USD), cost=USD) for _ in range(50)))
        await change(db, tenant, [one], "update control.budgets set deleted_at = now() where id = %s", budget)
        await change(db, tenant, [one], "update control.budgets set deleted_at = null, limit_picousd = 0 where id = %s", budget)
        answers = await asyncio.gather(*(one.call(tenant, most(USD), cost=USD) for _ in range(50)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {BudgetExceeded}
        await asking


@in_loop
async def test_what_has_no_price_is_refused_under_a_hard_budget_only(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    unpriced = Bounds(10, 10, 0, is_priced=False)
    budget = add_budget(db, tenant, USD, mode="shadow")
    async with workers() as (one,):
        await one.call(tenant, unpriced, cost=0)
        await change(db, tenant, [one], "update control.budgets set mode = 'hard' where id = %s", budget)
        with pytest.raises(ModelUnpriced, match="this organization has a budget") as refused:
            await one.call(tenant, unpriced, cost=0)
        assert (refused.value.status, refused.value.param) == (403, "model")
        await one.call(tenant, most(USD), cost=USD)


@pytest.mark.parametrize("is_held", [False, True])
@in_loop
async def test_a_lifetime_counts_what_started_after_its_budget_was_made_as_its_rows_do(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, *, is_held: bool
) -> None:
    if is_held:
        add_budget(db, tenant, 100 * USD, period="day")
    async with workers() as (one,):
        reservations, caller, at = one.reservations, caller_of(tenant), now()
        held = await reservations.reserve(caller, one.model_id, at, most(USD))
        assert (held is not None) == is_held
        add_budget(db, tenant, 10 * USD, period="lifetime")
        await change(db, tenant, [one], "select 1")
        await one.call(tenant, most(USD), cost=USD)
        one.record(tenant, held, caller, cost=USD, at=at)
        assert await left(one, tenant, 10 * USD) == 9 * USD
        account = reservations.accounts.get(tenant.org_id)
        assert account is not None
        reservations.accounts.doubt([account])  # and it is the same when it is summed up anew
        assert await left(one, tenant, 10 * USD) == 9 * USD
