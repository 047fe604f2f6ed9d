"""Rate limits: kept as they are set, of one's own organization only, and shown to a project for what is about it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.factories import add_tenant
from tests.integration.router.callers import add_project, add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack

BODY: dict[str, Any] = {"requests_per_minute": 60}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"requests_per_minute": None}, "requests_per_minute"), ({"requests_at_once": -1}, "requests_at_once"),
    ({"input_tokens_per_minute": 10**15 + 1}, "input_tokens_per_minute"),
    ({"output_tokens_per_minute": "many"}, "output_tokens_per_minute"),
    ({"user_id": "user_000000000000"}, "user_id"), ({"project_id": ""}, "project_id"),
]  # fmt: skip


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def test_a_limit_that_cannot_be_is_refused(client: httpx.Client) -> None:
    for change, param in REFUSED:
        assert error(client.post("/organization/limits", json=BODY | change)) == (400, "invalid_request", param)


def test_what_is_another_tenants_does_not_exist(client: httpx.Client, stack: Stack) -> None:
    other = add_tenant(stack.db, name="Other")
    _, project = add_project(stack, other.org_id, "Theirs")
    row = stack.db.execute("select 'key_' || public_id from control.api_keys where id = %s", [other.api_key_id]).fetchone()
    assert row is not None
    for name, value in {"project_id": project, "api_key_id": row[0], "model": "nothing"}.items():
        assert error(client.post("/organization/limits", json=BODY | {name: value})) == (404, "not_found", name)
    with signed_in(stack, add_user(stack, other.org_id, "owner")) as there:
        limit = there.post("/organization/limits", json=BODY).json()["id"]
    assert error(client.delete(f"/organization/limits/{limit}")) == (404, "not_found", "limit_id")
    assert client.get("/organization/limits").json()["data"] == []


def test_a_limit_is_made_changed_and_taken_away(client: httpx.Client, stack: Stack) -> None:
    made = client.post("/organization/limits", json=BODY | {"model": "simulated"}).json()
    assert (made["object"], made["requests_per_minute"], made["requests_at_once"]) == ("organization.limit", 60, None)
    path = f"/organization/limits/{made['id']}"
    assert client.get(path).json() == made
    changed = client.post(path, json={"requests_at_once": 0, "requests_per_minute": None}, headers={"if-match": '"1"'}).json()
    assert (changed["requests_per_minute"], changed["requests_at_once"], changed["version"]) == (None, 0, 2)
    assert client.post(path, json={"input_tokens_per_minute": 5}).json()["requests_at_once"] == 0
    none_left = client.post(path, json={"requests_at_once": None, "input_tokens_per_minute": None})
    assert error(none_left)[:2] == (400, "invalid_request")
    assert error(client.post(path, json={}, headers={"if-match": '"1"'}))[0] == 412
    assert client.get("/organization/limits", params={"model": "simulated"}).json()["data"][0]["id"] == made["id"]
    assert client.delete(path).json()["deleted"] is True
    assert error(client.get(path))[0] == 404
    assert events(stack) == ["limit.created", "limit.updated", "limit.updated", "limit.deleted"]


def test_who_has_a_role_in_one_project_sees_the_limits_about_it(client: httpx.Client, stack: Stack) -> None:
    mine = demo(stack)
    sibling_id, sibling = add_project(stack, mine.org_id, "Sibling")
    client.post("/organization/limits", json=BODY)
    shown = client.post("/organization/limits", json=BODY | {"project_id": sibling}).json()["id"]
    with signed_in(stack, add_user(stack, mine.org_id, "member", {sibling_id: "member"})) as member:
        assert [limit["id"] for limit in member.get("/organization/limits").json()["data"]] == [shown]
        assert error(member.post("/organization/limits", json=BODY))[:2] == (403, "not_allowed")
    with signed_in(stack, add_user(stack, mine.org_id, "billing")) as billing:
        assert len(billing.get("/organization/limits").json()["data"]) == 2
        assert error(billing.delete(f"/organization/limits/{shown}"))[:2] == (403, "not_allowed")


def test_a_limit_may_be_on_trial(client: httpx.Client) -> None:
    made = client.post("/organization/limits", json=BODY | {"mode": "shadow"}).json()
    assert made["mode"] == "shadow"
    assert client.post(f"/organization/limits/{made['id']}", json={"mode": "hard"}).json()["mode"] == "hard"
    assert client.post(f"/organization/limits/{made['id']}", json={"requests_at_once": 5}).json()["mode"] == "hard"
    assert error(client.post("/organization/limits", json=BODY | {"mode": "soft"})) == (400, "invalid_request", "mode")
