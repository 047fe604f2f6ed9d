"""Places for sequences, and the pace at which a sequence gets its tokens."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from engines.simulated.errors import Overloaded
from engines.simulated.ledger import Entry
from engines.simulated.metrics import Metrics

# Without a pace, others get a turn after this many steps: about 1 ms.
STEPS_PER_TURN = 128


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds to the first token, and between tokens."""

    first_s: float
    between_s: float


class Place:
    """A running sequence. Every token is counted in the metrics and in the ledger in the same step."""

    def __init__(self, entry: Entry, metrics: Metrics, pace: Pace, arrived: float) -> None:
        self._entry = entry
        self._metrics = metrics
        self._pace = pace
        self._arrived = arrived
        self._due = monotonic() + pace.first_s
        self._steps = 0

    async def prefill(self, prompt_tokens: int, cached_tokens: int) -> None:
        """Wait for the first token to be due; from then on the prompt counts as processed."""
        await self._wait()
        self._metrics.first_token.observe(monotonic() - self._arrived)
        self._metrics.prompt_tokens += prompt_tokens
        self._metrics.cached_tokens += cached_tokens
        self._metrics.held_tokens += prompt_tokens
        self._entry.prompt_tokens = prompt_tokens
        self._entry.cached_tokens = cached_tokens

    async def generate(self, tokens: int, *, steps: int) -> None:
        """Wait until `tokens` more are due, `steps` after the last ones, and count them.

        Choices of one call are generated side by side, so tokens may be more than steps. The first come at once.
        """
        if self._entry.completion_tokens:
            self._due += steps * self._pace.between_s
            await self._wait()
        self._metrics.generation_tokens += tokens
        self._metrics.held_tokens += tokens
        self._entry.completion_tokens += tokens

    async def stall(self, seconds: float) -> None:
        """Do nothing for a while; what follows is late by as much."""
        self._due += seconds
        await asyncio.sleep(seconds)

    async def _wait(self) -> None:
        self._steps += 1
        late = monotonic() - self._due
        if late < 0:
            await asyncio.sleep(-late)
        elif self._steps % STEPS_PER_TURN == 0:
            await asyncio.sleep(0)


class Scheduler:
    """At most `sequences_max` run; at most `queue_max` wait, first come first served."""

    def __init__(self, metrics: Metrics, *, sequences_max: int, queue_max: int) -> None:
        self._metrics = metrics
        self._sequences_max = sequences_max
        self._queue_max = queue_max
        self._queue: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def place(self, entry: Entry, pace: Pace) -> AsyncIterator[Place]:
        """A place for the length of the block, however it ends.

        Raises: Overloaded: the queue is full.
        """
        arrived = monotonic()
        await self._enter()
        self._metrics.queue.observe(monotonic() - arrived)
        try:
            yield Place(entry, self._metrics, pace, arrived)
        finally:
            self._metrics.held_tokens -= entry.prompt_tokens + entry.completion_tokens
            self._metrics.request.observe(monotonic() - arrived)
            self._leave()

    async def _enter(self) -> None:
        if self._metrics.running < self._sequences_max and not self._queue:
            self._metrics.running += 1
            return
        if len(self._queue) >= self._queue_max:
            raise Overloaded(len(self._queue))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._metrics.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # the place came in the same moment as the end; pass it on
            else:
                self._queue.remove(turn)
                self._metrics.waiting -= 1
            raise

    def _leave(self) -> None:
        if self._queue:
            self._queue.popleft().set_result(None)  # the place goes from hand to hand: `running` stays as it is
            self._metrics.waiting -= 1
        else:
            self._metrics.running -= 1
