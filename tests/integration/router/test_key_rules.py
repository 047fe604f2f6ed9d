"""Where a key works and where not: from which network, for which models, while whom and what it belongs to is there; and
what an organization's policy lets members make."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.factories import add_model, add_tenant
from tests.integration.router.callers import add_key, add_user, demo, error, owner, signed_in, with_key
from tests.integration.router.conftest import Stack

PROXY_NETWORKS = "127.0.0.0/8,10.1.0.0/16"
SECOND_S = 1.0


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_TRUSTED_PROXIES": PROXY_NETWORKS}


@pytest.fixture
def boss(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


@pytest.fixture
def path(stack: Stack) -> str:
    """Of the demo project's keys."""
    row = stack.db.execute("select public_id from control.projects").fetchone()
    stack.db.commit()
    assert row is not None
    return f"/organization/projects/{row[0]}/api_keys"


def _change(stack: Stack, statement: str, *values: Any) -> None:
    stack.db.execute(statement.encode(), values)
    stack.db.commit()


def _becomes(stack: Stack, hello: dict[str, Any], key: str, status: int) -> httpx.Response:
    """The first answer with this status; within a second of now."""
    deadline = time.monotonic() + SECOND_S
    while (answer := stack.post(hello, key=key)).status_code != status:
        assert time.monotonic() < deadline, f"still {answer.status_code}: {answer.text}"
    return answer


def _from(stack: Stack, hello: dict[str, Any], key: str, *forwarded: str) -> httpx.Response:
    """A request as a proxy on this machine passes it on; each value is a header of its own."""
    headers = [("authorization", f"Bearer {key}"), *(("x-forwarded-for", value) for value in forwarded)]
    return httpx.post(f"{stack.base_url}/chat/completions", headers=headers, json=hello, timeout=60)


def test_a_key_works_from_its_networks_only_and_does_not_say_which(
    boss: httpx.Client, stack: Stack, path: str, hello: dict[str, Any]
) -> None:
    body = {"name": "n", "cidrs": ["192.0.2.0/24", "2001:db8::/32"]}
    key = boss.post(path, json=body).json()["value"]
    refused = _from(stack, hello, key)
    assert error(refused)[:2] == (403, "network_not_allowed")
    assert "192.0.2" not in refused.text
    assert "2001" not in refused.text
    assert error(httpx.get(stack.base_url + "/models", headers={"authorization": f"Bearer {key}"}))[0] == 403
    for forwarded in (
        ["198.51.100.7"],
        ["192.0.2.7, 198.51.100.7"],  # the left was written by the client
        ["192.0.2.7", "198.51.100.7"],
        ["192.0.2.7, 198.51.100.7, 10.1.2.3"],
        ["192.0.2.7, nonsense"],
        ["2001:db9::1"],
        [""],
    ):
        assert error(_from(stack, hello, key, *forwarded))[1] == "network_not_allowed", forwarded
    for forwarded in (
        ["192.0.2.7"],
        ["198.51.100.7, 192.0.2.7"],
        ["198.51.100.7", "192.0.2.7, 10.1.2.3"],
        ["::ffff:192.0.2.7"],
        ["192.0.2.7:4711"],
        ["2001:DB8::1"],
        ["[2001:db8::1]:443"],
    ):
        assert _from(stack, hello, key, *forwarded).status_code == 200, forwarded
    _change(stack, "update control.organizations set key_cidrs = '{192.0.2.128/25}'")
    time.sleep(0.3)
    assert _from(stack, hello, key, "192.0.2.7").status_code == 403
    assert _from(stack, hello, key, "192.0.2.200").status_code == 200
    assert boss.get(path).json()["data"][1]["effective"]["cidrs"] == ["192.0.2.128/25"]


def test_each_proxy_may_have_a_line_of_its_own(boss: httpx.Client, stack: Stack, path: str, hello: dict[str, Any]) -> None:
    """The last line is of a proxy only, which is where the request comes from for nobody."""
    inside, outside = (
        boss.post(path, json={"name": "n", "cidrs": [cidr]}).json()["value"] for cidr in ("10.1.0.0/16", "192.0.2.0/24")
    )
    forwarded = ["192.0.2.7", "10.1.2.3"]
    assert error(_from(stack, hello, inside, *forwarded))[1] == "network_not_allowed"
    assert _from(stack, hello, outside, *forwarded).status_code == 200
    assert error(_from(stack, hello, outside, "198.51.100.7", *forwarded[1:]))[1] == "network_not_allowed"


