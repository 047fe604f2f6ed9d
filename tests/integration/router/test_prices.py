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
from warehouse.base.money import usd

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
    ({"currency": "EUR"}, (400, "invalid_request", "currency")),
    ({"request_usd": "-1"}, (400, "invalid_request", "request_usd")),
    ({"request_usd": "1000.000000000001"}, (400, "invalid_request", "request_usd")),
    ({"request_usd": "0.0000000000001"}, (400, "invalid_request", "request_usd")),
    ({"reasoning_usd_per_million": "1000000.1"}, (400, "invalid_request", "reasoning_usd_per_million")),
    ({"endpoint": "rerank"}, (400, "invalid_request", "priority")),
    ({"input_tokens_from": 1}, (400, "invalid_request", "priority")),
    ({"tags": {"service": "batch"}}, (400, "invalid_request", "priority")),
    ({"priority": 1}, (400, "invalid_request", "priority")),
    ({"priority": 1001, "endpoint": "rerank"}, (400, "invalid_request", "priority")),
    ({"priority": 1, "endpoint": "dance"}, (400, "invalid_request", "endpoint")),
    ({"priority": 1, "input_tokens_from": 5, "input_tokens_until": 5}, (400, "invalid_request", "input_tokens_until")),
    ({"priority": 1, "input_tokens_until": -1}, (400, "invalid_request", "input_tokens_until")),
    ({"priority": 1, "tags": {"a": 1}}, (400, "invalid_request", "tags.a")),
    ({"priority": 1, "tags": {"a": "\0"}}, (400, "invalid_request", "tags.a")),
    ({"priority": 1, "tags": {str(n): "" for n in range(17)}}, (400, "invalid_request", "tags")),
    ({"output_usd_per_million": "4.000001"}, (409, "confirmation_needed", "output_usd_per_million")),
    ({"output_usd_per_million": "0.039999"}, (409, "confirmation_needed", "output_usd_per_million")),
    ({"input_usd_per_million": "0"}, (409, "confirmation_needed", "input_usd_per_million")),
    ({"request_usd": "0.001"}, (409, "confirmation_needed", "request_usd")),
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
    body["confirm_change"] = True
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


LONG: dict[str, Any] = BODY | {"priority": 2, "input_tokens_from": 1000, "input_usd_per_million": "0.2"}


def test_a_preview_says_what_would_be_refused_and_changes_nothing(client: httpx.Client, stack: Stack) -> None:
    proposed = {name: value for name, value in BODY.items() if name != "reason"}
    for change, expected in REFUSED:
        if expected[1] != "confirmation_needed" and expected[2] != "reason":
            assert error(client.post("/platform/price_previews", json=proposed | change)) == expected
    before = _book(client)
    first = client.get("/platform/prices", params={"model": "simulated"}).json()["data"][0]
    seen = client.post("/platform/price_previews", json=proposed | {"output_usd_per_million": "0"}).json()
    assert (seen["closes"], seen["compared_with"], seen["needs_confirmation"]) == (first["id"], first["id"], True)
    assert seen["changes"][0] == {
        "field": "input_usd_per_million", "before": "0.10", "after": "1.00", "percent": "900.00", "needs_confirmation": False,
    }  # fmt: skip
    assert [change["field"] for change in seen["changes"] if change["needs_confirmation"]] == ["output_usd_per_million"]
    assert _book(client) == before
    assert events(stack) == []


def test_a_preview_prices_the_usage_of_thirty_days_anew(client: httpx.Client, stack: Stack, hello: dict[str, Any]) -> None:
    """What was charged, and what it would have cost; of a condition only the rows that meet it, of an organization its own."""
    other = add_tenant(stack.db, name="Other").organization
    stack.db.commit()
    stack.post(hello)
    stack.post(hello, headers={"x-inferhouse-tags": "service=batch"})
    rows = stack.rows(2)
    proposed = {name: value for name, value in BODY.items() if name != "reason"} | {"request_usd": "0.5"}
    usage = client.post("/platform/price_previews", json=proposed).json()["usage"]
    charged = sum(row["cost_picousd"] for row in rows)
    then = sum(
        (row["input_tokens"] - row["cached_input_tokens"]) * 1_000_000 + row["cached_input_tokens"] * 500_000
        + row["output_tokens"] * 2_000_001 + 500_000_000_000
        for row in rows
    )  # fmt: skip
    assert (usage["usage_rows"], usage["cost_usd"], usage["cost_usd_then"]) == (2, usd(charged), usd(then))
    assert usage["percent"] == f"{round((then - charged) * 100 / charged, 2):.2f}"
    assert client.post("/platform/price_previews", json=proposed | {"organization": other}).json()["usage"]["usage_rows"] == 0
    batch = proposed | {"priority": 1, "tags": {"service": "batch"}}
    assert client.post("/platform/price_previews", json=batch).json()["usage"]["cost_usd"] == usd(rows[1]["cost_picousd"])
    long = proposed | {"priority": 2, "input_tokens_from": 100_000}
    assert client.post("/platform/price_previews", json=long).json()["usage"]["percent"] is None


