"""The price book: a version closes the one before, there is never a gap or an overlap, and the past stays."""

import math
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.factories import add_tenant
from tests.integration.router.callers import add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack

PRICES = {"input_usd_per_million": "1", "cached_input_usd_per_million": "0.5", "output_usd_per_million": "2.000001"}
BODY: dict[str, Any] = {"model": "simulated", "reason": "spring", **PRICES}
DAY = 86400


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def _from(days: float) -> int:
    return int(time.time() + days * DAY)


def _book(client: httpx.Client, organization: str = "list") -> list[tuple[int, int | None, str]]:
    rows = client.get("/platform/prices", params={"model": "simulated", "organization": organization, "limit": 100}).json()[
        "data"
    ]
    book = [(row["effective_from"], row["effective_until"], row["output_usd_per_million"]) for row in rows]
    return sorted(book, key=lambda row: (row[0], row[1] or math.inf))


def test_only_platform_admins_write_prices(stack: Stack) -> None:
    with signed_in(stack, add_user(stack, demo(stack).org_id, "owner")) as client:
        for answer in (
            client.get("/platform/prices"), client.post("/platform/prices", json=BODY), client.delete("/platform/prices/price_1"),
        ):  # fmt: skip
            assert error(answer)[:2] == (403, "not_allowed")


REFUSED: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    ({"input_usd_per_million": "0.0000001"}, (400, "invalid_request", "input_usd_per_million")),
    ({"output_usd_per_million": "-1"}, (400, "invalid_request", "output_usd_per_million")),
    ({"output_usd_per_million": "1e3"}, (400, "invalid_request", "output_usd_per_million")),
    ({"output_usd_per_million": 1}, (400, "invalid_request", "output_usd_per_million")),
    ({"output_usd_per_million": "1000000.000001"}, (400, "invalid_request", "output_usd_per_million")),
    ({"model": "nothing"}, (404, "not_found", "model")),
    ({"organization": "org_000000000000"}, (404, "not_found", "organization")),
    ({"reason": " "}, (400, "invalid_request", "reason")),
    ({"reason": "a\0"}, (400, "invalid_request", "reason")),
    ({"effective_from": 1}, (409, "conflict", "effective_from")),
    ({"effective_from": 10**12}, (400, "invalid_request", "effective_from")),
    ({"effective_until": 253402300799}, (400, "invalid_request", "effective_until")),
]


def test_a_price_that_cannot_be_is_refused(client: httpx.Client) -> None:
    before = _book(client)
    for change, expected in REFUSED:
        assert error(client.post("/platform/prices", json=BODY | change)) == expected
    assert _book(client) == before


def test_a_version_closes_the_one_before_and_a_future_one_can_be_taken_back(client: httpx.Client, stack: Stack) -> None:
    first = client.get("/platform/prices", params={"model": "simulated"}).json()["data"][0]
    tomorrow, later = _from(1), _from(9)
    made = client.post("/platform/prices", json=BODY | {"effective_from": tomorrow}).json()
    assert {name: made[name] for name in PRICES} == {
        "input_usd_per_million": "1.00", "cached_input_usd_per_million": "0.50", "output_usd_per_million": "2.000001",
    }  # fmt: skip
    last = client.post("/platform/prices", json=BODY | {"effective_from": later, "output_usd_per_million": "3"}).json()
    between = client.post("/platform/prices", json=BODY | {"effective_from": _from(5), "output_usd_per_million": "4"}).json()
    assert between["effective_until"] == later
    middle = between["effective_from"]
    old = first["output_usd_per_million"]
    assert _book(client) == [
        (first["effective_from"], tomorrow, old), (tomorrow, middle, "2.000001"), (middle, later, "4.00"), (later, None, "3.00"),
    ]  # fmt: skip
    again = client.post("/platform/prices", json=BODY | {"effective_from": later})
    assert error(again) == (409, "conflict", "effective_from")
    for price in (between, last, made):
        assert client.delete(f"/platform/prices/{price['id']}").json()["deleted"] is True
    assert _book(client) == [(first["effective_from"], None, old)]
    past = client.delete(f"/platform/prices/{first['id']}")
    assert error(past) == (409, "conflict", "price_id")
    assert "adjustment" in past.json()["error"]["message"]
    assert error(client.delete(f"/platform/prices/{made['id']}"))[0] == 404
    assert events(stack) == ["price.created"] * 3 + ["price.deleted"] * 3


