"""The breaker of one engine: opens when too many calls fail, tries again after growing pauses, and heals by itself. Pure."""

from collections.abc import Callable

WINDOW_S = 10.0  # failures of so long are counted; a longer window opens and forgets later
REQUESTS_MIN = 5  # in the window, before their share says anything
FAILED_SHARE = 0.5  # of them; an engine that fails half of its calls does more harm than a smaller set of engines
PAUSE_S = 1.0  # before the first try; it doubles with each that fails
PAUSE_S_MAX = 30.0  # so an engine that is well again is found within this time
TRY_S = 10.0  # a try that has not ended by then is no reason to keep everybody else out


class Window:
    """How many of the calls of the last seconds failed: two halves, of which the older one is dropped."""

    __slots__ = ("_failed", "_half_s", "_old_failed", "_old_total", "_total", "_until_s")

    def __init__(self, window_s: float) -> None:
        self._half_s = window_s / 2
        self._failed = self._total = self._old_failed = self._old_total = 0
        self._until_s = 0.0

    def add(self, now_s: float, *, failed: bool) -> None:
        """One more call."""
        if now_s >= self._until_s:
            self._turn(now_s)
        self._total += 1
        self._failed += failed

    def totals(self, now_s: float) -> tuple[int, int]:
        """(calls, calls that failed) of the window."""
        if now_s >= self._until_s:
            self._turn(now_s)
        return self._total + self._old_total, self._failed + self._old_failed

    def clear(self) -> None:
        """Nothing was counted."""
        self._failed = self._total = self._old_failed = self._old_total = 0

    def _turn(self, now_s: float) -> None:
        if now_s < self._until_s + self._half_s:
            self._old_failed, self._old_total = self._failed, self._total
            self._until_s += self._half_s
        else:
            self._old_failed = self._old_total = 0
            self._until_s = now_s + self._half_s
        self._failed = self._total = 0


class Breaker:
    """Closed: requests pass. Open: none does until a pause is over, then one at a time, until one succeeds.

    Times are seconds of a monotonic clock.
    """

    __slots__ = ("_closed_at_s", "_pause_s", "_tried", "_trying_until_s", "_window", "is_open", "retry_at_s")

    def __init__(self) -> None:
        self._window = Window(WINDOW_S)
        self._pause_s = PAUSE_S
        self._trying_until_s = 0.0
        self._tried = False
        """A try has begun since the breaker opened."""
        self._closed_at_s = float("-inf")
        self.is_open = False
        self.retry_at_s = 0.0

    def able(self, now_s: float) -> bool:
        """Whether a request may begin."""
        return not self.is_open or (now_s >= self.retry_at_s and now_s >= self._trying_until_s)

    def began(self, now_s: float) -> None:
        """A request begins while the breaker is open: it is the try, and the others wait for what becomes of it."""
        self._trying_until_s, self._tried = now_s + TRY_S, True

    def succeeded(self, now_s: float) -> None:
        """A call was answered."""
        if self.is_open:
            if not self._tried:
                return  # it began before the breaker opened, and says nothing about now
            self.is_open, self._closed_at_s, self._trying_until_s = False, now_s, 0.0
            self._window.clear()
        self._window.add(now_s, failed=False)

    def failed(self, now_s: float) -> None:
        """A call failed for a reason that is the engine's."""
        if self.is_open:
            if self._tried:
                self._open(now_s, min(self._pause_s * 2, PAUSE_S_MAX))
            return
        self._window.add(now_s, failed=True)
        total, failed = self._window.totals(now_s)
        if total >= REQUESTS_MIN and failed >= total * FAILED_SHARE:
            again = now_s - self._closed_at_s < WINDOW_S
            self._open(now_s, min(self._pause_s * 2, PAUSE_S_MAX) if again else PAUSE_S)

    def has_heard_nothing(self, now_s: float) -> bool:
        """Whether no call was answered in the last seconds: half of the window at least, and all of it at most."""
        total, failed = self._window.totals(now_s)
        return failed == total

    def abandoned(self) -> None:
        """A call ended without saying anything about the engine: it may have been the try, so another one may be it as well."""
        self._trying_until_s = 0.0

    def _open(self, now_s: float, pause_s: float) -> None:
        self.is_open, self._pause_s, self._trying_until_s, self._tried = True, pause_s, 0.0, False
        self.retry_at_s = now_s + pause_s


Clock = Callable[[], float]
"""Seconds of a monotonic clock."""
