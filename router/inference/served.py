"""One model that is served: its engines, who waits for them, and how many retries it has left."""

from functools import partial

from router.inference.canary import Trial
from router.inference.engine_set import EngineState
from router.inference.queueing import FairQueue
from router.inference.retries import RetryBudget
from warehouse.access.catalogue import Model


class Served:
    """A model and its engines, of which those on trial stand apart. Lives as long as the model is served."""

    __slots__ = ("canaries", "engines", "granted", "model", "plain", "queue", "retries", "same_weights", "wanted")

    def __init__(self, model: Model, waiting_max: int) -> None:
        self.model = model
        self.engines: tuple[EngineState, ...] = ()
        self.plain: tuple[EngineState, ...] = ()
        self.canaries: tuple[EngineState, ...] = ()
        self.same_weights = True
        self.queue = FairQueue(waiting_max)
        self.granted = 0
        """Requests that were called from the queue and have not begun yet: their places are taken."""
        self.wanted = 0
        """Requests in the queues of other models that would take a place here as well."""
        self.retries = RetryBudget()

    def follow(self, model: Model, engines: tuple[EngineState, ...]) -> None:
        """The model and its engines are these now."""
        self.model, self.engines = model, engines
        self.canaries = tuple(state for state in engines if state.canary_percent is not None)
        self.plain = tuple(state for state in engines if state.canary_percent is None)
        self.same_weights = len({state.weight for state in self.plain if state.weight}) <= 1
        for state in engines:
            if not self.canaries:
                state.trial = None
            elif state.trial is None:
                state.trial = Trial()

    @property
    def is_in_use(self) -> bool:
        """Whether it has an engine that will be asked when it is well and has room."""
        return any(state.weight and state.canary_percent != 0 for state in self.engines)

    def free(self, now_s: float) -> int:
        """How many more requests may begin, beside those that were called."""
        return sum(state.places(now_s) for state in self.engines if state.canary_percent != 0) - self.granted

    def let_in(self, now_s: float, until_s: float) -> None:
        """Call those who wait to the places that there are for them."""
        free = self.free(now_s) if self.queue.waiting else 0
        if free <= 0 and self.queue.waiting and not self.granted:
            free = self.last_places(now_s, until_s)
        suits = partial(self._has_place_beside, now_s, until_s)
        while free > 0 and self.queue.call(suits):
            self.granted += 1
            free -= 1

    def let_in_from(self, queue: FairQueue, now_s: float, until_s: float) -> None:
        """Call those who wait in the queue of a model that this one stands in for, to places that nobody here waits for."""
        free = self.free(now_s)
        suits = partial(self._has_place_beside, now_s, until_s)
        while free > 0 and queue.call(suits, self):
            self.granted += 1
            free -= 1

    def _has_place_beside(self, now_s: float, until_s: float, avoided: frozenset[int]) -> bool:
        """Whether another engine than these has a place; or none of the others is worth waiting for until then."""
        others = [state for state in self.engines if state.id not in avoided and state.canary_percent != 0]
        if places := sum(state.places(now_s) for state in others):
            return places > self.granted
        return not any(state.only_full(now_s, until_s) for state in others)

    def last_places(self, now_s: float, until_s: float) -> int:
        """How many of those who wait are to be called although no engine is able: as many as find a place where only breakers
        keep them out; or all, where nothing is worth waiting for until then."""
        if any(state.able(now_s) or state.only_full(now_s, until_s) for state in self.engines if state.canary_percent != 0):
            return 0
        left = [state for state in self.engines if state.worth_asking(until_s)]
        if not left:
            return self.queue.waiting
        return sum(max(state.bound - state.requests, 0) for state in left if state.busy_until_s <= now_s)
