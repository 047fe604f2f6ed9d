"""A hard budget is never exceeded, and refuses nobody for whom there is room."""

import asyncio
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
import redis

from router.inference.reservations.accounts import LIFE_S
from router.inference.reservations.line import Done
from router.inference.reservations.refusals import BudgetExceeded, BudgetHeld, LimitsUnavailable, RateLimited
from tests.factories import Tenant, add_tenant, copy_events, midday_zone, usage_event
from tests.integration.router.reservations_world import (
    USD,
    Worker,
    Workers,
    add_budget,
    add_limit,
    caller_of,
    left,
    left_and_held,
    most,
    spent_by_rows,
    spread,
    through,
    until_they_know_each_other,
)
from tests.proxy import TcpProxy
from tests.routing_world import in_loop
from warehouse.base.clock import now
from warehouse.base.ids import public_id
from warehouse.base.money import picousd

SEEDS = int(os.environ.get("SEEDS", "12"))


@pytest.mark.parametrize("seed", range(SEEDS))
@in_loop
async def test_many_clients_of_three_workers_spend_all_of_a_budget_and_never_more(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, seed: int
) -> None:
    chance = random.Random(seed)
    dearest, leased = chance.randint(10**6, 10**13), seed % 4 == 3
    limit = dearest * (chance.randint(10_000, 11_000) if leased else chance.randint(100, 250)) + chance.randint(0, dearest)
    add_budget(db, tenant, limit, period=chance.choice(["day", "week", "month", "lifetime"]))
    spent, at_refusal = 0, []

    async def client(one: Worker) -> None:
        nonlocal spent
        while True:
            hold = dearest if leased else chance.randint(1, dearest)
            cost = spread(chance, hold) if chance.random() < (0.1 if leased else 1) else hold
            try:
                await one.call(tenant, most(hold), cost=cost, seconds=chance.random() * 0.01)
            except BudgetExceeded as refused:
                settled = picousd(refused.details["spent_usd"])
                assert limit - settled < hold, "there was room"
                at_refusal.append(settled)
                return
            spent += cost
            assert spent <= limit

    async with workers(3) as three:
        await asyncio.gather(*(client(three[number % 3]) for number in range(9 if leased else 500)))
        assert min(at_refusal) >= limit * 0.98
        assert any(one.reservations.leases.taken for one in three) == leased
    assert spent_by_rows(db, tenant) == spent <= limit


@in_loop
async def test_what_the_rows_say_already_counts(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, model: tuple[int, int]
) -> None:
    at = now()
    copy_events(db, [usage_event(tenant, n, at, model_id=model[0], price_id=model[1], cost_picousd=USD) for n in range(3)])
    copy_events(db, [usage_event(tenant, 9, at - timedelta(days=40), model_id=model[0], price_id=model[1], cost_picousd=5 * USD)])
    add_budget(db, tenant, 4 * USD)
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=USD // 4)
        with pytest.raises(BudgetExceeded) as refused:
            await one.call(tenant, most(USD), cost=0)
    assert refused.value.details["spent_usd"] == "3.25"
    assert refused.value.details["estimate_usd"] == "1.00"


