"""Whether an engine on trial is worse than the others of its model. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from warehouse.access.usage_rows import UsageEvent

REQUESTS_MIN = 50  # of the canary and of the others, before they are compared
BROKEN_MIN = 5  # failures that are half of the canary's requests are enough: its breaker lets few more through
SAMPLES_MAX = 256  # times kept of each engine, of streams and of whole answers
COUNTED_MAX = 2000  # requests of an engine; older ones then count half, so that an old good time hides no new bad one
FAILED_SHARE_MARGIN = 0.05  # above the others' share of failures, and
FAILED_TIMES = 2.0  # times theirs
SLOW_TIMES = 1.5  # times the others' median, and
SLOW_S_MARGIN = 0.05  # seconds above it: of two short times the ratio says little
ANSWERED_OR_LEFT = frozenset({"completed", "client_closed"})


@dataclass(frozen=True, slots=True)
class Took:
    """How long a request took at its engine."""

    first_byte_s: float | None = None
    """Of a stream. Where its client left before, it is what it had waited: it would have been longer."""
    whole_s: float | None = None
    """Of an answer that came as a whole, or was waited for until its client left."""
    output_tokens: int = 0
    """Of that answer, whose time goes with them."""

    @classmethod
    def of(cls, row: UsageEvent, before_us: int) -> "Took":
        """Args: before_us: of the row's times, what had passed when this engine was asked: other attempts, and waits."""
        if row.ttft_us is not None:
            return cls(first_byte_s=(row.ttft_us - before_us) / 1e6)
        if row.status not in ANSWERED_OR_LEFT:
            return cls()
        whole_s = (row.duration_us - before_us) / 1e6
        if row.stream and row.status != "completed":
            return cls(first_byte_s=whole_s)
        return cls(whole_s=whole_s, output_tokens=row.output_tokens)


class Trial:
    """What became of the requests of one engine since its version was made."""

    __slots__ = ("broken", "failed", "first_bytes_s", "requests", "wholes")

    def __init__(self) -> None:
        self.requests = self.failed = 0
        self.broken = 0
        """Of those that failed, the ones that the engine did not only refuse because it was busy."""
        self.first_bytes_s: deque[float] = deque(maxlen=SAMPLES_MAX)
        self.wholes: deque[tuple[float, float]] = deque(maxlen=SAMPLES_MAX)
        """Seconds of an answer, and those by token of it."""

    def add(self, *, failed: bool, busy: bool, took: Took) -> None:
        """One request has ended. Args: busy: the engine was; that serves nobody either."""
        self.requests += 1
        self.failed += failed or busy
        self.broken += failed
        self.note(took)
        if self.requests >= COUNTED_MAX:
            self.requests //= 2
            self.failed //= 2
            self.broken //= 2

    def note(self, took: Took) -> None:
        """How long a request took, or how long its client waited in vain: an engine that everybody leaves is the slowest."""
        if took.first_byte_s is not None:
            self.first_bytes_s.append(took.first_byte_s)
        if took.whole_s is not None:
            self.wholes.append((took.whole_s, took.whole_s / max(took.output_tokens, 1)))


def verdict(canary: Trial, others: Iterable[Trial]) -> str | None:
    """Why the canary is worse than the others, in words; None while it is not, or too little is known."""
    known = list(others)
    return _fails_more(canary, known) or _slower_to_begin(canary, known) or _slower_in_all(canary, known)


def _fails_more(canary: Trial, others: Sequence[Trial]) -> str | None:
    requests, failed = sum(trial.requests for trial in others), sum(trial.failed for trial in others)
    is_broken = canary.broken >= BROKEN_MIN and canary.broken * 2 >= canary.requests
    if requests < REQUESTS_MIN or (canary.requests < REQUESTS_MIN and not is_broken):
        return None
    share, usual = canary.failed / canary.requests, failed / requests
    if share <= usual + FAILED_SHARE_MARGIN or share <= usual * FAILED_TIMES:
        return None
    return f"{share:.1%} of its requests failed, of the others' {usual:.1%}"


def _slower_to_begin(canary: Trial, others: Iterable[Trial]) -> str | None:
    times_s = [first_s for trial in others for first_s in trial.first_bytes_s]
    if len(canary.first_bytes_s) < REQUESTS_MIN or len(times_s) < REQUESTS_MIN:
        return None
    own_s, usual_s = median(canary.first_bytes_s), median(times_s)
    if own_s <= usual_s * SLOW_TIMES or own_s <= usual_s + SLOW_S_MARGIN:
        return None
    return f"its median first byte came after {own_s * 1000:.0f} ms, the others' after {usual_s * 1000:.0f} ms"


def _slower_in_all(canary: Trial, others: Iterable[Trial]) -> str | None:
    """By token as well: by chance its answers may have been the longer ones."""
    wholes = [whole for trial in others for whole in trial.wholes]
    if len(canary.wholes) < REQUESTS_MIN or len(wholes) < REQUESTS_MIN:
        return None
    (own_s, own_each_s), (usual_s, usual_each_s) = map(_medians, (canary.wholes, wholes))
    if own_each_s <= usual_each_s * SLOW_TIMES or own_s <= usual_s * SLOW_TIMES or own_s <= usual_s + SLOW_S_MARGIN:
        return None
    return f"its median answer took {own_s * 1000:.0f} ms, the others' {usual_s * 1000:.0f} ms"


def _medians(wholes: Iterable[tuple[float, float]]) -> tuple[float, float]:
    times_s, each_s = zip(*wholes, strict=True)
    return median(times_s), median(each_s)
