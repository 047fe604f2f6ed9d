"""Holds that are taken for many requests at once."""

import asyncio
from functools import partial

import psycopg

from tests.factories import Tenant
from tests.integration.router.reservations_world import USD, Workers, add_budget, most
from tests.routing_world import in_loop


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