def test_a_price_from_now_on_is_charged_from_now_on(client: httpx.Client, stack: Stack, hello: dict[str, Any]) -> None:
    stack.post(hello)
    body = BODY | {"input_usd_per_million": "7", "cached_input_usd_per_million": "7", "output_usd_per_million": "7"}
    assert client.post("/platform/prices", json=body).json()["effective_until"] is None
    time.sleep(0.5)
    stack.post(hello)
    first, second = stack.rows(2)
    assert second["cost_picousd"] == (second["input_tokens"] + second["output_tokens"]) * 7_000_000
    assert first["cost_picousd"] != second["cost_picousd"]


def test_an_organizations_own_price_stands_beside_the_list_price_and_may_end(client: httpx.Client, stack: Stack) -> None:
    other = add_tenant(stack.db, name="Other").organization
    stack.db.commit()
    listed = _book(client)
    own = BODY | {"organization": other}
    first = client.post("/platform/prices", json=own | {"effective_from": _from(1), "effective_until": _from(3)}).json()
    second = client.post("/platform/prices", json=own | {"effective_from": first["effective_until"]}).json()
    beyond = client.post("/platform/prices", json=own | {"effective_from": _from(2), "effective_until": _from(4)})
    assert error(beyond) == (409, "conflict", "effective_until")
    client.delete(f"/platform/prices/{second['id']}", params={"extend_before": False})
    assert _book(client, other) == [(first["effective_from"], first["effective_until"], "2.000001")]
    assert _book(client) == listed
    at = client.get("/platform/prices", params={"model": "simulated", "at": first["effective_from"]}).json()["data"]
    assert [row["organization"] for row in at] == [other, None]


def test_whatever_is_added_and_taken_back_there_is_no_gap_and_no_overlap(client: httpx.Client, stack: Stack) -> None:
    chance = random.Random(3)
    start = _book(client)[0][0]
    made: list[str] = []
    for _ in range(60):
        if made and chance.random() < 0.4:
            client.delete(f"/platform/prices/{made.pop(chance.randrange(len(made)))}")
        else:
            answer = client.post("/platform/prices", json=BODY | {"effective_from": _from(chance.randint(1, 30))})
            made += [answer.json()["id"]] if answer.status_code == 200 else []
        book = _book(client)
        assert [row[1] for row in book] == [*(row[0] for row in book[1:]), None]
        assert book[0][0] == start


def test_versions_that_are_made_at_once_are_made_one_after_the_other(client: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/platform/prices", json=BODY).status_code, range(8)))
    assert set(answers) == {200}
    book = _book(client)
    assert len(book) == 9
    assert [row[1] for row in book] == [*(row[0] for row in book[1:]), None]


def test_pages_and_filters(client: httpx.Client) -> None:
    made = [client.post("/platform/prices", json=BODY | {"effective_from": _from(day)}).json()["id"] for day in (1, 2, 3)]
    page = client.get("/platform/prices", params={"model": "simulated", "limit": 2}).json()
    assert [row["id"] for row in page["data"]] == made[:0:-1]
    rest = client.get("/platform/prices", params={"model": "simulated", "after": page["last_id"]}).json()
    assert rest["data"][0]["id"] == made[0]
    assert error(client.get("/platform/prices", params={"after": "x"})) == (400, "invalid_request", "after")
    assert client.get(f"/platform/prices/{made[0]}").json()["id"] == made[0]
