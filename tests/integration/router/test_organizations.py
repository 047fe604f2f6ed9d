"""Organizations for platform admins: keys of a suspended or deleted one stop at once, and its data stays."""

import httpx

from tests.integration.router.callers import PASSWORD, add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack


def _status(stack: Stack) -> int:
    return httpx.get(stack.base_url + "/models", headers={"authorization": f"Bearer {stack.api_key}"}).status_code


def test_nobody_but_platform_admins_and_nothing_that_does_not_exist(stack: Stack) -> None:
    tenant = demo(stack)
    email = add_user(stack, tenant.org_id, "owner")
    with owner(stack) as platform, signed_in(stack, email) as member:
        path = f"/organizations/{platform.headers['OpenAI-Organization']}"
        refused = member.post(f"{path}/suspend")
        assert refused.status_code == 403
        assert "platform admins" in refused.json()["error"]["message"]
        assert error(platform.get("/organizations/org_000000000000")) == (404, "not_found", "organization_id")
        assert platform.post(path, json={"time_zone": "Moon/Base"}).status_code == 400
        assert platform.post(path, json={"name": "Other"}, headers={"if-match": '"9"'}).status_code == 412
    assert events(stack) == []


def test_keys_stop_at_once_and_data_stays(stack: Stack) -> None:
    email = add_user(stack, demo(stack).org_id, "member")
    with owner(stack) as platform, signed_in(stack, email) as member:
        path = f"/organizations/{platform.headers['OpenAI-Organization']}"
        assert platform.post(path, json={"name": "Renamed"}).json()["name"] == "Renamed"
        assert _status(stack) == 200
        assert platform.post(f"{path}/suspend").json()["status"] == "suspended"
        assert _status(stack) == 401
        assert member.get("/organization/projects").status_code == 200
        assert platform.post(f"{path}/resume").json()["status"] == "active"
        assert _status(stack) == 200
        assert platform.delete(path).json()["deleted"] is True
        assert _status(stack) == 401
        assert platform.get(path).status_code == 404
    assert stack.db.execute("select count(*) from control.api_keys where revoked_at is null").fetchone() != (0,)
    wanted = ["updated", "suspended", "resumed", "deleted"]
    assert events(stack) == [f"organization.{name}" for name in wanted]


def test_a_new_organization_has_its_first_owner(stack: Stack) -> None:
    email = add_user(stack, demo(stack).org_id, "member")
    body = {"name": "Tenant", "time_zone": "Asia/Kolkata", "owner_email": email.upper()}
    with owner(stack) as platform:
        nobody = platform.post("/organizations", json=body | {"owner_email": "nobody@demo.example"})
        assert error(nobody) == (400, "invalid_request", "owner_email")
        made = platform.post("/organizations", json=body, headers={"idempotency-key": "one"}).json()
        again = platform.post("/organizations", json=body, headers={"idempotency-key": "one"}).json()
        assert (made["name"], made["time_zone"], again) == ("Tenant", "Asia/Kolkata", made)
    session = httpx.post(stack.base_url + "/sessions", json={"email": email, "password": PASSWORD}).json()
    assert {found["name"]: found["role"] for found in session["organizations"]} == {"Demo": "member", "Tenant": "owner"}
    assert events(stack) == ["organization.created"]


def test_the_list_of_organizations_is_paged_and_filtered(stack: Stack) -> None:
    email = add_user(stack, demo(stack).org_id, "member")
    with owner(stack) as platform:
        made = [
            platform.post("/organizations", json={"name": name, "owner_email": email}).json()["id"] for name in ("Acme", "Acorn")
        ]
        platform.post(f"/organizations/{made[0]}/suspend")
        first = platform.get("/organizations", params={"limit": 2}).json()
        rest = platform.get("/organizations", params={"limit": 2, "after": first["last_id"]}).json()
        assert [row["name"] for row in first["data"] + rest["data"]] == ["Demo", "Acme", "Acorn"]
        assert (first["has_more"], rest["has_more"]) == (True, False)
        named = platform.get("/organizations", params={"name": "ac", "status": "active"}).json()["data"]
        assert [row["name"] for row in named] == ["Acorn"]
