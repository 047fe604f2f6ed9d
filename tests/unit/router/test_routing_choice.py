"""Choice of model and engine: balanced by load and weight, near the cache, never none because of breakers alone."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.inference.canary import REQUESTS_MIN, Took
from router.inference.endpoint import MeteredEndpoint
from router.inference.engine_set import SILENT_S, EngineSet, EngineState
from router.inference.request import Request
from router.inference.routing import Dispatcher, Retry
from router.inference.upstream import Timeouts
from tests.routing_world import CALLER, MODELS, World, engine, in_loop
from warehouse.access import usage_rows
from warehouse.access.catalogue import Alias
from warehouse.base.errors import EngineUnavailable, ModelNotFound, NotReady
from warehouse.identity.sealed import Sealer


def test_before_the_catalogue_is_read_nobody_is_told_that_there_is_no_such_model() -> None:
    engines = EngineSet(Timeouts(1, 1, 1, 1), connections_max=1, health_interval_s=1)
    with pytest.raises(NotReady):
        Dispatcher(engines).plan("small", CALLER)


def test_requests_are_spread_by_tokens_under_way() -> None:
    world = World([engine(number) for number in range(1, 9)])
    sizes = random.Random(1)
    for _ in range(4000):
        world.begin(sizes.choice([10, 100, 1000, 4000]))
    loads = [state.tokens for state in world.set.states.values()]
    assert max(loads) / min(loads) < 1.05


def test_an_engine_gets_load_by_its_weight() -> None:
    world = World([engine(1, weight=300, requests_at_once=None), engine(2, weight=100), engine(3, weight=100)])
    for _ in range(5000):
        world.begin()
    assert world[1].tokens / world[2].tokens == pytest.approx(3, rel=0.1)


def test_idle_engines_are_chosen_by_weight_as_well() -> None:
    world = World([engine(1, weight=300), engine(2, weight=100)])
    found = Counter(state.id for _ in range(4000) if (state := world.pick()))
    assert found[1] / found[2] == pytest.approx(3, rel=0.15)


def test_an_engine_of_weight_0_gets_nothing_new_and_ends_what_it_has() -> None:
    world = World([engine(1), engine(2)])
    state = world[1]
    world.dispatcher.started(state, 50)
    world.follow([engine(1, weight=0), engine(2)])
    assert {found.id for _ in range(50) if (found := world.pick())} == {2}
    assert world[1] is state
    world.dispatcher.ended(state, 50, outcome="ok")
    assert (state.requests, state.tokens) == (0, 0)


def test_an_engine_is_asked_once_by_a_request() -> None:
    world = World([engine(1), engine(2)])
    assert {found.id for _ in range(20) if (found := world.pick(tried=(1,)))} == {2}
    assert world.pick(tried=(1, 2)) is None


def test_an_engine_that_is_down_is_not_asked() -> None:
    world = World([engine(1), engine(2)])
    world[1].failed(refused=True)
    assert {found.id for _ in range(20) if (found := world.pick())} == {2}


def test_a_busy_engine_is_left_alone_for_as_long_as_it_said() -> None:
    world = World([engine(1), engine(2)])
    state = world[1]
    world.dispatcher.started(state, 1)
    world.dispatcher.ended(state, 1, outcome="busy", retry_after_s=2)
    assert {found.id for _ in range(20) if (found := world.pick())} == {2}
    world.now_s += 2
    assert {found.id for _ in range(50) if (found := world.pick())} == {1, 2}


def test_a_busy_engine_that_does_not_say_for_how_long_is_asked_ever_less_often_until_it_answers() -> None:
    world, pauses = World([engine(1)]), []
    for _ in range(6):
        for _ in range(3):  # at once: told the same three times, it has heard it once
            world.dispatcher.started(world[1], 1)
            world.dispatcher.ended(world[1], 1, outcome="busy")
        pauses.append(world[1].busy_until_s - world.now_s)
        world.now_s = world[1].busy_until_s
    assert pauses == [0.5, 1, 2, 4, 4, 4]
    world.dispatcher.started(world[1], 1)
    world.dispatcher.ended(world[1], 1, outcome="ok")
    world.dispatcher.started(world[1], 1)
    world.dispatcher.ended(world[1], 1, outcome="busy")
    assert world[1].busy_until_s - world.now_s == 0.5


@pytest.mark.parametrize("said_s", [0.0, 0.01, 0.49])
def test_an_engine_that_is_busy_and_names_no_time_to_speak_of_does_not_get_all_traffic(said_s: float) -> None:
    world, asked = World([engine(1), engine(2)]), Counter[int]()
    for _ in range(1000):  # in ten seconds
        world.now_s += 0.01
        state = world.begin()
        asked[state.id] += 1
        if state.id == 1:
            world.dispatcher.ended(state, 100, outcome="busy", retry_after_s=said_s)
    assert asked[1] <= 6


def test_a_pause_is_not_cut_short_by_another_call_that_is_told_less() -> None:
    world = World([engine(1)])
    for _ in range(2):
        world.dispatcher.started(world[1], 1)
    world.dispatcher.ended(world[1], 1, outcome="busy", retry_after_s=20)
    world.dispatcher.ended(world[1], 1, outcome="busy")
    assert world[1].busy_until_s == world.now_s + 20


def test_an_engine_that_moves_is_taken_for_as_well_as_it_was() -> None:
    world = World([engine(1), engine(2)])
    world[2].failed(refused=True)
    world.set.replace([engine(number, base_url=f"http://127.0.0.2:{number}") for number in (1, 2)])
    assert [world[number].healthy for number in (1, 2)] == [True, False]


def test_an_engine_that_fails_is_left_out_and_heals_by_itself() -> None:
    world = World([engine(1), engine(2)])
    world.fail(world[1])
    assert {found.id for _ in range(50) if (found := world.pick())} == {2}
    world.now_s += 1.1
    tries = 0
    for _ in range(50):
        state = world.begin()
        tries += state.id == 1
    assert tries == 1
    world.dispatcher.ended(world[1], 100, outcome="ok")
    assert {found.id for _ in range(200) if (found := world.pick())} >= {1}


def test_an_engine_is_silent_when_nobody_has_had_anything_of_it_for_long() -> None:
    world = World([engine(1)])
    state = world[1]
    assert state.is_silent(world.now_s)
    for outcome, is_silent in (("gone", True), ("failed", True), ("ok", False)):
        world.dispatcher.started(state, 1)
        world.dispatcher.ended(state, 1, outcome=outcome)  # type: ignore[arg-type]
        assert state.is_silent(world.now_s) == is_silent
    world.now_s += SILENT_S - 0.1
    assert not state.is_silent(world.now_s)
    state.pool.heard_s = world.now_s  # a stream that goes on
    world.now_s += SILENT_S - 0.1
    assert not state.is_silent(world.now_s)
    world.now_s += 0.2
    assert state.is_silent(world.now_s)


@given(st.lists(st.integers(0, 2), max_size=60), st.floats(0, 40))
def test_breakers_never_leave_a_model_without_an_engine(failing: list[int], later_s: float) -> None:
    world = World([engine(1), engine(2), engine(3)])
    for index in failing:
        world.fail(world[index + 1], 3)
        assert world.pick() is not None
    world.now_s += later_s
    assert world.pick() is not None


def test_of_engines_that_all_fail_the_nearest_to_its_next_try_is_asked() -> None:
    world = World([engine(1), engine(2)])
    world.fail(world[2])
    world.now_s += 0.5
    world.fail(world[1])
    state = world.pick()
    assert state is not None
    assert state.id == 2


@pytest.mark.parametrize("about", [{"session": "of somebody"}, {"prefix": b"x" * 300}])
def test_what_belongs_together_goes_to_one_engine(about: dict[str, Any]) -> None:
    world = World([engine(number) for number in range(1, 6)])
    assert len({found.id for _ in range(50) if (found := world.pick(**about))}) == 1


def test_sessions_stay_when_an_engine_is_added() -> None:
    engines = [engine(number) for number in range(1, 5)]
    world = World(engines)
    before = {number: world.pick(session=f"s{number}") for number in range(400)}
    shared = {state.id for state in before.values() if state}
    assert shared == {1, 2, 3, 4}
    fresh = World([*engines, engine(5)])
    moved = [number for number in before if (state := fresh.pick(session=f"s{number}")) and state.id != before[number].id]  # type: ignore[union-attr]
    new_homes = [fresh.pick(session=f"s{number}") for number in moved]
    assert {state.id for state in new_homes if state} == {5}
    assert 40 < len(moved) < 130
    world.follow([*engines, engine(5)])
    assert all(world.pick(session=f"s{number}") is state for number, state in before.items())


def test_a_session_leaves_an_engine_that_is_above_its_share() -> None:
    world = World([engine(1), engine(2), engine(3)])
    found = Counter(world.begin(1000, session="busy").id for _ in range(120))
    assert max(found.values()) <= 1.35 * 120 / 3


def test_a_failure_ends_a_session_at_an_engine() -> None:
    world = World([engine(1), engine(2), engine(3)])
    plan = world.plan(session="mine")
    home = world.dispatcher.pick(plan)
    assert home is not None
    world.dispatcher.started(home, 10)
    world.dispatcher.ended(home, 10, outcome="failed", plan=plan)
    new = {state.id for _ in range(20) if (state := world.pick(session="mine"))}
    assert len(new) == 1
    assert home.id not in new


def test_affinity_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([engine(1), engine(2)])
    monkeypatch.setattr(world.dispatcher.affinity, "_entries_max", 100)
    for number in range(1000):
        world.pick(session=f"s{number}")
    assert len(world.dispatcher.affinity) == 100


def test_a_canary_gets_its_share() -> None:
    world = World([engine(1), engine(2), engine(3, canary_percent=5)])
    found = Counter(state.id for _ in range(20_000) if (state := world.pick()))
    assert found[3] / 20_000 == pytest.approx(0.05, rel=0.15)


def test_a_canary_gets_its_share_of_requests_that_all_begin_alike() -> None:
    for number in range(5):
        world = World([engine(1), engine(2), engine(3, canary_percent=20)], seed=number)
        beginning = b"the system prompt of application %d: " % number + b"x" * 300
        found = Counter(state.id for _ in range(4000) if (state := world.pick(prefix=beginning)))
        assert found[3] / 4000 == pytest.approx(0.2, rel=0.15)
        assert len(found) == 2, "the others are at their home"


def test_a_session_stays_on_its_side_of_a_canary() -> None:
    world = World([engine(1), engine(2, canary_percent=20)])
    sides = [{state.id for _ in range(10) if (state := world.pick(session=f"s{number}"))} for number in range(1000)]
    assert {len(side) for side in sides} == {1}
    assert sides.count({2}) / 1000 == pytest.approx(0.2, rel=0.2)


USUAL = Took(first_byte_s=0.1)
LONG, SHORT = Took(whole_s=2, output_tokens=200), Took(whole_s=0.2, output_tokens=20)


@pytest.mark.parametrize(
    ("failed", "usual", "took", "why"),
    [
        (0.3, USUAL, USUAL, "requests failed"),
        (0.0, USUAL, Took(first_byte_s=0.5), "first byte"),
        (0.02, USUAL, Took(first_byte_s=0.11), None),
        (0.0, LONG, Took(whole_s=4, output_tokens=200), "its median answer took 4000 ms, the others' 2000 ms"),
        (0.0, SHORT, LONG, None),
        (0.0, LONG, Took(whole_s=0.4, output_tokens=20), None),
        (0.0, Took(whole_s=0.01), Took(whole_s=0.04), None),
        (0.0, Took(whole_s=0.01), Took(whole_s=0.4), "its median answer took 400 ms, the others' 10 ms"),
    ],
)
def test_a_canary_that_is_worse_is_stopped(failed: float, usual: Took, took: Took, why: str | None) -> None:
    world = World([engine(1), engine(2, canary_percent=20)])
    chance = random.Random(3)
    for _ in range(200):
        for state, share, each in ((world[1], 0.01, usual), (world[2], failed, took)):
            world.dispatcher.started(state, 1)
            outcome = "failed" if chance.random() < share else "ok"
            world.dispatcher.ended(state, 1, outcome=outcome, took=each)  # type: ignore[arg-type]
    stopped = world.dispatcher.compare()
    assert [state.id for state, _ in stopped] == ([2] if why else [])
    if why:
        assert why in stopped[0][1]
        asked = {state.id for _ in range(200) if (state := world.pick())}
        assert asked == {1}
        assert world.dispatcher.compare() == []


def test_an_engine_is_not_slow_by_what_passed_before_it_was_asked() -> None:
    row = usage_rows.new(UUID(int=1), 2, datetime(2026, 1, 1, tzinfo=UTC))
    row.status, row.duration_us, row.output_tokens = "completed", 2_500_000, 20
    assert Took.of(row, 2_000_000) == Took(whole_s=0.5, output_tokens=20)
    row.ttft_us = 2_100_000
    assert Took.of(row, 2_000_000) == Took(first_byte_s=0.1)


@pytest.mark.parametrize(("outcomes", "why"), [("fffff", "100.0%"), ("ffffooooof", "50.0%"), ("ffff", None), ("bbbbbbbb", None)])
def test_a_canary_that_is_broken_needs_few_requests_to_be_stopped(outcomes: str, why: str | None) -> None:
    world = World([engine(1), engine(2, canary_percent=20)])
    for state, all_of_it in ((world[1], "o" * REQUESTS_MIN), (world[2], outcomes)):
        for outcome in all_of_it:
            world.dispatcher.started(state, 1)
            world.dispatcher.ended(state, 1, outcome={"f": "failed", "o": "ok", "b": "busy"}[outcome])  # type: ignore[arg-type]
    assert [said.split()[0] for _, said in world.dispatcher.compare()] == ([why] if why else [])


def test_too_few_requests_stop_no_canary() -> None:
    world = World([engine(1), engine(2, canary_percent=20)])
    for state in (world[1], world[2]):
        world.fail(state, 20)
    assert world.dispatcher.compare() == []


ALIAS = Alias(None, "chat", [[{"model": "small", "weight": 3}, {"model": "large", "weight": 1}]], 1)
TURNED = Alias(None, "turned", [[{"model": "small", "weight": 1}], [{"model": "large", "weight": 1}]], 1)
FALLBACK = Alias(1, "best", [[{"model": "large", "weight": 1}], [{"model": "small", "weight": 1}]], 1)


def test_an_alias_shares_requests_by_weight() -> None:
    world = World([engine(1), engine(2, "large")], [ALIAS])
    found = Counter(state.id for _ in range(8000) if (state := world.pick("chat")))
    assert found[1] / found[2] == pytest.approx(3, rel=0.1)


@in_loop
async def test_an_alias_falls_back_to_its_next_model() -> None:
    world = World([engine(1), engine(2, "large")], [FALLBACK])
    plan = world.plan("best")
    assert (await world.dispatcher.engine_for(plan, CALLER, 10)).id == 2
    assert plan.model.name == "large"
    assert (await world.dispatcher.engine_for(plan, CALLER, 10, {2})).id == 1
    assert plan.model.name == "small"
    with pytest.raises(EngineUnavailable):
        await world.dispatcher.engine_for(plan, CALLER, 10, {1, 2})


@in_loop
async def test_a_model_whose_breakers_are_all_open_is_asked_only_where_no_further_model_can_be() -> None:
    world = World([engine(1), engine(2, "large")], [FALLBACK])
    world.fail(world[2])
    assert (await world.dispatcher.engine_for(world.plan("best"), CALLER, 10)).id == 1
    world.now_s += 1.1
    tried = await world.dispatcher.engine_for(world.plan("best"), CALLER, 10)
    assert tried.id == 2, "it heals by a try of its own"
    world.dispatcher.started(tried, 1)
    world.dispatcher.ended(tried, 1, outcome="failed")
    world[1].failed(refused=True)
    assert (await world.dispatcher.engine_for(world.plan("best"), CALLER, 10)).id == 2


@in_loop
async def test_a_prompt_that_is_too_long_goes_to_no_model_with_less_context() -> None:
    """Nor after the one with more has failed: the client would be told of a bound that is not the alias's."""
    models = [replace(MODELS[0], id=at, name=f"{at}k", context_tokens_max=1024 * at) for at in (8, 32, 4)]
    stages = [[{"model": model.name, "weight": 1}] for model in models]
    engines = [engine(number, model.name) for number, model in enumerate(models, 1)]
    world = World(engines, [Alias(None, "long", stages, 1)], models=models)
    plan = world.plan("long")
    assert (await world.dispatcher.engine_for(plan, CALLER, 10)).id == 1
    plan.go_to(plan.larger())
    assert (await world.dispatcher.engine_for(plan, CALLER, 10, {1})).id == 2
    assert world.dispatcher.retry(plan, {1, 2}, attempts=2, status=500) is None
    assert not plan.next_model()


