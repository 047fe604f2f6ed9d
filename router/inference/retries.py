"""Which failure is worth another attempt, and how many of them there may be. Pure."""

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

from router.inference.breaker import Window
from router.inference.shapes.engine_errors import error_in

WINDOW_S = 10.0
RETRIES_SHARE = 0.2  # of the requests of the window: a fault of all engines makes at most a fifth more load
RETRIES_MIN = 10  # in the window, whatever the traffic: what fails until breakers have opened (5 calls) is tried again
ATTEMPTS_MAX = 3
RETRY_AFTER_S_MAX = 5.0  # an engine that asks for a longer pause is not waited for: the client is told instead
OURS = frozenset({401, 402})
"""About the key that the router has for the engine, or the account behind it: a client can mend nothing of that."""
RETRIABLE = OURS | {408, 429, 500, 502, 503, 504, *range(520, 531)}
"""What another engine, or the same one a little later, may answer differently; every other 4xx is the client's.

520 to 530 are Cloudflare's, of what stands behind it, and Anthropic's 529.
"""
NOT_IMPLEMENTED = 501
"""vLLM's for what a request asks of a model that cannot do it: the client's to mend, as a 4xx."""
BUSY = frozenset({429, 503, 529})
"""An engine that says so is no failure: it is asked again when it said."""
NO_MODEL_CODE = "model_not_found"
NO_MODEL = re.compile(r"(the )?model:? \S+( does not exist| not found|$)", re.IGNORECASE)
"""How the message of an engine begins that does not have the model: vLLM, SGLang, Ollama, Anthropic's API."""


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


def lacks_model(status: int, body: bytes) -> bool:
    """Whether an engine says that it does not have the model. By which name it is asked for is the router's to know.

    Only what a client cannot write decides: an id of its own that is not found is repeated in the message, too.
    """
    if status not in (400, 403, 404) or (told := error_in(body)) is None:
        return False
    if told.code == NO_MODEL_CODE:
        return True
    says_so = told.param == "model" or (isinstance(told.message, str) and NO_MODEL.match(told.message) is not None)
    return status == 404 and says_so
