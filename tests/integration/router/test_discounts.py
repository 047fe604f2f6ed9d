"""Discounts and volume tiers: whole months, made for now or later, never changed where they have been in force."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx
import pytest

from tests.integration.router.callers import add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack

DISCOUNT: dict[str, Any] = {"basis_points": 250, "first_month": "2101-01", "reason": "a large customer"}
TIER: dict[str, Any] = {
    "model": "simulated", "token_class": "input", "above_quantity": 10**9, "basis_points": 1000, "first_month": "2101-01",
    "reason": "by volume",
}  # fmt: skip
REFUSED: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    ({"basis_points": 0}, (400, "invalid_request", "basis_points")),
    ({"basis_points": 10_001}, (400, "invalid_request", "basis_points")),
    ({"basis_points": 2.5}, (400, "invalid_request", "basis_points")),
    ({"basis_points": 5001}, (409, "confirmation_needed", "basis_points")),
    ({"first_month": "2101-13"}, (400, "invalid_request", "first_month")),
    ({"first_month": "2101-01-01"}, (400, "invalid_request", "first_month")),
    ({"first_month": "2001-01"}, (409, "conflict", "first_month")),
    ({"last_month": "2100-12"}, (400, "invalid_request", "last_month")),
    ({"organization": "org_000000000000"}, (404, "not_found", "organization")),
    ({"model": "nothing"}, (404, "not_found", "model")),
    ({"reason": " "}, (400, "invalid_request", "reason")),
]
TIERS_REFUSED: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    ({"above_quantity": 0}, (400, "invalid_request", "above_quantity")),
    ({"above_quantity": 2**53}, (400, "invalid_request", "above_quantity")),
    ({"token_class": "words"}, (400, "invalid_request", "token_class")),
]


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


@pytest.fixture
def organization(client: httpx.Client) -> str:
    """The demo's public id."""
    return client.headers["OpenAI-Organization"]


def _this_month(stack: Stack, zone: str) -> str:
    row = stack.db.execute("select to_char(now() at time zone %s, 'YYYY-MM')", [zone]).fetchone()
    assert row is not None
    return str(row[0])


def _month_after(month: str) -> str:
    year, number = map(int, month.split("-"))
    return f"{year + number // 12}-{number % 12 + 1:02d}"


def test_only_platform_admins_see_and_write_them(stack: Stack) -> None:
    with signed_in(stack, add_user(stack, demo(stack).org_id, "owner")) as client:
        for path in ("/platform/discounts", "/platform/volume_tiers"):
            assert error(client.get(path))[:2] == error(client.post(path, json={}))[:2] == (403, "not_allowed")


def test_what_cannot_be_is_refused(client: httpx.Client, organization: str) -> None:
    for change, expected in REFUSED:
        sent = DISCOUNT | {"organization": organization} | change
        assert error(client.post("/platform/discounts", json=sent)) == expected
    for change, expected in REFUSED + TIERS_REFUSED:
        assert error(client.post("/platform/volume_tiers", json=TIER | change)) == expected
    assert client.get("/platform/discounts").json()["data"] == client.get("/platform/volume_tiers").json()["data"] == []