@in_loop
async def test_a_budget_that_is_made_while_requests_run_counts_them(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    async with workers(3) as three:
        for one in three:
            await one.call(tenant, most(USD), cost=USD)  # a row that may not be written yet
        running = [asyncio.create_task(one.call(tenant, most(USD), cost=USD, seconds=1.0)) for one in three]
        await asyncio.sleep(0.1)
        add_budget(db, tenant, 10 * USD)
        for one in three:
            one.reservations.accounts.changed(tenant.org_id)
        await three[0].call(tenant, most(USD), cost=USD)
        await asyncio.gather(*running)
        assert await left(three[1], tenant, 10 * USD) == 3 * USD


@in_loop
async def test_one_of_several_budgets_that_refuses_leaves_the_others_as_they_were(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, model: tuple[int, int]
) -> None:
    add_budget(db, tenant, 10 * USD)
    add_budget(db, tenant, 2 * USD, period="day", api_key_id=tenant.api_key_id, model_id=model[0])
    add_limit(db, tenant, requests_per_minute=3, requests_at_once=2)
    async with workers() as (one,):
        for _ in range(5):
            with pytest.raises(BudgetExceeded) as refused:
                await one.call(tenant, most(3 * USD), cost=0)
        assert (refused.value.details["scope"], refused.value.details["model"]) == ("api_key", "model")
        await asyncio.gather(one.call(tenant, most(USD), cost=USD), one.call(tenant, most(USD), cost=0, seconds=0.05))
        await one.call(tenant, most(USD), cost=USD)
        with pytest.raises(RateLimited) as limited:
            await one.call(tenant, most(USD), cost=0)
        assert limited.value.details["dimension"] == "requests_per_minute"
        assert 15 <= (limited.value.retry_after_s or 0) <= 20


@in_loop
async def test_the_broadest_budget_is_named(db: psycopg.Connection, tenant: Tenant, workers: Workers) -> None:
    narrow = add_budget(db, tenant, USD, period="day")
    broad = add_budget(db, tenant, USD, period="month")
    ids = dict(db.execute("select id, public_id from control.budgets").fetchall())
    async with workers() as (one,):
        with pytest.raises(BudgetExceeded) as refused:
            await one.call(tenant, most(2 * USD), cost=0)
    assert refused.value.details["budget_id"] == ids[broad] != ids[narrow]
    assert ids[broad] in str(refused.value)


@in_loop
async def test_the_start_of_a_request_decides_its_window(db: psycopg.Connection, workers: Workers) -> None:
    zone = ZoneInfo(midday_zone())
    tenant = add_tenant(db, zone.key)
    add_budget(db, tenant, USD, period="day")
    midnight = datetime.combine(datetime.now(zone).date() + timedelta(days=1), datetime.min.time())
    midnight = midnight.replace(tzinfo=zone).astimezone(UTC)
    before = midnight - timedelta(microseconds=1)
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=USD, at=before)
        with pytest.raises(BudgetExceeded):
            await one.call(tenant, most(USD), cost=0, at=before)
        await one.call(tenant, most(USD), cost=USD, at=midnight)
        with pytest.raises(BudgetExceeded) as refused:
            await one.call(tenant, most(USD), cost=0, at=midnight)
        assert one.reservations.accounts.openings == 1  # at midnight nothing is summed up
    assert refused.value.details["window_start"] == midnight.isoformat()


