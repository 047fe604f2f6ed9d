"""What a dead router has spent counts although its rows are only in its journal, and counts once when they are read."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
import redis
from psycopg.conninfo import make_conninfo

from router.inference.reservations.accounts import LIFE_S
from router.inference.reservations.leases import ROOM_MIN
from router.inference.reservations.refusals import BudgetExceeded
from tests.bench.faults.money import BODY, Money
from tests.bench.faults.world import World
from tests.factories import Tenant
from tests.integration.router.reservations_world import (
    USD,
    Worker,
    Workers,
    add_budget,
    caller_of,
    left,
    left_and_held,
    most,
    spent_by_rows,
)
from tests.proxy import TcpProxy
from tests.routing_world import in_loop
from warehouse.base.clock import now


def asked(world: World, number: int, *, until: int | None = None) -> httpx.Response:
    """The answer of a router, once it knows what has been spent, or once its status is that one."""
    deadline = time.monotonic() + 4 * LIFE_S
    headers = {"authorization": f"Bearer {world.api_key}"}
    while True:
        answer = httpx.post(f"{world.routers[number].url}/v1/chat/completions", json=BODY, headers=headers, timeout=30)
        if (answer.status_code == until if until else answer.status_code != 503) or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


def spend_all(world: World, money: Money, number: int) -> Decimal:
    """Of a small budget, while the database is away, through one router; what has been spent by then, in dollars."""
    money.set_limit(0)
    estimates = [asked(world, router, until=429).json()["error"]["details"]["estimate_usd"] for router in (0, 1)]
    money.set_limit(money.spent() + 2 * int(Decimal(estimates[0]).scaleb(12)))
    for router in (0, 1):
        assert asked(world, router, until=200).status_code == 200
    world.database_line.cut()
    answer = asked(world, number, until=429)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_exceeded")
    return Decimal(answer.json()["error"]["details"]["spent_usd"])


@pytest.mark.parametrize("dies", ["one", "both", "both, long after Redis was flushed", "one and what Redis knew"])
def test_a_router_that_stays_away_with_its_journal_gives_nobody_more_than_the_budget(faulty: World, dies: str) -> None:
    money = Money(faulty)
    if dies == "both, long after Redis was flushed":
        faulty.flush_redis()
    spent = spend_all(faulty, money, 0)
    assert spent.scaleb(12) > money.spent(), "rows are only in the journal"
    if dies == "one and what Redis knew":
        assert asked(faulty, 1).status_code == 429  # the other router has heard of it
    for router in faulty.routers if dies.startswith("both") else faulty.routers[:1]:
        router.kill()
    if dies == "one and what Redis knew":
        faulty.flush_redis()
    faulty.database_line.mend()
    if dies.startswith("both"):
        faulty.routers[1].start()
    time.sleep(LIFE_S + 1)  # the one that stays away is dead
    for _ in range(3):
        answer = asked(faulty, 1)
        assert answer.status_code == 429, "what the dead router has spent is forgotten"
        assert answer.json()["error"]["details"]["spent_usd"] == str(spent)
    faulty.routers[0].start()
    assert money.disagreements() == []
    assert Decimal(money.spent()).scaleb(-12) == spent


@pytest.fixture
def cut_off(role_url: Callable[..., str], database_line: TcpProxy) -> dict[str, Any]:
    """How workers are started that use that line."""
    return {"database_url": make_conninfo(role_url("inferhouse_router"), port=database_line.port)}


def kill(one: Worker) -> None:
    """It says and writes nothing more."""

    async def silent() -> None:
        pass

    one.reservations.accounts.leave = silent  # type: ignore[method-assign]
    one.reservations.leases.end = lambda: None  # type: ignore[method-assign]
    one.sink.lives_before = [one.reservations._life]  # so its name stays in its folder


def forget_life(one: Worker, redis_url: str) -> None:
    """As if its last beat were longer ago than those of a router that lives."""
    with redis.Redis.from_url(redis_url) as client:
        client.zadd("ih:lives", {str(one.reservations._life): 1})


def is_kept(tenant: Tenant, redis_url: str) -> bool:
    """Whether Redis has something that routers have told; for however long one of them goes on telling."""
    with redis.Redis.from_url(redis_url) as client:
        told = f"ih:t:{tenant.org_id}"
        assert client.ttl(told) < 0
        return bool(client.exists(told))


async def revive(workers: Workers, tenant: Tenant, limit: int) -> int:
    """The next life reads the journal; what is left by then."""
    async with workers() as (again,):
        await again.sink.replayed.wait()
        await again.reservations.accounts.bury(again.sink.lives_before, again.sink.orgs_before)
        again.sink.buried()
        return await left(again, tenant, limit)


@pytest.mark.parametrize("flushes", [False, True])
@in_loop
async def test_what_a_dead_worker_spent_counts_before_and_after_its_journal_is_read(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_url: str, database_line: TcpProxy, cut_off: Any, flushes: bool
) -> None:
    limit = 100 * USD
    add_budget(db, tenant, limit)
    async with workers() as (one,):
        async with workers(**cut_off) as (dead,):
            await dead.call(tenant, most(USD), cost=3)
            await one.call(tenant, most(USD), cost=5)
            await dead.sink.recorded()
            database_line.cut()
            await dead.call(tenant, most(USD), cost=7)
            await one.call(tenant, most(USD), cost=11)
            await dead.reservations.reserve(  # and one of which nobody knows how it ended
                caller_of(tenant), dead.model_id, now(), most(USD)
            )
            dead.reservations.accounts.get(tenant.org_id).holds.clear()  # type: ignore[union-attr]
            kill(dead)
        forget_life(dead, redis_url)
        if flushes:
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()
        await asyncio.sleep(1)
        held = 0 if flushes else USD
        assert await left_and_held(one, tenant, limit) == (limit - 26, held)
        one.reservations.accounts.doubt([*one.reservations.accounts.all()])  # another generation, which keeps it
        assert await left_and_held(one, tenant, limit) == (limit - 26, held)
        assert is_kept(tenant, redis_url)
        assert spent_by_rows(db, tenant) == 19
        assert await revive(workers, tenant, limit) == limit - 26
        assert await left(one, tenant, limit) == limit - 26
    assert spent_by_rows(db, tenant) == 26
    assert not is_kept(tenant, redis_url)


@in_loop
async def test_what_a_dead_worker_answered_under_a_lease_counts_even_if_it_never_told(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_url: str, database_line: TcpProxy, cut_off: Any
) -> None:
    limit = 10**6 * USD
    add_budget(db, tenant, limit)
    async with workers() as (one,):
        async with workers(**cut_off) as (dead,):
            await dead.call(tenant, most(USD), cost=USD)
            await dead.sink.recorded()
            database_line.cut()
            leases, calls = dead.reservations.leases, 0
            while not leases.taken:
                await asyncio.gather(*(dead.call(tenant, most(USD), cost=USD) for _ in range(20)))
                calls += 20
                await asyncio.sleep(0.01)
            leases.tick = lambda: None  # type: ignore[method-assign]  # it dies before the next one
            taken = leases.taken
            while leases.taken == taken:
                await dead.call(tenant, most(USD), cost=USD)
                calls += 1
            kill(dead)
        forget_life(dead, redis_url)
        spent = (calls + 1) * USD
        await asyncio.sleep(0.5)
        unspent, held = await left_and_held(one, tenant, limit)
        assert limit - spent - limit // ROOM_MIN <= unspent - held <= limit - spent < unspent
        assert await revive(workers, tenant, limit) == limit - spent
        assert await left(one, tenant, limit) == limit - spent


@pytest.mark.parametrize("is_written", [False, True])
@in_loop
async def test_what_a_dead_worker_closed_and_did_not_come_to_tell_is_held_until_its_journal_is_read(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_url: str, database_line: TcpProxy, cut_off: Any,
    is_written: bool,
) -> None:  # fmt: skip
    limit = 100 * USD
    add_budget(db, tenant, limit)
    async with workers() as (one,):
        async with workers(**cut_off) as (dead,):
            await dead.call(tenant, most(USD), cost=3)
            await dead.sink.recorded()
            if not is_written:
                database_line.cut()
            held = await dead.reservations.reserve(caller_of(tenant), dead.model_id, now(), most(USD))
            dead.reservations.accounts.line.send = lambda *_: None  # type: ignore[method-assign]  # it dies here
            dead.record(tenant, held, caller_of(tenant), cost=7, at=now())
            if is_written:
                await dead.sink.recorded()
            kill(dead)
        forget_life(dead, redis_url)
        await asyncio.sleep(0.5)
        unspent = limit - 10 if is_written else limit - 3
        assert await left_and_held(one, tenant, limit) == (unspent, unspent - (limit - 3 - USD))
        assert await revive(workers, tenant, limit) == limit - 10
        assert await left(one, tenant, limit) == limit - 10
    assert spent_by_rows(db, tenant) == 10


@in_loop
async def test_a_worker_that_stops_while_the_database_is_away_leaves_what_it_told(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, database_line: TcpProxy, cut_off: Any
) -> None:
    limit = 10 * USD
    add_budget(db, tenant, limit)
    async with workers() as (one,):
        async with workers(**cut_off) as (stopped,):
            await one.call(tenant, most(USD), cost=5)
            database_line.cut()
            await stopped.call(tenant, most(USD), cost=7)
        one.reservations.accounts.doubt([*one.reservations.accounts.all()])
        assert await left(one, tenant, limit) == limit - 12
        assert await revive(workers, tenant, limit) == limit - 12
        assert await left(one, tenant, limit) == limit - 12


@pytest.mark.parametrize("flushes", [False, True])
@in_loop
async def test_a_worker_that_was_only_taken_for_dead_counts_once(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_url: str, database_line: TcpProxy, cut_off: Any, flushes: bool
) -> None:
    limit = 10 * USD
    add_budget(db, tenant, limit)
    async with workers() as (one,), workers(**cut_off) as (paused,):
        await paused.call(tenant, most(USD), cost=3)
        database_line.cut()
        await paused.call(tenant, most(USD), cost=7)
        assert await left(one, tenant, limit) == limit - 10
        line = paused.reservations.accounts.line
        line.connected.clear()  # its next beat waits
        await asyncio.sleep(0.3)
        forget_life(paused, redis_url)
        if flushes:
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()
        await asyncio.sleep(1.5)
        assert await left(one, tenant, limit) == limit - 10
        database_line.mend()
        line.connected.set()
        await asyncio.sleep(2)
        for worker in (one, paused):
            with pytest.raises(BudgetExceeded):
                await worker.call(tenant, most(limit - 9), cost=0)
            assert await left(worker, tenant, limit) == limit - 10
    assert spent_by_rows(db, tenant) == 10