def test_a_wrong_secret_is_refused_before_anything_is_said_of_networks(
    boss: httpx.Client, stack: Stack, path: str, hello: dict[str, Any]
) -> None:
    key = boss.post(path, json={"name": "n", "cidrs": ["192.0.2.0/24"]}).json()["value"]
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    assert error(stack.post(hello, key=wrong))[:2] == (401, "invalid_api_key")
    assert error(stack.post(hello, key=key))[:2] == (403, "network_not_allowed")


def test_only_models_that_key_and_organization_allow_are_served(
    boss: httpx.Client, stack: Stack, path: str, hello: dict[str, Any]
) -> None:
    add_model(stack.db, "another")
    stack.db.commit()
    made = boss.post(path, json={"name": "n", "models": ["another", "simulated"]}).json()
    assert stack.post(hello, key=made["value"]).status_code == 200
    _change(stack, "update control.organizations set key_models = '{another}'")
    refused = _becomes(stack, hello, made["value"], 404)
    assert error(refused) == (404, "model_not_found", "model")
    assert boss.get(f"{path}/{made['id']}").json()["effective"]["models"] == ["another"]
    assert error(boss.post(path, json={"name": "n", "models": ["simulated"]}))[2] == "models"


def test_keys_stop_with_whom_and_what_they_belong_to(boss: httpx.Client, stack: Stack, path: str, hello: dict[str, Any]) -> None:
    tenant = demo(stack)
    email = add_user(stack, tenant.org_id, "member", {tenant.project_id: "member"})
    with signed_in(stack, email) as member:
        made = member.post(path, json={"name": "n"}).json()
    key, theirs = made["value"], (email,)
    user = "(select id from control.users where email = %s)"
    membership = f"control.org_members (org_id, user_id, role) select id, {user}, 'member' from control.organizations limit 1"
    for off, on in (
        (
            "update control.users set disabled_at = now() where email = %s",
            "update control.users set disabled_at = null where email = %s",
        ),
        (f"delete from control.org_members where user_id = {user}", f"insert into {membership}"),
    ):
        assert stack.post(hello, key=key).status_code == 200
        _change(stack, off, *theirs)
        assert error(_becomes(stack, hello, key, 401))[1] == "invalid_api_key"
        assert stack.post(hello).status_code == 200, "everybody else's goes on"
        _change(stack, on, *theirs)
        _becomes(stack, hello, key, 200)
    for table, column in (("projects", "archived_at"), ("organizations", "suspended_at"), ("organizations", "deleted_at")):
        _change(stack, f"update control.{table} set {column} = now()")
        _becomes(stack, hello, key, 401)
        _change(stack, f"update control.{table} set {column} = null")
        _becomes(stack, hello, key, 200)
    _change(stack, "update control.api_keys set expires_at = now() + interval '500 ms' where name = 'n'")
    time.sleep(0.6)
    assert stack.post(hello, key=key).status_code == 401
    assert boss.get(f"{path}/{made['id']}").json()["status"] == "expired"


def test_the_policy_of_an_organization_caps_what_members_make(boss: httpx.Client, stack: Stack, path: str) -> None:
    tenant, day_s = demo(stack), 24 * 3600
    _change(
        stack,
        "update control.organizations set key_days_max = 30, keys_per_member_max = 2, key_models = '{simulated}',"
        " key_cidrs = '{10.0.0.0/8}'",
    )
    add_model(stack.db, "another")
    stack.db.commit()
    with signed_in(stack, add_user(stack, tenant.org_id, "member", {tenant.project_id: "member"})) as member:
        for body, param, cap in (
            ({"expires_at": int(time.time()) + 31 * day_s}, "expires_at", "key_days_max"),
            ({"models": ["another"]}, "models", "key_models"),
            ({"cidrs": ["11.0.0.0/8"]}, "cidrs", "key_cidrs"),
            ({"cidrs": ["0.0.0.0/0"]}, "cidrs", "key_cidrs"),
        ):
            refused = member.post(path, json={"name": "n"} | body)
            assert (*error(refused), cap in refused.text) == (400, "invalid_request", param, True), refused.text
        made = member.post(path, json={"name": "n", "cidrs": ["10.2.0.0/16"]}).json()
        assert made["effective"] == {"models": ["simulated"], "cidrs": ["10.2.0.0/16"]}
        assert 29 * day_s < made["expires_at"] - time.time() <= 30 * day_s, "the cap where nothing is said"
        where = f"{path}/{made['id']}"
        assert error(member.post(where, json={"expires_at": None}))[2] == "expires_at"
        assert error(member.post(where, json={"cidrs": None, "models": ["another"]}))[2] == "models"
        assert member.post(where, json={"name": "renamed"}).status_code == 200
        assert member.post(path, json={"name": "second"}).status_code == 200
        third = member.post(path, json={"name": "third"})
        assert (*error(third)[:2], "keys_per_member_max" in third.text) == (400, "invalid_request", True)
        assert member.delete(where).status_code == 200
        assert member.post(path, json={"name": "third"}).status_code == 200
    assert boss.post(path, json={"name": "n"}).json()["expires_at"] is None, "who sets the caps is not held by them"