@in_loop
async def test_a_request_waits_for_others_that_hold_what_is_left(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    add_budget(db, tenant, 3 * USD)
    async with workers(2) as (one, other):
        await one.call(tenant, most(USD), cost=0)
        running = asyncio.create_task(one.call(tenant, most(3 * USD), cost=0, seconds=0.5))
        await asyncio.sleep(0.3)
        began = now()
        await other.call(tenant, most(USD), cost=USD)  # of another worker
        assert now() - began < timedelta(seconds=5)
        await running


@in_loop
async def test_who_waits_for_too_long_is_told_for_what(db: psycopg.Connection, tenant: Tenant, workers: Workers) -> None:
    add_budget(db, tenant, 3 * USD)
    async with workers(wait_s=0.2) as (one,):
        await one.call(tenant, most(USD), cost=0)
        running = asyncio.create_task(one.call(tenant, most(3 * USD), cost=2 * USD, seconds=1.5))
        await asyncio.sleep(0.5)
        with pytest.raises(BudgetHeld) as refused:
            await one.call(tenant, most(USD), cost=0)
        assert (refused.value.details["held_usd"], refused.value.status, refused.value.retry_after_s) == ("3.00", 429, 1)
        await running
        await one.call(tenant, most(USD), cost=USD)
        assert one.reservations.waiting == 0


@in_loop
async def test_a_client_that_leaves_while_it_waits_holds_nothing(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    add_budget(db, tenant, 3 * USD)
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=0)
        callers = [asyncio.create_task(one.call(tenant, most(USD), cost=USD, seconds=9)) for _ in range(50)]
        await asyncio.sleep(0)
        for number in range(20):
            await asyncio.sleep(0.001 * number)
            callers[number].cancel()
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        for hold in list(one.reservations.accounts.get(tenant.org_id).holds):  # type: ignore[union-attr]
            one.reservations.settle(hold)  # as the endpoint does at the end of each
        assert await left(one, tenant, 3 * USD) == 3 * USD
        assert one.reservations.waiting == 0


@in_loop
async def test_a_client_that_leaves_in_the_turn_in_which_it_is_admitted_holds_nothing(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_budget(db, tenant, 10 * USD)
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=0)
        line = one.reservations.accounts.line
        send = line.send

        def send_and_leave(operation: tuple[Any, ...], done: Done | None = None) -> None:
            def answered(answer: Any) -> None:
                assert done is not None
                done(answer)
                task.cancel()

            send(operation, answered if done else None)

        with monkeypatch.context() as patched:
            patched.setattr(line, "send", send_and_leave)
            task = asyncio.create_task(one.reservations.reserve(caller_of(tenant), one.model_id, now(), most(USD)))
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await left(one, tenant, 10 * USD) == 10 * USD


@in_loop
async def test_a_raise_holds_until_its_end(db: psycopg.Connection, tenant: Tenant, workers: Workers) -> None:
    budget = add_budget(db, tenant, USD)
    db.execute(
        "update control.budgets set raised_limit_picousd = %s, raised_until = now() + interval '1 hour' where id = %s",
        [2 * USD, budget],
    )
    db.commit()
    async with workers() as (one,):
        await one.call(tenant, most(2 * USD), cost=USD // 2)
        with pytest.raises(BudgetExceeded) as refused:
            await one.call(tenant, most(USD), cost=0, at=now() + timedelta(hours=2))
        assert refused.value.details["limit_usd"] == "1.00"
        await one.call(tenant, most(USD), cost=0)


@in_loop
async def test_a_budget_on_trial_refuses_nobody_and_counts_whom_it_would_have(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    budget = add_budget(db, tenant, USD, mode="shadow")
    limit = add_limit(db, tenant, mode="shadow", requests_per_minute=3)
    add_budget(db, tenant, USD, mode="soft")
    async with workers() as (one,):
        for _ in range(5):
            await one.call(tenant, most(USD), cost=USD)
        assert one.reservations.take_shadows() == {
            ("budget", budget, tenant.org_id): 4, ("limit", limit, tenant.org_id): 2
        }  # fmt: skip
        assert one.reservations.take_shadows() == {}


@in_loop
async def test_amounts_beyond_two_to_the_sixty_third_are_exact(db: psycopg.Connection, tenant: Tenant, workers: Workers) -> None:
    limit = 123_456_789_012 * USD + 999_999_999_999
    add_budget(db, tenant, limit, period="lifetime")
    async with workers() as (one,):
        for cost in (9_000_000 * USD + 999_999_999_999, 123_447_789_012 * USD - 10**12):
            held = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), most(cost))
            assert held is not None
            one.reservations.settle(held, cost_picousd=cost)
        used = 9_000_000 * USD + 999_999_999_999 + 123_447_789_012 * USD - 10**12
        await one.call(tenant, most(limit - used), cost=0)
        with pytest.raises(BudgetExceeded):
            await one.call(tenant, most(limit - used + 1), cost=0)


@pytest.mark.parametrize("limit", [9000 * USD, 10**9 * USD])  # with the second one most requests are under leases
@in_loop
async def test_a_flushed_redis_is_filled_from_rows_and_from_what_is_under_way(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_url: str, limit: int
) -> None:
    add_budget(db, tenant, limit)
    spent = 0

    done = asyncio.Event()

    async def client(one: Worker, chance: random.Random) -> None:
        nonlocal spent
        for _ in range(150):  # of all of them together, what the smaller limit covers
            if done.is_set():
                return
            cost = spread(chance, USD)
            await one.call(tenant, most(USD), cost=cost, seconds=chance.random() * 0.05)
            spent += cost

    async with workers(3) as three:
        clients = [asyncio.create_task(client(three[n % 3], random.Random(n))) for n in range(60)]
        for _ in range(3):
            await asyncio.sleep(0.4)
            openings = sum(one.reservations.accounts.openings for one in three)
            with redis.Redis.from_url(redis_url) as flushing:
                flushing.flushall()
            async with asyncio.timeout(10):
                while sum(one.reservations.accounts.openings for one in three) == openings:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.02)
        done.set()
        await asyncio.gather(*clients)
        assert await left(three[0], tenant, limit) == limit - spent
    assert spent_by_rows(db, tenant) == spent


@in_loop
async def test_what_a_restarted_redis_remembers_of_earlier_is_not_believed(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_url: str
) -> None:
    limit = 10 * USD
    add_budget(db, tenant, limit)
    account = f"ih:o:{tenant.org_id}"
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=USD)
        with redis.Redis.from_url(redis_url) as client:
            snapshot = client.hgetall(account)
            for _ in range(3):
                await one.call(tenant, most(USD), cost=USD)
            client.hset(account, mapping=snapshot)
            client.set("ih:run", "an earlier run")
            one.reservations.accounts.get(tenant.org_id).touched_s = 0.0  # type: ignore[union-attr]  # long ago
            client.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.05)
        await one.connected()
        assert await left(one, tenant, limit) == limit - 4 * USD


