"""Which engine has a session's or a prompt's beginning in its cache: rendezvous hashing with a bounded memory. Pure."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol, TypeVar
from zlib import crc32

ENTRIES_MAX = 50_000  # sessions and beginnings remembered per worker, about 150 bytes each
PREFIX_BYTES_MAX = 1024  # of the prompt: enough to tell system prompts apart, and short enough to be hashed in 1 us
PREFIX_BYTES_MIN = 256  # a shorter prompt costs an engine nothing to compute again
LOAD_CAP = 1.25  # times the mean load: above it a warm cache is not worth the wait
SESSION = 1 << 63
"""What the key of a session has, and that of a prompt's beginning has not."""
REQUESTS_FREE = 4  # an engine with fewer requests is not loaded, whatever the mean
_MASK = 2**64 - 1


class Placed(Protocol):
    """What this module needs to know of an engine."""

    id: int
    weight: int
    tokens: int
    requests: int
    seed: int


E = TypeVar("E", bound=Placed)


def key_of(org_id: int, session: str | None, prefix: bytes) -> int:
    """What belongs together, as one number; 0: nothing does. Organizations never share one."""
    if session:
        return crc32(session.encode("utf-8", "surrogatepass"), org_id & 0xFFFFFFFF) | org_id << 32 | SESSION
    if len(prefix) < PREFIX_BYTES_MIN:
        return 0
    return crc32(prefix[:PREFIX_BYTES_MAX], org_id & 0xFFFFFFFF) | org_id << 32


def seed_of(name: str) -> int:
    """An engine's own number: of its name, so that every worker and every restart agrees."""
    return mixed(crc32(name.encode()) + (crc32(name.encode(), 7) << 32))


def mixed(value: int) -> int:
    """64 bits in which each bit of the value has changed half of them. Source: the finalizer of splitmix64."""
    value &= _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31


def preferred(key: int, engines: Sequence[E]) -> E:
    """The engine of a key by weighted rendezvous: one that is added takes its share, and nothing else moves."""

    def score(engine: E) -> float:
        return -engine.weight / math.log((mixed(key ^ engine.seed) + 1) / (_MASK + 2))

    return max(engines, key=score)


class Affinity:
    """Where keys were last; the least recently used is forgotten first."""

    __slots__ = ("_entries_max", "_last")

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._last: OrderedDict[tuple[str, int], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def choose(self, model: str, key: int, engines: Sequence[E]) -> E | None:
        """The engine that has this key's cache, or will; None where it is too loaded, and nearest is worse than least loaded.

        Args: engines: those that may be asked, at least one.
        """
        last = self._last.get((model, key))
        found = next((engine for engine in engines if engine.id == last), None) if last is not None else None
        if found is None:
            others = [engine for engine in engines if engine.id != -last] if last is not None and last < 0 else engines
            found = preferred(key, others or engines)
        if found.requests >= REQUESTS_FREE:
            weights = sum(engine.weight for engine in engines)
            if found.tokens * weights > LOAD_CAP * found.weight * sum(engine.tokens for engine in engines):
                return None
        return found

    def note(self, model: str, key: int, engine_id: int) -> None:
        """The key is there now."""
        entry = (model, key)
        self._last[entry] = engine_id
        self._last.move_to_end(entry)
        if len(self._last) > self._entries_max:
            self._last.popitem(last=False)

    def forget(self, model: str, key: int, engine_id: int) -> None:
        """The engine failed this key: the next request goes elsewhere, if it can. One that was only lent it takes no home."""
        if self._last.get((model, key), engine_id) == engine_id:
            self.note(model, key, -engine_id)
