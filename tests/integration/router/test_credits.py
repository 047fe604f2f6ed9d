"""Credits are given by the platform, seen by the organization, and every change of a wallet says from which they came."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.factories import add_tenant
from tests.integration.router.callers import add_user, demo, error, events, owner, signed_in
from tests.integration.router.command import Command
from tests.integration.router.conftest import Stack

DAY = 86400


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def _grant(client: httpx.Client, stack: Stack, amount: str, **fields: Any) -> httpx.Response:
    body = {"organization_id": demo(stack).organization, "amount_usd": amount, "reason": "a gift", **fields}
    return client.post("/platform/credits", json=body)


def _draw(stack: Stack, picousd: int, reference: str) -> None:
    stack.db.execute("select ledger.draw(%s, %s, %s, now())", [demo(stack).org_id, picousd, reference])
    stack.db.commit()


def test_a_credit_is_granted_drawn_and_its_rest_voided(stack: Stack, client: httpx.Client) -> None:
    lasting = _grant(client, stack, "10").json()
    expires = int(time.time()) + 7 * DAY
    soon = _grant(client, stack, "0.000000000005", kind="prepaid", expires_at=expires, reference="payment 7").json()
    assert (soon["kind"], soon["remaining_usd"], soon["reference"]) == ("prepaid", "0.000000000005", "payment 7")
    balance = client.get("/organization/credits/balance").json()
    assert (balance["available_usd"], balance["next_expiry_at"]) == ("10.000000000005", expires)
    assert balance["next_expiry_usd"] == "0.000000000005"
    _draw(stack, 6, "invoice 1")
    listed = client.get("/organization/credits").json()["data"]
    assert [(one["id"], one["remaining_usd"]) for one in listed] == [(soon["id"], "0.00"), (lasting["id"], "9.999999999999")]
    newest = client.get("/organization/credits/entries", params={"limit": 1}).json()
    assert newest["has_more"]
    (drawn,) = newest["data"]
    assert (drawn["kind"], drawn["amount_usd"], drawn["balance_usd"]) == ("draw", "-0.000000000006", "9.999999999999")
    assert drawn["credits"] == [
        {"credit_id": soon["id"], "amount_usd": "-0.000000000005"},
        {"credit_id": lasting["id"], "amount_usd": "-0.000000000001"},
    ]
    older = client.get("/organization/credits/entries", params={"after": newest["last_id"]}).json()["data"]
    assert [(one["kind"], one["credits"][0]["credit_id"]) for one in older] == [("grant", soon["id"]), ("grant", lasting["id"])]
    for _ in range(2):
        voided = client.post(f"/platform/credits/{lasting['id']}/void", json={"reason": "a mistake"})
        assert voided.json()["remaining_usd"] == "0.00"
    assert client.get("/organization/credits/balance").json()["available_usd"] == "0.00"
    assert events(stack) == ["credit.granted", "credit.granted", "credit.voided", "credit.voided"]


def test_the_same_grant_again_is_one(stack: Stack, client: httpx.Client) -> None:
    body = {"organization_id": demo(stack).organization, "amount_usd": "1", "reason": "r"}
    answers = [client.post("/platform/credits", json=body, headers={"Idempotency-Key": "k"}).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert _grant(client, stack, "1", reference="payment 1").status_code == 200
    assert error(_grant(client, stack, "1", reference="payment 1")) == (409, "already_exists", "reference")
    _draw(stack, 1, "invoice 1")
    assert error(_grant(client, stack, "1", reference="invoice 1")) == (409, "already_exists", "reference")
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: _grant(client, stack, "1", reference="payment 2").status_code, range(4)))
    assert 200 in statuses
    assert set(statuses) <= {200, 409}
    assert len(client.get("/platform/credits").json()["data"]) == 3


def test_a_grant_that_makes_no_sense_is_refused(stack: Stack, client: httpx.Client) -> None:
    wrong = {
        "amount_usd": ("0", "-1", "0.0000000000001"),
        "expires_at": (1, int(time.time()) + 40 * 366 * DAY),
        "kind": ("loan",),
        "reason": (" ",),
        "reference": ("",),
    }
    body = {"organization_id": demo(stack).organization, "amount_usd": "1", "reason": "r"}
    for field, values in wrong.items():
        for value in values:
            refused = client.post("/platform/credits", json=body | {field: value})
            assert error(refused)[::2] == (400, field), value
    assert client.get("/organization/credits").json()["data"] == []


def test_nobody_sees_or_gives_the_credits_of_another(stack: Stack, client: httpx.Client) -> None:
    own, other = demo(stack), add_tenant(stack.db, name="Other")
    stack.db.commit()
    theirs = client.post(
        "/platform/credits", json={"organization_id": other.organization, "amount_usd": "3", "reason": "r"}
    ).json()
    assert [one["id"] for one in client.get("/platform/credits").json()["data"]] == [theirs["id"]]
    filtered = client.get("/platform/credits", params={"organization_id": own.organization})
    assert filtered.json()["data"] == []
    assert client.get(f"/platform/credits/{theirs['id']}").json() == theirs
    for role, status in (("billing", 200), ("auditor", 200), ("member", 403)):
        with signed_in(stack, add_user(stack, own.org_id, role)) as somebody:
            for path in ("credits", "credits/entries", "credits/balance"):
                answer = somebody.get(f"/organization/{path}")
                assert answer.status_code == status
                assert theirs["id"] not in answer.text
            assert _grant(somebody, stack, "1").status_code == 403
            assert somebody.post(f"/platform/credits/{theirs['id']}/void", json={"reason": "r"}).status_code == 403
    assert error(client.post("/platform/credits/credit_none/void", json={"reason": "r"})) == (404, "not_found", "credit_id")


def test_the_command_grants_shows_and_voids(stack: Stack, tmp_path: Path) -> None:
    command = Command(stack, tmp_path)
    command.login()
    to = ["--for", demo(stack).organization, "--usd", "2.5", "--kind", "prepaid", "--expires", "+30d", "--reason", "payment 3"]
    granted = command.json("credit", "grant", *to)
    assert [one["id"] for one in command.json("credit", "list")] == [granted["id"]]
    assert command.json("credit", "balance")["available_usd"] == "2.50"
    assert command.json("credit", "entries")[0]["credits"] == [{"credit_id": granted["id"], "amount_usd": "2.50"}]
    assert command.json("credit", "get", granted["id"])["reason"] == "payment 3"
    command("credit", "void", granted["id"], "--reason", "a mistake", expects=2)
    command("credit", "void", granted["id"], "--reason", "a mistake", "--yes")
    assert command.json("credit", "balance")["available_usd"] == "0.00"
