"""What the engine saw, request by request: the other side of the books for tests of exactness."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

State = Literal["started", "finished", "aborted", "failed"]


@dataclass(slots=True)
class Entry:
    """One call. Token counts grow while it runs and agree with /metrics at every moment.

    `request_id` is the caller's `x-request-id`; a retried call has an entry for each attempt.
    """

    sequence: int
    request_id: str
    endpoint: str
    stream: bool = False
    state: State = "started"
    status: int = 200
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str | None = None
    fault: str | None = None


TOKEN_FIELDS = tuple(field.name for field in fields(Entry) if field.name.endswith("_tokens"))


class Ledger:
    """The last `entries_max` calls, and totals over all calls, forgotten ones included."""

    def __init__(self, entries_max: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=entries_max)
        self._forgotten: dict[str, int] = {}
        self._forgotten_count = 0
        self.arrivals = 0

    def start(self, request_id: str | None, endpoint: str) -> Entry:
        """Open an entry; the oldest is folded into the totals when the ring is full."""
        self.arrivals += 1
        entry = Entry(self.arrivals, request_id or f"simulated-{self.arrivals}", endpoint)
        if len(self._entries) == self._entries.maxlen:
            self._forgotten_count += 1
            _add(self._forgotten, self._entries[0])
        self._entries.append(entry)
        return entry

    def report(self, request_id: str | None = None) -> Mapping[str, Any]:
        """Everything, or the entries of one request id; totals are over all calls either way."""
        totals = {"started": 0, "finished": 0, "aborted": 0, "failed": 0, **dict.fromkeys(TOKEN_FIELDS, 0)}
        for name, value in self._forgotten.items():
            totals[name] += value
        for entry in self._entries:
            _add(totals, entry)
        chosen: Iterable[Entry] = (e for e in self._entries if request_id is None or e.request_id == request_id)
        return {
            "object": "simulated.ledger",
            "totals": {"calls": self.arrivals, "forgotten": self._forgotten_count, **totals},
            "requests": [asdict(entry) for entry in chosen],
        }


def _add(totals: dict[str, int], entry: Entry) -> None:
    totals[entry.state] = totals.get(entry.state, 0) + 1
    for name in TOKEN_FIELDS:
        totals[name] = totals.get(name, 0) + getattr(entry, name)
