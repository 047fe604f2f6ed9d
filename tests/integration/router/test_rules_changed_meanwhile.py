"""Rules that change while requests run: these end by what they were admitted by, and nobody is held up."""

import asyncio
import threading
from typing import Any

import httpx
import psycopg
import pytest

from router.inference.reservations.account import Account, Hold
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.refusals import BudgetExceeded, ModelUnpriced, RateLimited
from router.inference.reservations.reservations import Reservations
from router.inference.reservations.rules import Rules
from tests.factories import Tenant
from tests.integration.router.callers import demo
from tests.integration.router.conftest import Stack
from tests.integration.router.reservations_world import USD, Workers, add_budget, add_limit, caller_of, left, most
from tests.integration.router.test_budgets_changed import change
from tests.routing_world import in_loop
from warehouse.access import spend_rules
from warehouse.base.clock import now


@pytest.fixture
def engine_flags() -> list[str]:
    """An answer of 1,000 tokens takes two seconds."""
    return ["--tokens-per-second", "500"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_request_is_answered_though_its_key_gets_a_limit_meanwhile(
    stack: Stack, hello: dict[str, Any], is_stream: bool
) -> None:
    tenant, answers = demo(stack), list[httpx.Response]()
    budget = add_budget(stack.db, tenant, 100 * USD)
    _until_refused_by(stack, hello, budget)
    long = hello | {"max_tokens": 1000, "min_tokens": 1000, "ignore_eos": True, "stream": is_stream}
    asking = threading.Thread(target=lambda: answers.append(stack.post(long)))
    asking.start()
    while stack.ledger()["totals"]["calls"] < 2:
        pass
    add_limit(stack.db, tenant, requests_per_minute=1000)
    newer = add_budget(stack.db, tenant, 50 * USD, period="day")
    _until_refused_by(stack, hello, newer)
    asking.join()
    assert [answer.status_code for answer in answers] == [200]
    assert stack.post(hello).status_code == 200


def _until_refused_by(stack: Stack, hello: dict[str, Any], budget: int) -> None:
    """The router holds a budget: one of nothing refuses."""
    limit = stack.db.execute("select limit_picousd from control.budgets where id = %s", [budget]).fetchone()
    assert limit is not None
    for value, status in ((0, 429), (limit[0], 200)):
        stack.db.execute("update control.budgets set limit_picousd = %s where id = %s", [value, budget])
        stack.db.commit()
        while stack.post(hello).status_code != status:
            pass


@in_loop
async def test_what_an_answer_says_of_limits_is_about_those_that_admitted_it(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    add_budget(db, tenant, 100 * USD)
    async with workers() as (one,):
        hold = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), most(USD))
        add_limit(db, tenant, requests_per_minute=100)
        add_budget(db, tenant, 50 * USD, period="day")
        await change(db, tenant, [one], "select 1")
        await one.call(tenant, most(USD), cost=USD)
        assert hold is not None
        assert hold.match.limits, "its hold is told by the rules of now"
        assert Reservations.headers(hold) == b""


@in_loop
async def test_a_hold_that_is_taken_and_told_anew_in_one_turn_is_settled(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    add_budget(db, tenant, 100 * USD)
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=USD)
        accounts = one.reservations.accounts
        account = accounts.get(tenant.org_id)
        assert account is not None
        add_budget(db, tenant, 50 * USD, period="day")
        async with one.pool.connection() as conn:
            rules = Rules(await spend_rules.of_organization(conn, tenant.org_id))
        answered, telling = one.reservations._answered, list[asyncio.Task[None]]()

        async def tell() -> None:
            account.rules = rules
            await accounts._tell_holds(account, account.generation + 1)

        def answered_and_told(hold: Hold, answer: Any) -> None:
            one.reservations._answered = answered  # type: ignore[method-assign]
            telling.append(asyncio.create_task(tell()))  # before the request's own task goes on
            answered(hold, answer)

        one.reservations._answered = answered_and_told  # type: ignore[method-assign]
        held = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), most(USD))
        assert held is not None
        await asyncio.gather(*telling)
        one.reservations.settle(held)
        assert not account.holds


@in_loop
async def test_a_limit_gets_back_only_what_was_taken_from_it(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:  # fmt: skip
    add_budget(db, tenant, 1000 * USD)
    async with workers() as (one,):
        before = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(1000, 10, USD))
        add_limit(db, tenant, input_tokens_per_minute=1000)
        add_budget(db, tenant, 500 * USD, period="day")
        await change(db, tenant, [one], "select 1")
        after = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(1000, 10, USD))
        assert before is not None
        assert after is not None
        one.reservations.settle(before)
        with pytest.raises(RateLimited):
            await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(900, 10, USD))
        one.reservations.settle(after)
        await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(900, 10, USD))


@pytest.mark.parametrize("at_once", [None, 1])
@in_loop
async def test_a_claim_in_an_account_that_is_no_more_is_taken_from_rates_once(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, at_once: int | None
) -> None:  # fmt: skip
    add_budget(db, tenant, 1000 * USD)
    rates = {"requests_per_minute": 2} if at_once is None else {"requests_at_once": at_once}
    add_limit(db, tenant, **rates)
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=0)
        account = one.reservations.accounts.get(tenant.org_id)
        assert account is not None
        answered = one.reservations._answered

        def doubted(hold: Hold, answer: Any) -> None:
            one.reservations._answered = answered  # type: ignore[method-assign]
            one.reservations.accounts.doubt([account])
            answered(hold, answer)

        one.reservations._answered = doubted  # type: ignore[method-assign]
        await one.call(tenant, most(USD), cost=0)
        if at_once is not None:
            running = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), most(USD))
            with pytest.raises(RateLimited):
                await one.call(tenant, most(USD), cost=0)
            assert running is not None
            one.reservations.settle(running)
            await one.call(tenant, most(USD), cost=0)