def test_a_prompt_is_too_long_for_an_alias_only_if_it_is_for_its_largest_model() -> None:
    """`best` is `large`, of more context, whose engines have failed twice, and then `small`."""
    larger = [MODELS[0], replace(MODELS[1], context_tokens_max=16384)]
    world = World([engine(1), engine(2, "large"), engine(3, "large")], [FALLBACK, TURNED], models=larger)
    last = Request("chat", *[cast("Any", None)] * 2, 0, UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), 0, attempts=3)
    plan = world.plan("best")
    assert plan.next_model()
    with pytest.raises(EngineUnavailable, match="too long for 'small', and 'large' could not answer"):
        MeteredEndpoint._goes_to_larger(last, plan)
    plan = world.plan("turned")  # of which nobody knows yet whether `large` has room for it
    assert not MeteredEndpoint._goes_to_larger(last, plan)
    world.follow([engine(1), engine(2, "large", weight=0)], [FALLBACK])
    plan = world.plan("best")
    assert plan.next_model()
    assert not MeteredEndpoint._goes_to_larger(last, plan), "it does not come back by itself"


def test_what_only_a_drained_engine_has_is_not_listed() -> None:
    world = World([engine(1), engine(2, "large")], [FALLBACK])
    assert list(world.dispatcher.usable(CALLER)) == ["small", "large", "best"]
    for taken_out in (engine(2, "large", weight=0), engine(2, "large", canary_percent=0)):
        world.follow([engine(1), taken_out], [FALLBACK])
        assert {name: model.name for name, model in world.dispatcher.usable(CALLER).items()} == {
            "small": "small",
            "best": "small",
        }


