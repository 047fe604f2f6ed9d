"""Accounts in Redis do not grow for ever: an old one is opened anew, without the windows of the past."""

import asyncio
import time
from collections.abc import Callable

import psycopg
import pytest
import redis
from psycopg.conninfo import make_conninfo

from router.inference.reservations import accounts
from tests.factories import Tenant
from tests.integration.router.reservations_world import USD, Worker, Workers, add_budget, caller_of, left_and_held, most
from tests.proxy import TcpProxy
from tests.routing_world import in_loop
from warehouse.base import clock

OLD_S, RENEWED_S_MAX = 1, 20


def windows(client: redis.Redis, tenant: Tenant) -> set[str]:
    """Of all budgets, in the account and in what routers have told."""
    names = [*client.hkeys(f"ih:o:{tenant.org_id}"), *client.hkeys(f"ih:t:{tenant.org_id}")]
    return {name.decode().rsplit(":", 1)[1] for name in names if b":" in name}


async def until_renewed(one: Worker, tenant: Tenant, generation: int) -> None:
    deadline = time.monotonic() + RENEWED_S_MAX
    while one.reservations.accounts.get(tenant.org_id).joined <= generation:  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@in_loop
async def test_windows_of_the_past_go(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_budget(db, tenant, 10 * USD)
    with redis.Redis.from_url(redis_url) as client:
        async with workers(2) as (one, other):
            await one.call(tenant, most(USD), cost=USD)
            await other.call(tenant, most(USD), cost=USD)
            account = one.reservations.accounts.get(tenant.org_id)
            assert account is not None
            [now] = windows(client, tenant)
            for key, name in (("o", f"{past_name(client, tenant)}:1"), ("t", f"{account.teller}:b:1")):
                client.hset(f"ih:{key}:{tenant.org_id}", name, bytes(32))
            assert windows(client, tenant) == {now, "1"}
            caller, at = caller_of(tenant), clock.now()
            running = await one.reservations.reserve(caller, one.model_id, at, most(3 * USD))
            generation = account.generation
            monkeypatch.setattr(accounts, "RENEWED_S", OLD_S)
            await asyncio.sleep(OLD_S)
            await until_renewed(one, tenant, generation)
            monkeypatch.undo()
            assert await left_and_held(other, tenant, 10 * USD) == (8 * USD, 3 * USD)
            one.record(tenant, running, caller, cost=USD, at=at)
            assert await left_and_held(other, tenant, 10 * USD) == (7 * USD, 0)
            assert windows(client, tenant) == {now}


@in_loop
async def test_an_old_account_serves_while_the_database_is_away(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, role_url: Callable[..., str], database_line: TcpProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add_budget(db, tenant, 10 * USD)
    async with workers(database_url=make_conninfo(role_url("inferhouse_router"), port=database_line.port)) as (one,):
        await one.call(tenant, most(USD), cost=USD)
        account = one.reservations.accounts.get(tenant.org_id)
        assert account is not None
        generation = account.generation
        database_line.cut()
        monkeypatch.setattr(accounts, "RENEWED_S", OLD_S)
        await asyncio.sleep(3 * OLD_S)
        await one.call(tenant, most(USD), cost=USD)
        assert account.generation == generation
        database_line.mend()
        await until_renewed(one, tenant, generation)
        monkeypatch.undo()
        assert await left_and_held(one, tenant, 10 * USD) == (8 * USD, 0)


def past_name(client: redis.Redis, tenant: Tenant) -> str:
    """Of the only budget in its account."""
    return next(name for name in client.hkeys(f"ih:o:{tenant.org_id}") if b":" in name).decode().rsplit(":", 1)[0]
