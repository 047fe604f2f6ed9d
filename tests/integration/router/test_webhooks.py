"""Webhooks by the management API: a secret is shown once, tests and failed deliveries are sent, others see nothing of it."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from orchestration.defs.outbox.deliverer import Outlet, deliver_due
from orchestration.resources import Warehouse
from router.management.webhooks import WEBHOOKS_MAX
from tests.factories import add_tenant
from tests.integration.router.callers import add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack
from tests.receivers import WebReceiver
from warehouse.base.ids import public_id
from warehouse.identity.networks import parse_networks
from warehouse.identity.webhooks import webhook_key

BODY: dict[str, Any] = {"name": "On call", "url": "https://hooks.example/x?y=z", "event_types": ["budget.exhausted"]}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"url": "ftp://hooks.example/"}, "url"), ({"url": "https://"}, "url"), ({"url": "https://me:pw@hooks.example/"}, "url"),
    ({"url": "https://hooks.example/" + "x" * 2000}, "url"), ({"url": 5}, "url"), ({"name": ""}, "name"),
    ({"event_types": []}, "event_types"), ({"event_types": ["Budget!"]}, "event_types.0"),
    ({"event_types": ["budget.exhausted", "budget.exceeded"]}, "event_types.1"),
    ({"event_types": ["budget.exhausted"] * 21}, "event_types"), ({"enabled": "perhaps"}, "enabled"),
    ({"secret": "whsec_mine"}, "secret"),
]  # fmt: skip


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


@pytest.fixture
def web() -> Iterator[WebReceiver]:
    receiver = WebReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def deliver(stack: Stack, role_url: Callable[..., str]) -> Callable[[], dict[str, int]]:
    """As the sensor does, with the key that belongs to the router's pepper."""
    warehouse = Warehouse(database_url=role_url("inferhouse_transform"))
    outlet = Outlet(webhook_key(stack.pepper), parse_networks(["127.0.0.0/8"]))
    return lambda: dict(deliver_due(warehouse.connect, outlet))


def _alert(stack: Stack, percent: int) -> None:
    org_id = demo(stack).org_id
    row = stack.db.execute(
        "insert into control.budgets (public_id, org_id, period, limit_picousd) values (%s, %s, 'day', 10) returning id",
        [public_id("budget"), org_id],
    ).fetchone()
    assert row is not None
    stack.db.execute(
        "insert into control.budget_alerts (org_id, budget_id, window_start, percent, spent_picousd, limit_picousd)"
        " values (%s, %s, now(), %s, 9, 10)",
        [org_id, row[0], percent],
    )
    stack.db.commit()


def _valid(secret: str, headers: dict[str, str], body: bytes) -> bool:
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return expected in headers["webhook-signature"].split(" ")


def test_a_webhook_that_cannot_be_is_refused(client: httpx.Client) -> None:
    for change, param in REFUSED:
        assert error(client.post("/organization/webhooks", json=BODY | change)) == (400, "invalid_request", param), change
    assert client.get("/organization/webhooks").json()["data"] == []


def test_a_scheme_in_capitals_is_the_same_scheme(client: httpx.Client) -> None:
    made = client.post("/organization/webhooks", json=BODY | {"url": "HTTPS://hooks.example.com/In"}).json()
    assert made["url"] == "https://hooks.example.com/In"
    changed = client.post(f"/organization/webhooks/{made['id']}", json={"url": "Http://hooks.example.com/"})
    assert changed.json()["url"] == "http://hooks.example.com/"


