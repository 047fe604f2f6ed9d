"""The chain of the audit log: each entry's code covers the entry before it, under a key that the database does not have.

Whoever can write the tables, even as their owner, cannot make a code that fits. Source of the idea: the forward-chained
logs of Schneier and Kelsey, "Secure Audit Logs to Support Computer Forensics" (1999), with HMAC-SHA256.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

FIRST_MAC = b"\0" * 32
COVERED = (
    "sequence", "public_id", "org_id", "project_id", "effective_at", "event_type", "actor_type", "actor_id", "actor_email", "ip",
    "request_id", "target_id", "before", "after",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with the log, and where."""

    sequence: int
    what: str


def audit_key(pepper: bytes) -> bytes:
    """(32,) bytes: the chain's key, derived from the installation's pepper for this purpose only."""
    return hmac.digest(pepper, b"inferhouse audit chain", hashlib.sha256)


def entry_mac(entry: Mapping[str, Any], previous_mac: bytes, key: bytes) -> bytes:
    """(32,) bytes over the columns COVERED and the entry before. Instants are in UTC with microseconds, JSON is canonical."""
    covered = json.dumps([_plain(entry[name]) for name in COVERED], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.digest(key, b"entry\0" + previous_mac + covered.encode(), hashlib.sha256)


def head_mac(sequence: int, mac: bytes, key: bytes) -> bytes:
    """(32,) bytes that say which entry is the newest, so that an end that was cut off is noticed."""
    return hmac.digest(key, b"head\0" + sequence.to_bytes(8, "big") + mac, hashlib.sha256)


def verify_chain(entries: Iterable[Mapping[str, Any]], head: Mapping[str, Any], key: bytes) -> Iterator[Finding]:
    """Findings of entries in the order of their sequence, and of the head; none when the log is as it was written.

    Args: entries: COVERED, previous_mac and mac of each.  head: sequence, mac and head_mac.
    """
    expected, previous = 1, FIRST_MAC
    for entry in entries:
        sequence = entry["sequence"]
        if sequence != expected:
            yield Finding(expected, f"entries {expected} to {sequence - 1} are missing")
        elif bytes(entry["previous_mac"]) != previous:
            yield Finding(sequence, "does not follow the entry before it")
        if not hmac.compare_digest(bytes(entry["mac"]), entry_mac(entry, bytes(entry["previous_mac"]), key)):
            yield Finding(sequence, "was altered")
        expected, previous = sequence + 1, bytes(entry["mac"])
    if head["sequence"] != expected - 1 or bytes(head["mac"]) != previous:
        yield Finding(expected, f"the log ends at {expected - 1}, its head says {head['sequence']}")
    untouched = head["sequence"] == 0 and not head["head_mac"]
    if not untouched and not hmac.compare_digest(bytes(head["head_mac"]), head_mac(head["sequence"], bytes(head["mac"]), key)):
        yield Finding(head["sequence"], "the head was altered")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value if value is None or isinstance(value, bool | int | str | list | dict) else str(value)
