"""The chain of daily digests as a document, and what is wrong with one: pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

START = bytes(32)
FORMAT = "inferhouse-daily-digests/1"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the chain. The last entry of a day is in force."""

    sequence: int
    day: date
    usage_rows: int
    row_set_digest: bytes
    previous: bytes
    chain_hash: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong; `day` is None where it is about the chain as a whole."""

    day: date | None
    what: str


def chain_hash(sequence: int, day: date, usage_rows: int, row_set_digest: bytes, previous: bytes) -> bytes:
    """As archive.add_daily_digest computes it."""
    return hashlib.sha256(previous + f"{sequence}|{day.isoformat()}|{usage_rows}|{row_set_digest.hex()}".encode()).digest()


def check_chain(entries: Sequence[Entry]) -> list[Finding]:
    """Whether each entry follows from the one before it, from the first on."""
    findings, previous = [], START
    for number, entry in enumerate(entries, 1):
        expected = chain_hash(number, entry.day, entry.usage_rows, entry.row_set_digest, previous)
        if (entry.sequence, entry.previous, entry.chain_hash) != (number, previous, expected):
            findings.append(Finding(entry.day, f"entry {entry.sequence} of the chain does not follow from the one before it"))
        previous = entry.chain_hash
    return findings


def compare(ours: Sequence[Entry], published: Sequence[Entry]) -> list[Finding]:
    """Whether a chain that was published earlier is the beginning of ours."""
    if len(published) > len(ours):
        return [Finding(None, f"{len(published)} entries were published, and the chain has {len(ours)}")]
    return [
        Finding(theirs.day, f"entry {theirs.sequence} was published with another digest than it has now")
        for own, theirs in zip(ours, published, strict=False)
        if own != theirs
    ]


def in_force(entries: Sequence[Entry]) -> dict[date, Entry]:
    """The last entry of each day."""
    return {entry.day: entry for entry in entries}


def document(entries: Sequence[Entry]) -> dict[str, Any]:
    """What is published: everything that is needed to check the chain without us."""
    return {
        "object": FORMAT,
        "head": (entries[-1].chain_hash if entries else START).hex(),
        "entries": [
            {
                "sequence": entry.sequence, "day": entry.day.isoformat(), "usage_rows": entry.usage_rows,
                "row_set_digest": entry.row_set_digest.hex(), "previous": entry.previous.hex(),
                "chain_hash": entry.chain_hash.hex(),
            }
            for entry in entries
        ],
    }  # fmt: skip


def read_document(said: Mapping[str, Any]) -> list[Entry]:
    """The entries of a published document.

    Raises: ValueError: it is none, or its own chain does not hold.
    """
    try:
        entries = [
            Entry(
                int(row["sequence"]), date.fromisoformat(row["day"]), int(row["usage_rows"]),
                bytes.fromhex(row["row_set_digest"]), bytes.fromhex(row["previous"]), bytes.fromhex(row["chain_hash"]),
            )
            for row in said["entries"]
        ]  # fmt: skip
    except (KeyError, TypeError) as error:
        raise ValueError("this is no document of daily digests") from error
    if said.get("object") != FORMAT or check_chain(entries):
        raise ValueError("the published chain does not hold by itself")
    return entries
