"""Keys of a project through the management API: refusals first; shown once, rotated with their history, revoked at once."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.factories import add_tenant
from tests.integration.router.callers import add_key, add_project, add_user, demo, error, events, owner, signed_in, with_key
from tests.integration.router.conftest import Stack, becomes
from warehouse.base.ids import public_id

FUTURE_S = 3600


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


def _made(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json={"name": "made"} | body)
    assert answer.status_code == 200, answer.text
    shape: dict[str, Any] = answer.json()
    return shape


def _account(stack: Stack, project_id: int | None = None) -> str:
    tenant, name = demo(stack), public_id("svc")
    stack.db.execute(
        "insert into control.service_accounts (public_id, org_id, project_id, name) values (%s, %s, %s, 'robot')",
        [name, tenant.org_id, project_id or tenant.project_id],
    )
    stack.db.commit()
    return name


def test_what_is_wrong_in_a_body_is_named(boss: httpx.Client, stack: Stack, path: str) -> None:
    _, sibling = add_project(stack, demo(stack).org_id, "Sibling")
    foreign = _account(stack, add_project(stack, demo(stack).org_id, "Other")[0])
    for body, status, param in (
        ({"name": ""}, 400, "name"),
        ({"name": "a\0b"}, 400, "name"),
        ({"name": "x" * 201}, 400, "name"),
        ({"scopes": ["admin"]}, 400, "scopes"),
        ({"scopes": []}, 400, "scopes"),
        ({"models": ["no-such-model"]}, 400, "models"),
        ({"models": []}, 400, "models"),
        ({"cidrs": ["10.0.0.0/40"]}, 400, "cidrs"),
        ({"cidrs": ["10.0.0.1/8"]}, 400, "cidrs"),
        ({"cidrs": ["example.com"]}, 400, "cidrs.0"),
        ({"expires_at": 1}, 400, "expires_at"),
        ({"expires_at": 10**15}, 400, "expires_at"),
        ({"service_account_id": "svc_000000000000"}, 404, "service_account_id"),
        ({"service_account_id": foreign}, 404, "service_account_id"),
        ({"value": "sk-mine"}, 400, "value"),
    ):
        answer = boss.post(path, json={"name": "n"} | body)
        assert (error(answer)[0], error(answer)[2]) == (status, param), (body, answer.text)
    assert "the network is '10.0.0.0/8'" in boss.post(path, json={"name": "n", "cidrs": ["10.0.0.1/8"]}).text
    boss.post(f"/organization/projects/{sibling}/archive")
    assert error(boss.post(path.replace(path.split("/")[3], sibling), json={"name": "n"})) == (409, "conflict", "project_id")
    assert events(stack) == ["project.archived"]


def test_a_key_is_shown_once_works_and_is_listed(boss: httpx.Client, stack: Stack, path: str, hello: dict[str, Any]) -> None:
    made = _made(boss, path, models=["simulated"], expires_at=int(time.time()) + FUTURE_S)
    value = made.pop("value")
    assert (made["object"], made["status"], made["scopes"]) == ("organization.project.api_key", "active", ["inference"])
    assert made["redacted_value"].startswith(value[:22])
    assert made["owner"]["user"]["email"] == stack.email
    assert made["effective"] == {"models": ["simulated"], "cidrs": None}
    assert stack.post(hello, key=value).status_code == 200
    read = boss.get(f"{path}/{made['id']}")
    assert (read.json(), read.headers["etag"]) == (made, '"1"')
    assert value not in boss.get(path).text + read.text
    said = stack.db.execute(
        "select event_type, after::text from control.audit_log where event_type not like 'login.%'"
    ).fetchall()
    stack.db.commit()
    assert [name for name, _ in said] == ["api_key.created"]
    assert value.rpartition("-")[2] not in said[0][1]


def test_a_repeated_create_makes_one_key_and_shows_it_once(boss: httpx.Client, path: str) -> None:
    headers = {"idempotency-key": "one"}
    first = boss.post(path, json={"name": "n"}, headers=headers).json()
    again = boss.post(path, json={"name": "n"}, headers=headers).json()
    assert again == first | {"value": None}
    assert len(boss.get(path).json()["data"]) == 2


def test_a_list_has_pages_and_filters(boss: httpx.Client, stack: Stack, path: str) -> None:
    robot = _account(stack)
    mine = [_made(boss, path, name=f"k{number}")["id"] for number in range(3)]
    robots = _made(boss, path, service_account_id=robot)
    assert robots["owner"]["service_account"]["id"] == robot
    boss.delete(f"{path}/{mine[0]}")
    names, after = [], None
    while True:
        page = boss.get(path, params={"limit": 2} | ({"after": after} if after else {})).json()
        names += [key["name"] for key in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert names == ["demo", "k1", "k2", "made"]
    user = boss.get(f"{path}/{mine[1]}").json()["owner"]["user"]["id"]
    for wanted, found in (
        ({"owner": "service_account"}, ["made"]),
        ({"owner": "user"}, ["demo", "k1", "k2"]),
        ({"owner_id": robot}, ["made"]),
        ({"owner_id": user}, ["demo", "k1", "k2"]),
        ({"owner_id": "user_000000000000"}, []),
        ({"include_revoked": True, "owner": "user"}, ["demo", "k0", "k1", "k2"]),
    ):
        assert [key["name"] for key in boss.get(path, params=wanted).json()["data"]] == found


def test_members_have_their_own_keys_only(boss: httpx.Client, stack: Stack, path: str) -> None:
    tenant, robot = demo(stack), _account(stack)
    bosses = _made(boss, path)
    email = add_user(stack, tenant.org_id, "member", {tenant.project_id: "member"})
    with signed_in(stack, email) as member:
        assert error(member.get(f"{path}/{bosses['id']}"))[:2] == (403, "not_allowed")
        assert error(member.delete(f"{path}/{bosses['id']}"))[:2] == (403, "not_allowed")
        assert error(member.post(f"{path}/{bosses['id']}/rotate", json={}))[:2] == (403, "not_allowed")
        assert error(member.post(path, json={"name": "n", "service_account_id": robot}))[:2] == (403, "not_allowed")
        assert member.get(path).json()["data"] == []
        mine = _made(member, path)
        assert [key["id"] for key in member.get(path).json()["data"]] == [mine["id"]]
        owner_of_other = bosses["owner"]["user"]["id"]
        assert member.get(path, params={"owner_id": owner_of_other}).json()["data"] == []
        assert member.delete(f"{path}/{mine['id']}").json()["deleted"] is True
        assert error(member.get(f"{path}/{mine['id']}")) == (404, "not_found", "key_id")
        assert member.get(path).json()["data"] == []
        assert [key["status"] for key in member.get(path, params={"include_revoked": True}).json()["data"]] == ["revoked"]
    with signed_in(stack, add_user(stack, tenant.org_id, "member", {tenant.project_id: "viewer"})) as viewer:
        assert error(viewer.post(path, json={"name": "n"}))[:2] == (403, "not_allowed")


def test_keys_of_other_tenants_and_projects_do_not_exist(boss: httpx.Client, stack: Stack, path: str) -> None:
    tenant, foreign = demo(stack), add_tenant(stack.db)
    sibling, _ = add_project(stack, tenant.org_id, "Sibling")
    for org_id, project_id in ((foreign.org_id, foreign.project_id), (tenant.org_id, sibling)):
        there = "key_" + add_key(stack, org_id, project_id, ["inference"]).split("-")[2]
        for method, where, body in (
            ("GET", there, None),
            ("POST", there, {"name": "mine"}),
            ("POST", f"{there}/rotate", {}),
            ("DELETE", there, None),
        ):
            answer = boss.request(method, f"{path}/{where}", json=body)
            assert error(answer) == (404, "not_found", "key_id"), (method, where)
        assert error(boss.get(path, params={"after": there})) == (400, "invalid_request", "after")
    for nothing in ("key_0", "nothing", "key_" + "x" * 16):
        assert error(boss.get(f"{path}/{nothing}")) == (404, "not_found", "key_id")
    assert events(stack) == []


def test_a_key_is_changed_by_what_is_named(boss: httpx.Client, stack: Stack, path: str, hello: dict[str, Any]) -> None:
    made = _made(boss, path)
    where = f"{path}/{made['id']}"
    end = int(time.time()) + FUTURE_S
    renamed = boss.post(where, json={"name": "other", "expires_at": end}, headers={"if-match": '"1"'})
    assert (renamed.json()["name"], renamed.json()["expires_at"], renamed.headers["etag"]) == ("other", end, '"2"')
    assert error(boss.post(where, json={"name": "x"}, headers={"if-match": '"1"'})) == (412, "version_changed", "If-Match")
    assert boss.post(where, json={"name": "other"}).headers["etag"] == '"2"'
    shape = boss.post(where, json={"expires_at": None, "cidrs": ["::ffff:10.0.0.0/104", "2001:db8::/32"]}).json()
    assert (shape["expires_at"], shape["cidrs"], shape["name"]) == (None, ["10.0.0.0/8", "2001:db8::/32"], "other")
    assert boss.post(where, json={"scopes": ["usage.read"], "cidrs": None}).json()["scopes"] == ["usage.read"]
    answer = stack.post(hello, key=made["value"])
    assert (error(answer)[:2], "the scope 'inference'" in answer.text) == ((403, "not_allowed"), True)
    boss.delete(where)
    assert error(boss.post(where, json={"name": "late"})) == (409, "conflict", "key_id")
    assert error(boss.post(f"{where}/rotate", json={})) == (409, "conflict", "key_id")
    assert error(boss.delete(where)) == (404, "not_found", "key_id")
    assert events(stack) == ["api_key.created", *["api_key.updated"] * 3, "api_key.deleted"]


def test_rotation_keeps_the_key_and_for_a_while_the_secret_before(
    boss: httpx.Client, stack: Stack, path: str, hello: dict[str, Any]
) -> None:
    made = _made(boss, path)
    where = f"{path}/{made['id']}/rotate"
    assert error(boss.post(where, json={"grace_seconds": 7 * 24 * 3600 + 1})) == (400, "invalid_request", "grace_seconds")
    assert stack.post(hello, key=made["value"]).status_code == 200
    rotated = boss.post(where, json={"grace_seconds": 3}).json()
    assert (rotated["id"], rotated["created_at"]) == (made["id"], made["created_at"])
    assert rotated["value"] != made["value"]
    assert rotated["previous_secret_until"] is not None
    assert becomes(lambda: stack.post(hello, key=rotated["value"]).status_code == 200)
    assert stack.post(hello, key=made["value"]).status_code == 200
    time.sleep(3.2)
    assert error(stack.post(hello, key=made["value"]))[:2] == (401, "invalid_api_key")
    assert stack.post(hello, key=rotated["value"]).status_code == 200
    at_once = boss.post(where, json={}).json()
    assert at_once["previous_secret_until"] is None
    assert _soon_refused(stack, rotated["value"])
    assert stack.post(hello, key=at_once["value"]).status_code == 200
    ids = {row["api_key_id"] for row in stack.rows(5)}
    assert len(ids) == 1, "the history is that of one key"


def _soon_refused(stack: Stack, key: str) -> bool:
    """Whether a key is refused within a second. What is asked has no row."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if httpx.get(f"{stack.base_url}/models", headers={"authorization": f"Bearer {key}"}).status_code == 401:
            return True
        time.sleep(0.02)
    return False


def test_an_admin_key_makes_keys_for_service_accounts(stack: Stack, path: str, hello: dict[str, Any]) -> None:
    robot = _account(stack)
    with with_key(stack, add_key(stack, demo(stack).org_id, None, ["admin"])) as program:
        assert error(program.post(path, json={"name": "n"})) == (400, "invalid_request", "service_account_id")
        made = _made(program, path, service_account_id=robot)
        assert made["created_by"].startswith("key_")
    assert stack.post(hello, key=made["value"]).status_code == 200
    assert stack.row()["service_account_id"] is not None
    stack.db.execute("update control.service_accounts set deleted_at = now()")
    stack.db.commit()
    assert _soon_refused(stack, made["value"])


def test_when_a_key_was_used_is_noted_and_changes_nothing_else(stack: Stack, hello: dict[str, Any]) -> None:
    for _ in range(3):
        assert stack.post(hello).status_code == 200
    stack.router.stop()  # otherwise once a minute
    rows = stack.db.execute(
        "select kind, now() - last_used_at < interval '1 minute', version from control.api_keys order by id"
    ).fetchall()
    stack.db.commit()
    assert rows == [("inference", True, 1), ("platform", None, 1)]
