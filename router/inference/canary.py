"""Whether an engine on trial is worse than the others of its model. Pure."""

from collections import deque
from collections.abc import Iterable
from statistics import median

REQUESTS_MIN = 50  # of the canary and of the others, before they are compared
SAMPLES_MAX = 256  # first-byte times kept of each engine
COUNTED_MAX = 2000  # requests of an engine; older ones then count half, so that an old good time hides no new bad one
FAILED_SHARE_MARGIN = 0.05  # above the others' share of failures, and
FAILED_TIMES = 2.0  # times theirs
FIRST_BYTE_TIMES = 1.5  # times the others' median, and
FIRST_BYTE_S_MARGIN = 0.05  # seconds above it: of two short times the ratio says little


class Trial:
    """What became of the requests of one engine since its version was made."""

    __slots__ = ("failed", "first_bytes_s", "requests")

    def __init__(self) -> None:
        self.requests = self.failed = 0
        self.first_bytes_s: deque[float] = deque(maxlen=SAMPLES_MAX)

    def add(self, *, failed: bool, first_byte_s: float | None) -> None:
        """One request has ended."""
        self.requests += 1
        self.failed += failed
        if first_byte_s is not None:
            self.first_bytes_s.append(first_byte_s)
        if self.requests >= COUNTED_MAX:
            self.requests //= 2
            self.failed //= 2


def verdict(canary: Trial, others: Iterable[Trial]) -> str | None:
    """Why the canary is worse than the others, in words; None while it is not, or too little is known."""
    known = list(others)
    requests, failed = sum(trial.requests for trial in known), sum(trial.failed for trial in known)
    if canary.requests < REQUESTS_MIN or requests < REQUESTS_MIN:
        return None
    share, usual = canary.failed / canary.requests, failed / requests
    if share > usual + FAILED_SHARE_MARGIN and share > usual * FAILED_TIMES:
        return f"{share:.1%} of its requests failed, of the others' {usual:.1%}"
    times_s = [first_s for trial in known for first_s in trial.first_bytes_s]
    if len(canary.first_bytes_s) < REQUESTS_MIN or len(times_s) < REQUESTS_MIN:
        return None
    own_s, usual_s = median(canary.first_bytes_s), median(times_s)
    if own_s > usual_s * FIRST_BYTE_TIMES and own_s > usual_s + FIRST_BYTE_S_MARGIN:
        return f"its median first byte came after {own_s * 1000:.0f} ms, the others' after {usual_s * 1000:.0f} ms"
    return None
