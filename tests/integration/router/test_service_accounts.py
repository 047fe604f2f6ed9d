"""Service accounts: refusals, a key that is shown once, and what outlives whom."""

from typing import Any

import httpx

from tests.integration.router.callers import add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack


def _status(stack: Stack, key: str) -> int:
    return httpx.get(stack.base_url + "/models", headers={"authorization": f"Bearer {key}"}).status_code


def _path(client: httpx.Client) -> str:
    return f"/organization/projects/{client.get('/organization/projects').json()['data'][0]['id']}/service_accounts"


def test_who_may_not_make_one_and_what_is_none_is_refused(stack: Stack) -> None:
    tenant = demo(stack)
    email = add_user(stack, tenant.org_id, "member", {tenant.project_id: "member"})
    with owner(stack) as boss, signed_in(stack, email) as member:
        path = _path(boss)
        assert error(member.post(path, json={"name": "robot"}))[:2] == (403, "not_allowed")
        assert boss.post(path, json={"name": "a\u0000b"}).status_code == 400
        assert boss.post(path, json={"name": "robot", "role": "admin"}).status_code == 400
        assert error(boss.get(f"{path}/svc_000000000000")) == (404, "not_found", "service_account_id")
        assert boss.post(path.removesuffix("/service_accounts") + "/archive").status_code == 200
        assert error(boss.post(path, json={"name": "robot"})) == (409, "conflict", "project_id")
    assert events(stack) == ["project.archived"]


def test_its_key_is_shown_once_and_stops_with_it(stack: Stack) -> None:
    with owner(stack) as boss:
        path, headers = _path(boss), {"idempotency-key": "robot"}
        made: dict[str, Any] = boss.post(path, json={"name": "robot"}, headers=headers).json()
        assert (made["object"], made["role"]) == ("organization.project.service_account", "member")
        again = boss.post(path, json={"name": "robot"}, headers=headers).json()
        assert (again["id"], again["api_key"]) == (made["id"], None)
        key = made["api_key"]["value"]
        assert _status(stack, key) == 200
        assert [entry["id"] for entry in boss.get(path).json()["data"]] == [made["id"]]
        assert boss.delete(f"{path}/{made['id']}").json()["deleted"] is True
        assert _status(stack, key) == 401
        assert boss.get(f"{path}/{made['id']}").status_code == 404
    assert events(stack) == ["service_account.created", "api_key.created", "service_account.deleted"]


def test_it_and_its_key_outlive_who_made_them(stack: Stack) -> None:
    email = add_user(stack, demo(stack).org_id, "admin")
    with owner(stack) as boss, signed_in(stack, email) as maker:
        path = _path(boss)
        made = maker.post(path, json={"name": "robot"}).json()
        (user,) = boss.get("/organization/users", params={"emails": email}).json()["data"]
        assert boss.delete(f"/organization/users/{user['id']}").status_code == 200
        assert _status(stack, made["api_key"]["value"]) == 200
        assert boss.get(f"{path}/{made['id']}").json()["created_by"] == user["id"]