@pytest.mark.parametrize("limit", [1000 * USD, 10**9 * USD])
@in_loop
async def test_a_lost_connection_loses_no_settlement(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_url: str, redis_line: TcpProxy, limit: int
) -> None:
    add_budget(db, tenant, limit)
    spent = refused = 0

    async def client(one: Worker, chance: random.Random) -> None:
        nonlocal spent, refused
        for _ in range(40):
            cost = spread(chance, USD)
            try:
                await one.call(tenant, most(USD), cost=cost, seconds=chance.random() * 0.05)
            except LimitsUnavailable:
                refused += 1
                await asyncio.sleep(0.05)
            else:
                spent += cost

    async with workers(1) as (whole,), workers(2, url=through(redis_line, redis_url)) as others:
        clients = [asyncio.create_task(client([whole, *others][n % 3], random.Random(n))) for n in range(30)]
        for _ in range(2):
            await asyncio.sleep(0.3)
            redis_line.cut()
            await asyncio.sleep(0.3)
            redis_line.mend()
        await asyncio.gather(*clients)
        for one in others:
            await one.connected()
        await asyncio.sleep(1)
        assert refused > 0
        assert await left(whole, tenant, limit) == limit - spent
    assert spent_by_rows(db, tenant) == spent


@in_loop
async def test_what_a_dead_worker_held_is_held_for_a_quarter_of_an_hour(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_url: str
) -> None:
    add_budget(db, tenant, 3 * USD)
    async with workers() as (one,):
        async with workers() as (dead,):
            await dead.call(tenant, most(USD), cost=USD)
            for _ in range(2):
                await dead.reservations.reserve(caller_of(tenant), dead.model_id, now(), most(USD))
            dead.reservations.accounts.get(tenant.org_id).holds.clear()  # type: ignore[union-attr]  # it never settles
            dead.reservations.accounts.leave = no_farewell  # type: ignore[method-assign]
        with redis.Redis.from_url(redis_url) as client:
            life = str(dead.reservations._life)
            client.zadd("ih:lives", {life: 1})  # its last beat was long ago
            await asyncio.sleep(0.5)
            assert await left_and_held(one, tenant, 3 * USD) == (2 * USD, 2 * USD)
            with pytest.raises(BudgetHeld):
                await one.call(tenant, most(2 * USD), cost=USD)
            until, (seconds, micros) = client.zscore("ih:dead", life), client.time()
            assert 14 * 60 < until / 1e6 - seconds - micros / 1e6 < 15 * 60
            client.zadd("ih:dead", {life: 1})
        await one.call(tenant, most(2 * USD), cost=2 * USD)
        assert await left(one, tenant, 3 * USD) == 0


async def no_farewell() -> None:
    """A process that is killed says nothing."""


@in_loop
async def test_a_worker_that_comes_back_after_its_death_frees_what_it_held_at_once(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, tmp_path: Path
) -> None:
    add_budget(db, tenant, 3 * USD)
    async with workers() as (dead,):
        await dead.reservations.reserve(caller_of(tenant), dead.model_id, now(), most(2 * USD))
        dead.reservations.accounts.get(tenant.org_id).holds.clear()  # type: ignore[union-attr]
        dead.reservations.accounts.leave = no_farewell  # type: ignore[method-assign]
        life = (tmp_path / "journal/0/life").read_text()
    (tmp_path / "journal/0/life").write_text(life)
    async with workers() as (again,):
        await again.sink.replayed.wait()
        await again.reservations.accounts.bury(again.sink.lives_before, again.sink.orgs_before)
        again.sink.buried()
        began = now()
        await again.call(tenant, most(2 * USD), cost=USD)
        assert now() - began < timedelta(seconds=LIFE_S / 2)
        assert (tmp_path / "journal/0/life").read_text() != life


@in_loop
async def test_what_a_dead_worker_held_in_an_account_that_another_had_opened_is_free(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, tmp_path: Path
) -> None:
    add_budget(db, tenant, 3 * USD)
    async with workers() as (one,):
        async with workers() as (dead,):
            await one.call(tenant, most(1), cost=1)
            await dead.reservations.reserve(caller_of(tenant), dead.model_id, now(), most(2 * USD))
            dead.reservations.accounts.get(tenant.org_id).holds.clear()  # type: ignore[union-attr]
            dead.reservations.accounts.leave = no_farewell  # type: ignore[method-assign]
            life = int((tmp_path / "journal/1/life").read_text())
        await one.reservations.accounts.bury([life], ())
        began = now()
        await one.call(tenant, most(2 * USD), cost=USD)
        assert now() - began < timedelta(seconds=LIFE_S / 2)


