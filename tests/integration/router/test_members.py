"""Members and their roles: what is refused, and what ends at once."""

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.router.callers import add_project, add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack

USERS = "/organization/users"


@pytest.fixture
def boss(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def test_what_members_may_not_do_is_refused_with_a_reason(stack: Stack, boss: httpx.Client) -> None:
    tenant = demo(stack)
    admin_email, member_email = add_user(stack, tenant.org_id, "admin"), add_user(stack, tenant.org_id, "member")
    everybody = {user["email"]: user["id"] for user in boss.get(USERS).json()["data"]}
    last, admin_id, member_id = everybody[stack.email], everybody[admin_email], everybody[member_email]
    assert error(boss.delete(f"{USERS}/{last}")) == (409, "conflict", "user_id")
    assert error(boss.post(f"{USERS}/{last}", json={"role": "member"})) == (409, "conflict", "user_id")
    assert error(boss.get(f"{USERS}/user_000000000000")) == (404, "not_found", "user_id")
    assert error(boss.delete(f"{USERS}/{member_id}/totp")) == (404, "not_found", "user_id")
    assert boss.post(f"{USERS}/{member_id}", json={"role": "king"}).status_code == 400
    with signed_in(stack, admin_email) as admin:
        raised = admin.post(f"{USERS}/{admin_id}", json={"role": "owner"})
        assert error(raised)[:2] == (403, "not_allowed")
        assert "owners.write" in raised.json()["error"]["message"]
        assert admin.post(f"{USERS}/{last}", json={"role": "member"}).status_code == 403
        assert admin.delete(f"{USERS}/{last}").status_code == 403
        assert admin.delete(f"{USERS}/{member_id}/totp").status_code == 403
    with signed_in(stack, member_email) as member:
        assert member.post(f"{USERS}/{member_id}", json={"role": "admin"}).status_code == 403
        assert member.get(USERS).status_code == 403
    assert events(stack) == []


def test_a_role_is_changed_under_the_version_that_was_seen(stack: Stack, boss: httpx.Client) -> None:
    email = add_user(stack, demo(stack).org_id, "member")
    (found,) = boss.get(USERS, params={"emails": email.upper()}).json()["data"]
    path = f"{USERS}/{found['id']}"
    assert boss.get(path).headers["etag"] == '"1"'
    assert boss.post(path, json={"role": "billing"}, headers={"if-match": '"1"'}).json()["role"] == "billing"
    assert boss.post(path, json={"role": "member"}, headers={"if-match": '"1"'}).status_code == 412
    assert [user["email"] for user in boss.get(USERS, params={"role": "billing"}).json()["data"]] == [email]
    assert events(stack) == ["user.updated"]


def test_a_second_owner_may_remove_the_first(stack: Stack, boss: httpx.Client) -> None:
    email = add_user(stack, demo(stack).org_id, "owner")
    first = next(user["id"] for user in boss.get(USERS).json()["data"] if user["email"] == stack.email)
    with signed_in(stack, email) as second:
        assert second.delete(f"{USERS}/{first}").json()["deleted"] is True


def test_keys_and_project_roles_of_a_removed_member_end_at_once(stack: Stack, boss: httpx.Client) -> None:
    tenant = demo(stack)
    email = add_user(stack, tenant.org_id, "member", {tenant.project_id: "member"})
    project = boss.get("/organization/projects").json()["data"][0]["id"]
    with signed_in(stack, email) as member:
        key = member.post(f"/organization/projects/{project}/api_keys", json={"name": "mine"}).json()["value"]
        assert httpx.get(stack.base_url + "/models", headers={"authorization": f"Bearer {key}"}).status_code == 200
        (found,) = boss.get(USERS, params={"emails": email}).json()["data"]
        assert boss.delete(f"{USERS}/{found['id']}").json()["deleted"] is True
        assert member.get(f"/organization/projects/{project}").status_code in {403, 404}
    left = stack.db.execute(
        "select count(*) filter (where k.revoked_at is null) from control.api_keys as k"
        " join control.users as u on u.id = k.user_id where u.email = %s", [email]
    ).fetchone()  # fmt: skip
    assert left == (0,)
    assert stack.db.execute("select count(*) from control.project_members").fetchone() == (0,)


def test_members_of_a_project_are_added_changed_and_removed(stack: Stack, boss: httpx.Client) -> None:
    tenant = demo(stack)
    email = add_user(stack, tenant.org_id, "member")
    outsider = stack.db.execute(
        "insert into control.users (public_id, email, name) values ('user_outsider00000', 'o@x.example', 'O') returning public_id"
    ).fetchone()
    _, project = add_project(stack, tenant.org_id, "Search")
    (user,) = boss.get(USERS, params={"emails": email}).json()["data"]
    path = f"/organization/projects/{project}/users"
    assert outsider is not None
    assert error(boss.post(path, json={"user_id": outsider[0], "role": "viewer"})) == (404, "not_found", "user_id")
    added = boss.post(path, json={"user_id": user["id"], "role": "viewer"})
    assert (added.json()["object"], added.json()["role"]) == ("organization.project.user", "viewer")
    assert error(boss.post(path, json={"user_id": user["id"], "role": "admin"})) == (409, "already_exists", "user_id")
    assert boss.post(f"{path}/{user['id']}", json={"role": "member"}).json()["role"] == "member"
    with signed_in(stack, email) as member:
        assert member.post(f"{path}/{user['id']}", json={"role": "admin"}).status_code == 403
        assert [entry["id"] for entry in member.get(path).json()["data"]] == [user["id"]]
    assert boss.post(f"/organization/projects/{project}/archive").status_code == 200
    assert error(boss.delete(f"{path}/{user['id']}")) == (409, "conflict", "project_id")
    assert events(stack) == ["project_user.created", "project_user.updated", "project.archived"]
