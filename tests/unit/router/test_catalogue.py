"""Which versions of the price book may price a request: the organization's own first, then by priority."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from router.inference.catalogue import Catalogue
from warehouse.access.catalogue import Price

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LISTED = Price(1, 1, None, 100, 50, 400, NOW - timedelta(days=9), None)
LONG = replace(LISTED, id=2, priority=2, input_tokens_from=1000)
BATCH = replace(LISTED, id=3, priority=1, tags={"service": "batch"})
RERANK = replace(LISTED, id=4, priority=3, endpoint="rerank")
OWN = replace(LISTED, id=5, org_id=7)
OWN_LONG = replace(LONG, id=6, org_id=7)
GONE = replace(RERANK, id=7, priority=9, effective_until=NOW)
TO_COME = replace(RERANK, id=8, priority=8, effective_from=NOW + timedelta(microseconds=1))
BOOK = [LISTED, LONG, BATCH, RERANK, GONE, TO_COME]
TAGS = {"service": "batch", "team": "search"}


def _ids(prices: list[Price], org_id: int = 1, endpoint: str = "completions", tags: dict[str, str] | None = None) -> list[int]:
    return [price.id for price in Catalogue.of([], [], prices).prices_for(1, org_id, NOW, endpoint, tags)]


def test_of_what_is_in_force_the_highest_priority_whose_conditions_hold_comes_first() -> None:
    assert _ids(BOOK) == [2, 1]
    assert _ids(BOOK, tags=TAGS) == [2, 3]
    assert _ids(BOOK, tags={"service": "other"}) == [2, 1]
    assert _ids(BOOK, endpoint="rerank", tags=TAGS) == [4]


def test_the_organizations_own_come_before_every_list_price() -> None:
    assert _ids([*BOOK, OWN], org_id=7, endpoint="rerank", tags=TAGS) == [5]
    assert _ids([*BOOK, OWN_LONG], org_id=7, tags=TAGS) == [6, 2, 3]
    assert _ids([*BOOK, OWN, OWN_LONG], org_id=7) == [6, 5]
    assert _ids([*BOOK, OWN, OWN_LONG]) == [2, 1]


def test_a_model_without_a_version_has_none() -> None:
    assert _ids([]) == []
    assert _ids([OWN]) == []
    assert _ids([RERANK]) == []
    assert _ids([LONG]) == [2]
