"""When an engine on trial is worse than the others, to the number that docs/routing.md says, and when too little is known."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from router.inference.canary import Took, Trial, verdict
from tests.routing_world import World, engine
from warehouse.access import usage_rows
from warehouse.access.usage_rows import UsageEvent


def trial(ok: int = 0, failed: int = 0, busy: int = 0, took: Took | None = None) -> Trial:
    made = Trial()
    for count, is_failed, is_busy in ((ok, False, False), (failed, True, False), (busy, False, True)):
        for _ in range(count):
            made.add(failed=is_failed, busy=is_busy, took=took or Took())
    return made


def timed(*times: tuple[int, Took]) -> Trial:
    """Of a trial of which nothing but times is known."""
    made = Trial()
    for count, took in times:
        for _ in range(count):
            made.note(took)
    return made


def ended(**fields: Any) -> UsageEvent:
    row = usage_rows.new(UUID(int=1), 2, datetime(2026, 1, 1, tzinfo=UTC))
    for name, value in fields.items():
        setattr(row, name, value)
    return row


@pytest.mark.parametrize(
    ("canary", "others", "why"),
    [
        (trial(ok=95, failed=5), [trial(ok=100)], None),
        (trial(ok=94, failed=6), [trial(ok=100)], "6.0% of its requests failed, of the others' 0.0%"),
        (trial(ok=94, busy=6), [trial(ok=100)], "6.0% of its requests failed, of the others' 0.0%"),
        (trial(ok=80, failed=20), [trial(ok=90, failed=10)], None),
        (trial(ok=79, failed=21), [trial(ok=90, busy=10)], "21.0% of its requests failed, of the others' 10.0%"),
        (trial(ok=89, failed=11), [trial(ok=98, failed=2), trial(ok=90, failed=10)], None),
        (trial(ok=86, failed=14), [trial(ok=98, failed=2), trial(ok=90, failed=10)], "14.0%"),
        (trial(ok=92, failed=8), [trial(ok=97, failed=3)], None),
        (trial(ok=91, failed=9), [trial(ok=97, failed=3)], "9.0%"),
        (trial(busy=49), [trial(ok=100)], None),
        (trial(busy=50), [trial(ok=100)], "100.0%"),
        (trial(busy=50), [trial(ok=49)], None),
        (trial(busy=50), [trial(ok=20), trial(ok=30)], "100.0%"),
        (trial(ok=5, failed=5), [trial(ok=50)], "50.0%"),
        (trial(ok=6, failed=5), [trial(ok=50)], None),
        (trial(failed=4), [trial(ok=50)], None),
        (trial(failed=5), [trial(ok=49)], None),
        (trial(), [trial(ok=50)], None),
        (trial(failed=50), [], None),
    ],
)
def test_who_fails_more_is_worse(canary: Trial, others: Sequence[Trial], why: str | None) -> None:
    said = verdict(canary, others)
    assert said is None if why is None else said is not None and said.startswith(why)


@pytest.mark.parametrize(
    ("usual_s", "own_s", "is_worse"), [(2.0, 3.0, False), (2.0, 3.01, True), (0.01, 0.01 + 0.05, False), (0.01, 0.061, True)]
)
def test_who_takes_longer_is_worse(usual_s: float, own_s: float, is_worse: bool) -> None:
    usual, own = timed((50, Took(first_byte_s=usual_s))), timed((50, Took(first_byte_s=own_s)))
    assert (verdict(own, [usual]) is not None) == is_worse
    usual, own = timed((50, Took(whole_s=usual_s))), timed((50, Took(whole_s=own_s)))
    assert (verdict(own, [usual]) is not None) == is_worse


def test_what_a_trial_says_is_in_milliseconds() -> None:
    usual = timed((50, Took(first_byte_s=0.1)), (50, Took(whole_s=2, output_tokens=20)))
    first = "its median first byte came after 500 ms, the others' after 100 ms"
    assert verdict(timed((50, Took(first_byte_s=0.5))), [usual]) == first
    whole = "its median answer took 4000 ms, the others' 2000 ms"
    assert verdict(timed((50, Took(whole_s=4, output_tokens=20))), [usual]) == whole


def test_an_answer_is_slow_by_token_as_well() -> None:
    usual = [timed((50, Took(whole_s=2, output_tokens=100)))]
    assert verdict(timed((50, Took(whole_s=4, output_tokens=133))), usual) is not None
    assert verdict(timed((50, Took(whole_s=4, output_tokens=134))), usual) is None
    assert verdict(timed((50, Took(whole_s=2.9, output_tokens=1))), usual) is None
    assert [*timed((1, Took(whole_s=3)), (1, Took(whole_s=3, output_tokens=2))).wholes] == [(3, 3), (3, 1.5)]


@pytest.mark.parametrize("took", [{"first_byte_s": 9.0}, {"whole_s": 9.0}])
def test_fifty_times_on_either_side_are_compared_and_none_of_another_kind(took: dict[str, float]) -> None:
    slow, fast = Took(**took), Took(**dict.fromkeys(took, 0.1))
    other = Took(first_byte_s=0.1) if "whole_s" in took else Took(whole_s=0.1)
    assert verdict(timed((49, slow)), [timed((50, fast))]) is None
    assert verdict(timed((50, slow)), [timed((49, fast))]) is None
    assert verdict(timed((50, slow)), [timed((25, fast)), timed((25, fast))]) is not None
    assert verdict(timed((50, slow), (50, other)), [timed((200, other))]) is None
    assert verdict(timed((25, slow), (26, fast)), [timed((50, fast))]) is None, "by the median"
    assert verdict(timed((50, slow)), [timed((25, slow), (26, fast))]) is not None


def test_a_trial_keeps_its_newest_times() -> None:
    fast, slow = (Took(first_byte_s=0.1), Took(whole_s=0.1)), (Took(first_byte_s=1), Took(whole_s=1))
    for quick, late in zip(fast, slow, strict=True):
        usual, own = timed((300, quick)), timed((300, quick), (129, late))
        assert len(own.first_bytes_s) + len(own.wholes) == 256
        assert verdict(own, [usual]) is not None


def test_what_was_long_ago_counts_half() -> None:
    counted = trial(ok=1499, failed=500)
    assert (counted.requests, counted.failed, counted.broken) == (1999, 500, 500)
    counted.add(failed=False, busy=True, took=Took())
    assert (counted.requests, counted.failed, counted.broken) == (1000, 250, 250)
    good = trial(ok=20_000)
    for _ in range(150):
        good.add(failed=False, busy=True, took=Took())
    assert verdict(good, [trial(ok=50)]) is not None


@pytest.mark.parametrize(
    ("row", "took"),
    [
        ({"status": "completed", "output_tokens": 20}, Took(whole_s=0.5, output_tokens=20)),
        ({"status": "completed", "stream": True, "ttft_us": 2_100_000}, Took(first_byte_s=0.1)),
        ({"status": "completed", "stream": True}, Took(whole_s=0.5)),
        ({"status": "engine_failed", "stream": True, "ttft_us": 2_100_000}, Took(first_byte_s=0.1)),
        ({"status": "engine_failed"}, Took()),
        ({"status": "refused"}, Took()),
        ({"status": "timed_out", "stream": True}, Took()),
        ({"status": "router_lost"}, Took()),
        ({"status": "client_closed", "stream": True, "ttft_us": 2_100_000}, Took(first_byte_s=0.1)),
        ({"status": "client_closed", "stream": True}, Took(first_byte_s=0.5)),
        ({"status": "client_closed"}, Took(whole_s=0.5)),
    ],
)
def test_what_a_row_says_of_its_engine_begins_when_that_was_asked(row: dict[str, Any], took: Took) -> None:
    assert Took.of(ended(duration_us=2_500_000, **row), 2_000_000) == took


@pytest.mark.parametrize("stream", [True, False])
def test_a_canary_that_everybody_leaves_is_stopped_by_what_they_have_waited(stream: bool) -> None:
    """Nobody waits for 5 s, so that no call fails, and the engine seems to have had no request."""
    world = World([engine(1), engine(2, canary_percent=20)])
    for number, status, outcome, s in ((1, "completed", "ok", 0.2), (2, "client_closed", "gone", 3.0)):
        row = ended(status=status, stream=stream, duration_us=int(s * 1e6), output_tokens=9 if number == 1 else 0)
        row.ttft_us = 200_000 if stream and number == 1 else None
        for _ in range(50):
            world.dispatcher.started(world[number], 1)
            world.dispatcher.ended(world[number], 1, outcome=outcome, took=Took.of(row, 0))  # type: ignore[arg-type]
    said = "its median first byte came after 3000 ms" if stream else "its median answer took 3000 ms"
    assert [why.partition(",")[0] for _, why in world.dispatcher.compare()] == [said]
    assert world[2].trial is not None
    assert (world[2].trial.requests, world[2].breaker.is_open) == (0, False)


def test_clients_that_leave_both_sides_alike_stop_no_canary() -> None:
    """And one that was not asked after all has told nothing."""
    world = World([engine(1), engine(2, canary_percent=20)])
    for number in (1, 2):
        for waited_s in (0.1, 0.2, 9.0) * 30:
            world.dispatcher.started(world[number], 1)
            world.dispatcher.ended(world[number], 1, outcome="gone", took=Took(first_byte_s=waited_s))
            world.dispatcher.started(world[number], 1)
            world.dispatcher.ended(world[number], 1, outcome="gone")
    assert world.dispatcher.compare() == []