def test_a_webhook_is_made_changed_and_taken_away_and_its_secret_is_nowhere(client: httpx.Client, stack: Stack) -> None:
    headers = {"idempotency-key": "one"}
    made = client.post("/organization/webhooks", json=BODY, headers=headers).json()
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    again = client.post("/organization/webhooks", json=BODY, headers=headers).json()
    assert again == made | {"secret": None}
    path = f"/organization/webhooks/{made['id']}"
    assert client.get(path).json() == made
    assert client.get("/organization/webhooks").json()["data"] == [made]
    changed = client.post(path, json={"event_types": None, "enabled": False}, headers={"if-match": '"1"'}).json()
    assert changed == made | {"event_types": None, "enabled": False, "version": 2}
    assert client.post(path, json={"name": "Else"}).json()["event_types"] is None
    assert error(client.post(path, json={}, headers={"if-match": '"1"'}))[0] == 412
    assert client.delete(path).json()["deleted"] is True
    assert error(client.get(path)) == error(client.delete(path)) == (404, "not_found", "webhook_id")
    assert events(stack) == ["webhook.created", "webhook.updated", "webhook.updated", "webhook.deleted"]
    entries = client.get("/organization/audit_logs").text
    assert "whsec_" not in entries
    assert made["id"] in entries


def test_a_test_event_is_signed_with_the_secret_that_was_shown(
    client: httpx.Client, web: WebReceiver, deliver: Callable[[], dict[str, int]], stack: Stack
) -> None:
    made = client.post("/organization/webhooks", json=BODY | {"url": web.url, "enabled": False}).json()
    client.post("/organization/webhooks", json=BODY | {"url": f"{web.url}/other", "event_types": None})
    path = f"/organization/webhooks/{made['id']}"
    sent = client.post(f"{path}/test").json()
    assert deliver() == {"delivered": 1}
    rotated = client.post(f"{path}/rotate", json={"grace_seconds": 3600}).json()
    assert rotated["previous_secret_until"] is not None
    client.post(f"{path}/test")
    deliver()
    last = client.post(f"{path}/rotate", json={"grace_seconds": 0}).json()
    client.post(f"{path}/test")
    deliver()
    secrets = [made["secret"], rotated["secret"], last["secret"]]
    valid = [[_valid(secret, posted.headers, posted.body) for secret in secrets] for posted in web.posted]
    assert valid == [[True, False, False], [True, True, False], [False, False, True]]
    assert {posted.path for posted in web.posted} == {"/"}
    assert json.loads(web.posted[0].body) | {"timestamp": ""} == {
        "id": sent["event_id"], "type": "webhook.test", "timestamp": "", "data": {"webhook_id": made["id"]},
    }  # fmt: skip
    (delivery,) = client.get("/organization/deliveries", params={"event_id": sent["event_id"]}).json()["data"]
    assert (delivery["status"], delivery["http_status"], delivery["tries"]) == ("delivered", 204, 1)
    assert client.get("/organization/alerts").json()["data"] == [], "a test is no alert"
    assert events(stack).count("webhook.rotated") == 2


def test_alerts_and_deliveries_are_listed_and_a_failed_one_is_sent_again(
    client: httpx.Client, web: WebReceiver, deliver: Callable[[], dict[str, int]], stack: Stack
) -> None:
    hook = client.post("/organization/webhooks", json=BODY | {"url": web.url}).json()["id"]
    client.post("/organization/alerts/recipients", json={"roles": []})
    _alert(stack, 50)
    _alert(stack, 100)
    web.statuses = [410]
    waiting = client.get("/organization/deliveries", params={"status": "waiting"}).json()["data"]
    early = client.post(f"/organization/deliveries/{waiting[0]['id']}/resend")
    assert error(early)[:2] == (409, "conflict")
    assert deliver() == {"failed": 1}
    full, half = client.get("/organization/alerts").json()["data"]
    assert (full["type"], half["type"]) == ("budget.exhausted", "budget.threshold_reached")
    assert full["data"]["spent_usd"] == "0.000000000009"
    assert full["deliveries"] == {"waiting": 0, "delivered": 0, "failed": 1}
    assert half["deliveries"] == {"waiting": 0, "delivered": 0, "failed": 0}
    assert len(client.get("/organization/alerts", params={"type": "budget.exhausted"}).json()["data"]) == 1
    found = {"webhook_id": hook, "status": "failed"}
    (failed,) = client.get("/organization/deliveries", params=found).json()["data"]
    assert (failed["error"], failed["next_try_at"]) == ("answered 410", None)
    again = client.post(f"/organization/deliveries/{failed['id']}/resend").json()
    assert (again["status"], again["tries"]) == ("waiting", 0)
    assert deliver() == {"delivered": 1}
    assert web.posted[0].headers["webhook-id"] == web.posted[1].headers["webhook-id"] == full["id"]
    assert error(client.post("/organization/deliveries/delivery_none/resend")) == (404, "not_found", "delivery_id")
    first = client.get("/organization/alerts", params={"limit": 1}).json()
    rest = client.get("/organization/alerts", params={"after": first["last_id"]}).json()
    assert [alert["id"] for alert in first["data"] + rest["data"]] == [full["id"], half["id"]]