@pytest.mark.parametrize("outcome", ["failed", "busy"])
def test_an_alias_costs_nobody_an_answer_while_its_first_model_fails(outcome: Any) -> None:
    """One request after the other, as few as they are, until the first model's engine is left alone, and ever after."""
    world = World([engine(1), engine(2, "large")], [FALLBACK])
    for _ in range(50):
        plan, tried = world.plan("best"), set()
        state = world.dispatcher.pick(plan)
        while state is None and plan.next_model():
            state = world.dispatcher.pick(plan)
        assert state is not None
        if state.id == 2:
            world.dispatcher.started(state, 1)
            world.dispatcher.ended(state, 1, outcome=outcome, plan=plan)
            tried.add(state.id)
            status = 503 if outcome == "busy" else 500
            assert world.dispatcher.retry(plan, tried, attempts=1, status=status) is not None
        world.now_s += 1.2


def test_a_list_of_models_has_the_alias_or_what_is_behind_it() -> None:
    world = World([engine(1), engine(2, "large")], [ALIAS])
    by_alias = replace(CALLER, models=frozenset({"chat"}))
    by_model = replace(CALLER, models=frozenset({"large"}))
    assert {model.model.name for model in world.plan("chat", by_alias).order} == {"small", "large"}
    assert {model.model.name for model in world.plan("chat", by_model).order} == {"large"}
    with pytest.raises(ModelNotFound, match=r"may use: chat$"):
        world.plan("large", by_alias)
    with pytest.raises(ModelNotFound, match=r"may use: none$"):
        world.plan("chat", replace(CALLER, models=frozenset()))


