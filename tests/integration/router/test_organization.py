"""One's own organization: its name and time zone, and the caps on what members' keys may be."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.router.callers import add_key, add_user, demo, error, events, owner, signed_in, with_key
from tests.integration.router.conftest import Stack

PATH = "/organization"
DAY_S = 24 * 3600


@pytest.fixture
def boss(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


@pytest.fixture
def keys(stack: Stack) -> str:
    """The path of the demo project's keys."""
    row = stack.db.execute("select public_id from control.projects").fetchone()
    stack.db.commit()
    assert row is not None
    return f"/organization/projects/{row[0]}/api_keys"


def _changes(stack: Stack) -> list[str]:
    return [event for event in events(stack) if event.startswith("organization")]


def test_everybody_reads_it_and_owners_and_admins_change_it(stack: Stack, boss: httpx.Client) -> None:
    tenant = demo(stack)
    for role, status in (("admin", 200), ("member", 403), ("billing", 403), ("auditor", 403)):
        with signed_in(stack, add_user(stack, tenant.org_id, role)) as client:
            assert client.get(PATH).json()["id"] == tenant.organization
            assert client.post(PATH, json={"name": "Demo"}).status_code == status
    with with_key(stack, add_key(stack, tenant.org_id, None, ["usage.read"])) as key:
        assert key.get(PATH).status_code == 403
    assert boss.get(PATH, headers={"OpenAI-Organization": "org_000000000000"}).status_code == 404
    assert _changes(stack) == []


def test_what_cannot_be_is_refused_with_the_field(stack: Stack, boss: httpx.Client) -> None:
    def refused(**body: Any) -> tuple[int, str, Any]:
        return error(boss.post(PATH, json=body))

    wrong = [
        ("name", ""), ("name", "a\0b"), ("time_zone", "Mars/Olympus"), ("key_days_max", 0), ("key_days_max", 3651),
        ("key_days_max", "7"), ("keys_per_member_max", -1), ("keys_per_member_max", 10_001), ("key_models", ["nothing"]),
        ("key_models", []), ("key_cidrs", ["10.0.0.1/8"]), ("key_cidrs", ["10.0.0.0/8", "2001.1"]), ("totp_required", "yes"),
    ]  # fmt: skip
    for field, value in wrong:
        status, code, param = refused(**{field: value})
        assert (status, code, str(param).partition(".")[0]) == (400, "invalid_request", field), (field, value)
    assert refused(owner="me")[0] == 400
    assert refused(totp_required=True) == (409, "conflict", "totp_required")
    assert _changes(stack) == []


def test_it_is_changed_under_the_version_that_was_seen(stack: Stack, boss: httpx.Client) -> None:
    seen = boss.get(PATH)
    etag = seen.headers["etag"]
    assert (seen.json()["object"], seen.json()["time_zone"], seen.json()["key_days_max"]) == (
        "organization",
        "Europe/Berlin",
        None,
    )
    caps = {"key_days_max": 30, "keys_per_member_max": 2, "key_models": ["simulated"], "key_cidrs": ["10.0.0.0/8", "::/0"]}
    changed = boss.post(PATH, json={"name": "Renamed", **caps}, headers={"if-match": etag})
    assert changed.json()["name"] == "Renamed"
    assert {name: changed.json()[name] for name in caps} == caps
    assert changed.headers["etag"] != etag
    assert boss.post(PATH, json={"name": "Again"}, headers={"if-match": etag}).status_code == 412
    same = boss.post(PATH, json={"name": "Renamed", "key_days_max": 30})
    assert same.headers["etag"] == changed.headers["etag"]
    without = boss.post(PATH, json={"key_days_max": None, "key_models": None, "key_cidrs": None, "name": None}).json()
    assert (without["key_days_max"], without["key_models"], without["key_cidrs"]) == (None, None, None)
    assert (without["name"], without["keys_per_member_max"]) == ("Renamed", 2)
    assert _changes(stack) == ["organization.updated"] * 2
    row = stack.db.execute(
        "select before ->> 'name', after ->> 'name' from control.audit_log where event_type = 'organization.updated'"
        " order by sequence limit 1"
    ).fetchone()
    assert row == ("Demo", "Renamed")


def test_a_cap_refuses_what_is_above_it_and_leaves_what_is_there(stack: Stack, boss: httpx.Client, keys: str) -> None:
    tenant = demo(stack)
    email = add_user(stack, tenant.org_id, "member", {tenant.project_id: "member"})
    with signed_in(stack, email) as member:
        old = [member.post(keys, json={"name": f"old {number}"}).json() for number in range(2)]
        counts = boss.post(PATH, json={"key_days_max": 30, "keys_per_member_max": 1}).json()
        assert counts["keys_above_days_max"] >= 2
        assert counts["members_above_keys_max"] == 1
        assert all(member.get(f"{keys}/{key['id']}").json()["expires_at"] is None for key in old)
        refused = member.post(keys, json={"name": "a third"})
        assert error(refused) == (400, "invalid_request", "keys_per_member_max")
        boss.post(PATH, json={"keys_per_member_max": None})
        too_long = old[0]["created_at"] + 31 * DAY_S
        assert error(member.post(keys, json={"name": "long", "expires_at": too_long})) == (400, "invalid_request", "expires_at")
        made = member.post(keys, json={"name": "by the cap"}).json()
        assert abs(made["expires_at"] - made["created_at"] - 30 * DAY_S) < 60
    after = boss.get(PATH).json()
    assert (after["keys_above_days_max"], after["members_above_keys_max"]) == (counts["keys_above_days_max"], 0)
    assert boss.post(PATH, json={"key_days_max": None}).json()["keys_above_days_max"] == 0


def test_lists_of_models_and_networks_hold_for_keys_that_are_there(stack: Stack, boss: httpx.Client, keys: str) -> None:
    key = boss.post(keys, json={"name": "mine"}).json()
    boss.post(PATH, json={"key_cidrs": ["192.0.2.0/24"], "key_models": ["simulated"]})
    assert boss.get(f"{keys}/{key['id']}").json()["effective"] == {"models": ["simulated"], "cidrs": ["192.0.2.0/24"]}
    assert error(boss.post(keys, json={"name": "n", "cidrs": ["198.51.100.0/24"]})) == (400, "invalid_request", "cidrs")


def test_what_happens_without_redis_is_the_organizations_choice(boss: httpx.Client) -> None:
    assert boss.get("/organization").json()["when_redis_is_down"] == "refuse"
    assert boss.post("/organization", json={"when_redis_is_down": "share"}).json()["when_redis_is_down"] == "share"
    assert boss.post("/organization", json={"when_redis_is_down": None}).json()["when_redis_is_down"] == "share"
    assert boss.post("/organization", json={"when_redis_is_down": "guess"}).status_code == 400