def test_recipients_are_owners_and_billing_until_somebody_says_otherwise(client: httpx.Client, stack: Stack) -> None:
    path = "/organization/alerts/recipients"
    default = client.get(path)
    assert (default.json()["roles"], default.json()["emails"], default.headers["etag"]) == (["owner", "billing"], [], '"0"')
    said = client.post(path, json={"emails": ["Ops@demo.example", "ops@demo.example"]}, headers={"if-match": '"0"'}).json()
    assert (said["roles"], said["emails"], said["version"]) == (["owner", "billing"], ["ops@demo.example"], 1)
    assert error(client.post(path, json={}, headers={"if-match": '"0"'}))[0] == 412
    assert client.post(path, json={"roles": ["admin"], "emails": []}).json()["roles"] == ["admin"]
    for wrong, param in (
        ({"roles": ["king"]}, "roles.0"),
        ({"emails": ["nobody"]}, "emails.0"),
        ({"emails": ["a@["]}, "emails.0"),
        ({"emails": ["ops@demo.example", "<ops@demo.example>"]}, "emails.1"),
        ({"emails": ["ops(x)@demo.example"]}, "emails.0"),
        ({"x": 1}, "x"),
    ):
        assert error(client.post(path, json=wrong)) == (400, "invalid_request", param)
    assert events(stack) == ["alert_recipients.updated"] * 2


def test_webhooks_are_bounded_and_of_one_organization(client: httpx.Client, stack: Stack) -> None:
    for _ in range(WEBHOOKS_MAX):
        made = client.post("/organization/webhooks", json=BODY)
        assert made.status_code == 200
    assert error(client.post("/organization/webhooks", json=BODY))[:2] == (409, "conflict")
    client.delete(f"/organization/webhooks/{made.json()['id']}")
    mine = client.post("/organization/webhooks", json=BODY).json()["id"]
    other = add_tenant(stack.db, name="Other")
    with signed_in(stack, add_user(stack, other.org_id, "owner")) as there:
        assert there.get("/organization/webhooks").json()["data"] == []
        for answer in (
            there.get(f"/organization/webhooks/{mine}"), there.post(f"/organization/webhooks/{mine}/test"),
            there.post(f"/organization/webhooks/{mine}/rotate", json={}), there.delete(f"/organization/webhooks/{mine}"),
        ):  # fmt: skip
            assert error(answer) == (404, "not_found", "webhook_id")
    with signed_in(stack, add_user(stack, demo(stack).org_id, "auditor")) as auditor:
        assert auditor.get("/organization/alerts").status_code == 200
        assert error(auditor.post("/organization/webhooks", json=BODY))[:2] == (403, "not_allowed")


def test_the_management_role_speaks_for_the_organization_of_its_transaction_only(
    stack: Stack, role_url: Callable[..., str]
) -> None:
    other, put = add_tenant(stack.db, name="Other"), "select control.put_event(%s, 'a.b', '{}', 'once')"
    stack.db.commit()
    with psycopg.connect(role_url("inferhouse_management"), autocommit=True) as conn:
        conn.execute("select set_config('inferhouse.org_id', %s, false)", [str(demo(stack).org_id)])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(put, [other.org_id])
        assert conn.execute(put, [demo(stack).org_id]).fetchone() != (None,)
        assert conn.execute(put, [demo(stack).org_id]).fetchone() == (None,), "a second one of the same is none"
