"""Keys that manage: of an organization and of the platform. They call no engine, and do no more than their owner may."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.factories import add_tenant
from tests.integration.router.callers import add_key, add_user, demo, error, events, owner, signed_in, with_key
from tests.integration.router.conftest import Stack, becomes

ADMIN = "/organization/admin_api_keys"
PLATFORM = "/platform/api_keys"


@pytest.fixture
def boss(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def test_who_may_not_manage_keys_of_an_organization_is_told(stack: Stack) -> None:
    tenant = demo(stack)
    for role in ("member", "billing", "auditor"):
        with signed_in(stack, add_user(stack, tenant.org_id, role)) as client:
            refused = client.post(ADMIN, json={"name": "n"})
            assert (*error(refused)[:2], "organization owners and admins" in refused.text) == (403, "not_allowed", True)
            assert client.get(ADMIN).status_code == (200 if role == "auditor" else 403)
            assert client.get(PLATFORM).status_code == 403
            assert client.post(PLATFORM, json={"name": "n"}).status_code == 403
    with with_key(stack, add_key(stack, tenant.org_id, None, ["usage.read"])) as program:
        assert error(program.post(ADMIN, json={"name": "n"}))[:2] == (403, "not_allowed")
    with with_key(stack, add_key(stack, tenant.org_id, None, ["admin"])) as program:
        assert error(program.post(PLATFORM, json={"name": "n"}))[:2] == (403, "not_allowed")
    assert events(stack) == []


def test_a_body_that_cannot_be_used_is_refused(boss: httpx.Client) -> None:
    for body, param in (
        ({"scopes": ["inference"]}, "scopes.0"),
        ({"scopes": []}, "scopes"),
        ({"cidrs": ["300.0.0.0/8"]}, "cidrs"),
        ({"expires_at": 5}, "expires_at"),
        ({"models": ["simulated"]}, "models"),
    ):
        assert error(boss.post(ADMIN, json={"name": "n"} | body)) == (400, "invalid_request", param)
    assert error(boss.post(PLATFORM, json={"name": "n", "scopes": ["admin"]})) == (400, "invalid_request", "scopes")


def test_an_admin_key_manages_and_calls_no_engine(boss: httpx.Client, stack: Stack, hello: dict[str, Any]) -> None:
    made = boss.post(ADMIN, json={"name": "terraform"}).json()
    assert (made["object"], made["scopes"], made["owner"]["role"]) == ("organization.admin_api_key", ["admin"], "owner")
    refused = stack.post(hello, key=made["value"])
    assert (*error(refused)[:2], "use a key of a project" in refused.text) == (403, "not_allowed", True)
    with with_key(stack, made["value"]) as program:
        assert program.get("/organization/projects").status_code == 200
        second = program.post(ADMIN, json={"name": "second", "scopes": ["usage.read"]}).json()
        assert [key["name"] for key in program.get(ADMIN).json()["data"]] == ["terraform", "second"]
        assert second["owner"] == made["owner"]
        assert program.get(f"{ADMIN}/{second['id']}").json() == {name: second[name] for name in second if name != "value"}
    with with_key(stack, second["value"]) as reader:
        assert reader.get(ADMIN).status_code == 403
    assert boss.delete(f"{ADMIN}/{second['id']}").json() == {
        "object": "organization.admin_api_key.deleted", "id": second["id"], "deleted": True,
    }  # fmt: skip
    assert [key["name"] for key in boss.get(ADMIN).json()["data"]] == ["terraform"]
    assert error(boss.get(f"{ADMIN}/{second['id']}")) == (404, "not_found", "key_id")
    revoked = boss.get(ADMIN, params={"include_revoked": True, "after": made["id"]}).json()["data"]
    assert [(key["name"], key["status"]) for key in revoked] == [("second", "revoked")]
    assert events(stack) == ["api_key.created", "api_key.created", "api_key.deleted"]


def test_an_admin_key_of_somebody_who_is_no_admin_any_more_is_none(stack: Stack) -> None:
    tenant = demo(stack)
    email = add_user(stack, tenant.org_id, "admin")
    with signed_in(stack, email) as admin:
        key = admin.post(ADMIN, json={"name": "n"}).json()["value"]
    with with_key(stack, key) as program:
        assert program.get(ADMIN).status_code == 200
        stack.db.execute(
            "update control.org_members set role = 'member' where user_id = (select id from control.users where email = %s)",
            [email],
        )
        stack.db.commit()
        assert becomes(lambda: program.get(ADMIN).status_code == 403)


def test_keys_of_other_kinds_and_tenants_do_not_exist(boss: httpx.Client, stack: Stack) -> None:
    foreign = add_tenant(stack.db)
    stack.db.commit()
    of_project = stack.api_key.split("-")[2]
    of_other = add_key(stack, foreign.org_id, None, ["admin"]).split("-")[2]
    of_platform = stack.admin_key.split("-")[2]
    for name in (of_project, of_other, of_platform):
        for method in ("GET", "DELETE"):
            assert error(boss.request(method, f"{ADMIN}/key_{name}")) == (404, "not_found", "key_id")
    for name in (of_project, of_other):
        assert error(boss.delete(f"{PLATFORM}/key_{name}")) == (404, "not_found", "key_id")


def test_platform_keys_are_made_listed_and_revoked(boss: httpx.Client, stack: Stack) -> None:
    made = boss.post(PLATFORM, json={"name": "fleet"}, headers={"idempotency-key": "one"}).json()
    again = boss.post(PLATFORM, json={"name": "fleet"}, headers={"idempotency-key": "one"}).json()
    assert again == made | {"value": None}
    assert [key["name"] for key in boss.get(PLATFORM).json()["data"]] == ["platform admin", "fleet"]
    with with_key(stack, made["value"]) as program:
        assert program.get("/organizations").status_code == 200
        assert program.delete(f"{PLATFORM}/{made['id']}").status_code == 200
        assert becomes(lambda: program.get("/organizations").status_code == 401)
    assert error(boss.delete(f"{PLATFORM}/{made['id']}")) == (404, "not_found", "key_id")
    assert [key["status"] for key in boss.get(PLATFORM, params={"include_revoked": True}).json()["data"]] == ["active", "revoked"]
    assert events(stack) == ["api_key.created", "api_key.deleted"]
