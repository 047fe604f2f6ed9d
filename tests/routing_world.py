"""A dispatcher in front of engines that are well, with a clock and chance of its own."""

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from router.inference.auth import Caller
from router.inference.catalogue import Catalogue
from router.inference.engine_set import EngineSet, EngineState
from router.inference.routing import Dispatcher, Plan
from router.inference.upstream import Timeouts
from warehouse.access.catalogue import Alias, Engine, Model

CALLER = Caller(1, 1, 1, None, None, None, 0)
MODELS = [Model(number, name, 8192, 8192, datetime(2026, 1, 1, tzinfo=UTC)) for number, name in enumerate(("small", "large"), 1)]


def engine(number: int, model: str = "small", **fields: Any) -> Engine:
    kind, base_url = fields.pop("kind", "simulated"), fields.pop("base_url", f"http://127.0.0.1:{number}")
    return Engine(number, f"engine-{number}", kind, base_url, model, **fields)


class World:
    """A dispatcher with a clock and chance of its own, in front of engines that are well."""

    def __init__(
        self,
        engines: Sequence[Engine],
        aliases: Sequence[Alias] = (),
        seed: int = 0,
        queue_s_max: float = 0.2,
        models: Sequence[Model] = MODELS,
    ) -> None:
        self.now_s, self.models = 100.0, models
        self.set = EngineSet(Timeouts(1, 1, 1, 1), connections_max=1_000_000, health_interval_s=1)
        self.dispatcher = Dispatcher(self.set, clock=lambda: self.now_s, chance=random.Random(seed), queue_s_max=queue_s_max)
        self.follow(engines, aliases)

    def follow(self, engines: Sequence[Engine], aliases: Sequence[Alias] = ()) -> None:
        self.set.replace(engines)
        for state in self.set.states.values():
            state.answered()
        self.dispatcher.replace(Catalogue.of(self.models, engines, [], aliases))

    def __getitem__(self, number: int) -> EngineState:
        return self.set.states[number]

    def plan(self, name: str = "small", caller: Caller = CALLER, **about: Any) -> Plan:
        return self.dispatcher.plan(name, caller, **about)

    def pick(self, name: str = "small", tried: Sequence[int] = (), **about: Any) -> EngineState | None:
        return self.dispatcher.pick(self.plan(name, **about), tried)

    def begin(self, tokens: int = 100, **about: Any) -> EngineState:
        state = self.pick(**about)
        assert state is not None
        self.dispatcher.started(state, tokens)
        return state

    def fail(self, state: EngineState, times: int = 5) -> None:
        for _ in range(times):
            self.dispatcher.started(state, 1)
            self.dispatcher.ended(state, 1, outcome="failed")


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test that awaits, in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def inner() -> None:
            await test(*args, **kwargs)

        asyncio.run(inner())

    return run