def test_a_key_that_has_expired_comes_back_only_where_there_is_room_for_it(boss: httpx.Client, stack: Stack, path: str) -> None:
    tenant = demo(stack)
    _change(stack, "update control.organizations set keys_per_member_max = 1")
    with signed_in(stack, add_user(stack, tenant.org_id, "member", {tenant.project_id: "member"})) as member:
        first, later = member.post(path, json={"name": "first"}).json()["id"], {"expires_at": int(time.time()) + 3600}
        _change(
            stack,
            "update control.api_keys set expires_at = now() - interval '1 s' where public_id = %s",
            first.removeprefix("key_"),
        )
        second = member.post(path, json={"name": "second"}).json()["id"]
        refused = member.post(f"{path}/{first}", json=later)
        assert (*error(refused)[:2], "keys_per_member_max" in refused.text) == (400, "invalid_request", True)
        assert member.post(f"{path}/{first}", json={"name": "renamed"}).status_code == 200
        assert member.post(f"{path}/{second}", json=later).status_code == 200
        assert member.delete(f"{path}/{second}").status_code == 200
        assert member.post(f"{path}/{first}", json=later).json()["status"] == "active"


def test_a_key_never_has_more_rights_than_its_maker(boss: httpx.Client, stack: Stack, path: str) -> None:
    tenant, foreign = demo(stack), add_tenant(stack.db)
    stack.db.commit()
    admin = "/organization/admin_api_keys"
    for key, where, status in (
        (add_key(stack, tenant.org_id, tenant.project_id, ["inference", "usage.read"]), path, 404),
        (add_key(stack, tenant.org_id, tenant.project_id, ["inference", "usage.read"]), admin, 403),
        (add_key(stack, tenant.org_id, None, ["usage.read"]), path, 404),
        (add_key(stack, tenant.org_id, None, ["usage.read"]), admin, 403),
        (add_key(stack, foreign.org_id, None, ["admin"]), path, 404),
    ):
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.post(stack.base_url + where, headers=headers, json={"name": "n"})
        assert answer.status_code == status, answer.text
    assert [key["name"] for key in boss.get(admin).json()["data"]] == ["key", "key"]
    assert len(boss.get(path).json()["data"]) == 3


@pytest.mark.parametrize("whose", ["organization", "platform"])
def test_a_list_of_models_may_have_an_alias(
    whose: str, boss: httpx.Client, stack: Stack, path: str, hello: dict[str, Any]
) -> None:
    made = boss.post(f"/{whose}/aliases", json={"name": "chat", "stages": [[{"model": "simulated"}]]}).json()
    key = boss.post(path, json={"name": "k", "models": ["chat"]}).json()
    assert (key["models"], key["effective"]["models"]) == (["chat"], ["chat"])
    asked = hello | {"model": "chat"}
    assert _becomes(stack, asked, key["value"], 200).json()["model"] == "simulated"
    assert stack.post(hello, key=key["value"]).status_code == 404
    assert boss.post("/organization", json={"key_models": ["chat"]}).json()["key_models"] == ["chat"]
    assert error(boss.post(path, json={"name": "k", "models": ["simulated"]})) == (400, "invalid_request", "models")
    _becomes(stack, hello, stack.api_key, 404)
    assert stack.post(asked).status_code == 200
    boss.delete(f"/{whose}/aliases/{made['id']}")
    assert boss.get(f"{path}/{key['id']}").json()["effective"]["models"] == []
    assert error(boss.post(path, json={"name": "k", "models": ["chat"]})) == (400, "invalid_request", "models")


def test_a_list_of_models_has_no_alias_of_others(boss: httpx.Client, stack: Stack, path: str) -> None:
    other = add_tenant(stack.db, name="Other")
    stack.db.commit()
    stages = [[{"model": "simulated"}]]
    with with_key(stack, stack.admin_key) as platform:
        headers = {"OpenAI-Organization": other.organization}
        made = platform.post("/organization/aliases", json={"name": "theirs", "stages": stages}, headers=headers)
    assert made.status_code == 200
    assert error(boss.post(path, json={"name": "k", "models": ["theirs"]})) == (400, "invalid_request", "models")
    assert error(boss.post("/organization", json={"key_models": ["theirs"]})) == (400, "invalid_request", "key_models")
