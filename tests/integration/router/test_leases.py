"""Holds that are taken for many requests at once."""

import asyncio
from functools import partial
from typing import Any

import psycopg
import pytest

from router.inference.reservations.leases import REQUESTS_MIN
from router.inference.reservations.refusals import RateLimited
from tests.factories import Tenant
from tests.integration.router.reservations_world import USD, Workers, add_budget, add_limit, caller_of, most
from tests.integration.router.test_budgets_changed import change
from tests.routing_world import in_loop
from warehouse.base.clock import now


@in_loop
async def test_a_lease_is_renewed_while_who_came_last_waits_for_redis(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    add_budget(db, tenant, 10**9 * USD)
    async with workers() as (one,):
        leases, call = one.reservations.leases, partial(one.call, tenant, most(USD), cost=USD)
        while not leases._leases:
            await asyncio.gather(*(call() for _ in range(20)))
            await asyncio.sleep(0.01)
        tick, leases.tick = leases.tick, lambda: None  # type: ignore[method-assign]
        (lease,) = leases._leases.values()
        calling = [asyncio.create_task(call()) for _ in range(lease.free + 1)]
        await asyncio.sleep(0)  # the last one has found nothing and asks, and has no answer yet
        assert not lease.free
        tick()
        assert leases._leases, "and who comes next must ask as well"
        await asyncio.gather(*calling)


@in_loop
async def test_rules_that_change_before_the_answer_to_a_request_are_no_reason_for_a_lease(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    add_budget(db, tenant, 10**9 * USD)
    async with workers() as (one,):
        leases, call = one.reservations.leases, partial(one.call, tenant, most(USD), cost=USD)
        await call()
        tick, leases.tick = leases.tick, lambda: None  # type: ignore[method-assign]
        account = one.reservations.accounts.get(tenant.org_id)
        assert account is not None
        one.reservations.accounts.doubt([account])  # as after a connection that was lost: the rules are read anew, too
        calling = [asyncio.create_task(call()) for _ in range(2 * REQUESTS_MIN)]
        await asyncio.sleep(0)
        add_limit(db, tenant, requests_per_minute=10**6)
        await asyncio.gather(*calling)
        tick()
        assert not leases._leases
        await asyncio.gather(*(call() for _ in range(2 * REQUESTS_MIN)))
        tick()
        await call()
        assert leases._leases, "and the next one goes by the new rules"


@in_loop
async def test_a_lease_gives_back_nothing_to_limits_that_are_newer(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    add_budget(db, tenant, 10**9 * USD)
    add_limit(db, tenant, requests_per_minute=60_000)
    async with workers() as (one,):
        reservations, call = one.reservations, partial(one.call, tenant, most(USD), cost=USD)
        while not reservations.leases._leases:
            await asyncio.gather(*(call() for _ in range(20)))
            await asyncio.sleep(0.01)
        reservations.leases.tick = lambda: None  # type: ignore[method-assign]
        add_limit(db, tenant, requests_per_minute=2)
        await change(db, tenant, [one], "select 1")
        account = reservations.accounts.get(tenant.org_id)
        assert account is not None
        reservations.accounts.doubt([account])  # as after a connection that was lost
        await call()
        await call()
        reservations.leases.end()
        with pytest.raises(RateLimited):
            await call()


@in_loop
async def test_a_request_that_is_asked_for_anew_of_another_model_counts_once(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    add_limit(db, tenant, requests_per_minute=60_000)
    async with workers() as (one,):
        reservations, call = one.reservations, partial(one.call, tenant, most(0), cost=0)
        while not reservations.leases._leases:
            await asyncio.gather(*(call() for _ in range(20)))
            await asyncio.sleep(0.01)
        (lease,) = reservations.leases._leases.values()
        lease.post(reservations.accounts.line)
        sent: list[tuple[Any, ...]] = []
        line, send = reservations.accounts.line, reservations.accounts.line.send
        line.send = lambda operation, done=None: (sent.append(operation), send(operation, done))[1]  # type: ignore[method-assign]
        free = lease.free
        holds = [reservations.at_once(caller_of(tenant), one.model_id, now(), most(0)) for _ in range(2)]
        for hold, end in zip(holds, (reservations.move, reservations.settle), strict=True):
            assert hold is not None
            assert hold.lease is lease
            end(hold)
        reservations.leases.end()
        (operation,) = sent
        assert operation[11:13] == (free, free - 1), "all have ended, and all but one were none"


@in_loop
async def test_what_may_run_at_once_is_taken_in_advance_only_where_little_of_it_runs(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    add_limit(db, tenant, requests_at_once=400 * REQUESTS_MIN)
    async with workers() as (one,):
        reservations = one.reservations
        leases, caller, ticked = reservations.leases, caller_of(tenant), reservations.leases.tick
        leases.tick = lambda: None  # type: ignore[method-assign]
        reserve = partial(reservations.reserve, caller, one.model_id, now(), most(USD))
        running = await asyncio.gather(*(reserve() for _ in range(300 * REQUESTS_MIN)))
        ticked()
        for held in await asyncio.gather(*(reserve() for _ in range(REQUESTS_MIN))):
            assert held is not None
            reservations.settle(held)
        ticked()
        await one.call(tenant, most(USD), cost=0)  # behind a claim of a lease, if there was one
        assert not leases._leases, "others may run all that is left"
        for held in running:
            assert held is not None
            reservations.settle(held)
        for _ in range(2):
            await asyncio.gather(*(one.call(tenant, most(USD), cost=0) for _ in range(REQUESTS_MIN)))
            ticked()
            await one.call(tenant, most(USD), cost=0)
        assert leases._leases