def test_an_organizations_own_alias_is_nobody_elses() -> None:
    world = World([engine(1), engine(2, "large")], [FALLBACK])
    with pytest.raises(ModelNotFound, match=r"may use: small, large$"):
        world.plan("best", replace(CALLER, org_id=2))
    assert list(world.dispatcher.usable(CALLER)) == ["small", "large", "best"]


def test_the_name_of_a_model_is_no_alias() -> None:
    taken = Alias(None, "small", [[{"model": "large", "weight": 1}]], 1)
    world = World([engine(1), engine(2, "large")], [taken])
    assert [model.model.name for model in world.plan("small").order] == ["small"]


def test_a_retry_needs_another_engine_or_a_short_pause_of_a_busy_one() -> None:
    world = World([engine(1), engine(2)])
    ask = world.dispatcher.retry
    plan = world.plan()
    assert ask(plan, {1}, attempts=1, status=400) is None
    assert ask(plan, {1}, attempts=3, status=500) is None
    retry = ask(plan, {1}, attempts=1, status=500)
    assert retry is not None
    assert (retry.pause_s, retry.same) == (0, False)
    assert ask(plan, {1, 2}, attempts=1, status=500) is None
    busy = ask(plan, {1, 2}, attempts=1, status=429, retry_after_s=2)
    assert busy is not None
    assert (busy.pause_s, busy.same) == (2, True)
    assert ask(plan, {1, 2}, attempts=1, status=429, retry_after_s=60) is None


