"""Ways in which an engine fails, asked for by the header `x-simulated-fault` or drawn by probability.

Written `NAME` or `NAME=VALUE`:
    refuse              close the connection without a byte
    stall-first=S       S seconds before the first token
    stall-between=S     S seconds between the first and the second chunk
    die=N               break off after N chunks of a stream, or before its end; or in the middle of a whole answer
    429=S  503=S        that status, with Retry-After of S seconds
    500                 that status
    wrong-json          an answer, or one chunk, that is not JSON
    malformed-sse       a chunk without its `data:` and its blank line
and two that are no failures, drawn only where they are named:
    comments            a comment line before each event of a stream, as some servers keep connections alive
    crlf                a stream whose lines end in CR LF, as some servers write them
"""

import hashlib
from dataclasses import dataclass
from typing import Self

from warehouse.base.settings import nearest

FAILING = ("refuse", "stall-first", "stall-between", "die", "429", "500", "503", "wrong-json", "malformed-sse")
UNUSUAL = ("comments", "crlf")  # no failures, but what not every client expects
FAULT_NAMES = FAILING + UNUSUAL
WITH_SECONDS = frozenset({"stall-first", "stall-between", "429", "503"})
SECONDS_MAX = 86_400.0
CHUNKS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; `value` is seconds or chunks, or None for the default."""

    name: str
    value: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises: ValueError: no such fault, or a value that it cannot have."""
        name, equals, value = text.strip().partition("=")
        if name not in FAULT_NAMES:
            raise ValueError(f"no fault named {name!r}; {nearest(name, list(FAULT_NAMES))}")
        if not equals:
            return cls(name)
        if name == "die" and value.isdigit() and int(value) <= CHUNKS_MAX:
            return cls(name, int(value))
        if name in WITH_SECONDS and value.replace(".", "", 1).isdigit() and float(value) <= SECONDS_MAX:
            return cls(name, float(value))
        raise ValueError(f"fault {name!r} cannot have the value {value!r}")

    def seconds(self, default: float) -> float:
        """The value of a fault that has seconds."""
        return default if self.value is None else self.value


class FaultDraw:
    """Faults by probability. The n-th request of a seed always fares the same; a repeated one may fare better."""

    def __init__(self, *, probability: float, faults: str, seed: int) -> None:
        self._probability = probability
        self._faults = [Fault.parse(part) for part in faults.split(",")]
        self._seed = seed

    def draw(self, arrival: int) -> Fault | None:
        """What befalls the request with this arrival number."""
        if not self._probability:
            return None
        digest = hashlib.blake2b(f"{self._seed}:{arrival}".encode(), digest_size=16).digest()
        chance = int.from_bytes(digest[:8], "big") / 2**64
        if chance >= self._probability:
            return None
        return self._faults[int.from_bytes(digest[8:], "big") % len(self._faults)]
