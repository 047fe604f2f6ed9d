"""Which model and which engine get a request. One dispatcher per worker; it knows nothing of HTTP, and opens no connection.

A request: `plan` once, then for each attempt `engine_for`, `started` before anything is awaited, `answered` with the first
byte, `ended` whatever happened, and after a failure `retry`. `run` beside them all.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Literal

from router.inference.admission import MODEL_CHARACTERS_MAX, plain
from router.inference.affinity import SESSION, Affinity, key_of, mixed
from router.inference.aliases import MODELS_NAMED_MAX, Route, route_of
from router.inference.auth import Caller
from router.inference.breaker import Clock
from router.inference.canary import Took, verdict
from router.inference.catalogue import Catalogue
from router.inference.engine_set import BUSY_S, EngineSet, EngineState
from router.inference.queueing import NONE, WAITING_MAX, QueueTimedOut, Waiter
from router.inference.queueing import RETRY_AFTER_S as QUEUE_RETRY_AFTER_S
from router.inference.retries import ATTEMPTS_MAX, BUSY, RETRIABLE, RETRY_AFTER_S_MAX
from router.inference.served import Served
from warehouse.access.catalogue import Model
from warehouse.base.errors import EngineUnavailable, ModelNotFound, NotReady

_LOG = logging.getLogger(__name__)
ROUTES_MAX = 10_000  # kinds of callers x names whose routes are remembered; above it they are decided anew
QUEUE_S_MAX = 10.0
RETRY_AFTER_S = 5  # an engine is probed every second, and one that restarts takes longer than that to load
TICK_S = 0.1
COMPARE_S = 1.0  # between two looks at canaries
Outcome = Literal["ok", "failed", "busy", "gone"]
"""What a call says of its engine. `ok`: it answered, with a 4xx too. `busy`: 429 or 503. `gone`: nothing, the client left.
`failed`: that it has, or that it was silent to everybody for long, and its client left."""


class Plan:
    """The models that one request may be answered by, in order, and how far it has come."""

    __slots__ = ("at", "avoids", "called", "deadline_s", "full", "key", "name", "order")

    def __init__(self, name: str, order: tuple[Served, ...], key: int) -> None:
        self.name, self.order, self.key = name, order, key
        self.at = 0
        self.full: Served | None = None
        """The first model that would have had an engine, were it not full."""
        self.called: Served | None = None
        """The model whose queue has called this request: a place is kept for it until `pick`."""
        self.deadline_s = 0.0
        self.avoids = NONE
        """Engines that live and have failed it: in the queue it waits for others."""

    @property
    def model(self) -> Model:
        """The model of the next attempt; after `engine_for`, of the engine that it found."""
        return self.order[self.at].model

    def next_model(self) -> bool:
        """Go on to the next model. False: there is none."""
        there_is = self.at + 1 < len(self.order)
        self.at += there_is
        return there_is

    def larger(self) -> tuple[Served, ...]:
        """The models with more context than this one: further ones, and those before it that were full, down or have failed."""
        context = self.model.context_tokens_max
        return tuple(served for served in self.order if served.model.context_tokens_max > context and served.is_in_use)

    def go_to(self, models: tuple[Served, ...]) -> None:
        """Go on with these models, and with no others any more."""
        self.order, self.at = models, 0

    def has_passed(self, served: Served) -> bool:
        """Whether it stands before the present model."""
        return self.order.index(served) < self.at


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt, after a pause. `same`: of an engine that was asked already, so forget which were tried."""

    pause_s: float
    same: bool


