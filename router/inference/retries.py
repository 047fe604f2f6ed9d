"""Which failure is worth another attempt, and how many of them there may be. Pure."""

from datetime import datetime
from email.utils import parsedate_to_datetime

from router.inference.breaker import Window

WINDOW_S = 10.0
RETRIES_SHARE = 0.2  # of the requests of the window: a fault of all engines makes at most a fifth more load
RETRIES_MIN = 10  # in the window, whatever the traffic: what fails until breakers have opened (5 calls) is tried again
ATTEMPTS_MAX = 3
RETRY_AFTER_S_MAX = 5.0  # an engine that asks for a longer pause is not waited for: the client is told instead
OURS = frozenset({401, 402})
"""About the key that the router has for the engine, or the account behind it: a client can mend nothing of that."""
RETRIABLE = OURS | {408, 429, 500, 502, 503, 504, 529}
"""What another engine, or the same one a little later, may answer differently; every other 4xx is the client's."""
BUSY = frozenset({429, 503, 529})
"""An engine that says so is no failure: it is asked again when it said."""


class RetryBudget:
    """Retries of one model in proportion to its requests."""

    __slots__ = ("_requests", "_retries")

    def __init__(self) -> None:
        self._requests, self._retries = Window(WINDOW_S), Window(WINDOW_S)

    def asked(self, now_s: float) -> None:
        """A request has come."""
        self._requests.add(now_s, failed=False)

    def take(self, now_s: float) -> bool:
        """Take one retry, if there is one left."""
        requests, retries = self._requests.totals(now_s)[0], self._retries.totals(now_s)[0]
        if retries >= max(RETRIES_MIN, int(requests * RETRIES_SHARE)):
            return False
        self._retries.add(now_s, failed=False)
        return True


def retry_after_s(value: bytes | None, at: datetime) -> float | None:
    """Seconds that a Retry-After header asks for at an instant, in either of its forms; None where it cannot be read."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value.decode("latin-1")) - at).total_seconds()
        except (ValueError, TypeError, OverflowError):  # no date, one without a zone, or with one that no clock shows
            return None
        return max(seconds, 0.0)
    return seconds if 0 <= seconds < float("inf") else None