@pytest.mark.parametrize(
    ("asked", "refusal"), [(Bounds(1, 1, 0, is_priced=False), ModelUnpriced), (most(2 * USD), BudgetExceeded)]
)
@in_loop
async def test_a_budget_that_is_made_while_a_request_waits_for_its_account_binds_it(
    db: psycopg.Connection,
    tenant: Tenant,
    workers: Workers,
    asked: Bounds,
    refusal: type[Exception],
) -> None:
    add_limit(db, tenant, requests_at_once=1000)
    async with workers() as (one,):
        accounts = one.reservations.accounts
        await one.call(tenant, most(USD), cost=0)
        account = accounts.get(tenant.org_id)
        assert account is not None
        accounts.doubt([account])  # it has to wait until the account is open
        open_, opened = accounts.open, asyncio.Event()

        async def open_after_a_change(account: Account) -> None:
            add_budget(db, tenant, USD)
            accounts.changed(tenant.org_id)
            await open_(account)
            opened.set()

        accounts.open = open_after_a_change  # type: ignore[method-assign]
        with pytest.raises(refusal):
            await one.reservations.reserve(caller_of(tenant), one.model_id, now(), asked)
        assert opened.is_set()


@in_loop
async def test_who_was_admitted_by_a_limit_while_a_budget_was_opened_counts_for_it(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    add_limit(db, tenant, requests_per_minute=1000)
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=0)
        line, late = one.reservations.accounts.line, asyncio.Queue[tuple[Any, Any]]()
        send = line.send

        def send_late(operation: tuple[Any, ...], done: Any = None) -> None:
            send(operation, None if done is None else lambda answer: late.put_nowait((done, answer)))

        line.send = send_late  # type: ignore[method-assign]
        asking = asyncio.create_task(one.call(tenant, most(USD), cost=USD))
        done, answer = await late.get()
        line.send = send  # type: ignore[method-assign]
        add_budget(db, tenant, 10 * USD)
        await change(db, tenant, [one], "select 1")
        await one.call(tenant, most(USD), cost=0)
        done(answer)
        await asking
        assert await left(one, tenant, 10 * USD) == 9 * USD


@in_loop
async def test_who_was_bound_by_no_budget_and_ends_while_the_first_one_is_summed_up_counts_for_it(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    async with workers() as (one,):
        caller, at = caller_of(tenant), now()
        held = await one.reservations.reserve(caller, one.model_id, at, most(USD))
        assert held is None
        add_budget(db, tenant, 10 * USD)
        await change(db, tenant, [one], "select 1")
        accounts = one.reservations.accounts
        sum_up = accounts._sum_up

        async def end_and_sum_up(account: Account, *values: Any) -> None:
            one.record(tenant, held, caller, cost=USD, at=at)
            await sum_up(account, *values)

        accounts._sum_up = end_and_sum_up  # type: ignore[method-assign]
        await one.call(tenant, most(USD), cost=0)
        assert await left(one, tenant, 10 * USD) == 9 * USD


@pytest.mark.parametrize("what", ["read", "opened"])
@in_loop
async def test_what_changes_just_as_rules_are_read_or_an_account_is_opened_keeps_nobody_waiting(
    db: psycopg.Connection, tenant: Tenant, workers: Workers, what: str
) -> None:
    add_budget(db, tenant, 100 * USD)
    async with workers() as (one,):
        await one.call(tenant, most(USD), cost=USD)
        accounts = one.reservations.accounts
        account = accounts.get(tenant.org_id)
        assert account is not None
        once, read, open_, began, next_ones = accounts._once, accounts._read, accounts._open, 0, list[asyncio.Task[None]]()

        def counted(*values: Any) -> asyncio.Task[None]:
            nonlocal began
            began += 1
            assert began < 1000, "it is asked for again and again, and nobody else has a turn"
            return once(*values)

        def change_and_ask() -> None:
            """In the very turn in which that ends, and before anybody hears that it has ended."""
            if what == "read":
                accounts.changed(tenant.org_id)
            else:
                accounts.doubt([account])
            next_ones.append(asyncio.create_task(one.call(tenant, most(USD), cost=USD)))

        async def read_and_changed(account: Account) -> None:
            accounts._read = read  # type: ignore[method-assign]
            await read(account)
            change_and_ask()

        async def opened_and_doubted(account: Account) -> None:
            accounts._open = open_  # type: ignore[method-assign]
            await open_(account)
            change_and_ask()

        accounts._once = counted  # type: ignore[method-assign]
        if what == "read":
            accounts._read = read_and_changed  # type: ignore[method-assign]
            accounts.changed(tenant.org_id)
        else:
            accounts._open = opened_and_doubted  # type: ignore[method-assign]
            accounts.doubt([account])
        await one.call(tenant, most(USD), cost=USD)
        await asyncio.gather(*next_ones)
        assert await left(one, tenant, 100 * USD) == 97 * USD
