"""Members and their roles: what is refused, and what ends at once."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from tests.integration.router.callers import add_project, add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack

USERS = "/organization/users"


@pytest.fixture
def boss(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def _changes(stack: Stack) -> list[str]:
    return [event for event in events(stack) if not event.startswith("login")]


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
    assert _changes(stack) == []


def test_a_role_is_changed_under_the_version_that_was_seen(stack: Stack, boss: httpx.Client) -> None:
    email = add_user(stack, demo(stack).org_id, "member")
    (found,) = boss.get(USERS, params={"emails": email.upper()}).json()["data"]
    path = f"{USERS}/{found['id']}"
    assert boss.get(path).headers["etag"] == '"1"'
    assert boss.post(path, json={"role": "billing"}, headers={"if-match": '"1"'}).json()["role"] == "billing"
    assert boss.post(path, json={"role": "member"}, headers={"if-match": '"1"'}).status_code == 412
    assert [user["email"] for user in boss.get(USERS, params={"role": "billing"}).json()["data"]] == [email]
    assert _changes(stack) == ["user.updated"]


def test_a_second_owner_may_remove_the_first(stack: Stack, boss: httpx.Client) -> None:
    email = add_user(stack, demo(stack).org_id, "owner")
    first = next(user["id"] for user in boss.get(USERS).json()["data"] if user["email"] == stack.email)
    with signed_in(stack, email) as second:
        assert second.delete(f"{USERS}/{first}").json()["deleted"] is True


@pytest.mark.parametrize("removing", [True, False], ids=["removing", "demoting"])
@pytest.mark.parametrize("third", [True, False], ids=["beside a third", "alone"])
def test_of_two_owners_who_oust_each_other_at_once_one_stays(
    stack: Stack, boss: httpx.Client, *, removing: bool, third: bool
) -> None:
    """The second is refused: it is the last owner that is asked away, or who asks is no owner any more."""
    tenant = demo(stack)
    emails = [add_user(stack, tenant.org_id, "owner") for _ in range(2)]
    ids = {user["email"]: user["id"] for user in boss.get(USERS).json()["data"]}
    if not third:
        assert boss.post(f"{USERS}/{ids[stack.email]}", json={"role": "member"}).status_code == 200
    start = threading.Barrier(2)

    def oust(client: httpx.Client, other: str) -> int:
        start.wait()
        path = f"{USERS}/{ids[other]}"
        return (client.delete(path) if removing else client.post(path, json={"role": "member"})).status_code

    with ExitStack() as clients, ThreadPoolExecutor(2) as pool:
        people = [clients.enter_context(signed_in(stack, email)) for email in emails]
        answers = list(pool.map(oust, people, reversed(emails)))
    assert sorted(answers)[0] == 200
    assert sorted(answers)[1] in {403, 404, 409}
    left = stack.db.execute("select count(*) from control.org_members where role = 'owner'").fetchone()
    assert left == (2 if third else 1,)
    changed = [event for event in events(stack) if event.startswith("user.")]
    assert changed[-1] == ("user.deleted" if removing else "user.updated")
    assert len(changed) == (1 if third else 2)


def test_nobody_is_added_to_or_changed_in_an_archived_project(stack: Stack, boss: httpx.Client) -> None:
    tenant = demo(stack)
    project_id, project = add_project(stack, tenant.org_id, "Archived")
    inside, outside = add_user(stack, tenant.org_id, "member", {project_id: "member"}), add_user(stack, tenant.org_id, "member")
    ids = {user["email"]: user["id"] for user in boss.get(USERS).json()["data"]}
    path = f"/organization/projects/{project}/users"
    assert boss.post(f"/organization/projects/{project}/archive").status_code == 200
    refusals = [
        boss.post(path, json={"user_id": ids[outside], "role": "viewer"}),
        boss.post(f"{path}/{ids[inside]}", json={"role": "admin"}),
        boss.delete(f"{path}/{ids[inside]}"),
    ]
    for refused in refusals:
        assert error(refused) == (409, "conflict", "project_id")
        assert "archived" in refused.json()["error"]["message"]
    assert [(user["id"], user["role"]) for user in boss.get(path).json()["data"]] == [(ids[inside], "member")]
    assert _changes(stack) == ["project.archived"]


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
    assert _changes(stack) == ["project_user.created", "project_user.updated", "project.archived"]