class Dispatcher:
    """What one worker knows of its engines' load, and who is next."""

    def __init__(
        self,
        engines: EngineSet,
        *,
        queue_max: int = WAITING_MAX,
        queue_s_max: float = QUEUE_S_MAX,
        clock: Clock = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._engines, self._queue_max, self._queue_s_max = engines, queue_max, queue_s_max
        self._clock, self._chance = clock, chance or random.Random()
        self._catalogue = Catalogue()
        self._read = False
        self._served: dict[str, Served] = {}
        self._routes: dict[tuple[str, int, frozenset[str] | None], Route] = {}
        self.affinity = Affinity()
        self.waiting = 0
        """Requests in all queues."""
        self.canaries_stopped = 0

    def replace(self, catalogue: Catalogue) -> None:
        """The catalogue is this now; call `EngineSet.replace` before. Who waits and what is under way stays."""
        self._read = True
        before, self._served, self._catalogue = self._served, {}, catalogue
        states = self._engines.states
        for name, model in catalogue.models.items():
            mine = tuple(states[engine.id] for engine in catalogue.engines.get(name, ()) if engine.id in states)
            if mine:
                served = self._served[name] = before.get(name) or Served(model, self._queue_max)
                served.follow(model, mine)
        for name in before.keys() - self._served.keys():
            before[name].follow(before[name].model, ())  # plans find nothing there any more, and who waits goes on
            self._let_in(before[name], self._clock())
        self._routes.clear()

    def plan(self, name: str, caller: Caller, session: str | None = None, prefix: bytes = b"") -> Plan:
        """Where a request may go. Args: prefix: the beginning of its prompt. Raises: ModelNotFound, NotReady."""
        known = (name, caller.org_id, caller.models)
        route = self._routes.get(known) or self._decide(known)
        order = route.fixed or route.order(self._chance)
        order[0].retries.asked(self._clock())
        return Plan(name, order, key_of(caller.org_id, session, prefix) if session or prefix else 0)

    def _decide(self, known: tuple[str, int, frozenset[str] | None]) -> Route:
        if not self._read:  # just started: that it knows no model says nothing about the models
            raise NotReady("the catalogue has not been read yet; GET /health/ready says why", retry_after_s=1)
        name, org_id, models = known
        route = route_of(self._catalogue, self._served.get, name, org_id, models)
        if route is None:
            usable = [other for other in self._catalogue.names_of(org_id) if self._usable(other, org_id, models)]
            named = ", ".join(usable[:MODELS_NAMED_MAX]) or "none"
            asked = plain(name, MODEL_CHARACTERS_MAX)
            raise ModelNotFound(f"there is no model {asked!r} for this key; it may use: {named}", param="model")
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        self._routes[known] = route
        return route

    def _usable(self, name: str, org_id: int, models: frozenset[str] | None) -> bool:
        return route_of(self._catalogue, self._served.get, name, org_id, models) is not None

    def usable(self, caller: Caller) -> dict[str, Model]:
        """{name that a caller may use: the model it stands for}, for GET /v1/models: models, then aliases.

        Only what an engine serves now; an alias stands for the first of its models that one does.
        """
        found = {}
        for name in self._catalogue.names_of(caller.org_id):
            route = route_of(self._catalogue, self._served.get, name, caller.org_id, caller.models)
            behind = [served for stage in route.stages for served in stage.served] if route else []
            alive = next((served for served in behind if any(state.worth_asking(math.inf) for state in served.engines)), None)
            if alive is not None:
                found[name] = alive.model
        return found

    def pick(self, plan: Plan, tried: Collection[int] = ()) -> EngineState | None:
        """The engine for the plan's present model. None: nobody can; `plan.full` says where waiting helps."""
        served = plan.order[plan.at]
        if plan.called is not None:
            plan.called.granted -= 1
            plan.called, tried = None, ()  # the place that was kept may be at an engine that it has tried
            if plan.avoids and self._any_able((served,), self._clock(), plan.avoids):
                tried = plan.avoids
        elif (served.queue.willing or served.granted) and not tried:
            plan.full = plan.full or served  # others came before
            return None
        now_s = self._clock()
        if served.canaries and (chosen := self._on_trial(served, plan.key, now_s, tried)) is not None:
            return chosen
        if served.same_weights and not plan.key and len(served.plain) > 1:
            one, other = self._two(served.plain)
            if one.able(now_s) and other.able(now_s) and one.id not in tried and other.id not in tried:
                return one if one.tokens <= other.tokens else other
        able = [state for state in served.plain if state.able(now_s) and state.id not in tried]
        if not able:
            return self._last_resort(served, plan, now_s, tried)
        if plan.key:
            return self._near(served, plan.key, able)
        return able[0] if len(able) == 1 else self._less_loaded(served, able)

    def _near(self, served: Served, key: int, able: Sequence[EngineState]) -> EngineState:
        """Where the cache is; a request that is sent away for the load leaves its home where it was."""
        home = self.affinity.choose(served.model.name, key, able)
        if home is None:
            return self._less_loaded(served, able)
        self.affinity.note(served.model.name, key, home.id)
        return home

    def _less_loaded(self, served: Served, able: Sequence[EngineState]) -> EngineState:
        """Of two engines by chance, the one with fewer tokens under way for its weight."""
        if served.same_weights:
            one, other = self._two(able)
            return one if one.tokens <= other.tokens else other
        one, other = self._chance.choices(able, [state.weight for state in able], k=2)
        return one if one.tokens * other.weight <= other.tokens * one.weight else other

    def _two(self, able: Sequence[EngineState]) -> tuple[EngineState, EngineState]:
        """Two different ones of at least two, by chance and in an order by chance."""
        chance, count = self._chance.random, len(able)
        first = int(chance() * count)
        return able[first], able[(first + 1 + int(chance() * (count - 1))) % count]

    def _on_trial(self, served: Served, key: int, now_s: float, tried: Collection[int]) -> EngineState | None:
        """The canary whose share this request is of; a session stays on its side.

        What requests only begin with decides nothing: where an application says the same before each, all would be on one side.
        """
        draw = mixed(key) % 10_000 / 100 if key & SESSION else self._chance.random() * 100
        for state in served.canaries:
            draw -= state.canary_percent or 0
            if draw < 0:
                return state if state.able(now_s) and state.id not in tried else None
        return None

    def _last_resort(self, served: Served, plan: Plan, now_s: float, tried: Collection[int]) -> EngineState | None:
        """No plain engine is able: a canary that is; or, where no further model has one that is, the least bad of those that
        only their breakers keep out.

        Whatever `Served.free` and `Served.last_places` count is found here: a request that was called for a place must get
        it, or it would be called again at once, for ever.
        """
        left = [state for state in served.engines if state.id not in tried and state.canary_percent != 0]
        for state in left:
            if state.able(now_s):
                return state
        until_s = plan.deadline_s or now_s + self._queue_s_max
        if any(state.only_full(now_s, until_s) for state in left):
            plan.full = plan.full or served
            return None
        if self._any_able(plan.order[plan.at + 1 :], now_s, tried):
            return None
        left = [state for state in left if state.worth_asking(until_s)]
        worst = [state for state in left if state.requests < state.bound and state.busy_until_s <= now_s]
        if left and not worst:
            plan.full = plan.full or served
        return min(worst, key=lambda state: state.breaker.retry_at_s, default=None)

    @staticmethod
    def _any_able(models: Sequence[Served], now_s: float, tried: Collection[int]) -> bool:
        return any(
            state.id not in tried and state.canary_percent != 0 and state.able(now_s)
            for served in models
            for state in served.engines
        )

    @staticmethod
    def _any_full(models: Sequence[Served], now_s: float, until_s: float, tried: Collection[int]) -> bool:
        """Whether there is one to wait for in a queue, and time for it."""
        return now_s < until_s and any(
            state.id not in tried and state.canary_percent != 0 and state.only_full(now_s, until_s)
            for served in models
            for state in served.engines
        )

    async def engine_for(
        self,
        plan: Plan,
        caller: Caller,
        tokens: int,
        tried: Collection[int] = (),
        weight: int = 1,
        *,
        left_s: float = math.inf,
    ) -> EngineState:
        """An engine of the first model that has one; where all are full, the turn in the queue of the first that is.

        Args: left_s: of the request's whole time; it waits no longer.
        Raises: EngineUnavailable, QueueFull, QueueTimedOut.
        """
        while True:
            state = self.pick(plan, tried)
            while state is None and plan.next_model():
                state = self.pick(plan, tried)
            if state is not None:
                plan.full = None
                return state
            await self._wait_for_slot(plan, caller, tokens, weight, left_s)

    async def _wait_for_slot(self, plan: Plan, caller: Caller, tokens: int, weight: int, left_s: float) -> None:
        """Wait for a place at an engine of `plan.full`, or one that nobody waits for at a further model; call `pick` right after.

        Raises: as `engine_for`.
        Args: tokens: how long the request stands on its organization's line.  weight: of the organization.
        """
        served, now_s = plan.full, self._clock()
        if served is None:
            wait_s = self._retry_after_s(plan, now_s)
            raise EngineUnavailable(f"no healthy engine serves {plan.name!r} now; try again in {wait_s} s", retry_after_s=wait_s)
        if left_s <= 0:
            message = f"every engine of {plan.name!r} is full, and the request has used up its time; try again in a moment"
            raise QueueTimedOut(message, retry_after_s=QUEUE_RETRY_AFTER_S)
        wait_s_max = min(self._queue_s_max, left_s)
        plan.deadline_s = plan.deadline_s or now_s + wait_s_max
        further = plan.order[plan.order.index(served) + 1 :]
        waiter = served.queue.join(caller.org_id, tokens, weight, plan.avoids, further)
        self.waiting += 1
        for other in further:
            other.wanted += 1
        try:
            self._let_in(served, now_s)
            async with asyncio.timeout(max(plan.deadline_s - now_s, 0)):
                await waiter.future
        except BaseException as error:
            if not served.queue.leave(waiter) and not waiter.future.cancelled() and waiter.future.exception() is None:
                called = self._called(waiter, served, further)
                called.granted -= 1  # called, and gone all the same: the place is the next one's
                self._let_in(called, self._clock())
            if isinstance(error, TimeoutError):
                message = f"every engine of {plan.name!r} was full for {wait_s_max:.3g} s; try again in a moment"
                raise QueueTimedOut(message, retry_after_s=QUEUE_RETRY_AFTER_S) from error
            raise
        finally:
            self.waiting -= 1
            for other in further:
                other.wanted -= 1
        plan.called, plan.full = self._called(waiter, served, further), None
        plan.at = plan.order.index(plan.called)

    @staticmethod
    def _called(waiter: Waiter, served: Served, further: Sequence[Served]) -> Served:
        """Which model has the place that it was called for."""
        return next((other for other in further if other is waiter.future.result()), served)

    @staticmethod
    def _retry_after_s(plan: Plan, now_s: float) -> int:
        """Until an engine is asked again that has said it is busy for longer than a request waits."""
        states = [state for served in plan.order for state in served.engines]
        busy_s = [state.busy_until_s - now_s for state in states if state.only_full(now_s, float("inf"))]
        return max(math.ceil(min(busy_s, default=0)), RETRY_AFTER_S)

    def _let_in(self, served: Served, now_s: float) -> None:
        until_s = now_s + self._queue_s_max
        served.let_in(now_s, until_s)
        if served.wanted:
            for other in self._served.values():
                if other.queue.waiting and other is not served:
                    served.let_in_from(other.queue, now_s, until_s)

    def started(self, engine: EngineState, tokens: int) -> None:
        """The engine has one more request; call it before anything is awaited. Args: tokens: of the prompt, about."""
        engine.requests += 1
        engine.tokens += tokens
        if engine.breaker.is_open:
            engine.breaker.began(self._clock())

    def answered(self, engine: EngineState) -> None:
        """The answer, a good one, has begun: a breaker need not wait for the end of a long stream to close."""
        if engine.breaker.is_open:
            engine.breaker.succeeded(self._clock())

    def ended(
        self,
        engine: EngineState,
        tokens: int,
        *,
        outcome: Outcome,
        took: Took | None = None,
        retry_after_s: float | None = None,
        plan: Plan | None = None,
    ) -> None:
        """The request is over at this engine. Args: tokens: as they were told to `started`.  took: where the engine has a
        trial.  plan: whose cache was there."""
        engine.requests -= 1
        engine.tokens -= tokens
        if outcome == "ok":
            engine.breaker.succeeded(self._clock())
            engine.pause_s = 0.0
        elif outcome == "failed":
            engine.breaker.failed(self._clock())
            if plan is not None and plan.key:
                self.affinity.forget(engine.engine.model, plan.key, engine.id)
        else:
            engine.breaker.abandoned()
            if outcome == "busy":
                engine.leave_alone(self._clock(), retry_after_s)
        if engine.trial is not None:
            if outcome != "gone":
                engine.trial.add(failed=outcome == "failed", busy=outcome == "busy", took=took or Took())
            elif took is not None:
                engine.trial.note(took)
        if self.waiting and (served := self._served.get(engine.engine.model)) is not None:
            self._let_in(served, self._clock())

    def retry(
        self,
        plan: Plan,
        tried: Collection[int],
        *,
        attempts: int,
        status: int | None,
        retry_after_s: float | None = None,
    ) -> Retry | None:
        """Whether a failed attempt is made again, and when. None: the client is told of the failure.

        Args: status: of the engine's answer, or what it comes to; None where the connection broke.
        """
        if attempts >= ATTEMPTS_MAX or (status is not None and status not in RETRIABLE):
            return None
        now_s = self._clock()
        left = plan.order[plan.at :]
        until_s = plan.deadline_s or now_s + self._queue_s_max
        plan.avoids = NONE
        another = self._any_able(left, now_s, tried)
        if not another and self._any_full(left, now_s, until_s, tried):
            another = True
            if status not in BUSY:  # who has asked for a pause has no place for anybody until then
                plan.avoids = frozenset(tried)
        pause_s = 0.0
        if not another:
            pause_s = BUSY_S if retry_after_s is None else retry_after_s
            if status not in BUSY or pause_s > RETRY_AFTER_S_MAX:
                return None
        if not plan.order[0].retries.take(now_s):
            return None
        return Retry(pause_s, not another)

    async def run(self, stop_canary: Callable[[EngineState, str], Coroutine[None, None, None]]) -> None:
        """Call who waits when a place is free for another reason than an end, and watch canaries.

        Args: stop_canary: writes it down for every router, and nobody waits for it; what it raises ends this task.
        """
        compare_s = 0.0
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(TICK_S)
                now_s = self._clock()
                if self.waiting:
                    for served in self._served.values():
                        self._let_in(served, now_s)
                if now_s >= compare_s:
                    compare_s = now_s + COMPARE_S
                    for state, why in self.compare():
                        group.create_task(stop_canary(state, why))

    def compare(self) -> list[tuple[EngineState, str]]:
        """Stop the canaries that are worse than the others, and say which and why."""
        stopped = []
        for served in self._served.values():
            others = [state.trial for state in served.plain if state.trial is not None]
            for state in served.canaries:
                if state.canary_percent and state.trial is not None and (why := verdict(state.trial, others)) is not None:
                    state.canary_percent = 0
                    self.canaries_stopped += 1
                    _LOG.warning("a canary was stopped", extra={"engine": state.engine.name, "why": why})
                    stopped.append((state, why))
        return stopped