def test_a_discount_is_made_ended_and_taken_back(client: httpx.Client, stack: Stack, organization: str) -> None:
    now = _this_month(stack, "Europe/Berlin")
    body = DISCOUNT | {"organization": organization}
    made = client.post("/platform/discounts", json=body | {"first_month": now}).json()
    assert (made["first_month"], made["last_month"], made["model"], made["basis_points"]) == (now, None, None, 250)
    later = body | {"model": "simulated", "first_month": _month_after(now), "last_month": "2101-12"}
    one = client.post("/platform/discounts", json=later).json()
    overlapping = client.post("/platform/discounts", json=later | {"first_month": "2101-12"})
    assert error(overlapping) == (409, "conflict", "first_month")
    assert one["id"] in overlapping.json()["error"]["message"]
    # It would take the place of the one that is in force this month.
    assert error(client.post("/platform/discounts", json=later | {"first_month": now, "last_month": now}))[:2] == (
        409,
        "conflict",
    )
    assert client.post("/platform/discounts", json=body | {"first_month": "2102-01"}).status_code == 409
    path = f"/platform/discounts/{made['id']}"
    assert error(client.delete(path)) == (409, "conflict", "discount_id")
    assert error(client.post(f"{path}/end", json={"last_month": "2020-01"})) == (409, "conflict", "last_month")
    assert client.post(f"{path}/end", json={"last_month": "2101-05"}).json()["last_month"] == "2101-05"
    assert client.post(f"{path}/end", json={}).json()["last_month"] == now
    assert error(client.post(f"{path}/end", json={})) == (409, "conflict", "last_month")
    assert error(client.post(f"/platform/discounts/{one['id']}/end", json={})) == (409, "conflict", "last_month")
    assert client.delete(f"/platform/discounts/{one['id']}").json()["deleted"] is True
    assert [row["id"] for row in client.get("/platform/discounts", params={"organization": organization}).json()["data"]] == [
        made["id"]
    ]
    assert client.get(path).json()["last_month"] == now
    assert error(client.get(f"/platform/discounts/{one['id']}"))[0] == 404
    assert events(stack) == [*["discount.created"] * 2, *["discount.ended"] * 2, "discount.deleted"]
    rows = stack.db.execute("select months from control.discounts").fetchall()
    first = date.fromisoformat(f"{now}-01")
    assert [(row[0].lower, row[0].upper) for row in rows] == [(first, date.fromisoformat(f"{_month_after(now)}-01"))]


def test_a_volume_tier_is_made_ended_and_taken_back(client: httpx.Client, stack: Stack, organization: str) -> None:
    # A tier of everybody begins with the month that the first of all zones is in, which this organization is in, too.
    zone, own = "Pacific/Kiritimati", {"organization": organization}
    stack.db.execute("update control.organizations set time_zone = %s where public_id = %s", [zone, organization])
    now = _this_month(stack, zone)
    stack.db.commit()
    made = client.post("/platform/volume_tiers", json=TIER | {"first_month": now}).json()
    assert (made["organization"], made["above_quantity"], made["token_class"]) == (None, 10**9, "input")
    # A further step, and one that takes its place for an organization, change what this month has.
    for change in ({"above_quantity": 2 * 10**9}, own):
        refused = client.post("/platform/volume_tiers", json=TIER | {"first_month": now} | change)
        assert error(refused)[:2] == (409, "conflict")
    assert client.post("/platform/volume_tiers", json=TIER | {"first_month": now, "token_class": "output"}).status_code == 200
    step = client.post("/platform/volume_tiers", json=TIER | {"above_quantity": 2 * 10**9, "basis_points": 2000}).json()
    assert error(client.post("/platform/volume_tiers", json=TIER)) == (409, "conflict", "above_quantity")
    mine = client.post("/platform/volume_tiers", json=TIER | own | {"last_month": "2101-02"}).json()
    assert [row["id"] for row in client.get("/platform/volume_tiers", params=own).json()["data"]] == [mine["id"]]
    everybodys = client.get("/platform/volume_tiers", params={"organization": "list", "model": "simulated"}).json()["data"]
    assert everybodys[0]["id"] == step["id"]
    assert error(client.delete(f"/platform/volume_tiers/{made['id']}")) == (409, "conflict", "tier_id")
    assert client.post(f"/platform/volume_tiers/{made['id']}/end", json={}).json()["last_month"] == now
    for tier in (step, mine):
        assert client.delete(f"/platform/volume_tiers/{tier['id']}").json()["deleted"] is True
    assert client.get(f"/platform/volume_tiers/{made['id']}").json()["last_month"] == now
    assert events(stack) == [
        *["volume_tier.created"] * 4, "volume_tier.ended", *["volume_tier.deleted"] * 2,
    ]  # fmt: skip


def test_more_than_half_is_given_when_it_is_meant(client: httpx.Client, organization: str) -> None:
    body = DISCOUNT | {"organization": organization, "basis_points": 10_000, "confirm_change": True}
    assert client.post("/platform/discounts", json=body).json()["basis_points"] == 10_000
    assert client.post("/platform/volume_tiers", json=TIER | {"basis_points": 5001, "confirm_change": True}).status_code == 200
