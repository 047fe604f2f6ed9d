"""The chain of the audit log: each entry's code covers the entry before it, under a key that the database does not have.

Whoever can write the tables, even as their owner, cannot make a code that fits. Source of the idea: the forward-chained
logs of Schneier and Kelsey, "Secure Audit Logs to Support Computer Forensics" (1999), with HMAC-SHA256.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_interface
from typing import Any

FIRST_MAC = b"\0" * 32
COVERED = (
    "sequence", "public_id", "org_id", "project_id", "effective_at", "event_type", "actor_type", "actor_id", "actor_email", "ip",
    "request_id", "target_id", "before", "after",
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with the log, and where."""

    sequence: int
    what: str


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON value of a column, apart from the column having none: JSON's own null is a value."""

    value: Any

    @classmethod
    def parse(cls, text: str | None) -> "Document | None":
        """The value of a JSON text, numbers exactly; None for a column without one."""
        return None if text is None else cls(json.loads(text, parse_float=Decimal))


def audit_key(pepper: bytes) -> bytes:
    """(32,) bytes: the chain's key, derived from the installation's pepper for this purpose only."""
    return hmac.digest(pepper, b"inferhouse audit chain", hashlib.sha256)


def entry_mac(entry: Mapping[str, Any], previous_mac: bytes, key: bytes) -> bytes:
    """(32,) bytes over the columns COVERED and the entry before. Instants count microseconds, JSON is canonical.

    Args: entry: COVERED; `before` and `after` are Documents or None, `effective_at` an instant or its microseconds as text.
    """
    covered = [_FORMS.get(name, _plain)(entry[name]) for name in COVERED]
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.digest(key, b"entry\0" + previous_mac + text.encode(), hashlib.sha256)


def head_mac(sequence: int, mac: bytes, key: bytes) -> bytes:
    """(32,) bytes that say which entry is the newest, so that an end that was cut off is noticed."""
    return hmac.digest(key, b"head\0" + sequence.to_bytes(8, "big", signed=True) + mac, hashlib.sha256)


class ChainCheck:
    """Reads a log in the order of its sequence, as many entries at a time as the caller likes; keeps one code of it."""

    def __init__(self, key: bytes, *, seen: Iterable[tuple[int, bytes]] = ()) -> None:
        """`seen`: sequence and mac of entries that earlier checks found; they must still be there."""
        self._key, self._seen = key, list(seen)
        self._expected, self._mac = 1, FIRST_MAC
        self.entries = 0

    @property
    def last(self) -> tuple[int, bytes]:
        """Sequence and mac of the last entry read."""
        return self._expected - 1, self._mac

    def read(self, entries: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
        """Findings in the next entries: COVERED, previous_mac and mac of each."""
        for entry in entries:
            sequence, mac = entry["sequence"], bytes(entry["mac"])
            if sequence != self._expected:
                missing = Finding(self._expected, f"entries {self._expected} to {sequence - 1} are missing")
                yield missing if sequence > self._expected else Finding(sequence, "stands before the first entry")
            elif bytes(entry["previous_mac"]) != self._mac:
                yield Finding(sequence, "does not follow the entry before it")
            if not hmac.compare_digest(mac, entry_mac(entry, bytes(entry["previous_mac"]), self._key)):
                yield Finding(sequence, "was altered")
            if any(was == sequence and known != mac for was, known in self._seen):
                yield Finding(sequence, "is not the entry that an earlier check saw here")
            self._expected, self._mac = sequence + 1, mac
            self.entries += 1

    def end(self, head: Mapping[str, Any] | None) -> Iterator[Finding]:
        """Findings of the end: the head (sequence, mac and head_mac) must be that of the last entry read."""
        sequence, mac = self.last
        seen = max((was for was, _ in self._seen), default=0)
        if seen > sequence:
            yield Finding(sequence + 1, f"the log ends at {sequence}, an earlier check saw entry {seen}")
        if head is None:
            yield Finding(sequence + 1, "the head is missing")
            return
        if head["sequence"] != sequence or bytes(head["mac"]) != mac:
            yield Finding(sequence + 1, f"the log ends at {sequence}, its head says {head['sequence']}")
        untouched = head["sequence"] == 0 and not bytes(head["head_mac"])
        fitting = head_mac(head["sequence"], bytes(head["mac"]), self._key)
        if not untouched and not hmac.compare_digest(bytes(head["head_mac"]), fitting):
            yield Finding(head["sequence"], "the head was altered")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return str((value - _EPOCH) // timedelta(microseconds=1))
    return value if value is None or isinstance(value, int | str) else str(value)


def _network(value: str | None) -> str | None:
    try:
        return None if value is None else str(ip_interface(value))
    except ValueError:
        return value


def _document(value: Document | None) -> Any:
    return [] if value is None else [_canonical(value.value)]


def _canonical(value: Any) -> Any:
    """Numbers as PostgreSQL's jsonb keeps them, digit for digit. No JSON text of jsonb has the mark of a fraction in it."""
    if isinstance(value, dict):
        return {name: _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        text = format(abs(value) if value == 0 else value, "f")
        return ["\0", text] if "." in text else int(text)
    return value


_FORMS: Mapping[str, Callable[[Any], Any]] = {"before": _document, "after": _document, "ip": _network}