@pytest.mark.parametrize("model", ["small", "large"])
@in_loop
async def test_a_request_whose_engine_dies_waits_for_one_that_is_full(model: str) -> None:
    """Of its model, or of the next one of its alias."""
    world = World([engine(1), engine(2, model, requests_at_once=1)], [TURNED])
    plan = world.plan("turned")
    world.dispatcher.started(world[2], 1)
    assert world.dispatcher.retry(plan, {1}, attempts=1, status=400) is None
    assert world.dispatcher.retry(plan, {1}, attempts=1, status=None) == Retry(0, same=False)
    world[1].failed(refused=True)
    waiting = asyncio.create_task(world.dispatcher.engine_for(plan, CALLER, 10, {1}))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    world.dispatcher.ended(world[2], 1, outcome="ok")
    assert (await waiting).id == 2
    world.dispatcher.started(world[2], 1)
    world.now_s += 1  # as long as a request may wait, and more
    assert world.dispatcher.retry(plan, {1}, attempts=2, status=None) is None


def test_which_statuses_are_worth_another_attempt() -> None:
    world = World([engine(1), engine(2)])
    found = set()
    for status in range(200, 600):
        world.now_s += 60  # in which the budget is whole again
        if world.dispatcher.retry(world.plan(), {1}, attempts=1, status=status) is not None:
            found.add(status)
    assert found == {401, 402, 408, 429, 500, 502, 503, 504, *range(520, 531)}