def test_a_large_change_is_made_when_it_is_meant(client: httpx.Client, stack: Stack) -> None:
    change = BODY | {"input_usd_per_million": "0", "request_usd": "0.000000000001", "effective_from": _from(1)}
    refused = client.post("/platform/prices", json=change)
    assert error(refused)[:2] == (409, "confirmation_needed")
    assert "confirm_change" in refused.json()["error"]["message"]
    made = client.post("/platform/prices", json=change | {"confirm_change": True}).json()
    assert (made["input_usd_per_million"], made["request_usd"]) == ("0.00", "0.000000000001")
    first_of_a_model = {"id": "new", "context_tokens_max": 10, "output_tokens_max": 10}
    assert client.post("/platform/models", json=first_of_a_model).status_code == 200
    free = BODY | {"model": "new", "output_usd_per_million": "0"}
    assert error(client.post("/platform/prices", json=free)) == (409, "confirmation_needed", "output_usd_per_million")
    assert client.post("/platform/prices", json=free | {"confirm_change": True}).json()["currency"] == "USD"


def test_prices_with_conditions_follow_each_other_in_places_of_their_own(client: httpx.Client, stack: Stack) -> None:
    listed = client.get("/platform/prices", params={"model": "simulated"}).json()["data"][0]
    long = client.post("/platform/prices", json=LONG).json()
    assert (long["input_tokens_from"], long["input_tokens_until"], long["tags"], long["priority"]) == (1000, None, {}, 2)
    batch = client.post("/platform/prices", json=BODY | {"priority": 1, "tags": {"service": "batch"}}).json()
    assert client.get(f"/platform/prices/{listed['id']}").json()["effective_until"] is None
    dearer = client.post("/platform/prices", json=LONG | {"effective_from": _from(2), "effective_until": _from(9)}).json()
    assert client.get(f"/platform/prices/{long['id']}").json()["effective_until"] == dearer["effective_from"]
    undecided = client.post("/platform/prices", json=LONG | {"endpoint": "embeddings", "input_tokens_from": 2000})
    assert error(undecided) == (409, "conflict", "priority")
    assert long["id"] in undecided.json()["error"]["message"]
    assert client.post("/platform/prices", json=LONG | {"input_tokens_from": 10, "input_tokens_until": 1000}).status_code == 200
    client.delete(f"/platform/prices/{dearer['id']}")
    assert client.get(f"/platform/prices/{long['id']}").json()["effective_until"] == dearer["effective_until"]
    ended = client.post(f"/platform/prices/{batch['id']}/end", json={"effective_until": _from(3)}).json()
    assert client.post(f"/platform/prices/{long['id']}/end", json={}).json()["effective_until"] <= _from(0) + 1
    for price_id, until, expected in (
        (listed["id"], None, (409, "conflict", "price_id")), (batch["id"], _from(-1), (409, "conflict", "effective_until")),
        (batch["id"], ended["effective_until"] + 1, (409, "conflict", "effective_until")),
        ("price_99999", None, (404, "not_found", "price_id")),
    ):  # fmt: skip
        assert error(client.post(f"/platform/prices/{price_id}/end", json={"effective_until": until})) == expected
    assert error(client.delete(f"/platform/prices/{batch['id']}")) == (409, "conflict", "price_id")
    assert events(stack) == [*["price.created"] * 4, "price.deleted", "price.ended", "price.ended"]


def test_what_was_in_force_by_the_databases_clock_stays(client: httpx.Client, stack: Stack) -> None:
    """Also where a clock jumps: an instant that the database has passed is past, whatever the caller's clock says."""
    first = client.post("/platform/prices", json=BODY).json()
    passed = stack.db.execute("select floor(extract(epoch from now()))::bigint - 1").fetchone()
    stack.db.commit()
    assert passed is not None
    book = _book(client)
    for instant in (passed[0], first["effective_from"] - 1, 0):
        assert error(client.post("/platform/prices", json=BODY | {"effective_from": instant})) == (
            409,
            "conflict",
            "effective_from",
        )
    assert error(client.delete(f"/platform/prices/{first['id']}"))[:2] == (409, "conflict")
    assert _book(client) == book


def test_pages_and_filters(client: httpx.Client) -> None:
    made = [client.post("/platform/prices", json=BODY | {"effective_from": _from(day)}).json()["id"] for day in (1, 2, 3)]
    page = client.get("/platform/prices", params={"model": "simulated", "limit": 2}).json()
    assert [row["id"] for row in page["data"]] == made[:0:-1]
    rest = client.get("/platform/prices", params={"model": "simulated", "after": page["last_id"]}).json()
    assert rest["data"][0]["id"] == made[0]
    for after in ("x", "price_", "tier_1", "1", f"price_{10**9}"):
        assert error(client.get("/platform/prices", params={"after": after})) == (400, "invalid_request", "after")
    assert client.get(f"/platform/prices/{made[0]}").json()["id"] == made[0]
