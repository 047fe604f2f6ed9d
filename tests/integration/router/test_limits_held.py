"""Limits against an exact oracle: nothing is admitted that should not be, and nobody refused for whom there is room."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from router.inference.reservations.account import LIMITED, TAKEN, Hold
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.refusals import DIMENSIONS, RateLimited
from router.inference.reservations.reservations import Reservations
from tests.factories import Tenant, add_model, add_tenant
from tests.integration.router.reservations_world import Worker, add_limit, caller_of, worker
from warehouse.base.clock import now

WORKERS = 3
MINUTE_US = 60_000_000
RATES = (
    {"requests_per_minute": 600, "input_tokens_per_minute": 60_000},
    {"requests_per_minute": 900, "output_tokens_per_minute": 90_000, "requests_at_once": 12},
    {"input_tokens_per_minute": 45_000, "output_tokens_per_minute": 45_001, "requests_at_once": 7},
)


@dataclass
class Bucket:
    """One limit as the manual has it: buckets as large as the rate, refilled all the time, in exact fractions."""

    rates: dict[str, int]
    level: dict[str, Fraction] = field(default_factory=dict)
    at_us: int = 0
    running: int = 0

    def drain(self, at_us: int) -> None:
        """Let time pass."""
        for name, level in self.level.items():
            self.level[name] = max(level - Fraction((at_us - self.at_us) * self.rates[name], MINUTE_US), Fraction(0))
        self.at_us = at_us

    def has_room(self, wanted: dict[str, int]) -> bool:
        """Whether a request fits now."""
        if "requests_at_once" in self.rates and self.running >= self.rates["requests_at_once"]:
            return False
        return all(self.level.get(name, 0) + wanted[name] <= self.rates[name] for name in DIMENSIONS[:3] if name in self.rates)

    def add(self, wanted: dict[str, int]) -> None:
        """Take it, or with negative numbers give it back."""
        for name in DIMENSIONS[:3]:
            if name in self.rates:
                self.level[name] = max(self.level.get(name, Fraction(0)) + wanted[name], Fraction(0))


def wanted_of(hold: Hold) -> dict[str, int]:
    """What a request takes of each rate."""
    return dict(zip(DIMENSIONS[:3], (1, hold.input_tokens, hold.output_tokens), strict=True))


class World:
    """Several workers on one Redis, and the oracle beside them, which hears of each decision with the instant of it."""

    def __init__(self, tenants: list[Tenant], limits: dict[int, list[int]]) -> None:
        self.tenants = tenants
        self.buckets = {limit_id: Bucket(RATES[number]) for ids in limits.values() for number, limit_id in enumerate(ids)}
        self.decisions: list[tuple[int, Hold, Any]] = []
        self.holds: list[tuple[Worker, Hold]] = []
        self.workers: list[Worker] = []
        self.admitted = self.refused = self.wrongly_refused = 0

    def listen(self, reservations: Reservations) -> None:
        """Note every answer of Redis, before anybody acts on it."""
        answered = Reservations._answered.__get__(reservations)  # the class's: an earlier example has replaced its own

        def noting(hold: Hold, answer: Any) -> None:
            if answer[0] in (TAKEN, LIMITED):
                self.decisions.append((int(answer[3 if answer[0] == TAKEN else 4]), hold, answer))
            answered(hold, answer)

        reservations._answered = noting  # type: ignore[method-assign]

    async def claim(self, one: Worker, tenant: Tenant, input_tokens: int, output_tokens: int) -> None:
        """Ask for one request."""
        try:
            hold = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(input_tokens, output_tokens, 0))
        except RateLimited:
            return
        assert hold is not None
        self.holds.append((one, hold))

    def judge(self) -> None:
        """Go through the decisions in the order of their instants."""
        for at_us, hold, answer in sorted(self.decisions, key=lambda decision: decision[0]):
            buckets = [self.buckets[limit.id] for limit in hold.match.limits]
            for bucket in buckets:
                bucket.drain(at_us)
            fits = all(bucket.has_room(wanted_of(hold)) for bucket in buckets)
            if answer[0] == TAKEN:
                assert fits, "admitted without room"
                self.admitted += 1
                for bucket in buckets:
                    bucket.add(wanted_of(hold))
                    bucket.running += 1
            else:
                self.refused += 1
                self.wrongly_refused += fits
        self.decisions.clear()

    async def settle(self, number: int, share: float) -> None:
        """End one request, which has used a share of what it holds."""
        one, hold = self.holds.pop(number % len(self.holds))
        used = int(hold.input_tokens * share), int(hold.output_tokens * share)
        one.reservations.settle(hold, input_tokens=used[0], output_tokens=used[1])
        await one.reservations.accounts.line.ask("look", hold.account.org_id, 0)  # behind it on the same line: Redis has it now
        for limit in hold.match.limits:
            bucket = self.buckets[limit.id]
            back = {
                "requests_per_minute": 0,
                DIMENSIONS[1]: used[0] - hold.input_tokens,
                DIMENSIONS[2]: used[1] - hold.output_tokens,
            }
            bucket.add(back)
            bucket.running -= 1


@pytest.fixture
def world(
    db: psycopg.Connection, role_url: Callable[..., str], redis_url: str, tmp_path: Path
) -> Iterator[tuple[asyncio.Runner, Callable[[], World]]]:
    """A loop, and what makes a world with an organization of its own in it."""
    model = add_model(db, "model")
    db.commit()
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        url = role_url("inferhouse_router")
        workers = [
            runner.run(stack.enter_async_context(worker(url, redis_url, tmp_path / "journal", model))) for _ in range(WORKERS)
        ]

        def make() -> World:
            tenant = add_tenant(db)
            limits = {
                tenant.org_id: [
                    add_limit(db, tenant, **RATES[0]),
                    add_limit(db, tenant, **RATES[1], project_id=tenant.project_id),
                    add_limit(db, tenant, **RATES[2], api_key_id=tenant.api_key_id, model_id=model[0]),
                ]
            }
            made = World([tenant], limits)
            made.workers = workers
            for one in workers:
                made.listen(one.reservations)
            return made

        yield runner, make
        runner.run(stack.aclose())


def test_decisions_are_the_oracles(world: tuple[asyncio.Runner, Callable[[], World]]) -> None:
    runner, make = world
    totals = {"admitted": 0, "refused": 0, "wrongly": 0}
    workers, tokens = st.integers(0, WORKERS - 1), st.integers(0, 20_000)

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.world = make()

        @rule(one=workers, input_tokens=tokens, output_tokens=tokens)
        def claim(self, one: int, input_tokens: int, output_tokens: int) -> None:
            runner.run(self.world.claim(self.world.workers[one], self.world.tenants[0], input_tokens, output_tokens))

        @rule(many=st.lists(st.tuples(workers, tokens), min_size=2, max_size=30))
        def claim_at_once(self, many: list[tuple[int, int]]) -> None:
            async def all_of_them() -> None:
                tenant = self.world.tenants[0]
                await asyncio.gather(*(self.world.claim(self.world.workers[one], tenant, size, size // 2) for one, size in many))

            runner.run(all_of_them())

        @precondition(lambda self: self.world.holds)
        @rule(number=st.integers(0, 100), share=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
        def settle(self, number: int, share: float) -> None:
            self.world.judge()
            runner.run(self.world.settle(number, share))

        @rule(seconds=st.sampled_from([0.0, 0.01, 0.05]))
        def wait(self, seconds: float) -> None:
            runner.run(asyncio.sleep(seconds))

        @invariant()
        def nothing_is_admitted_without_room(self) -> None:
            self.world.judge()

        def teardown(self) -> None:
            while self.world.holds:
                runner.run(self.world.settle(0, 1.0))
            totals["admitted"] += self.world.admitted
            totals["refused"] += self.world.refused
            totals["wrongly"] += self.world.wrongly_refused

    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)),
    )
    print(totals)
    assert totals["admitted"] > 200
    assert totals["refused"] > 200
    assert totals["wrongly"] <= 0.005 * (totals["admitted"] + totals["refused"])


def test_a_refusal_says_to_the_millisecond_when_there_is_room(
    world: tuple[asyncio.Runner, Callable[[], World]], redis_url: str
) -> None:
    runner, make = world
    made = make()

    async def ask() -> None:
        one, tenant = made.workers[0], made.tenants[0]
        for _ in range(4):
            await made.claim(one, tenant, 11_000, 0)
        with pytest.raises(RateLimited) as refused:
            await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(2_000, 0, 0))
        wait_ms = refused.value.details["retry_after_ms"]
        assert 0 < wait_ms <= 1400
        await asyncio.sleep(wait_ms / 1000)
        await one.reservations.reserve(caller_of(tenant), one.model_id, now(), Bounds(2_000, 0, 0))

    runner.run(ask())
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() < 50