@in_loop
async def test_a_worker_that_dies_before_it_has_buried_another_leaves_both_to_the_next(workers: Workers, tmp_path: Path) -> None:
    note = tmp_path / "journal/0/life"
    note.parent.mkdir(parents=True)
    note.write_text("7")
    async with workers() as (second,):
        assert second.sink.lives_before == [7]
        both = note.read_text()
        await second.sink.replayed.wait()
    assert note.read_text() == both, "7 has not been buried"
    async with workers() as (third,):
        assert [7, *third.sink.lives_before[1:]] == [int(life) for life in both.split()]
        await third.sink.replayed.wait()
        third.sink.buried()
    assert not note.exists()


@in_loop
async def test_without_redis_an_organization_that_refuses_is_told_why(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:
    add_budget(db, tenant, 3 * USD)
    async with workers(url=None) as (one,):
        with pytest.raises(LimitsUnavailable, match="ROUTER_REDIS_URL is not set"):
            await one.call(tenant, most(1), cost=0)
    async with workers(url=through(redis_line, redis_url)) as (one,):
        await one.call(tenant, most(1), cost=0)
        redis_line.cut()
        began = now()
        with pytest.raises(LimitsUnavailable, match="Redis cannot be reached"):
            await one.call(tenant, most(1), cost=0)
        assert now() - began < timedelta(seconds=1)
        assert one.reservations.degraded() is not None


@in_loop
async def test_without_redis_an_organization_that_shares_goes_on_with_its_share_of_what_was_left(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_line: TcpProxy, redis_url: str
) -> None:
    db.execute("update control.organizations set when_redis_is_down = 'share' where id = %s", [tenant.org_id])
    add_budget(db, tenant, 10 * USD)
    add_limit(db, tenant, requests_per_minute=100)
    async with workers(2, url=through(redis_line, redis_url)) as pair:
        await until_they_know_each_other(pair)
        for one in pair:
            await one.call(tenant, most(USD), cost=USD)
        redis_line.cut()
        spent = 2
        for one in pair:
            while True:
                try:
                    await one.call(tenant, most(USD), cost=USD)
                except LimitsUnavailable:  # its share is used up, the budget is not
                    break
                spent += 1
        assert 8 <= spent <= 10
        redis_line.mend()
        for one in pair:
            await one.connected()
        await asyncio.sleep(1)
        assert await left(pair[0], tenant, 10 * USD) == (10 - spent) * USD


@in_loop
async def test_requests_at_once_are_counted_across_workers_and_given_back(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, redis_url: str
) -> None:
    add_limit(db, tenant, requests_at_once=4)
    async with workers(2) as pair:
        running = [asyncio.create_task(pair[n % 2].call(tenant, most(1), cost=1, seconds=4)) for n in range(4)]
        while sum(len(account.holds) for one in pair for account in one.reservations.accounts.all()) < len(running):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)
        with pytest.raises(RateLimited) as refused:
            await pair[0].call(tenant, most(1), cost=0)
        assert refused.value.details["dimension"] == "requests_at_once"
        with redis.Redis.from_url(redis_url) as flushing:
            flushing.flushall()
        with pytest.raises(RateLimited):
            await pair[1].call(tenant, most(1), cost=0)
        await asyncio.gather(*running)
        await asyncio.gather(*(pair[n % 2].call(tenant, most(1), cost=1, seconds=0.01) for n in range(4)))


@in_loop
async def test_a_key_of_another_scope_is_not_bound(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, model: tuple[int, int]
) -> None:
    add_budget(db, tenant, 0, api_key_id=tenant.api_key_id)
    add_limit(db, tenant, requests_per_minute=0, api_key_id=tenant.api_key_id)
    row = db.execute(
        "insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id) "
        "values (%s, %s, 'inference', 'other', %s, %s) returning id",
        [public_id("k")[2:18], b"\1" * 32, tenant.org_id, tenant.project_id],
    ).fetchone()
    db.commit()
    assert row is not None
    other = Tenant(tenant.org_id, tenant.project_id, row[0], tenant.organization)
    async with workers() as (one,):
        await one.call(other, most(USD), cost=USD, caller=caller_of(other))
        with pytest.raises(RateLimited) as refused:
            await one.call(tenant, most(USD), cost=0)
        assert refused.value.retry_after_s is None  # waiting does not help


@in_loop
async def test_the_first_requests_of_an_organization_may_come_at_once(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    add_budget(db, tenant, 100 * USD)
    async with workers() as (one,):
        await asyncio.gather(*(one.call(tenant, most(USD), cost=USD) for _ in range(100)))
        assert await left(one, tenant, 100 * USD) == 0
