"""Who waits for a full engine: fair between organizations, bounded in number and in time, and gone when it leaves."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.inference.breaker import PAUSE_S_MAX, REQUESTS_MIN, Breaker
from router.inference.queueing import FairQueue, QueueFull, QueueTimedOut, Waiter
from router.inference.retries import retry_after_s
from router.inference.routing import Retry
from tests.routing_world import CALLER, World, engine, in_loop
from warehouse.access.catalogue import Alias
from warehouse.base.errors import EngineUnavailable

EITHER = Alias(None, "either", [[{"model": "small", "weight": 1}], [{"model": "large", "weight": 1}]], 1)


def _jain(values: list[float]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


@pytest.mark.parametrize("seed", range(10))
@in_loop
async def test_organizations_get_equal_tokens_however_much_they_send(seed: int) -> None:
    chance, queue = random.Random(seed), FairQueue(100_000)
    waiters: list[tuple[Waiter, int, int]] = []
    for org_id in range(5):
        for _ in range(200 * (org_id + 1)):
            tokens = chance.choice([10, 100, 2000]) if org_id else 3000
            waiters.append((queue.join(org_id, tokens), org_id, tokens))
    chance.shuffle(waiters)
    served: Counter[int] = Counter()
    by_waiter = {id(waiter): (org_id, tokens) for waiter, org_id, tokens in waiters}
    done: set[int] = set()
    while sum(served.values()) < 300_000:
        assert queue.call()
        for waiter, _, _ in waiters:
            if waiter.future.done() and id(waiter) not in done:
                done.add(id(waiter))
                org_id, tokens = by_waiter[id(waiter)]
                served[org_id] += tokens
    assert _jain([float(served[org_id]) for org_id in range(5)]) > 0.95


@in_loop
async def test_a_weight_counts() -> None:
    queue = FairQueue()
    waiters = [(queue.join(org_id, 100, weight=1 + 2 * org_id), org_id) for _ in range(100) for org_id in (0, 1)]
    for _ in range(80):
        queue.call()
    served = Counter(org_id for waiter, org_id in waiters if waiter.future.done())
    assert served[1] / served[0] == pytest.approx(3, rel=0.1)


@in_loop
async def test_whoever_stood_behind_those_that_leave_moves_up() -> None:
    queue = FairQueue()
    one, other = ([queue.join(org_id, 100) for _ in range(10)] for org_id in (1, 2))
    for waiter in one[:9]:
        assert queue.leave(waiter)
    later = queue.join(1, 100)
    queue.call()
    queue.call()
    assert (one[9].future.done(), other[0].future.done()) == (True, True), "each organization has one turn of the first two"
    assert not later.future.done()


@in_loop
async def test_a_full_queue_makes_room_for_who_has_fewer_waiting() -> None:
    queue = FairQueue(10)
    greedy = [queue.join(1, 10) for _ in range(10)]
    with pytest.raises(QueueFull):
        queue.join(1, 10)
    modest = queue.join(2, 10)
    assert queue.waiting == 10
    assert isinstance(greedy[-1].future.exception(), QueueFull)
    queue.call()
    queue.call()
    assert modest.future.done()


@given(
    st.lists(
        st.tuples(st.sampled_from(["join", "leave", "call", "call to an engine"]), st.integers(0, 3), st.integers(1, 50)),
        max_size=200,
    )
)
def test_a_queue_counts_who_waits_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    async def run() -> None:
        queue, waiters = FairQueue(20), []
        for what, org_id, number in steps:
            if what == "call":
                waiting = queue.waiting
                assert queue.call() == bool(waiting)
            elif what == "call to an engine":
                suited = any(not waiter.future.done() and 1 not in waiter.avoids for waiter in waiters)
                assert queue.call(lambda avoids: 1 not in avoids) == suited
            elif what == "leave" and waiters:
                queue.leave(waiters.pop(number % len(waiters)))
            elif what == "join":
                try:
                    waiters.append(queue.join(org_id, number, avoids=frozenset({1} if number % 2 else ())))
                except QueueFull:
                    assert queue.waiting == 20
            assert queue.waiting == sum(not waiter.future.done() for waiter in waiters)
            assert queue.willing == sum(not waiter.future.done() and not waiter.avoids for waiter in waiters)
        for waiter in waiters:
            if waiter.future.done():
                waiter.future.exception()
        while queue.call():
            pass
        assert queue.waiting == 0

    asyncio.run(run())


@in_loop
async def test_a_request_waits_for_a_place_and_takes_it() -> None:
    world = World([engine(1, requests_at_once=1)])
    dispatcher, state = world.dispatcher, world[1]
    dispatcher.started(state, 10)
    plan = world.plan()
    waiting = asyncio.create_task(dispatcher.engine_for(plan, CALLER, 10))
    await asyncio.sleep(0)
    assert dispatcher.waiting == 1
    dispatcher.ended(state, 10, outcome="ok")
    assert world.pick() is None, "who comes now stands behind who was called"
    assert await waiting is state
    dispatcher.started(state, 10)
    assert dispatcher.waiting == 0
    dispatcher.ended(state, 10, outcome="ok")
    assert world.pick() is state


@in_loop
async def test_a_request_waits_no_longer_than_it_may() -> None:
    world = World([engine(1, requests_at_once=1)])
    world.dispatcher.started(world[1], 10)
    with pytest.raises(QueueTimedOut):
        await world.dispatcher.engine_for(world.plan(), CALLER, 10)
    assert world.dispatcher.waiting == 0
    world = World([engine(1, requests_at_once=1)], queue_s_max=300)
    world.dispatcher.started(world[1], 10)
    with pytest.raises(QueueTimedOut, match=r"full for 0\.1 s"):
        await world.dispatcher.engine_for(world.plan(), CALLER, 10, left_s=0.1)
    with pytest.raises(QueueTimedOut, match="is full, and the request has used up its time"):
        await world.dispatcher.engine_for(world.plan(), CALLER, 10, left_s=-0.2)


@pytest.mark.parametrize(
    ("second", "tried"), [({"canary_percent": 5}, ()), ({"canary_percent": 50}, ()), ({}, (2,)), ({"canary_percent": 5}, (2,))]
)
@in_loop
async def test_a_place_that_a_request_is_called_for_is_one_that_it_gets(second: dict[str, int], tried: tuple[int, ...]) -> None:
    """One engine is full, the other has room, and it is a canary, or this request has tried it: called, and never in vain."""
    for session in range(20):
        world = World([engine(1, requests_at_once=1), engine(2, **second)])
        world.dispatcher.started(world[1], 10)
        world.dispatcher._clock = repeat(100.0, 100).__next__  # so that a circle ends in an error, and not never
        asked = asyncio.create_task(world.dispatcher.engine_for(world.plan(session=f"s{session}"), CALLER, 10, tried))
        for _ in range(5):
            await asyncio.sleep(0)
        assert asked.done()
        assert (await asked).id == 2


@pytest.mark.parametrize("status", [500, None])
@in_loop
async def test_who_was_failed_by_an_engine_with_room_waits_for_another_and_keeps_nobody_up(status: int | None) -> None:
    world = World([engine(1), engine(2, requests_at_once=1)])
    dispatcher, plan = world.dispatcher, world.plan()
    dispatcher.started(world[2], 10)
    assert dispatcher.retry(plan, {1}, attempts=1, status=status) == Retry(0, same=False)
    failed = asyncio.create_task(dispatcher.engine_for(plan, CALLER, 10, {1}))
    await asyncio.sleep(0.01)
    assert (failed.done(), dispatcher.waiting) == (False, 1)
    for _ in range(5):
        assert world.begin(10) is world[1], "a place that is none for it is for who comes next"
    dispatcher.ended(world[1], 10, outcome="ok")
    await asyncio.sleep(0.01)
    assert not failed.done()
    dispatcher.ended(world[2], 10, outcome="ok")
    assert await failed is world[2]
    assert dispatcher.waiting == 0


@pytest.mark.parametrize("is_busy", [False, True])
@in_loop
async def test_who_was_failed_asks_the_same_again_where_no_other_is_worth_waiting_for(is_busy: bool) -> None:
    world = World([engine(1), engine(2, requests_at_once=1)])
    dispatcher, plan = world.dispatcher, world.plan()
    dispatcher.started(world[2], 10)
    assert dispatcher.retry(plan, {1}, attempts=1, status=500) is not None
    failed = asyncio.create_task(dispatcher.engine_for(plan, CALLER, 10, {1}))
    await asyncio.sleep(0.01)
    if is_busy:
        dispatcher.ended(world[2], 10, outcome="busy", retry_after_s=25)
    else:
        world[2].failed(refused=True)
        dispatcher.ended(world[2], 10, outcome="failed")
    assert await failed is world[1]


@in_loop
async def test_an_engine_that_is_busy_is_waited_for_with_the_others() -> None:
    """Whichever is the first to have a place."""
    for first in (1, 2):
        world = World([engine(1), engine(2, requests_at_once=1)])
        dispatcher, plan = world.dispatcher, world.plan()
        for number in (1, 2):
            dispatcher.started(world[number], 10)
        dispatcher.ended(world[1], 10, outcome="busy", retry_after_s=8)
        world.dispatcher._queue_s_max = 10
        again = dispatcher.retry(plan, {1}, attempts=1, status=429, retry_after_s=8)
        assert again == Retry(0, same=False)
        waiting = asyncio.create_task(dispatcher.engine_for(plan, CALLER, 10, {1}))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        if first == 1:
            world.now_s += 9
            dispatcher._let_in(plan.order[0], world.now_s)
        else:
            dispatcher.ended(world[2], 10, outcome="ok")
        assert await waiting is world[first]


@in_loop
async def test_who_waits_gets_an_engine_that_only_its_breaker_keeps_out() -> None:
    world = World([engine(1, requests_at_once=1)])
    dispatcher, state = world.dispatcher, world[1]
    dispatcher.started(state, 1)
    asked = [asyncio.create_task(dispatcher.engine_for(world.plan(), CALLER, 1)) for _ in range(2)]
    await asyncio.sleep(0)
    for _ in range(REQUESTS_MIN):
        state.breaker.failed(world.now_s)
    dispatcher.ended(state, 1, outcome="failed")
    assert await asked[0] is state
    assert dispatcher.waiting == 1, "there is one place"
    dispatcher.started(state, 1)
    dispatcher.ended(state, 1, outcome="failed")
    assert await asked[1] is state


@in_loop
async def test_to_an_engine_whose_breaker_tries_again_one_of_those_that_wait_is_called() -> None:
    """More would find no place there, and would have lost their own in the queue."""
    world = World([engine(1, requests_at_once=6), engine(2, requests_at_once=1)])
    dispatcher = world.dispatcher
    world.fail(world[1])
    dispatcher.started(world[2], 1)
    asked = [asyncio.create_task(dispatcher.engine_for(world.plan(), CALLER, 1)) for _ in range(3)]
    await asyncio.sleep(0)
    queue = world.plan().order[0].queue
    assert queue.waiting == 3
    world.now_s += 1.1
    dispatcher._let_in(world.plan().order[0], world.now_s)
    assert queue.waiting == 2
    assert await asked[0] is world[1]
    dispatcher.started(world[1], 1)
    dispatcher.answered(world[1])
    dispatcher.ended(world[1], 1, outcome="ok")
    assert [await each for each in asked[1:]] == [world[1], world[1]], "it is well again, and has room"


@in_loop
async def test_a_full_engine_is_waited_for_although_its_breaker_is_open() -> None:
    world = World([engine(1, requests_at_once=1)])
    dispatcher, state = world.dispatcher, world[1]
    world.fail(state)
    dispatcher.started(state, 1)
    asked = asyncio.create_task(dispatcher.engine_for(world.plan(), CALLER, 1))
    await asyncio.sleep(0)
    assert dispatcher.waiting == 1
    dispatcher.ended(state, 1, outcome="failed")
    assert await asked is state


@in_loop
async def test_who_waits_for_an_engine_that_dies_goes_to_the_next_model() -> None:
    world = World([engine(1, requests_at_once=1), engine(2, "large", requests_at_once=1)], [EITHER])
    dispatcher = world.dispatcher
    for number in (1, 2):
        dispatcher.started(world[number], 1)
    asked = asyncio.create_task(dispatcher.engine_for(world.plan("either"), CALLER, 1))
    await asyncio.sleep(0)
    dispatcher.ended(world[2], 1, outcome="ok")
    world[1].failed(refused=True)
    dispatcher.ended(world[1], 1, outcome="failed")
    assert await asked is world[2]


@in_loop
async def test_who_waits_takes_the_first_place_of_any_model_that_stands_in() -> None:
    """Before those that come later: they would be served by it at once, and who waits be told that every engine was full."""
    world = World([engine(1, requests_at_once=1), engine(2, "large", requests_at_once=1)], [EITHER], queue_s_max=60)
    dispatcher, plans = world.dispatcher, [world.plan("either") for _ in range(3)]
    for number in (1, 2):
        dispatcher.started(world[number], 1)
    only = asyncio.create_task(dispatcher.engine_for(world.plan(), CALLER, 1))
    asked = [asyncio.create_task(dispatcher.engine_for(plan, replace(CALLER, org_id=2), 1)) for plan in plans]
    await asyncio.sleep(0)
    dispatcher.ended(world[2], 1, outcome="ok")
    assert world.pick("large") is None, "the place is kept"
    assert await asked[0] is world[2]
    assert plans[0].model.name == "large"
    dispatcher.started(world[2], 1)
    dispatcher.ended(world[2], 1, outcome="ok")  # calls the second, which leaves before it goes on
    asked[1].cancel()
    assert await asked[2] is world[2]
    dispatcher.started(world[2], 1)
    dispatcher.ended(world[2], 1, outcome="ok")
    await asyncio.sleep(0.01)
    assert (only.done(), dispatcher.waiting) == (False, 1), "who has asked for one model waits for that"
    assert world.pick("large") is world[2]
    dispatcher.ended(world[1], 1, outcome="ok")
    assert await only is world[1]
    assert [served.wanted for served in plans[0].order] == [0, 0]


@in_loop
async def test_a_place_of_the_next_model_is_for_those_that_wait_there() -> None:
    world = World([engine(1, requests_at_once=1), engine(2, "large", requests_at_once=1)], [EITHER], queue_s_max=60)
    dispatcher = world.dispatcher
    for number in (1, 2):
        dispatcher.started(world[number], 1)
    either = asyncio.create_task(dispatcher.engine_for(world.plan("either"), CALLER, 1))
    await asyncio.sleep(0)
    large = asyncio.create_task(dispatcher.engine_for(world.plan("large"), CALLER, 1))
    await asyncio.sleep(0)
    dispatcher.ended(world[2], 1, outcome="ok")
    assert await large is world[2]
    dispatcher.started(world[2], 1)
    dispatcher.ended(world[1], 1, outcome="ok")
    assert await either is world[1]


@in_loop
async def test_who_waits_for_an_engine_that_is_taken_out_is_told_at_once() -> None:
    world = World([engine(1, requests_at_once=1)])
    world.dispatcher.started(world[1], 1)
    asked, planned = asyncio.create_task(world.dispatcher.engine_for(world.plan(), CALLER, 1)), world.plan()
    await asyncio.sleep(0)
    world.follow([])
    with pytest.raises(EngineUnavailable):
        await asked
    assert world.dispatcher.pick(planned) is None


@in_loop
async def test_nobody_waits_for_an_engine_that_is_busy_for_longer_than_a_request_may_wait() -> None:
    world = World([engine(1, requests_at_once=2)])
    dispatcher, state = world.dispatcher, world[1]
    for _ in range(2):
        dispatcher.started(state, 1)
    asked = asyncio.create_task(dispatcher.engine_for(world.plan(), CALLER, 1))
    await asyncio.sleep(0)
    dispatcher.ended(state, 1, outcome="busy", retry_after_s=24.5)
    for waits in (asked, dispatcher.engine_for(world.plan(), CALLER, 1)):
        with pytest.raises(EngineUnavailable) as told:
            await waits
        assert told.value.retry_after_s == 25


@in_loop
async def test_a_client_that_leaves_gives_its_place_to_the_next() -> None:
    world = World([engine(1, requests_at_once=1)])
    dispatcher, state = world.dispatcher, world[1]
    dispatcher.started(state, 10)
    tasks = [asyncio.create_task(dispatcher.engine_for(world.plan(), replace(CALLER, org_id=org), 10)) for org in (1, 2, 3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    dispatcher.ended(state, 10, outcome="ok")  # calls the second, which leaves before it goes on
    tasks[1].cancel()
    assert await tasks[2] is state
    assert [task.cancelled() for task in tasks] == [True, True, False]
    dispatcher.started(state, 10)
    dispatcher.ended(state, 10, outcome="ok")
    assert world.pick() is state


@in_loop
async def test_never_more_requests_than_an_engine_may_have() -> None:
    world = World([engine(1, requests_at_once=3), engine(2, requests_at_once=2)], queue_s_max=60)
    most = done = 0

    async def request(number: int) -> None:
        nonlocal most, done
        state = await world.dispatcher.engine_for(world.plan(), replace(CALLER, org_id=number % 4), 10)
        world.dispatcher.started(state, 10)
        assert state.requests <= state.bound
        most = max(most, sum(each.requests for each in world.set.states.values()))
        await asyncio.sleep(0.0001)
        world.dispatcher.ended(state, 10, outcome="ok")
        done += 1

    await asyncio.gather(*(request(number) for number in range(200)))
    assert (most, done) == (5, 200)


def test_a_breaker_pauses_longer_each_time_and_heals() -> None:
    breaker, now_s, pauses = Breaker(), 0.0, []
    for _ in range(10):
        breaker.failed(now_s)
    for _ in range(8):
        pauses.append(breaker.retry_at_s - now_s)
        now_s = breaker.retry_at_s
        assert breaker.able(now_s)
        breaker.began(now_s)
        assert not breaker.able(now_s)
        breaker.failed(now_s)
    assert pauses[:3] == [1, 2, 4]
    assert max(pauses) == PAUSE_S_MAX
    now_s = breaker.retry_at_s
    breaker.began(now_s)
    breaker.succeeded(now_s)
    assert not breaker.is_open


def test_few_failures_among_many_calls_open_nothing() -> None:
    breaker = Breaker()
    for number in range(1000):
        (breaker.failed if number % 3 == 0 else breaker.succeeded)(number / 100)
    assert not breaker.is_open


def test_a_try_that_never_ends_keeps_nobody_out_for_good() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(0.0)
    breaker.began(1.0)
    assert not breaker.able(5.0)
    assert breaker.able(11.0)


def test_a_try_counts_although_another_call_ends_meanwhile_that_says_nothing() -> None:
    """A client that leaves an older stream, or a pause that an older request is told."""
    for outcome in ("gone", "busy"):
        world = World([engine(1)])
        state = world[1]
        world.dispatcher.started(state, 1)
        world.fail(state)
        world.now_s += 1.1
        world.dispatcher.started(state, 1)
        world.dispatcher.ended(state, 1, outcome=outcome)  # type: ignore[arg-type]
        world.dispatcher.ended(state, 1, outcome="ok")
        assert not state.breaker.is_open


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"2", 2.0),
        (b"0.5", 0.5),
        (None, None),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", 3.0),
        (b"Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        (b"Wed, 21 Oct 2026 07:28:00 -0000", None),
        (b"Mon, 01 Jan 2030 00:00:00 +99999999999999", None),
        (b"soon", None),
        (b"\xff", None),
        (b"-1", None),
        (b"inf", None),
        (b"nan", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: bytes | None, seconds: float | None) -> None:
    assert retry_after_s(value, datetime(2026, 10, 21, 7, 27, 57, tzinfo=UTC)) == seconds


def test_a_try_that_begins_to_answer_closes_the_breaker() -> None:
    world = World([engine(1), engine(2)])
    world.fail(world[1])
    world.now_s += 2
    state = world.begin()
    while state.id != 1:
        state = world.begin()
    assert world[1].breaker.is_open
    world.dispatcher.answered(state)
    assert not world[1].breaker.is_open
