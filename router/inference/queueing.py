"""Who waits for an engine that is full: fair between organizations, bounded in number and in time.

Start-time fair queueing: an organization's requests stand one behind the other on a line of virtual time, each as long as
its tokens; whoever begins first on that line is next. Thus an organization that sends a thousand requests waits for its own.
Where one begins is known when it is called: whoever stood before it may have left.
"""

import asyncio
from collections.abc import Callable, Collection

from warehouse.base.errors import InferhouseError

WAITING_MAX = 1000  # requests per model and worker, unless said otherwise
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

    __slots__ = ("avoids", "cost", "further", "future", "org_id")

    def __init__(self, org_id: int, cost: float, avoids: frozenset[int], further: Collection[object]) -> None:
        self.org_id, self.cost = org_id, cost
        self.avoids = avoids
        """Engines that have failed it: a place at one of them is no place for it."""
        self.further = further
        """Other models that it would take a place of as well."""
        self.future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        """Done when it is called: which of these has the place, or None where it is the queue's own."""


class FairQueue:
    """The queue of one model."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._waiting_max = waiting_max
        self._lines: dict[int, list[Waiter]] = {}
        """{organization: who waits of it, in the order they came}"""
        self._begins: dict[int, float] = {}
        """{organization: where its next request begins}; kept without a line while others have not come so far."""
        self._virtual = 0.0
        self.waiting = 0
        self.willing = 0
        """Of those, who would take any place."""

    def join(
        self, org_id: int, tokens: int, weight: int = 1, avoids: frozenset[int] = NONE, further: Collection[object] = ()
    ) -> Waiter:
        """Stand in line. Raises: QueueFull.

        A full queue makes room for whoever has fewer waiting, by sending away the newest of whoever has most.
        """
        if self.waiting >= self._waiting_max:
            self._make_room(org_id)
        if len(self._begins) > 2 * self._waiting_max:
            self._begins = {org: at for org, at in self._begins.items() if at > self._virtual or org in self._lines}
        waiter = Waiter(org_id, max(tokens, 1) / weight, avoids, further)
        if org_id not in self._lines:
            self._lines[org_id] = []
            self._begins[org_id] = max(self._virtual, self._begins.get(org_id, 0.0))
        self._lines[org_id].append(waiter)
        self.waiting += 1
        self.willing += not avoids
        return waiter

    def call(self, suits: Callable[[frozenset[int]], bool] = lambda _: True, at: object = None) -> bool:
        """Let the next one go; False where nobody waits whom a place suits.

        Args: suits: whether one of the places that are free is not at an engine of these; asked only of who avoids any.
            at: the place is of this model, and only for those that have it among their further ones.
        """
        for org_id in sorted(self._lines, key=self._begins.__getitem__):
            for waiter in self._lines[org_id]:
                if waiter.future.done() or (at is not None and at not in waiter.further):
                    continue
                if waiter.avoids and not suits(waiter.avoids):
                    continue
                begin = self._begins[org_id]
                self._virtual = max(self._virtual, begin)
                self._begins[org_id] = begin + waiter.cost
                self._remove(waiter)
                waiter.future.set_result(at)
                return True
        return False

    def leave(self, waiter: Waiter) -> bool:
        """It waits no longer, and whoever stood behind it moves up. False: it was called already."""
        if waiter not in self._lines.get(waiter.org_id, ()):
            return False
        waiter.future.cancel()
        self._remove(waiter)
        return True

    def _remove(self, waiter: Waiter) -> None:
        mine = self._lines[waiter.org_id]
        mine.remove(waiter)
        self.waiting -= 1
        self.willing -= not waiter.avoids
        if not mine:
            del self._lines[waiter.org_id]
            if self._begins[waiter.org_id] <= self._virtual:
                del self._begins[waiter.org_id]
        if not self.waiting:
            self._begins.clear()
            self._virtual = 0.0

    def _make_room(self, org_id: int) -> None:
        most = max(self._lines, key=lambda org: len(self._lines[org]))
        if len(self._lines[most]) <= len(self._lines.get(org_id, ())) + 1:
            raise QueueFull("too many requests wait for this model; try again in a moment", retry_after_s=RETRY_AFTER_S)
        newest = self._lines[most][-1]
        error = QueueFull("too many of your requests wait for this model; try again in a moment", retry_after_s=RETRY_AFTER_S)
        newest.future.set_exception(error)
        self._remove(newest)