def test_retries_are_a_share_of_the_requests() -> None:
    world = World([engine(1), engine(2)])
    allowed = 0
    for _ in range(1000):
        plan = world.plan()
        world.now_s += 0.005
        allowed += world.dispatcher.retry(plan, {1}, attempts=1, status=None) is not None
    assert 150 <= allowed <= 200
    world.now_s += 60
    quiet = world.plan()
    answers = [world.dispatcher.retry(quiet, {1}, attempts=1, status=None) for _ in range(20)]
    assert sum(answer is not None for answer in answers) == 10


def test_a_providers_key_is_a_header_and_one_that_does_not_open_takes_the_engine_out(caplog: pytest.LogCaptureFixture) -> None:
    sealed = Sealer(["the key of another time"]).seal("sk-provider", "engine-1")
    hosted = engine(1, kind="openai", sealed_key=sealed)
    engines = EngineSet(
        Timeouts(1, 1, 1, 1), connections_max=5, health_interval_s=1, sealer=Sealer(["now", "the key of another time"])
    )
    engines.replace([hosted])
    assert engines.states[1].headers == b"authorization: Bearer sk-provider\r\n"
    assert "sk-provider" not in repr(engines.states[1].engine)
    assert caplog.text == "", "it can be opened"
    for sealer in (Sealer(["now"]), None):
        other = EngineSet(Timeouts(1, 1, 1, 1), connections_max=5, health_interval_s=1, sealer=sealer)
        other.replace([hosted])
        other.states[1].answered()
        assert not other.states[1].able(0.0)
        assert other.states[1].headers == b""
    assert "the key of an engine cannot be opened" in caplog.text


