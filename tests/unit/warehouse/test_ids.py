"""Identifiers: time-ordered for requests, unguessable for everything that a person sees."""

import re
import time
from uuid import RFC_4122

import pytest

from warehouse.base.ids import PUBLIC_ID_CHARACTERS, public_id, uuid7


def test_version_and_variant_are_those_of_rfc_9562() -> None:
    for _ in range(100):
        id_ = uuid7()
        assert (id_.version, id_.variant) == (7, RFC_4122)


def test_the_time_is_in_front() -> None:
    before_ms = time.time_ns() // 1_000_000
    id_ = uuid7()
    assert before_ms <= id_.int >> 80 <= time.time_ns() // 1_000_000


def test_later_ids_sort_later() -> None:
    ids = []
    for _ in range(20):
        ids.append(uuid7())
        time.sleep(0.002)  # within one millisecond the order is random
    assert ids == sorted(ids)
    assert [id_.bytes for id_ in ids] == sorted(id_.bytes for id_ in ids)


def test_no_two_are_equal() -> None:
    assert len({uuid7() for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("prefix", ["org", "proj", "user", "svc"])
def test_public_ids_have_the_form_that_the_schema_asks_for(prefix: str) -> None:
    made = {public_id(prefix) for _ in range(1000)}
    assert len(made) == 1000
    shape = re.compile(rf"{prefix}_[0-9a-hjkmnp-tv-z]{{{PUBLIC_ID_CHARACTERS}}}")
    assert all(shape.fullmatch(id_) and re.fullmatch(r"[a-z]+_[0-9a-z]{12,32}", id_) for id_ in made)
