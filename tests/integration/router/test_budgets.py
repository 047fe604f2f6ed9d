"""Budgets: kept exactly, of one's own organization only, and shown to a project for what is about it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from router.management.scopes import ALIKE_MAX
from tests.factories import Tenant, add_tenant
from tests.integration.router.callers import add_key, add_project, add_user, demo, error, events, owner, signed_in, with_key
from tests.integration.router.conftest import Stack
from warehouse.base.ids import public_id

BODY: dict[str, Any] = {"period": "month", "limit_usd": "100.000000000001", "alert_percents": [100, 50]}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"limit_usd": "-1"}, "limit_usd"), ({"limit_usd": "1e9"}, "limit_usd"), ({"limit_usd": 5}, "limit_usd"),
    ({"limit_usd": "0.0000000000001"}, "limit_usd"), ({"limit_usd": "1" * 13}, "limit_usd"), ({"period": "year"}, "period"),
    ({"mode": "angry"}, "mode"), ({"alert_percents": [0]}, "alert_percents.0"), ({"alert_percents": [101]}, "alert_percents.0"),
    ({"alert_percents": [5, 5]}, "alert_percents"), ({"alert_percents": list(range(1, 12))}, "alert_percents"), ({"x": 1}, "x"),
    ({"project_id": "a\0"}, "project_id"),
]  # fmt: skip


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def _people(stack: Stack, tenant: Tenant) -> dict[str, str]:
    """Public ids of what a budget may be about: a user, a service account and a key of this tenant."""
    email = add_user(stack, tenant.org_id, "member")
    account = public_id("svc")
    stack.db.execute(
        "insert into control.service_accounts (public_id, org_id, project_id, name) values (%s, %s, %s, 'Robot')",
        [account, tenant.org_id, tenant.project_id],
    )
    row = stack.db.execute(
        "select (select public_id from control.users where email = %s),"
        " (select 'key_' || public_id from control.api_keys where id = %s),"
        " (select public_id from control.projects where id = %s)",
        [email, tenant.api_key_id, tenant.project_id],
    ).fetchone()
    stack.db.commit()
    assert row is not None
    return {"user_id": row[0], "service_account_id": account, "api_key_id": row[1], "project_id": row[2]}


def test_a_budget_that_cannot_be_is_refused(client: httpx.Client) -> None:
    for change, param in REFUSED:
        assert error(client.post("/organization/budgets", json=BODY | change)) == (400, "invalid_request", param)
    assert client.get("/organization/budgets").json()["data"] == []


def test_who_writes_what_cannot_be_is_told_what_to_enter(client: httpx.Client) -> None:
    for field, value, words in (("limit_usd", "1e5", "such as 250 or 0.50"), ("model", "my model", "use letters, digits")):
        message = client.post("/organization/budgets", json=BODY | {field: value}).json()["error"]["message"]
        assert words in message
        assert "^" not in message


def test_what_is_another_tenants_or_gone_does_not_exist(client: httpx.Client, stack: Stack) -> None:
    other = add_tenant(stack.db, name="Other")
    ids = _people(stack, other) | {"model": "nothing"}
    for name, value in ids.items():
        assert error(client.post("/organization/budgets", json=BODY | {name: value})) == (404, "not_found", name)
    mine = _people(stack, demo(stack))
    two = client.post("/organization/budgets", json=BODY | {"user_id": mine["user_id"], "project_id": mine["project_id"]})
    assert error(two) == (400, "invalid_request", "user_id")
    client.post(f"/organization/projects/{mine['project_id']}/archive")
    assert error(client.post("/organization/budgets", json=BODY | {"project_id": mine["project_id"]}))[0] == 404
    with signed_in(stack, add_user(stack, other.org_id, "owner")) as there:
        budget = there.post("/organization/budgets", json=BODY).json()["id"]
    for answer in (
        client.get(f"/organization/budgets/{budget}"), client.post(f"/organization/budgets/{budget}", json={"limit_usd": "1"}),
        client.delete(f"/organization/budgets/{budget}"),
    ):  # fmt: skip
        assert error(answer) == (404, "not_found", "budget_id")
    assert client.get("/organization/budgets").json()["data"] == []


def test_a_budget_is_made_changed_and_taken_away(client: httpx.Client, stack: Stack) -> None:
    made = client.post("/organization/budgets", json=BODY).json()
    assert made["object"] == "organization.budget"
    assert (made["limit_usd"], made["alert_percents"], made["mode"]) == ("100.000000000001", [50, 100], "hard")
    path = f"/organization/budgets/{made['id']}"
    read = client.get(path)
    assert (read.json(), read.headers["etag"]) == (made | {"spend": None}, '"1"')
    changed = client.post(path, json={"limit_usd": "5", "mode": "shadow"}, headers={"if-match": '"1"'}).json()
    assert (changed["limit_usd"], changed["mode"], changed["alert_percents"]) == ("5.00", "shadow", [50, 100])
    assert error(client.post(path, json={}, headers={"if-match": '"1"'}))[0] == 412
    assert client.delete(path).json() == {"object": "organization.budget.deleted", "id": made["id"], "deleted": True}
    assert error(client.get(path))[0] == error(client.delete(path))[0] == 404
    assert events(stack) == ["budget.created", "budget.updated", "budget.deleted"]
    paths = client.get("/../openapi.json").json()["paths"]
    for noun in ("budgets", "limits"):
        assert "holds in every router within a second" in paths[f"/v1/organization/{noun}"]["post"]["description"]


def test_budgets_are_of_anybody_and_anything_and_are_filtered(client: httpx.Client, stack: Stack) -> None:
    ids = _people(stack, demo(stack)) | {"model": "simulated"}
    made = {name: client.post("/organization/budgets", json=BODY | {name: value}).json() for name, value in ids.items()}
    for name, value in ids.items():
        assert made[name][name] == value
        found = client.get("/organization/budgets", params={name: value}).json()["data"]
        assert [budget["id"] for budget in found] == [made[name]["id"]]
    first = client.get("/organization/budgets", params={"limit": 3}).json()
    rest = client.get("/organization/budgets", params={"after": first["last_id"]}).json()
    assert [budget["id"] for budget in first["data"] + rest["data"]] == [budget["id"] for budget in made.values()]
    headers = {"idempotency-key": "one"}
    again = [client.post("/organization/budgets", json=BODY, headers=headers).json()["id"] for _ in range(2)]
    assert again[0] == again[1]


def test_who_has_a_role_in_one_project_sees_the_budgets_about_it(client: httpx.Client, stack: Stack) -> None:
    mine = demo(stack)
    ids = _people(stack, mine)
    _, sibling = add_project(stack, mine.org_id, "Sibling")
    for about in ({}, {"project_id": sibling}, {"user_id": ids["user_id"]}):
        client.post("/organization/budgets", json=BODY | about)
    about = ("project_id", "service_account_id", "api_key_id")
    shown = [client.post("/organization/budgets", json=BODY | {name: ids[name]}).json()["id"] for name in about]
    hidden = client.get("/organization/budgets", params={"project_id": sibling}).json()["data"][0]["id"]
    with signed_in(stack, add_user(stack, mine.org_id, "member", {mine.project_id: "viewer"})) as viewer:
        assert [budget["id"] for budget in viewer.get("/organization/budgets").json()["data"]] == shown
        assert viewer.get(f"/organization/budgets/{shown[0]}").status_code == 200
        assert error(viewer.get(f"/organization/budgets/{hidden}"))[0] == 404
        assert error(viewer.post("/organization/budgets", json=BODY))[:2] == (403, "not_allowed")
    with signed_in(stack, add_user(stack, mine.org_id, "member")) as nobody:
        assert error(nobody.get("/organization/budgets"))[:2] == (403, "not_allowed")
    with with_key(stack, add_key(stack, mine.org_id, mine.project_id, ["usage.read"])) as key:
        assert error(key.get("/organization/budgets"))[:2] == (403, "not_allowed")


def test_a_raise_holds_for_a_while_and_is_taken_away(client: httpx.Client) -> None:
    made = client.post("/organization/budgets", json=BODY).json()
    path, until = f"/organization/budgets/{made['id']}", int(time.time()) + 3600
    assert (made["raised_limit_usd"], made["raised_until"], made["limit_in_force_usd"]) == (None, None, made["limit_usd"])
    raised = client.post(path, json={"raised_limit_usd": "250", "raised_until": until}).json()
    assert (raised["limit_usd"], raised["limit_in_force_usd"], raised["raised_until"]) == (made["limit_usd"], "250.00", until)
    assert client.post(path, json={"limit_usd": "300"}).json()["limit_in_force_usd"] == "300.00"  # the higher one
    for wrong, param in (
        ({"raised_limit_usd": "5"}, "raised_until"), ({"raised_until": until}, "raised_limit_usd"),
        ({"raised_limit_usd": "5", "raised_until": until - 7200}, "raised_until"),
        ({"raised_limit_usd": "5", "raised_until": until + 400 * 86_400}, "raised_until"),
    ):  # fmt: skip
        assert error(client.post(path, json=wrong)) == (400, "invalid_request", param)
    gone = client.post(path, json={"raised_limit_usd": None, "raised_until": None}).json()
    assert (gone["raised_limit_usd"], gone["raised_until"]) == (None, None)


def test_what_each_request_is_held_against_is_bounded(client: httpx.Client, stack: Stack) -> None:
    """As many as there may be about the same, of each kind, and however many write at once."""
    bodies = {"budgets": {"period": "month", "limit_usd": "100"}, "limits": {"requests_per_minute": 1000}}
    for kind, body in bodies.items():
        path = f"/organization/{kind}"
        about = [body | {"model": "simulated"}] * (ALIKE_MAX + 3)
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda one, path=path: client.post(path, json=one), about))  # type: ignore[misc]
        assert sorted(answer.status_code for answer in made) == [200] * ALIKE_MAX + [409] * 3
        assert error(client.post(path, json=about[0])) == (409, "conflict", None)
        assert client.post(path, json=body | {"project_id": _project(stack)}).status_code == 200
        gone = next(answer.json()["id"] for answer in made if answer.status_code == 200)
        assert client.delete(f"{path}/{gone}").status_code == 200
        assert client.post(path, json=about[0]).status_code == 200


def _project(stack: Stack) -> str:
    row = stack.db.execute("select public_id from control.projects order by id limit 1").fetchone()
    assert row is not None
    return str(row[0])