@in_loop
async def test_a_stopped_canary_is_written_down_once() -> None:
    world, written, was_written = World([engine(1), engine(2, canary_percent=20)]), [], asyncio.Event()

    async def stop(state: EngineState, why: str) -> None:
        written.append((state.id, why))
        was_written.set()

    for _ in range(60):
        for number, outcome in ((1, "ok"), (2, "failed")):
            world.dispatcher.started(world[number], 1)
            world.dispatcher.ended(world[number], 1, outcome=outcome)  # type: ignore[arg-type]
    task = asyncio.create_task(world.dispatcher.run(stop))
    await asyncio.wait_for(was_written.wait(), 5)
    world.now_s += 10
    await asyncio.sleep(0.2)
    task.cancel()
    assert written == [(2, "100.0% of its requests failed, of the others' 0.0%")]
    assert world.dispatcher.canaries_stopped == 1
    world.follow([engine(1), engine(2, canary_percent=20, version=2)])
    assert world.dispatcher.compare() == [], "a new version is a new trial"


@in_loop
async def test_a_database_that_hangs_while_a_canary_is_stopped_keeps_nobody_waiting() -> None:
    world, writes = World([engine(1), engine(2, canary_percent=20)], queue_s_max=60), asyncio.Event()

    async def hang(_state: EngineState, _why: str) -> None:
        writes.set()
        await asyncio.Event().wait()

    for _ in range(60):
        for number, outcome in ((1, "ok"), (2, "failed")):
            world.dispatcher.started(world[number], 1)
            world.dispatcher.ended(world[number], 1, outcome=outcome)  # type: ignore[arg-type]
    task = asyncio.create_task(world.dispatcher.run(hang))
    await asyncio.wait_for(writes.wait(), 5)
    world.dispatcher.started(world[1], 1)
    world.dispatcher.ended(world[1], 1, outcome="busy", retry_after_s=1)
    asked = asyncio.create_task(world.dispatcher.engine_for(world.plan(), CALLER, 1))
    await asyncio.sleep(0)
    assert not asked.done()
    world.now_s += 1.1
    assert (await asyncio.wait_for(asked, 5)).id == 1
    task.cancel()


def test_queues_and_health_outlive_a_change_of_the_catalogue() -> None:
    world = World([engine(1), engine(2)])
    world.fail(world[1])
    world.follow([engine(1, weight=5), engine(2)])
    assert world[1].breaker.is_open
    world.follow([replace(engine(1), base_url="http://127.0.0.1:99"), engine(2)])
    assert not world[1].breaker.is_open, "another address is another server"


def test_a_canary_that_is_only_busy_is_stopped() -> None:
    world = World([engine(1), engine(2, canary_percent=50)])
    for _ in range(REQUESTS_MIN):
        for number, outcome in ((1, "ok"), (2, "busy")):
            world.dispatcher.started(world[number], 1)
            world.dispatcher.ended(world[number], 1, outcome=outcome)  # type: ignore[arg-type]
    assert [state.id for state, _ in world.dispatcher.compare()] == [2]
