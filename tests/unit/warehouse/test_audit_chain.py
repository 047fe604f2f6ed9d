"""The chain by itself: what its code covers, and that memory does not grow with the log."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from warehouse.identity.audit import COVERED, FIRST_MAC, ChainCheck, Document, audit_key, entry_mac, head_mac

KEY = audit_key(b"a pepper of the tests")
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def _chain(count: int) -> list[dict[str, Any]]:
    entries, previous = [], FIRST_MAC
    for sequence in range(1, count + 1):
        entry: dict[str, Any] = dict.fromkeys(COVERED) | {
            "sequence": sequence, "public_id": f"audit_{sequence}", "effective_at": NOON + timedelta(microseconds=sequence),
            "event_type": "project.created", "actor_type": "user", "actor_id": "user_1", "target_id": f"proj_{sequence}",
            "after": Document({"name": f"P{sequence}", "n": 1.5}), "ip": "10.0.0.1",
        }  # fmt: skip
        mac = entry_mac(entry, previous, KEY)
        entries.append(entry | {"previous_mac": previous, "mac": mac})
        previous = mac
    return entries


def _head(entries: list[dict[str, Any]]) -> Mapping[str, Any]:
    last = entries[-1]
    return {"sequence": last["sequence"], "mac": last["mac"], "head_mac": head_mac(last["sequence"], last["mac"], KEY)}


def _what(entries: list[dict[str, Any]], head: Mapping[str, Any] | None, *seen: tuple[int, bytes]) -> list[str]:
    check = ChainCheck(KEY, seen=seen)
    return [finding.what for finding in check.read(entries)] + [finding.what for finding in check.end(head)]


@pytest.mark.parametrize("count", [1, 2, 5000])
def test_an_untouched_chain_has_no_findings(count: int) -> None:
    entries = _chain(count)
    assert _what(entries, _head(entries)) == []
    assert _what(entries, _head(entries), (count, entries[-1]["mac"])) == []


def test_an_empty_log_has_no_findings() -> None:
    assert _what([], {"sequence": 0, "mac": FIRST_MAC, "head_mac": b""}) == []
    assert _what([], None) == ["the head is missing"]


@pytest.mark.parametrize("column", COVERED)
def test_every_column_is_covered(column: str) -> None:
    entries = _chain(3)
    head = _head(entries)
    entries[1][column] = {
        "sequence": 9, "effective_at": NOON, "before": Document(None), "after": Document({"n": 1.0}), "ip": "10.0.0.1/24",
    }.get(column, "other")  # fmt: skip
    assert "was altered" in _what(entries, head)


def test_a_page_at_a_time_finds_what_one_reading_finds() -> None:
    chance = random.Random(7)
    for _ in range(50):
        entries = _chain(20)
        head = _head(entries)
        if chance.random() < 0.5:
            del entries[chance.randrange(20)]
        else:
            one, other = chance.sample(range(20), 2)
            entries[one], entries[other] = entries[other], entries[one]
        whole = _what(entries, head)
        check = ChainCheck(KEY)
        pages = [finding.what for start in range(0, 20, 3) for finding in check.read(entries[start : start + 3])]
        assert whole == pages + [finding.what for finding in check.end(head)]
        assert whole


def test_an_end_that_was_cut_off_with_an_old_head_is_found_by_what_was_seen() -> None:
    entries = _chain(10)
    cut = entries[:6]
    assert _what(cut, _head(cut)) == []
    assert _what(cut, _head(cut), (10, entries[9]["mac"])) == ["the log ends at 6, an earlier check saw entry 10"]
    other = _chain(10)
    assert _what(other, _head(other), (4, b"\1" * 32)) == ["is not the entry that an earlier check saw here"]


def test_what_json_cannot_tell_apart_is_told_apart() -> None:
    def code(after: Document | None) -> bytes:
        return entry_mac(_chain(1)[0] | {"after": after}, FIRST_MAC, KEY)

    values = [
        None,
        Document(None),
        Document({}),
        Document([]),
        Document(1),
        Document("1"),
        Document(1.0),
        Document(["\0", "1.0"]),
    ]
    codes = {code(value) for value in values[:-1]}
    assert len(codes) == len(values) - 1
    assert code(Document.parse('{"v": 0.30000000000000004}')) == code(Document({"v": 0.1 + 0.2}))
    assert code(Document.parse('{"v": 1.50}')) != code(Document.parse('{"v": 1.5}'))
