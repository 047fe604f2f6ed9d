"""What the engine saw, request by request: the other side of the books for tests of exactness."""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

EndState = Literal["finished", "aborted", "failed"]


@dataclass(slots=True)
class Entry:
    """One call. Token counts grow while it runs and agree with /metrics at every moment, but for `counted_tokens`: those
    of tokenize and detokenize, which the model never sees.

    `request_id` is the caller's `x-request-id`; a retried call has an entry for each attempt.
    """

    sequence: int
    request_id: str
    endpoint: str
    stream: bool = False
    state: Literal["started"] | EndState = "started"
    status: int = 200
    prompt_tokens: int = 0
    cached_tokens: int = 0
    created_cache_tokens: int = 0
    completion_tokens: int = 0
    counted_tokens: int = 0
    finish_reason: str | None = None
    fault: str | None = None


TOKEN_FIELDS = tuple(field.name for field in fields(Entry) if field.name.endswith("_tokens"))


class Ledger:
    """The last `entries_max` calls, and totals over all calls, forgotten ones included."""

    def __init__(self, entries_max: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=entries_max)
        self._running: dict[int, Entry] = {}  # bounded by the places and the queue of the engine
        self._ended = {"finished": 0, "aborted": 0, "failed": 0, **dict.fromkeys(TOKEN_FIELDS, 0)}
        self.arrivals = 0

    def start(self, request_id: str | None, endpoint: str) -> Entry:
        """Open an entry; when the ring is full the oldest is forgotten, but for the totals."""
        self.arrivals += 1
        entry = Entry(self.arrivals, request_id or f"simulated-{self.arrivals}", endpoint)
        self._entries.append(entry)
        self._running[entry.sequence] = entry
        return entry

    def end(self, entry: Entry, state: EndState) -> None:
        """Close an entry, once; its counts no longer change."""
        entry.state = state
        del self._running[entry.sequence]
        self._ended[state] += 1
        for name in TOKEN_FIELDS:
            self._ended[name] += getattr(entry, name)

    def report(self, request_id: str | None = None) -> Mapping[str, Any]:
        """Everything, or the entries of one request id; totals are over all calls either way."""
        totals = {
            "calls": self.arrivals,
            "forgotten": self.arrivals - len(self._entries),
            "started": len(self._running),
        }
        for name, value in self._ended.items():
            running = sum(getattr(entry, name) for entry in self._running.values()) if name in TOKEN_FIELDS else 0
            totals[name] = value + running
        chosen = (entry for entry in self._entries if request_id is None or entry.request_id == request_id)
        return {"object": "simulated.ledger", "totals": totals, "requests": [asdict(entry) for entry in chosen]}
