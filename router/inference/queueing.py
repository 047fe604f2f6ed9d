"""Who waits for an engine that is full: fair between organizations, bounded in number and in time.

Start-time fair queueing: an organization's requests stand one behind the other on a line of virtual time, each as long as
its tokens; whoever begins first on that line is next. Thus an organization that sends a thousand requests waits for its own.
"""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from warehouse.base.errors import InferhouseError

WAITING_MAX = 1000  # requests per model and worker, unless said otherwise
HEAP_SLACK = 64
RETRY_AFTER_S = 1
NONE: frozenset[int] = frozenset()


class QueueFull(InferhouseError):
    """Every engine is at its bound, and too many wait already. Nothing was charged."""

    status, code, type = 429, "queue_full", "rate_limit_error"


class QueueTimedOut(InferhouseError):
    """Every engine was at its bound for as long as a request may wait. Nothing was charged."""

    status, code, type = 503, "queue_timed_out", "server_error"


class Waiter:
    """One request that waits."""

    __slots__ = ("avoids", "cost", "future", "org_id")

    def __init__(self, org_id: int, cost: float, avoids: frozenset[int]) -> None:
        self.org_id, self.cost = org_id, cost
        self.avoids = avoids
        """Engines that have failed it: a place at one of them is no place for it."""
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class FairQueue:
    """The queue of one model."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._waiting_max = waiting_max
        self._heap: list[tuple[float, int, Waiter]] = []
        self._finish: dict[int, float] = {}
        self._of: dict[int, list[Waiter]] = {}
        self._virtual = 0.0
        self._numbers = count()
        self.waiting = 0
        self.willing = 0
        """Of those, who would take any place."""

    def join(self, org_id: int, tokens: int, weight: int = 1, avoids: frozenset[int] = NONE) -> Waiter:
        """Stand in line. Raises: QueueFull.

        A full queue makes room for whoever has fewer waiting, by sending away the newest of whoever has most.
        """
        if self.waiting >= self._waiting_max:
            self._make_room(org_id)
        if len(self._finish) > 2 * self._waiting_max:
            self._finish = {org: at for org, at in self._finish.items() if at > self._virtual or org in self._of}
        waiter = Waiter(org_id, max(tokens, 1) / weight, avoids)
        start = max(self._virtual, self._finish.get(org_id, 0.0))
        self._finish[org_id] = start + waiter.cost
        heapq.heappush(self._heap, (start, next(self._numbers), waiter))
        self._of.setdefault(org_id, []).append(waiter)
        self.waiting += 1
        self.willing += not avoids
        return waiter

    def call(self, suits: Callable[[frozenset[int]], bool] = lambda _: True) -> bool:
        """Let the next one go; False where nobody waits whom a place suits.

        Args: suits: whether one of the places that are free is not at an engine of these; asked only of who avoids any.
        """
        passed_over = []
        try:
            while self._heap:
                entry = heapq.heappop(self._heap)
                start, _, waiter = entry
                if waiter.future.done():
                    continue
                if waiter.avoids and not suits(waiter.avoids):
                    passed_over.append(entry)
                    continue
                self._virtual = max(self._virtual, start)
                self._remove(waiter)
                waiter.future.set_result(None)
                return True
            return False
        finally:
            for entry in passed_over:
                heapq.heappush(self._heap, entry)

    def leave(self, waiter: Waiter) -> bool:
        """It waits no longer; what it would have cost its organization is given back. False: it was called already."""
        if waiter not in self._of.get(waiter.org_id, ()):
            return False
        self._finish[waiter.org_id] -= waiter.cost
        waiter.future.cancel()
        self._remove(waiter)
        if len(self._heap) > 2 * self.waiting + HEAP_SLACK:
            self._heap = [entry for entry in self._heap if not entry[2].future.done()]
            heapq.heapify(self._heap)
        return True

    def _remove(self, waiter: Waiter) -> None:
        mine = self._of[waiter.org_id]
        mine.remove(waiter)
        self.waiting -= 1
        self.willing -= not waiter.avoids
        if not mine:
            del self._of[waiter.org_id]
            if self._finish[waiter.org_id] <= self._virtual:
                del self._finish[waiter.org_id]
        if not self.waiting:
            self._heap.clear()
            self._finish.clear()
            self._virtual = 0.0

    def _make_room(self, org_id: int) -> None:
        most = max(self._of, key=lambda org: len(self._of[org]))
        if len(self._of[most]) <= len(self._of.get(org_id, ())) + 1:
            raise QueueFull("too many requests wait for this model; try again in a moment", retry_after_s=RETRY_AFTER_S)
        newest = self._of[most][-1]
        error = QueueFull("too many of your requests wait for this model; try again in a moment", retry_after_s=RETRY_AFTER_S)
        self._finish[most] -= newest.cost
        newest.future.set_exception(error)
        self._remove(newest)
