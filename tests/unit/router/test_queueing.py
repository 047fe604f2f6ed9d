"""Whose turn it is in a queue: nobody saves up turns while away, and nobody loses what others have had by leaving."""

from collections.abc import Iterable

import pytest

from router.inference.queueing import FairQueue, QueueFull, Waiter
from tests.routing_world import in_loop


def _served(queue: FairQueue, waiters: Iterable[Waiter], calls: int) -> list[int]:
    """Organizations in the order in which so many calls serve them."""
    waiting, served = [waiter for waiter in waiters if not waiter.future.done()], []
    for _ in range(calls):
        assert queue.call()
        (called,) = (waiter for waiter in waiting if waiter.future.done())
        waiting.remove(called)
        served.append(called.org_id)
    return served


@in_loop
async def test_who_comes_later_has_no_turns_saved_up() -> None:
    queue = FairQueue()
    first = [queue.join(1, 100) for _ in range(10)]
    assert _served(queue, first, 5) == [1] * 5
    later = [queue.join(2, 100) for _ in range(10)]
    assert sorted(_served(queue, first + later, 4)) == [1, 1, 2, 2]
    assert sorted(_served(queue, first + later, 6)) == [1, 1, 1, 2, 2, 2]


@in_loop
async def test_who_has_had_much_and_comes_again_at_once_stands_behind_who_has_had_little() -> None:
    queue = FairQueue()
    dear, cheap = queue.join(1, 1050), [queue.join(2, 100) for _ in range(12)]
    assert _served(queue, [dear, *cheap], 1) == [1]
    again = queue.join(1, 1050)
    assert _served(queue, [again, *cheap], 12) == [2] * 11 + [1]


@in_loop
async def test_in_a_queue_that_was_empty_everybody_begins_anew() -> None:
    queue = FairQueue()
    assert _served(queue, [queue.join(1, 10_000)], 1) == [1]
    waiters = [queue.join(1, 100), queue.join(2, 100), queue.join(2, 100)]
    assert _served(queue, waiters, 3) == [1, 2, 2]


@in_loop
async def test_room_is_made_by_whoever_has_most_and_only_for_whoever_has_two_fewer() -> None:
    queue = FairQueue(9)
    lines = {org_id: [queue.join(org_id, 10) for _ in range(count)] for org_id, count in ((1, 3), (2, 5), (3, 1))}
    queue.join(3, 10)
    assert [waiter.future.done() for waiter in lines[2]] == [False] * 4 + [True]
    assert isinstance(lines[2][-1].future.exception(), QueueFull)
    assert not any(waiter.future.done() for waiter in lines[1] + lines[3])
    with pytest.raises(QueueFull):
        queue.join(1, 10)
    assert queue.waiting == 9


@in_loop
async def test_organizations_that_were_served_are_forgotten_while_somebody_keeps_waiting() -> None:
    queue = FairQueue(3)
    patient = queue.join(0, 1, avoids=frozenset({1}))
    for org_id in range(1, 100):
        pair = [queue.join(org_id, 100) for _ in range(2)]
        for waiter in pair:
            assert queue.call(lambda _: False)
            assert waiter.future.done()
        assert len(queue._begins) <= 2 * 3 + 1
    assert not patient.future.done()
    assert queue.waiting == 1


@in_loop
async def test_who_has_had_much_is_not_forgotten_with_those_that_have_had_their_share() -> None:
    queue = FairQueue(3)
    queue.join(0, 1, avoids=frozenset({1}))
    for org_id in range(1, 9):
        queue.join(org_id, 1000)
        assert queue.call(lambda _: False)
    again, other = queue.join(1, 10), queue.join(9, 10)
    assert queue.call(lambda _: False)
    assert (again.future.done(), other.future.done()) == (False, True)
